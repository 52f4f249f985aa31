"""One run of ``fit``: what changes from step to step, and what is done with it."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax.train.checkpoints import Checkpoints
from rnnjax.train.faults import Masked
from rnnjax.train.fitting import progress
from rnnjax.train.fitting.packed import Packed
from rnnjax.train.fitting.plan import Plan
from rnnjax.train.fitting.program import check_scalars
from rnnjax.train.fitting.progress import Progress
from rnnjax.train.fitting.refuse import refuse_nonfinite, refuse_nonfinite_params
from rnnjax.train.fitting.report import Report
from rnnjax.train.fitting.stream import Stream
from rnnjax.train.fitting.waiting import Waiting
from rnnjax.train.interrupt import interruptible
from rnnjax.train.paths import leaf_paths
from rnnjax.train.step import NONFINITE_LEAF, TrainState


class Run:
    """A state on its way through the data.

    Args:
      program: ``(state, batch) -> (state, metrics)``; the state is donated to it.
      start: where the run is.
      stream: the data from there on.
      report: takes the metrics.
      store: takes the checkpoints; None: there are none.
    """

    def __init__(
        self,
        program: Callable[[TrainState, Any], tuple[TrainState, Packed]],
        start: Progress,
        stream: Stream,
        report: Report,
        store: Checkpoints | None,
    ):
        self.state, _, self._key, self.found, self._due = start
        self.stream = stream
        self.number = self.saved = int(start.state.num_steps)  # steps that were taken; that are in a checkpoint
        self._first = self.number + 1
        self._program, self._report, self._store = program, report, store
        self._waiting, self._masked, self._params = Waiting(), Masked("fit"), leaf_paths(start.state.params, "params")
        self._saved_at = time.monotonic()

    def advance(self) -> None:
        """Begin the next step; the device may still be at earlier ones."""
        position, batch = self.stream.position, self.stream.take()
        self.state, packed = self._program(self.state, batch)
        self.number += 1
        if self.number == self._first and int(self.state.num_steps) != self.number:
            raise ValueError(
                f"fit: step left num_steps at {self.state.num_steps}, expected {self.number}: it counts steps"
            )
        self.stream.move_on()
        self._waiting.add(self.number, position, batch, packed)
        if count := self._waiting.due():
            self._look(count)
            self._report.write()

    def _look(self, count: int | None = None) -> None:
        """Look at the metrics of the oldest steps that wait, or of all."""
        for taken in self._waiting.fetch(count):
            idle = taken.metrics.get("loss") == taken.metrics.get("grad_norm") == 0
            self._masked.see(taken.position, taken.batch, idle)
            shown = {name: value for name, value in taken.metrics.items() if name != NONFINITE_LEAF}
            self._report.add(taken.number, taken.position.epoch, shown)
            refuse_nonfinite(taken, self._params, self._newest)

    def catch_up(self) -> None:
        """Look at all of them; an epoch may be over with the last."""
        self._look()
        if self.stream.position.taken == 0:
            self._masked.refuse(self.stream.position.epoch - 1)

    def train(self, plan: Plan) -> str:
        """Go on until the plan says to stop, and save; why it does."""
        with interruptible() as interrupt:
            if self._due and plan.evaluate:
                self.evaluate(plan)
            end = plan.end(self.number, self.stream, self.found, False)
            if not end:
                self.stream.turn()  # the last run may have been stopped at the end of an epoch
            while not end:
                self.advance()
                epoch_ended = self.number != plan.num_steps and self.stream.turn()
                end = plan.end(self.number, self.stream, self.found, interrupt.is_set())
                self._due = plan.evaluates(self.number, epoch_ended, end)
                if self._due:
                    self.evaluate(plan)
                    end = plan.end(self.number, self.stream, self.found, interrupt.is_set())
                if plan.saves(self.number, time.monotonic() - self._saved_at):
                    self.save()
        self.catch_up()
        self.save()
        return end

    def evaluate(self, plan: Plan) -> None:
        """Measure the state, and keep it if it is the best."""
        self.catch_up()
        assert plan.evaluate is not None  # it was due
        metrics = plan.evaluate(self.state)
        check_scalars("evaluate", metrics)
        numbers = {name: np.asarray(value).item() for name, value in metrics.items()}
        self._report.evaluated(numbers)
        if plan.best and self.found:
            self.found = plan.best.update(self.found, self.state, numbers, self.number)
        self._due = False

    def save(self) -> None:
        """Write a checkpoint, if all is finite up to here; where it cannot be written, training goes on."""
        if self._store is None or self.saved == self.number or not self._is_whole():
            return
        self.catch_up()
        refuse_nonfinite_params(self.number, self.state.params, self._params, self._newest)
        self._report.write()
        self._saved_at = time.monotonic()
        try:
            progress.save(self._store, Progress(self.state, self.stream.position, self._key, self.found, self._due))
            self.saved = self.number
        except OSError as error:
            stays = f"{self._newest} stays" if self._newest else "there is none from before"
            warnings.warn(f"fit: {error}; training goes on, and {stays}", stacklevel=2)

    @property
    def _newest(self) -> Path | None:
        return self._store.newest if self._store else None

    def _is_whole(self) -> bool:
        """Whether the state is there, and what we know of it is so too: a step that failed may have taken it along."""
        gone = any(leaf.is_deleted() for leaf in jax.tree.leaves(self.state))
        return not gone and int(self.state.num_steps) == self.number

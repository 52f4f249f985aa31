"""``fit``: a training step, over and over."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data.epochs import Data
from rnnjax.train.checkpoints import Checkpoints
from rnnjax.train.devices import DataParallel
from rnnjax.train.fitting.best import Best
from rnnjax.train.fitting.plan import Plan
from rnnjax.train.fitting.program import own, program
from rnnjax.train.fitting.progress import Progress, restore
from rnnjax.train.fitting.refuse import NotFiniteError
from rnnjax.train.fitting.report import Report, Row
from rnnjax.train.fitting.run import Run
from rnnjax.train.fitting.stream import Stream
from rnnjax.train.folders import claimed
from rnnjax.train.step import StepFn, TrainState


class Fitted(NamedTuple):
    """What ``fit`` gives."""

    state: TrainState  # after the last step
    best: TrainState | None  # by evaluation; None where none was asked for, or none gave a number
    rows: list[Row]  # "step", "epoch" and metrics, as in metrics.jsonl
    stopped: str  # by "num_steps", "num_epochs", "patience", "data" (an iterator's end) or "interrupt"


def fit(
    step: StepFn,
    state: TrainState,
    data: Data,
    *,
    num_steps: int | None = None,
    num_epochs: int | None = None,
    key: Key | None = None,
    evaluate: Callable[[TrainState], Mapping[str, Any]] | None = None,
    evaluate_every: int | None = None,
    best: Best | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    save_seconds: float = 60.0,
    log_every: int = 1,
    max_shapes: int | None = None,
    parallel: DataParallel | None = None,
) -> Fitted:
    """Train: take steps until there are enough of them, and lose nothing on the way.

    ::

        for batch in data:  state, metrics = step(state, batch, fold_in(key, state.num_steps))

    The step is compiled once, and the device never waits for numbers to be looked at. A run with a ``folder`` that
    was killed at any moment goes on with ``resume=True``, to the same params bit for bit.

    Args:
      step: from ``make_step``, or any such function; not jitted.
      state: from ``init_state``; it stays as it is.
      data: batches that can be iterated over anew in each epoch (a list); a function of the epoch (from 0) that
        gives them, the same ones for the same epoch; or an iterator, which is one epoch, from its start.
      num_steps: stop when ``state.num_steps`` is this.
      num_epochs: stop after so many passes over the data; with both, what comes first.
      key: for a step that is random; None: it gets none.
      evaluate: ``evaluate(state) -> metrics``, scalars; called after each epoch and at the end. It must not keep
        the state, which is donated to the next step.
      evaluate_every: evaluate after every so many steps, in place of epochs.
      best: keep the state with the best of these metrics, and stop where no better one comes.
      folder: where metrics.jsonl (a line a step), curve.png and checkpoints/ go.
      resume: go on from the newest checkpoint in ``folder``, if there is one; other arguments as before.
      save_steps: write a checkpoint after every so many steps; one is always written at the end.
      save_seconds: and after so many seconds.
      log_every: keep the metrics of only one in so many steps.
      max_shapes: how many kinds of batches, by shapes and dtypes, there may be, such as buckets of lengths; each
        is compiled once. None: as many as ``data.num_shapes`` says, else 1.
      parallel: split the batches over several devices.

    Returns:
      ``Fitted(state, best, rows, stopped)``. After Ctrl-C too: it ends the run after the step it is at.

    Raises:
      NotFiniteError: the loss, the gradient or the update is not finite; the message names the step, the leaf and
        the newest checkpoint, and what in the batch may be to blame. See ``skip_nonfinite``.
      ValueError, TypeError: bad arguments; no batches, or of too many kinds; an epoch whose masks are all False;
        a folder with a run of another model.
      OSError: ``folder`` cannot be written to, holds a run and ``resume`` is False, or another run is at work in it.
      ImportError: a package of rnnjax[train] is missing.

    A checkpoint that cannot be written or read is a warning: training goes on with the one before it.

    >>> import jax, jax.numpy as jnp, optax, rnnjax as rx
    >>> cell, optimizer = rx.Elman(1), optax.adam(1e-2)
    >>> def loss_fn(params, carry, batch, key):
    ...     _, ys = rx.unroll(cell, params, batch)
    ...     return rx.losses.squared_error(ys, batch), (carry, {})
    >>> state = rx.train.init_state(cell.init(jax.random.key(0), input_size=1), optimizer)
    >>> batches = list(0.5 * jnp.ones((4, 7, 3, 1)))                 # 4 batches, T=7, B=3, D=1
    >>> fitted = rx.train.fit(rx.train.make_step(loss_fn, optimizer), state, batches, num_epochs=25)
    >>> fitted.state.num_steps, fitted.stopped, fitted.rows[-1]["loss"] < fitted.rows[0]["loss"]
    (Array(100, dtype=int32), 'num_epochs', True)
    """
    _checks.are_functions("fit", step=step)
    if not isinstance(state, TrainState):
        raise TypeError(f"fit: state is a {type(state).__name__}, expected a TrainState, rx.train.init_state(...)")
    if key is not None:
        _checks.is_key("fit", key)
    if parallel is not None and not isinstance(parallel, DataParallel):
        raise TypeError(f"fit: parallel is {parallel!r}, expected rx.train.DataParallel()")
    _checks.is_bool("fit", "resume", resume)
    _checks.positive_int("fit", "log_every", log_every)
    plan = Plan(num_steps, num_epochs, evaluate, evaluate_every, best, save_steps, save_seconds)
    stream = Stream(data, max_shapes)
    start = Progress(own(state), stream.position, key, best.nothing() if best else None)
    with contextlib.ExitStack() as stack:
        store = None
        if folder is not None:
            folder = stack.enter_context(claimed("fit", folder))
            _refuse_earlier_run(folder, resume)
            store = stack.enter_context(contextlib.closing(Checkpoints(folder / "checkpoints")))
            start = restore(store, start)
        if parallel:
            start = start._replace(state=parallel.state(start.state))
        stream.position = start.position
        report = Report(folder, int(start.state.num_steps), log_every, num_steps)
        stack.callback(report.close)
        run = Run(program(step, key, parallel), start, stream, report, store)
        try:
            stopped = run.train(plan)
        except NotFiniteError:
            raise
        except BaseException:
            run.save()
            raise
    return Fitted(run.state, run.found and run.found.state, report.rows, stopped)


def _refuse_earlier_run(folder: Path, resume: bool) -> None:
    if not resume and (any(folder.glob("checkpoints/*")) or (folder / "metrics.jsonl").exists()):
        raise FileExistsError(
            f"fit: the folder {folder} holds a run already: go on with it by resume=True, or give another folder"
        )

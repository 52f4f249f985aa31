"""When a run evaluates, saves and stops."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rnnjax import _checks
from rnnjax.train.fitting.best import Best, Found
from rnnjax.train.fitting.stream import Stream
from rnnjax.train.step import TrainState


@dataclasses.dataclass(frozen=True)
class Plan:
    """The arguments of ``fit`` that say what happens when; it has their meaning."""

    num_steps: int | None = None
    num_epochs: int | None = None
    evaluate: Callable[[TrainState], Mapping[str, Any]] | None = None
    evaluate_every: int | None = None
    best: Best | None = None
    save_steps: int | None = None
    save_seconds: float = 60.0

    def __post_init__(self):
        for name in ("num_steps", "num_epochs", "evaluate_every", "save_steps"):
            if getattr(self, name) is not None:
                _checks.positive_int("fit", name, getattr(self, name))
        _checks.within("fit", "save_seconds", self.save_seconds, 0.0, float("inf"))
        if self.num_steps is None and self.num_epochs is None:
            raise ValueError("fit: num_steps and num_epochs are both None, expected at least one of them")
        if self.evaluate is None and (self.best or self.evaluate_every):
            raise ValueError("fit: evaluate is None, expected a function, as best or evaluate_every is given")
        if self.evaluate is not None:
            _checks.are_functions("fit", evaluate=self.evaluate)
        if self.best is not None and not isinstance(self.best, Best):
            raise TypeError(f"fit: best is {self.best!r}, expected rx.train.Best(metric)")

    def end(self, number: int, stream: Stream, found: Found | None, interrupted: bool) -> str | None:
        """Why the run is over after ``number`` steps; None while it is not."""
        if interrupted:
            return "interrupt"
        if self.num_steps is not None and number >= self.num_steps:
            return "num_steps"
        if self.num_epochs is not None and stream.position.epoch >= self.num_epochs:
            return "num_epochs"
        if stream.ended:
            return "data"
        return "patience" if self.best and found and self.best.is_over(found) else None

    def evaluates(self, number: int, epoch_ended: bool, end: str | None) -> bool:
        """Whether to evaluate after step ``number``."""
        if self.evaluate is None:
            return False
        ends = end not in (None, "interrupt")
        return ends or (number % self.evaluate_every == 0 if self.evaluate_every else epoch_ended)

    def saves(self, number: int, seconds: float) -> bool:
        """Whether to save after step ``number``, ``seconds`` after the last time."""
        return seconds > self.save_seconds or (self.save_steps is not None and number % self.save_steps == 0)

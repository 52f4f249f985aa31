"""The best state so far, and stopping where no better one comes."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax.train.step import TrainState


@dataclasses.dataclass(frozen=True)
class Best:
    """Which state ``fit`` keeps as the best, and when it stops waiting for a better one.

    Args:
      metric: one of those that ``evaluate`` gives.
      patience: stop after so many evaluations in a row without a better one; None: never.
      largest: whether more is better.

    Raises:
      TypeError, ValueError: settings that are none.

    >>> Best("nats", patience=20)
    Best(metric='nats', patience=20, largest=False)

    Source: Goodfellow, Bengio and Courville, Deep Learning (2016), algorithm 7.1.
    """

    metric: str
    patience: int | None = None
    largest: bool = False

    def __post_init__(self):
        if not isinstance(self.metric, str):
            raise TypeError(f"Best: metric is {self.metric!r}, expected the name of a metric")
        if self.patience is not None:
            _checks.positive_int("Best", "patience", self.patience)
        _checks.is_bool("Best", "largest", self.largest)

    def update(self, found: "Found", state: TrainState, metrics: Mapping[str, float], step: int) -> "Found":
        """What is the best now; a value that is not a number is not."""
        if self.metric not in metrics:
            given = ", ".join(metrics) or "nothing"
            raise ValueError(f"fit: best.metric is {self.metric!r}, but evaluate gave {given}")
        value = metrics[self.metric]
        if value > found.value if self.largest else value < found.value:
            return Found(jax.tree.map(jnp.copy, state), value, step)  # the next step takes the state itself
        return found._replace(since=found.since + 1)

    def nothing(self) -> "Found":
        """Before the first evaluation."""
        return Found(None, -math.inf if self.largest else math.inf)

    def is_over(self, found: "Found") -> bool:
        """Whether to stop."""
        return self.patience is not None and found.since >= self.patience


class Found(NamedTuple):
    """The best state so far."""

    state: TrainState | None  # None: no evaluation has given a number yet
    value: float  # of the metric
    step: int = 0  # after which it was
    since: int = 0  # evaluations since then

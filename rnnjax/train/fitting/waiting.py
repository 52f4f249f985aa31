"""Metrics of steps that the device may still be at, fetched many at a time."""

import collections
import time
from typing import Any, NamedTuple

from rnnjax.data.epochs import Position
from rnnjax.train.fitting.packed import Packed, unpack

MOST = 64  # steps; when so many wait, the older half is fetched, which are done, and the device goes on with the rest
LONGEST = 0.2  # seconds; then all but the newest are fetched


class Taken(NamedTuple):
    """A step that was taken."""

    number: int  # from 1
    position: Position  # of its batch
    batch: Any
    metrics: Any  # Packed, on the device, while waiting; then a dict of numbers


class Waiting:
    """Steps in order. Looking at a number waits for the device; after every step, it would wait for us as well."""

    def __init__(self):
        self._steps: collections.deque[Taken] = collections.deque()
        self._fetched = time.monotonic()

    def add(self, number: int, position: Position, batch: Any, metrics: Packed) -> None:
        """Put a step at the end."""
        self._steps.append(Taken(number, position, batch, metrics))

    def due(self) -> int:
        """How many to fetch now; never the newest."""
        if len(self._steps) >= MOST:
            return MOST // 2
        return max(len(self._steps) - 1, 0) if time.monotonic() - self._fetched > LONGEST else 0

    def fetch(self, count: int | None = None) -> list[Taken]:
        """The oldest, ``count`` of them or all, with numbers for metrics."""
        steps = [self._steps.popleft() for _ in range(len(self._steps) if count is None else count)]
        fetched = unpack([step.metrics for step in steps])
        self._fetched = time.monotonic()
        return [step._replace(metrics=metrics) for step, metrics in zip(steps, fetched, strict=True)]

"""Batches that are made when they are asked for."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload


class LazySequence(Sequence[Any]):
    """``make(number)`` for each of some numbers; a slice is one again and makes nothing.

    >>> squares = LazySequence(lambda number: number**2, range(5))
    >>> squares[3], list(squares[3:])
    (9, [9, 16])
    """

    def __init__(self, make: Callable[[int], Any], numbers: range):
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, self._numbers)  # Sequence's own would take an IndexError in `make` for the end

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "LazySequence": ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return LazySequence(self._make, self._numbers[index])
        return self._make(self._numbers[index])

    def __repr__(self) -> str:
        return f"<{len(self)} items, made when asked for>"


@dataclasses.dataclass(frozen=True)
class Batches:
    """A data set: ``batches(epoch)`` gives the batches of an epoch, the same ones whenever it is asked."""

    of_epoch: Callable[[int], LazySequence] = dataclasses.field(repr=False)
    num_shapes: int  # batches come in at most so many shapes, each compiled once: ``max_shapes`` of ``rx.train.fit``

    def __call__(self, epoch: int = 0) -> LazySequence:
        return self.of_epoch(epoch)

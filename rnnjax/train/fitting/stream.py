"""Batches of one epoch after the other, and where we are in them."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax.data.epochs import Data, Position, kind, rest_of_epoch
from rnnjax.train.paths import readable

_END: Any = object()


class Stream:
    """The batches of ``data``, from ``position`` on.

    Args:
      data: an iterable, iterated anew in each epoch; a function of the epoch; or an iterator, which is one epoch.
      max_shapes: how many kinds of batches, by shapes and dtypes, there may be; None: ``data.num_shapes``, else 1.

    >>> stream = Stream([1.0, 2.0])
    >>> for _ in range(2):
    ...     print(stream.take(), stream.move_on(), stream.turn(), stream.position)
    1.0 None False Position(epoch=0, taken=1)
    2.0 None True Position(epoch=1, taken=0)
    """

    def __init__(self, data: Data, max_shapes: int | None = None):
        if not callable(data) and not hasattr(data, "__iter__"):
            raise TypeError(f"fit: data is {data!r}, expected batches to iterate over, or a function of the epoch")
        if max_shapes is not None:
            _checks.positive_int("fit", "max_shapes", max_shapes)
        self.data, self.position = data, Position()
        self.max_shapes = getattr(data, "num_shapes", 1) if max_shapes is None else max_shapes
        self.once = not callable(data) and iter(data) is data
        self._batches: Iterator[Any] | None = None
        self._ahead: Any = _END
        self._kinds: list[Any] = []  # of the batches so far: their structures, shapes and dtypes
        self._first: Any = None  # the first batch, described

    @property
    def ended(self) -> bool:
        """Whether an iterator has given its last batch."""
        return self.once and self.position.epoch > 0

    def take(self) -> Any:
        """The next batch of this epoch."""
        if not self._look():
            raise ValueError(f"fit: data gave no batch in epoch {self.position.epoch}")
        batch, self._ahead = self._ahead, _END
        self._check(batch)
        return batch

    def move_on(self) -> None:
        """Past the batch that was taken, once it has been trained on."""
        self.position = self.position._replace(taken=self.position.taken + 1)

    def turn(self) -> bool:
        """Whether this epoch is over; the position is then the start of the next one."""
        if self.position.taken == 0 or self._look():
            return False
        self.position, self._batches = Position(self.position.epoch + 1), None
        return True

    def _look(self) -> bool:
        """Whether there is another batch in this epoch."""
        if self._batches is None:
            self._batches = rest_of_epoch("fit", self.data, self.position)
        if self._ahead is _END:
            self._ahead = next(self._batches, _END)
        return self._ahead is not _END

    def _check(self, batch: Any) -> None:
        """Refuse a batch of a new kind where there have been ``max_shapes`` already."""
        came = kind(batch)
        if came in self._kinds:
            return
        where = f"batch {self.position.taken} of epoch {self.position.epoch}"
        _checks.are_arrays("fit", where, batch, "an array")
        if len(self._kinds) == self.max_shapes:
            raise ValueError(
                f"fit: {where} {_difference(batch, self._first)}; each kind of batch is compiled anew: pad to one shape"
                f" (rx.data.pad), or allow more of them than max_shapes={self.max_shapes}"
            )
        self._first = self._first if self._kinds else _described(batch)
        self._kinds.append(came)


def _described(batch: Any) -> Any:
    return jax.tree.map(lambda leaf: _checks.describe(leaf if hasattr(leaf, "dtype") else np.asarray(leaf)), batch)


def _difference(batch: Any, first: Any) -> str:
    """How a batch differs from the first, which is ``_described``."""
    described = _described(batch)
    if jax.tree.structure(described) != jax.tree.structure(first):
        return f"has the structure {_checks.outline(batch)}, the first {_checks.outline(first)}"
    pairs = zip(jax.tree_util.tree_leaves_with_path(described), jax.tree.leaves(first), strict=True)
    path, came, expected = next((path, came, expected) for (path, came), expected in pairs if came != expected)
    name = readable(path)
    return f"is {came}{f' at {name}' if name else ''}, the first {expected}"

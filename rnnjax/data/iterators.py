"""Examples that come one by one and do not fit into memory: shuffled a little, and stacked."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import generator


def shuffled(items: Iterable[Any], buffer_size: int, key: Key) -> Iterator[Any]:
    """The same items in another order, ``buffer_size`` of them in memory: each new one takes the place of any.

    Args:
      items: an iterable, of any length.
      buffer_size: an item comes at most this many places early; the greater, the better shuffled.
      key: ``jax.random.fold_in(key, epoch)`` for another order in each epoch.

    Returns:
      An iterator over each item once.

    Raises:
      ValueError, TypeError: ``buffer_size`` is not positive, or key is not a key.

    >>> sorted(shuffled(range(5), 3, jax.random.key(0)))
    [0, 1, 2, 3, 4]
    """
    _checks.positive_int("shuffled", "buffer_size", buffer_size)
    return _shuffled(items, buffer_size, generator("shuffled", key))


def _shuffled(items: Iterable[Any], buffer_size: int, rng: np.random.Generator) -> Iterator[Any]:
    buffer = []
    for item in items:
        if len(buffer) < buffer_size:
            buffer.append(item)
        else:
            place = rng.integers(buffer_size)
            yield buffer[place]
            buffer[place] = item
    for place in rng.permutation(len(buffer)):
        yield buffer[place]


def batched(items: Iterable[Any], batch_size: int, *, axis: int = 0, drop_last: bool = False) -> Iterator[Any]:
    """Examples stacked to batches; sequences of different lengths go to ``rx.data.pad`` or ``rx.data.buckets``.

    Args:
      items: examples, pytrees of arrays or numbers that are alike.
      batch_size: B.
      axis: where the batch axis goes: 1 for time-major sequences.
      drop_last: leave out the last batch where it has fewer than B.

    Returns:
      An iterator of pytrees like the examples, in NumPy, with an axis of B elements.

    Raises:
      ValueError, TypeError: an example is not like the first, or settings are wrong.

    >>> def lines():                                            # of a file of any size, say
    ...     for number in range(5):
    ...         yield {"xs": np.full((7, 3), number), "label": number % 2}
    >>> def data(epoch):                                        # for rx.train
    ...     return batched(shuffled(lines(), 4, jax.random.fold_in(jax.random.key(0), epoch)), 2)
    >>> [batch["xs"].shape for batch in data(epoch=0)]
    [(2, 7, 3), (2, 7, 3), (1, 7, 3)]
    """
    _checks.positive_int("batched", "batch_size", batch_size)
    _checks.is_bool("batched", "drop_last", drop_last)
    return _batched(items, batch_size, axis, drop_last)


def _batched(items: Iterable[Any], batch_size: int, axis: int, drop_last: bool) -> Iterator[Any]:
    first, batch = None, []
    for number, item in enumerate(items):
        item = jax.tree.map(np.asarray, item)
        kind = _checks.describe_tree(item)
        first = first or kind
        if kind != first:
            raise ValueError(f"batched: item {number} is {kind}, but item 0 {first}")
        batch.append(item)
        if len(batch) == batch_size:
            yield _stack(batch, axis)
            batch = []
    if batch and not drop_last:
        yield _stack(batch, axis)


def _stack(batch: list[Any], axis: int) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis), *batch)

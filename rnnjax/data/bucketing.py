"""Batches of sequences of about the same length."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import generator, optional_key
from rnnjax.data.batching import as_arrays
from rnnjax.data.lazy import Batches, LazySequence
from rnnjax.data.order import count_batches, permutation
from rnnjax.data.ragged import Ragged


class Batch(NamedTuple):
    """Sequences side by side."""

    xs: np.ndarray  # [T, B, ...] zeros behind each end
    mask: np.ndarray  # bool [T, B]
    labels: Any = None  # a pytree of [B, ...], one entry a sequence
    targets: Any = None  # [T, B, ...], one entry a step


def buckets(
    sequences: Sequence[Any],
    batch_size: int,
    *,
    labels: Any = None,
    targets: Sequence[Any] | None = None,
    key: Key | None = None,
    growth: float = 1.5,
    drop_last: bool = False,
) -> Batches:
    """Batches of sequences of about the same length, each sequence once per epoch.

    T is one of few lengths, so few programs are compiled: the greatest length, the greatest below 1 / growth of that,
    and so on. A sequence goes to the smallest T that holds it, so that less than growth times its length is computed
    for it; at each T, fewer than B shorter sequences fill up a batch, so that only one batch of an epoch is short.

    Args:
      sequences: N arrays [length, ...], alike but for their lengths; they are read when their batch is asked for.
      batch_size: B.
      labels: one entry a sequence: a pytree of arrays [N, ...]; ``np.arange(N)`` among them says which is which.
      targets: one entry a step: N arrays [length, ...].
      key: shuffles which sequences stand together, and the batches; None leaves them in order of their T.
      growth: greater than 1.
      drop_last: leave out so many sequences, drawn in each epoch, that no batch has fewer than B.

    Returns:
      ``batches(epoch=0)``: a lazy sequence of ``Batch``es, in at most ``batches.num_shapes``.

    Raises:
      ValueError, TypeError: there are no sequences or too few, all are empty, they differ in more than length, labels
        or targets disagree with them, or settings are wrong.

    >>> sequences = [np.ones((length, 2)) for length in (3, 9, 4, 10, 10)]
    >>> batches = buckets(sequences, 2, labels=np.arange(5))
    >>> for batch in batches(epoch=0):
    ...     print(batch.xs.shape, batch.mask.sum(0), batch.labels)
    (4, 2, 2) [3 4] [0 2]
    (10, 2, 2) [ 9 10] [1 3]
    (10, 1, 2) [10] [4]
    >>> batches.num_shapes                                      # for max_shapes of rx.train.fit
    3
    """
    inputs = Ragged("buckets", "sequence", sequences)
    lengths = inputs.lengths
    if not lengths.any():
        raise ValueError(f"buckets: all {len(lengths)} sequences are empty, so that every mask would be False")
    outputs = None if targets is None else Ragged.beside("buckets", targets, inputs, "sequence")
    labels = _labels(labels, len(lengths))
    _checks.within("buckets", "growth", growth, 1.0, float("inf"), low_included=False)
    num_batches = count_batches("buckets", len(lengths), batch_size, drop_last)
    steps = _bucket_of(lengths, growth)
    key = optional_key("buckets", key)

    def of_epoch(epoch: int) -> LazySequence:
        order = permutation(len(lengths), key, epoch)[: num_batches * batch_size]
        order = order[np.argsort(steps[order], kind="stable")]
        places = np.arange(num_batches)
        if key is not None:
            generator("buckets", key, epoch).shuffle(places)

        def make(k: int) -> Batch:
            rows = np.sort(order[places[k] * batch_size : (places[k] + 1) * batch_size])
            num_steps = steps[rows].max()
            xs, mask = inputs.padded(rows, num_steps)
            padded_targets = None if outputs is None else outputs.padded(rows, num_steps)[0]
            return Batch(xs, mask, jax.tree.map(lambda leaf: leaf[rows], labels), padded_targets)

        return LazySequence(make, range(num_batches))

    short = 0 if drop_last or len(lengths) % batch_size == 0 else 1
    return Batches(of_epoch, num_shapes=len(np.unique(steps)) + short)


def _bucket_of(lengths: np.ndarray, growth: float) -> np.ndarray:
    """The T of each length, int [N]."""
    ends, left = [], np.unique(np.maximum(lengths, 1))
    while len(left):
        ends.insert(0, left[-1])
        left = left[left * growth <= left[-1]]
    return np.array(ends)[np.searchsorted(ends, lengths)]


def _labels(labels: Any, num: int) -> Any:
    labels = as_arrays("buckets", "labels", labels)
    for path, leaf in jax.tree_util.tree_leaves_with_path(labels):
        if leaf.shape[:1] != (num,):
            where = f"labels{jax.tree_util.keystr(path)}"
            raise ValueError(f"buckets: {where} is {_checks.describe(leaf)}, but there are {num} sequences")
    return labels

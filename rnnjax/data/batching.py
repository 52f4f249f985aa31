"""Minibatches of arrays."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import fold, host_key, optional_key
from rnnjax.data.lazy import Batches, LazySequence
from rnnjax.data.order import count_batches, permutation


def minibatches(
    arrays: Any, batch_size: int, *, key: Key | None = None, axis: Any = 0, drop_last: bool = False
) -> Batches:
    """Minibatches of arrays that share an axis, each element once per epoch.

    Only the elements of a batch are read, in ascending order, when the batch is asked for: ``np.load(path,
    mmap_mode="r")`` and the windows of ``rx.data.windows`` stay where they are.

    Args:
      arrays: a pytree of arrays, or of what has a shape and can be indexed like one.
      batch_size: B.
      key: shuffles, differently in each epoch; None leaves the order.
      axis: which axis the elements lie on, an int or a pytree that ``arrays`` begin with: 1 for time-major sequences.
      drop_last: leave out the last batch of an epoch where it has fewer than B.

    Returns:
      ``batches(epoch=0)``: a lazy sequence of pytrees like ``arrays``, in NumPy, B elements on the axis, in
      ``batches.num_shapes``, 1 or 2.

    Raises:
      ValueError, TypeError: sizes on the axis differ, there are no elements or too few, or settings are wrong.

    >>> xs, labels = np.zeros((7, 10, 3)), np.arange(10)       # T=7, ten sequences, D=3
    >>> batches = minibatches((xs, labels), 4, key=jax.random.key(0), axis=(1, 0))
    >>> [(xs.shape, len(labels)) for xs, labels in batches(epoch=0)]
    [((7, 4, 3), 4), ((7, 4, 3), 4), ((7, 2, 3), 2)]
    """
    arrays = as_arrays("minibatches", "arrays", arrays)
    axes = _checks.broadcast("minibatches", "axis", axis, arrays, "arrays")
    num = _count("minibatches", arrays, axes)
    leaves, structure = jax.tree.flatten(arrays)
    num_batches = count_batches("minibatches", num, batch_size, drop_last)
    key = optional_key("minibatches", key)

    def of_epoch(epoch: int) -> LazySequence:
        order = permutation(num, key, epoch)

        def make(k: int) -> Any:
            rows = np.sort(order[k * batch_size : (k + 1) * batch_size])  # files are read in this order
            taken = [leaf[(slice(None),) * axis + (rows,)] for leaf, axis in zip(leaves, axes, strict=True)]
            return structure.unflatten(map(np.asarray, taken))

        return LazySequence(make, range(num_batches))

    return Batches(of_epoch, num_shapes=1 if drop_last or num % batch_size == 0 else 2)


def augmented(
    batches: Callable[[int], Iterable[Any]], augment: Callable[[Any, Any], Any], key: Key
) -> Callable[..., Any]:
    """Each batch as ``augment`` changes it, drawn anew in each epoch.

    Args:
      batches: of one of the functions here, or any ``epoch -> batches``.
      augment: ``(batch, key) -> batch``. The key is a raw one in NumPy, for the augmentations here, which may share
        it, and for ``jax.random``.
      key: of which every batch of every epoch has its own.

    Returns:
      ``batches(epoch=0)``: a lazy sequence where ``batches`` gives sequences, else an iterator.

    Raises:
      TypeError: an argument of another kind.

    >>> import rnnjax as rx
    >>> batches = minibatches({"xs": np.ones((7, 10, 3))}, 4, key=jax.random.key(0), axis=1)
    >>> def augment(batch, key):
    ...     return {"xs": rx.data.jitter(rx.data.rescale(batch["xs"], 0.1, key), 0.03, key)}
    >>> augmented(batches, augment, jax.random.key(1))(epoch=0)[2]["xs"].shape
    (7, 2, 3)
    """
    _checks.are_functions("augmented", batches=batches, augment=augment)
    words = host_key("augmented", key)

    def changed(epoch: int = 0) -> Any:
        plain = batches(epoch)
        if isinstance(plain, Sequence):
            return LazySequence(lambda k: augment(plain[k], fold(words, epoch, k)), range(len(plain)))
        return (augment(batch, fold(words, epoch, k)) for k, batch in enumerate(plain))

    return changed


def as_arrays(owner: str, name: str, tree: Any) -> Any:
    """JAX's arrays become NumPy's; what is indexed like one stays where it is."""
    _checks.are_arrays(owner, name, tree, "an array", numbers=False)
    return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, tree)


def _count(owner: str, arrays: Any, axes: list[int]) -> int:
    """How many elements there are."""
    sizes = {}
    for (path, leaf), axis in zip(jax.tree_util.tree_leaves_with_path(arrays), axes, strict=True):
        where = f"arrays{jax.tree_util.keystr(path)}"
        if not isinstance(axis, int) or not 0 <= axis < len(leaf.shape):
            raise ValueError(f"{owner}: axis of {where} is {axis!r}, expected one of its {len(leaf.shape)} axes")
        sizes.setdefault(leaf.shape[axis], f"{where} has {leaf.shape[axis]} elements on axis {axis}")
    if not sizes:
        raise ValueError(f"{owner}: arrays hold no array")
    if len(sizes) > 1:
        raise ValueError(f"{owner}: {', but '.join(sizes.values())}")
    return next(iter(sizes))

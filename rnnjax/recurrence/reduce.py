"""From sequences to one value each: length masks, the last valid output, masked mean and maximum over time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax import _checks
from rnnjax._types import Array
from rnnjax.recurrence.timeline import blank, select


def length_mask(lengths: Any, num_steps: int) -> jax.Array:
    """The mask of sequences that are padded at their end.

    Args:
      lengths: int [*batch], how many steps of each sequence are valid; 0 too.
      num_steps: T.

    Returns:
      bool [T, *batch], True where ``t < lengths``.

    Raises:
      TypeError: lengths are not integers.
      ValueError: a length lies outside [0, T]; checked outside ``jit`` only.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> rx.length_mask(jnp.array([3, 1]), num_steps=3).astype(int).T
    Array([[1, 1, 1],
           [1, 0, 0]], dtype=int32)
    """
    num_steps = _checks.num_steps("length_mask", "num_steps", num_steps)
    if _checks.is_concrete(lengths):
        lengths = np.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"length_mask: lengths are {lengths.dtype}, expected integers")
    if isinstance(lengths, np.ndarray) and lengths.size and not 0 <= lengths.min() <= lengths.max() <= num_steps:
        worst = lengths.max() if lengths.max() > num_steps else lengths.min()
        raise ValueError(f"length_mask: a length is {worst}, expected between 0 and num_steps={num_steps}")
    times = jnp.arange(num_steps).reshape((-1,) + (1,) * lengths.ndim)
    return times < lengths


def last(ys: Any, mask: Array | None = None) -> Any:
    """The last valid output of each sequence, for many-to-one models.

    Args:
      ys: [T, *batch, ...], or a pytree of such.
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      [*batch, ...]; zero for a sequence without a valid step.

    Raises:
      ValueError, TypeError: the mask is not bool, or not the leading axes of ys.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> ys = jnp.array([[1., 5.], [2., 6.], [3., 7.]])         # T=3, B=2
    >>> rx.last(ys, rx.length_mask(jnp.array([3, 1]), 3))
    Array([3., 5.], dtype=float32)
    """
    check_masked("last", ys, mask)
    if mask is None:
        return jax.tree.map(lambda leaf: leaf[-1] if leaf.shape[0] else jnp.zeros(leaf.shape[1:], leaf.dtype), ys)
    later = lax.cumsum(jnp.asarray(mask, jnp.int32), reverse=True) - mask
    return jax.tree.map(lambda leaf: leaf.sum(0, dtype=leaf.dtype), blank(mask & (later == 0), ys))


def mean_over_time(ys: Any, mask: Array | None = None) -> Any:
    """The mean of the valid outputs of each sequence.

    Args:
      ys: floating-point [T, *batch, ...], or a pytree of such.
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      [*batch, ...]; zero, with zero gradients, for a sequence without a valid step.

    Raises:
      ValueError, TypeError: the mask is not bool, or not the leading axes of ys.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> rx.mean_over_time(jnp.array([1., 2., 6.]), jnp.array([True, True, False]))
    Array(1.5, dtype=float32)
    """
    check_masked("mean_over_time", ys, mask)

    def mean(leaf):
        count = leaf.shape[0] if mask is None else mask.sum(0).reshape(mask.shape[1:] + (1,) * (leaf.ndim - mask.ndim))
        return leaf.sum(0) / jnp.maximum(count, 1).astype(leaf.dtype)

    return jax.tree.map(mean, blank(mask, ys))


def max_over_time(ys: Any, mask: Array | None = None) -> Any:
    """The elementwise maximum of the valid outputs of each sequence.

    Args:
      ys: real [T, *batch, ...], or a pytree of such.
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      [*batch, ...]; zero, with zero gradients, for a sequence without a valid step.

    Raises:
      ValueError, TypeError: the mask is not bool, or not the leading axes of ys.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> rx.max_over_time(jnp.array([-1., -2., 6.]), jnp.array([True, True, False]))
    Array(-1., dtype=float32)
    """
    check_masked("max_over_time", ys, mask)

    def maximum(leaf):
        flags = jnp.ones(leaf.shape[:1], bool) if mask is None else jnp.asarray(mask)
        lowest = _lowest(leaf)
        highest = select(flags, leaf, jnp.full_like(leaf, lowest)).max(0, initial=lowest)
        return blank(flags.any(0), highest)

    return jax.tree.map(maximum, ys)


def _lowest(leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return -jnp.inf
    if jnp.issubdtype(leaf.dtype, jnp.integer):
        return jnp.iinfo(leaf.dtype).min
    if leaf.dtype == bool:
        return False
    raise TypeError(f"max_over_time: ys is {_checks.describe(leaf)}, expected real numbers")


def check_masked(owner: str, ys: Any, mask: Any) -> None:
    """Refuse a mask that does not fit ``ys``."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(ys):
        if not np.ndim(leaf):
            where = f"ys{jax.tree_util.keystr(path)}"
            raise ValueError(f"{owner}: {where} is {_checks.describe(leaf)}, expected an array [T, *batch, ...]")
    if mask is None:
        return
    if not hasattr(mask, "dtype") or mask.dtype != bool:
        raise TypeError(f"{owner}: mask is {_checks.describe(mask)}, expected bool [T, *batch]")
    for leaf in jax.tree.leaves(ys):
        if leaf.shape[: mask.ndim] != mask.shape:
            raise ValueError(f"{owner}: mask has shape {mask.shape}, but ys has the leading axes {leaf.shape}")

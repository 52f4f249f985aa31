"""What other libraries give at masked steps."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax import _checks
from rnnjax._types import Array
from rnnjax.recurrence.reduce import check_masked
from rnnjax.recurrence.timeline import blank


def repeat_last(ys: Any, mask: Array, *, reverse: bool = False) -> Any:
    """At masked steps the output of the last valid step before, as Keras gives it; zero before the first valid one.

    Args:
      ys: [T, *batch, ...], or a pytree of such.
      mask: bool [T, *batch].
      reverse: for layers that go backward: the last valid step in their order, the next one in time.

    Returns:
      Like ys; valid steps as they are.

    Raises:
      ValueError, TypeError: the mask is not bool, or not the leading axes of ys.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> rx.repeat_last(jnp.array([1., 2., 3.]), jnp.array([False, True, False]))
    Array([0., 2., 2.], dtype=float32)

    Source: Keras 3, ``RNN`` with ``zero_output_for_mask=False``, its default.
    """
    _checks.is_bool("repeat_last", "reverse", reverse)
    if mask is None:
        raise TypeError("repeat_last: mask is None, expected bool [T, *batch]")
    check_masked("repeat_last", ys, mask)
    mask = jnp.asarray(mask)
    num_steps = mask.shape[0]
    times = jnp.arange(num_steps).reshape((-1,) + (1,) * (mask.ndim - 1))
    if reverse:
        source = lax.cummin(jnp.where(mask, times, num_steps), reverse=True)
    else:
        source = lax.cummax(jnp.where(mask, times, -1))
    found = (source >= 0) & (source < num_steps)
    source = jnp.clip(source, 0, num_steps - 1)

    def repeated(leaf):
        index = source.reshape(source.shape + (1,) * (leaf.ndim - source.ndim))
        return jnp.take_along_axis(leaf, index, axis=0)

    return blank(found, jax.tree.map(repeated, ys)) if num_steps else ys

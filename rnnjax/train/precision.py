"""Training in half precision."""

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Carry, Key, Params
from rnnjax.train.step import LossFn


def half_precision(loss_fn: LossFn, dtype: Any = jnp.bfloat16) -> LossFn:
    """A loss computed in half precision, with params, carry, gradients and loss in the precision they have.

    ::

        half(loss)(params, carry, batch, key) = loss(half(params), half(carry), half(batch), key)

    Params are cast anew for each step, so small updates add up in full precision. The carry comes back in the dtype
    it came in.

    Args:
      loss_fn: as for ``make_step``.
      dtype: a floating-point dtype. float16 has a smaller range, in which small gradients vanish.

    Returns:
      A loss for ``make_step``.

    Raises:
      TypeError: ``dtype`` is not a floating-point one.

    >>> import jax, jax.numpy as jnp, optax, rnnjax as rx
    >>> cell, optimizer = rx.Elman(2), optax.adam(1e-2)
    >>> def loss_fn(params, carry, batch, key):
    ...     _, ys = rx.unroll(cell, params, batch)
    ...     return jnp.square(ys).mean(), (carry, {})
    >>> step = jax.jit(rx.train.make_step(rx.train.half_precision(loss_fn), optimizer))
    >>> state = rx.train.init_state(cell.init(jax.random.key(0), input_size=5), optimizer)
    >>> state, metrics = step(state, jnp.ones((7, 3, 5)))
    >>> state.params.W.dtype, metrics["loss"].dtype
    (dtype('float32'), dtype('float32'))

    Source: Micikevicius et al., ICLR 2018, section 3.1; bfloat16 has float32's range, so the loss is not scaled.

    Differs from: mixed precision of other libraries, which leaves the batch as it is; a cell's carry takes the dtype
    of its params and inputs, so these are cast together. Targets are too, to the three digits that predictions have.
    """
    _checks.are_functions("half_precision", loss_fn=loss_fn)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"half_precision: dtype is {dtype!r}, expected a floating-point dtype, such as jnp.bfloat16")

    def half(params: Params, carry: Carry, batch: Any, key: Key | None) -> tuple[jax.Array, tuple[Carry, dict]]:
        loss, (after, metrics) = loss_fn(_cast(params, dtype), _cast(carry, dtype), _cast(batch, dtype), key)
        restored = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.result_type(old)), after, carry)
        return jnp.asarray(loss, jnp.promote_types(loss.dtype, jnp.float32)), (restored, metrics)

    return half


def _cast(tree: Any, dtype: Any) -> Any:
    """The pytree with its floating-point leaves in ``dtype``."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf, tree
    )

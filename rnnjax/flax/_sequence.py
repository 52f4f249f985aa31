"""``rx.unroll`` with the axes, lengths and orders of Flax's ``RNN``: what the NNX and the linen modules share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Params, Settings, input_size_of
from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Directions
from rnnjax.recurrence import protocol
from rnnjax.recurrence.reduce import length_mask
from rnnjax.recurrence.unroll import unroll


def check_cell(cell: Any, flax_module: type, converter: str) -> None:
    """Refuse what is not a cell, above all one of Flax's."""
    if isinstance(cell, flax_module):
        raise TypeError(
            f"RNN: cell is Flax's {type(cell).__name__}, expected a cell of rnnjax, such as rx.LSTM(hidden_size);"
            f" rnnjax.interop.flax.{converter} converts it"
        )
    _checks.is_cell("RNN", "cell", cell)


def check_directions(both: Any, rnn: type, theirs: str) -> None:
    """Refuse directions that are not modules of the class ``rnn``."""
    for name in ("forward_rnn", "backward_rnn"):
        given = getattr(both, name)
        if not isinstance(given, rnn):
            shown = given if isinstance(given, Settings) else type(given).__name__
            raise TypeError(f"Bidirectional: {name} is {shown}, expected {rnn.__module__}.RNN; {theirs} takes others")


def modes(module: Any, **given: Any) -> dict[str, Any]:
    """What is given at a call; where that is None, the module's own setting."""
    return {name: getattr(module, name) if value is None else value for name, value in given.items()}


def cast(params: Params, dtype: Any) -> Params:
    """Params with floating-point leaves of ``dtype``; None leaves all as they are."""

    def one(leaf):
        leaf = jnp.asarray(leaf)
        return leaf if dtype is None or not jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(dtype)

    return jax.tree.map(one, params)


def input_size(cell: Any, inputs: Any) -> InputSize:
    """The size of one x of ``inputs``, as ``cell.init`` takes it."""

    def one(x, ndim):
        return jax.ShapeDtypeStruct(x.shape[x.ndim - ndim :], x.dtype)

    return input_size_of(jax.tree.map(one, inputs, _ndims(cell, inputs)))


def run(
    cell: Any,
    params: Params,
    inputs: Any,
    *,
    initial_carry: Carry | None,
    seq_lengths: Any,
    mask: Any,
    resets: Any,
    key: Any,
    return_carry: bool,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    method: str,
    memory: str,
) -> Any:
    """Outputs in the layout of ``inputs``, or ``(carry, outputs)``."""
    ndims = _ndims(cell, inputs)
    x, ndim = jax.tree.leaves(inputs)[0], jax.tree.leaves(ndims)[0]
    leading = x.shape[: x.ndim - ndim]
    _check_flags("mask", mask, leading, time_major)
    _check_flags("resets", resets, leading, time_major)
    if time_major:
        num_steps, *batch_shape = leading
    else:
        *batch_shape, num_steps = leading
        inputs = jax.tree.map(lambda x, ndim: jnp.moveaxis(x, x.ndim - ndim - 1, 0), inputs, ndims)
        mask, resets = (None if flags is None else jnp.moveaxis(flags, -1, 0) for flags in (mask, resets))
    if seq_lengths is not None:
        seq_lengths = _checked_lengths(seq_lengths, tuple(batch_shape))
        valid = length_mask(seq_lengths, num_steps)
        mask = valid if mask is None else mask & valid
    cell = Backward(cell) if reverse else cell
    carry, ys = unroll(
        cell, params, inputs, initial_carry, mask=mask, resets=resets, key=key, method=method, memory=memory
    )
    if reverse and not keep_order:
        ys = _in_order_of_processing(ys, seq_lengths)
    if not time_major:
        ys = jax.tree.map(lambda y: jnp.moveaxis(y, 0, len(batch_shape)), ys)
    return (carry, ys) if return_carry else ys


def run_both(both: Any, inputs: Any, *, initial_carry: Any, return_carry: bool, **options: Any) -> Any:
    """One module in each direction, their outputs merged at their own times."""
    start, end = (None, None) if initial_carry is None else initial_carry
    options["return_carry"] = True
    ahead, ys_ahead = both.forward_rnn(inputs, initial_carry=start, reverse=False, **options)
    back, ys_back = both.backward_rnn(inputs, initial_carry=end, reverse=True, keep_order=True, **options)
    ys = jax.tree.map(both.merge_fn, ys_ahead, ys_back)
    return (Directions(ahead, back), ys) if return_carry else ys


def concatenate(ahead: jax.Array, back: jax.Array) -> jax.Array:
    """Features side by side."""
    return jnp.concatenate([ahead, back], axis=-1)


def _ndims(cell: Any, inputs: Any) -> Any:
    """The axes of one x, for each leaf of ``inputs``, which has time and batch axes before them."""
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    if not leaves:
        raise ValueError(f"RNN: inputs is {inputs}, expected an array, or a pytree of arrays")
    ndims = _checks.broadcast("RNN", f"input_ndim of {cell}", protocol.input_ndim(cell), inputs, "inputs")
    for (path, leaf), ndim in zip(leaves, ndims, strict=True):
        if np.ndim(leaf) <= ndim:
            where = f"inputs{jax.tree_util.keystr(path)}"
            shown = _checks.describe(leaf)
            raise ValueError(f"RNN: {where} is {shown}, expected axes of batch and time before the {ndim} of one x")
    return jax.tree.unflatten(jax.tree.structure(inputs), ndims)


def _check_flags(name: str, flags: Any, leading: tuple, time_major: bool) -> None:
    if flags is None:
        return
    if not hasattr(flags, "dtype") or flags.dtype != bool or flags.shape != leading:
        axes = "[T, *batch]" if time_major else "[*batch, T]"
        raise ValueError(f"RNN: {name} is {_checks.describe(flags)}, expected bool {axes} = {list(leading)}")


def _checked_lengths(lengths: Any, batch_shape: tuple) -> jax.Array:
    lengths = jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or lengths.shape != batch_shape:
        shown = _checks.describe(lengths)
        raise ValueError(f"RNN: seq_lengths is {shown}, expected integers [*batch] = {list(batch_shape)}")
    return lengths


def _in_order_of_processing(ys: Any, seq_lengths: jax.Array | None) -> Any:
    """Outputs [T, *batch, ...] of a layer that goes backward as it gives them, the last step's first; padding last."""
    if seq_lengths is None:
        return jax.tree.map(lambda y: jnp.flip(y, axis=0), ys)

    def one(y):
        times = jnp.arange(y.shape[0]).reshape((-1,) + (1,) * seq_lengths.ndim)
        ends = jnp.minimum(seq_lengths, y.shape[0])  # under jit a length may lie beyond
        source = jnp.where(times < ends, ends - 1 - times, times)
        return jnp.take_along_axis(y, source.reshape(source.shape + (1,) * (y.ndim - source.ndim)), axis=0)

    return jax.tree.map(one, ys)

"""Checks of what ``unroll`` is given: time and batch axes, features, masks and resets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax._checks import describe
from rnnjax.recurrence.protocol import input_ndim, input_size
from rnnjax.recurrence.timeline import Timeline


def check_arrays(params: Any, xs: Any, carry: Any, mask: Any, resets: Any, key: Any) -> None:
    """Refuse what JAX could not trace, or would trace as something else than meant."""
    _checks.are_arrays("unroll", "params", params, "an array")
    _checks.are_arrays("unroll", "xs", xs, "an array [T, *batch, ...]", numbers=False)
    _checks.are_arrays("unroll", "carry", carry, "an array")
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is not None and not hasattr(flags, "dtype"):
            raise TypeError(f"unroll: {name} is of type {type(flags).__name__}, expected an array, bool [T, *batch]")
    if key is not None:
        _checks.is_key("unroll", key)
    for name, tree in {"params": params, "xs": xs, "carry": carry, "mask": mask, "resets": resets}.items():
        _check_axes(name, tree)


def _check_axes(name: str, tree: Any) -> None:
    """Refuse arrays split along Explicit mesh axes: steps are written without the shardings these ask for."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        sharding = getattr(jax.typeof(leaf), "sharding", None)
        if sharding is not None and any(part is not None for part in sharding.spec):
            raise ValueError(
                f"unroll: {name}{jax.tree_util.keystr(path)} is split along Explicit mesh axes, {sharding.spec},"
                " expected Auto axes (jax.make_mesh with axis_types=(AxisType.Auto,)) or a call inside jax.shard_map"
            )


def check(cell: Any, params: Any, xs: Any, carry: Any, mask: Any, resets: Any, length: int | None):
    """``(num_steps, batch_shape)``, or the first thing that does not fit."""
    _check_params(cell, params)
    if jax.tree.leaves(xs):
        leading = _leading_axes(cell, params, xs)
        if length is not None and length != leading[0]:
            raise ValueError(f"unroll: length is {length}, but xs has {leading[0]} time steps")
    else:
        leading = _leading_axes_without_input(cell, params, carry, mask, resets, length)
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is None:
            continue
        if flags.dtype != bool:
            raise TypeError(f"unroll: {name} is {describe(flags)}, expected bool [T, *batch] = {_axes(leading)}")
        if flags.shape != leading:
            raise ValueError(f"unroll: {name} has shape {flags.shape}, expected [T, *batch] = {_axes(leading)}")
    return leading[0], leading[1:]


def check_features(cell: Any, xs: Any, num_features: int | None, timeline: Timeline) -> None:
    """Refuse inputs that a cell with ``num_features`` floating-point features cannot take."""
    if num_features is None:
        return
    leaves = jax.tree.leaves(xs)
    if len(leaves) != 1:
        raise ValueError(f"unroll: xs is a pytree of {len(leaves)} arrays, but {cell} expects one array of features")
    (leaf,) = leaves
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise TypeError(
            f"unroll: xs is {describe(leaf)}, but {cell} expects floating-point features;"
            " cast them, or embed tokens with rx.Lift(nn.Embed(...))"
        )
    if leaf.ndim != 1 + len(timeline.batch_shape) + 1:
        raise ValueError(f"unroll: the input of {cell} is {describe(leaf)}, expected [T, *batch, {num_features}]")
    if leaf.shape[-1] != num_features:
        raise ValueError(
            f"unroll: xs has {leaf.shape[-1]} features on its last axis, but params of {cell} expect {num_features}"
        )


def check_batched(name: str, what: str, tree: Any, batch_shape: tuple) -> None:
    """Refuse masks and resets for a pytree with a leaf that all batch elements share."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if np.shape(leaf)[: len(batch_shape)] != batch_shape:
            where = f"{what}{jax.tree_util.keystr(path)}"
            raise ValueError(
                f"unroll: {name} acts on single batch elements, but {where} is {describe(leaf)}, which does not"
                f" start with the batch axes {_axes(batch_shape)}"
            )


def _check_params(cell: Any, params: Any) -> None:
    """Let a cell that knows its own params look at them, so that foreign ones are named here."""
    input_size(cell, params)


def _leading_axes(cell, params, xs) -> tuple:
    """[T, *batch], which all leaves of xs must share."""
    ndims = _checks.broadcast("unroll", f"input_ndim of {cell}", input_ndim(cell), xs, "xs")
    leading = None
    for (path, leaf), ndim in zip(jax.tree_util.tree_leaves_with_path(xs), ndims, strict=True):
        where = f"xs{jax.tree_util.keystr(path)}"
        if leaf.ndim < 1 + ndim:
            size = input_size(cell, params)
            axes = f", {size}" if size is not None else f" and {ndim} more" if ndim else ""
            raise ValueError(f"unroll: {where} is {describe(leaf)}, expected the axes [T, *batch{axes}]")
        axes = leaf.shape[: leaf.ndim - ndim]
        if leading is not None and axes != leading:
            raise ValueError(f"unroll: {where} has the leading axes {axes}, but other leaves of xs have {leading}")
        leading = axes
    assert leading is not None
    return leading


def _leading_axes_without_input(cell, params, carry, mask, resets, length) -> tuple:
    for flags in (mask, resets):
        if flags is not None and flags.shape:
            if length is not None and length != flags.shape[0]:
                raise ValueError(f"unroll: length is {length}, but mask or resets have {flags.shape[0]} time steps")
            return flags.shape
    if length is None:
        raise ValueError("unroll: xs is None, so length must say how many time steps to take")
    given, own = jax.tree.leaves(carry), jax.tree.leaves(jax.eval_shape(lambda p: cell.carry(p, ()), params))
    if not given or not own:
        return (length,)
    return (length, *np.shape(given[0])[: np.ndim(given[0]) - own[0].ndim])


def _axes(axes: tuple) -> str:
    return f"({', '.join(map(str, axes))}{',' if len(axes) == 1 else ''})"

"""``method="associative"``: a step that is affine and elementwise in its carry, over many times at once."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.blocks import entering
from rnnjax.recurrence.program import is_var
from rnnjax.recurrence.split import LOOP, Split

_SUMS = {lax.add_p, lax.sub_p, lax.neg_p, lax.copy_p}
_CASTS = {"pvary", "pcast"}  # of types inside shard_map; values stay


def obstacle(split: Split) -> str | None:
    """Why a step is not ``carry = a * carry + b`` with a and b free of the carry; None if it is."""
    of: dict[Any, int] = {v: index for index, v in enumerate(split.carry_in)}  # which leaf a variable is affine in
    for v in split.carry_in:
        if not jnp.issubdtype(v.aval.dtype, jnp.inexact):
            return f"a leaf of its carry is {v.aval.str_short()}"
    if not split.carry_in:
        return "it has no carry"
    for equation in split.loop.equations:
        carried = [v for v in equation.invars if is_var(v) and split.level[v] == LOOP]
        if not carried:
            continue
        name, out = equation.primitive.name, equation.outvars[0]
        leaves = {of[v] for v in carried}
        if len(leaves) > 1:
            return f"{name} mixes leaves of the carry"
        if any(v.aval.shape != out.aval.shape or v.aval.dtype != out.aval.dtype for v in carried):
            return f"{name} is not elementwise"
        affine = (
            equation.primitive in _SUMS
            or name in _CASTS
            or (equation.primitive is lax.mul_p and len(carried) == 1)
            or (equation.primitive is lax.div_p and carried == [equation.invars[0]])
            or (equation.primitive is lax.select_n_p and equation.invars[0] not in carried)
        )
        if not affine:
            return f"{name} is not affine in the carry"
        of[out] = leaves.pop()
    for index, v in enumerate(split.carry_out):
        if is_var(v) and of.get(v, index) != index:
            return "leaves of the carry change places"
    return None


def affine_scan(body: Callable, carry: Sequence[Any], xs: Sequence[Any], length: int, reverse: bool):
    """``lax.scan`` of a body whose new carry is ``a * carry + b``, elementwise: about 2 sqrt(T) wide steps for T.

    a and b are found at all times at once, as the body's derivative and its value at zero.
    """
    zeros, ones = [jnp.zeros_like(leaf) for leaf in carry], [jnp.ones_like(leaf) for leaf in carry]
    coefficients = jax.vmap(lambda x: jax.jvp(lambda carry: body(carry, x)[0], (zeros,), (ones,)), axis_size=length)
    b, a = coefficients(xs)
    after = [_solve(*leaves, reverse) for leaves in zip(a, b, carry, strict=True)]
    before = [entering(*leaves, reverse) for leaves in zip(carry, after, strict=True)]
    _, kept = jax.vmap(body, axis_size=length)(before, xs)
    return [leaf[0 if reverse else -1] for leaf in after], kept


def _solve(a: Any, b: Any, start: Any, reverse: bool) -> Any:
    """``h[t] = a[t] * h[t - 1] + b[t]``, a and b [T, ...]: within blocks of time side by side, then from edge to edge.

    As matrix scans are done in two levels (Blelloch, 1990, Prefix Sums and Their Applications, section 1.2).
    """
    num_steps = len(a)
    size = math.isqrt(num_steps - 1) + 1
    count = -(-num_steps // size)
    missing = count * size - num_steps

    def side_by_side(leaf, fill):  # [size, count, ...]
        leaf = jnp.flip(leaf, 0) if reverse else leaf
        padded = jnp.concatenate([leaf, jnp.full((missing, *leaf.shape[1:]), fill, leaf.dtype)]) if missing else leaf
        return jnp.moveaxis(padded.reshape(count, size, *leaf.shape[1:]), 0, 1)

    def within(before, now):
        (slope, offset), (a, b) = before, now
        after = a * slope, a * offset + b
        return after, after

    def along(edge, block):
        slope, offset = block
        return slope * edge + offset, edge

    a, b = side_by_side(a, 1), side_by_side(b, 0)
    last, (slopes, offsets) = lax.scan(within, (jnp.ones_like(a[0]), jnp.zeros_like(b[0])), (a, b))
    _, edges = lax.scan(along, start, last)
    h = jnp.moveaxis(slopes * edges + offsets, 1, 0).reshape(count * size, *start.shape)[:num_steps]
    return jnp.flip(h, 0) if reverse else h

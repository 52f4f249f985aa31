"""``method="associative"``: a step that is affine and elementwise in its carry, over many times at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.blocks import entering
from rnnjax.recurrence.program import is_var
from rnnjax.recurrence.split import LOOP, Split

BLOCK = 8  # steps of one block of time
SEQUENTIAL = 512  # up to so many steps the plain loop is as fast
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


def affine_scan(
    body: Callable, carry: list[Any], xs: list[Any], length: int, reverse: bool, moves: Any = None
) -> tuple[list[Any], list[Any]]:
    """``lax.scan`` of a body whose new carry is ``a * carry + b``, elementwise.

    a and b are found at all times at once, as the body's derivative and its value at zero. Where ``moves``, bool
    [T, *batch], is given, steps at which it is False keep the carry bit for bit, over block edges too.
    """
    zeros, ones = [jnp.zeros_like(leaf) for leaf in carry], [jnp.ones_like(leaf) for leaf in carry]

    def coefficients(*x):
        b, a = jax.jvp(lambda *carry: body(list(carry), list(x))[0], zeros, ones)
        return a, b

    a, b = jax.vmap(coefficients, axis_size=length)(*xs)
    after = [solve(*leaves, reverse) for leaves in zip(a, b, carry, strict=True)]
    before = [entering(*leaves, reverse) for leaves in zip(carry, after, strict=True)]
    after, kept = jax.vmap(body, axis_size=length)(before, xs)
    if moves is None:
        return [leaf[0 if reverse else -1] for leaf in after], kept
    return [_last_moved(*leaves, moves, reverse) for leaves in zip(carry, after, strict=True)], kept


def _last_moved(start, after, moves, reverse):
    """The carry after the last step in the order of processing that moves it."""
    back: Any = jnp.argmax(moves if reverse else jnp.flip(moves, 0), axis=0)  # 0 too where no step moves
    index = back if reverse else len(moves) - 1 - back
    axes = index.shape + (1,) * (start.ndim - index.ndim)
    last = jnp.take_along_axis(after, index.reshape(1, *axes), axis=0)[0]
    return jnp.where(moves.any(0).reshape(axes), last, start)


def solve(a: Any, b: Any, start: Any, reverse: bool) -> Any:
    """``h[t] = a[t] * h[t - 1] + b[t]``, all [T, ...], from ``start``; if ``reverse``, from ``h[t + 1]``.

    In two levels, again and again: each block of time as one affine step, found side by side with all others; then
    from block to block; then within the blocks, side by side again.

    Source: Blelloch (1990), Prefix Sums and Their Applications, sections 1.2 and 1.4.
    """
    num_steps = len(a)
    if num_steps <= SEQUENTIAL:
        return lax.scan(_affine, start, (a, b), reverse=reverse)[1]
    count = -(-num_steps // BLOCK)
    missing = count * BLOCK - num_steps

    def in_blocks(leaf, fill):
        padded = jnp.concatenate([leaf, jnp.full_like(leaf[:1], fill).repeat(missing, 0)]) if missing else leaf
        return padded.reshape(count, BLOCK, *leaf.shape[1:])

    a, b = in_blocks(a, 1), in_blocks(b, 0)  # a missing step keeps the carry
    order = list(range(BLOCK))[:: -1 if reverse else 1]
    slope, offset = a[:, order[0]], b[:, order[0]]
    for k in order[1:]:
        slope, offset = _times(a[:, k], slope), _times(a[:, k], offset) + b[:, k]
    h = entering(start, solve(slope, offset, start, reverse), reverse)
    after = {}
    for k in order:
        h = _times(a[:, k], h) + b[:, k]
        after[k] = h
    return jnp.stack([after[k] for k in range(BLOCK)], 1).reshape(count * BLOCK, *start.shape)[:num_steps]


def _affine(h, now):
    a, b = now
    h = _times(a, h) + b
    return h, h


def _times(a, h):
    """``a * h``, and 0 where a is 0: what came before a reset is forgotten, be it infinite."""
    return jnp.where(a == 0, 0, a * h)

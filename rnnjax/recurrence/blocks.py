"""A split step over time, in blocks: many steps at once before and after the loop, whose products stay in cache."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.program import is_var
from rnnjax.recurrence.split import Split


@dataclasses.dataclass(frozen=True)
class Blocks:
    """How T steps are cut: ``count`` blocks of ``size``, and ``rest`` steps (fewer than size) after them."""

    count: int
    size: int
    rest: int

    @classmethod
    def of(cls, num_steps: int, size: int) -> "Blocks":
        """Blocks of ``size`` steps."""
        size = min(size, num_steps)
        return cls(num_steps // size, size, num_steps % size)


def run_invariant(split: Split) -> dict:
    """The values of what depends on nothing but constants, by variable."""
    values = split.invariant(*(split.program.constants[v] for v in split.invariant.inputs))
    return dict(zip(split.invariant.outputs, values, strict=True))


def with_weights(split: Split, invariant: dict) -> dict:
    """The constants with the weights of this split's merged products."""
    merged = split.weights(*(invariant[v] for v in split.weights.inputs)) if split.weights.outputs else []
    return invariant | dict(zip(split.weights.outputs, merged, strict=True))


def run_block(
    split: Split,
    invariant: dict,
    carry: list[Any],
    x: list[Any],
    num_steps: int,
    reverse: bool,
    scan: Callable = lax.scan,
) -> tuple[list[Any], list[Any]]:
    """``(carry, y)`` of one block of steps, which are the first axis of each leaf of x and y.

    ``invariant`` holds the values of constants, from ``with_weights``. The loop runs by ``scan``, which has the
    arguments of ``lax.scan``.
    """
    values = dict(zip(split.x, x, strict=True))
    _at_all_steps(split.before, invariant, values, num_steps)

    loop = split.merged_loop
    per_step = [v for v in loop.inputs if v in values]

    def tick(carry, now):
        known = invariant | dict(zip([*split.carry_in, *per_step], [*carry, *now], strict=True))
        out = loop(*(known[v] for v in loop.inputs))
        return out[: len(carry)], out[len(carry) :]

    carry, kept = scan(tick, carry, [values[v] for v in per_step], length=num_steps, reverse=reverse)
    values.update(zip(split.kept, kept, strict=True))
    _at_all_steps(split.merged_after, invariant, values, num_steps)
    return carry, [_over_time(v, invariant, values, num_steps) for v in split.y]


def _at_all_steps(part, invariant, values, num_steps):
    """Run a part for all steps of a block and add its results to ``values``."""
    if not part.equations:
        values.update((v, values[v]) for v in part.outputs)
        return
    inputs = [values[v] if v in values else invariant[v] for v in part.inputs]
    axes = [0 if v in values else None for v in part.inputs]
    results = jax.vmap(part, axes, axis_size=num_steps)(*inputs)
    values.update(zip(part.outputs, results, strict=True))


def _over_time(v, invariant, values, num_steps):
    if is_var(v) and v in values:
        return values[v]
    value = invariant[v] if is_var(v) else jnp.asarray(v.val, v.aval.dtype)
    return jnp.broadcast_to(value, (num_steps, *jnp.shape(value)))


def over_blocks(
    run: Callable, carry: Any, x: Any, per_block: Any, blocks: Blocks, reverse: bool
) -> tuple[Any, Any, tuple[Any, Any]]:
    """``run(carry, x, extra, num_steps) -> (carry, y, extra)`` over all blocks.

    Args:
      run: takes and gives the leaves of x and y with the block's steps first; an ``extra`` is one pytree per block.
      carry: what enters the first block, or the last if ``reverse``.
      x: leaves [T, ...].
      per_block: the pair of extras of the whole blocks, stacked, and of the rest.
      blocks: how T is cut.
      reverse: from the last block to the first.

    Returns:
      The carry, leaves [T, ...] of y, and the pair of extras.
    """
    end = blocks.count * blocks.size

    def whole(carry):
        now = jax.tree.map(lambda leaf: leaf[:end].reshape(blocks.count, blocks.size, *leaf.shape[1:]), x)

        def one(carry, inputs):
            carry, y, extra = run(carry, *inputs, blocks.size)
            return carry, (y, extra)

        if blocks.count == 1:
            carry, out = one(carry, jax.tree.map(lambda leaf: leaf[0], (now, per_block[0])))
            y, extra = jax.tree.map(lambda leaf: leaf[None], out)
        else:
            carry, (y, extra) = lax.scan(one, carry, (now, per_block[0]), length=blocks.count, reverse=reverse)
        return carry, jax.tree.map(lambda leaf: leaf.reshape(end, *leaf.shape[2:]), y), extra

    if not blocks.rest:
        carry, y, extra = whole(carry)
        return carry, y, (extra, None)

    def rest(carry):
        return run(carry, jax.tree.map(lambda leaf: leaf[end:], x), per_block[1], blocks.rest)

    if reverse:
        carry, y_rest, extra_rest = rest(carry)
        carry, y, extra = whole(carry)
    else:
        carry, y, extra = whole(carry)
        carry, y_rest, extra_rest = rest(carry)
    return carry, jax.tree.map(lambda *two: jnp.concatenate(two), y, y_rest), (extra, extra_rest)


def entering(edge: Any, after: Any, reverse: bool) -> Any:
    """The carry that enters each step of a block, from that which enters the block and those after each step."""
    return jnp.concatenate([after[1:], edge[None]] if reverse else [edge[None], after[:-1]])

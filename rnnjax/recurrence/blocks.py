"""A split step over time, in blocks: many steps at once before and after the loop, whose products stay in cache."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.devices import zeros
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

    @property
    def num_steps(self) -> int:
        """T."""
        return self.count * self.size + self.rest


def run_invariant(split: Split) -> dict:
    """The values of what depends on nothing but constants, by variable."""
    values = split.invariant(*(split.program.constants[v] for v in split.invariant.inputs))
    return dict(zip(split.invariant.outputs, values, strict=True))


def with_weights(split: Split, invariant: dict) -> dict:
    """The constants with the weights of this split's merged products."""
    merged = split.weights(*(invariant[v] for v in split.weights.inputs)) if split.weights.outputs else []
    return invariant | dict(zip(split.weights.outputs, merged, strict=True))


class Room(NamedTuple):
    """Where a block's results go: arrays whose first axis is all of time, and the first time of the block."""

    arrays: list[Any]
    start: Any

    def written(self, array: Any, block: Any) -> Any:
        """An array of these with the results of the block."""
        if block.shape == array.shape:
            return block
        return lax.dynamic_update_slice_in_dim(array, block, self.start, 0, allow_negative_indices=False)


NO_ROOM = Room([], 0)


def empty_arrays(variables: list[Any], num_steps: int, mesh: Any) -> list[Any]:
    """What results of a step at all times are written to; ``mesh`` from ``explicit_mesh``."""
    return [zeros((num_steps, *v.aval.shape), v.aval.dtype, v.aval, mesh) for v in variables]


def run_block(
    split: Split,
    invariant: dict,
    carry: list[Any],
    x: list[Any],
    num_steps: int,
    reverse: bool,
    room: Room = NO_ROOM,
    affine_scan: Callable | None = None,
) -> tuple[list[Any], list[Any]]:
    """``(carry, y)`` of one block of steps, which are the first axis of each leaf of x and y.

    ``invariant`` holds the values of constants, from ``with_weights``. The first of y, as many as ``room`` has arrays,
    are written into these, which are given instead. ``affine_scan``, with the arguments of ``lax.scan``, runs the loop.
    """
    values = dict(zip(split.x, x, strict=True))
    _at_all_steps(split.before, invariant, values, num_steps)

    loop = split.merged_loop
    per_step = [v for v in loop.inputs if v in values]
    roomy = {id(v): array for v, array in zip(split.y, room.arrays, strict=False)}
    direct = [v for v in split.kept if id(v) in roomy and not affine_scan]  # written step by step
    kept = [*direct, *(v for v in split.kept if v not in direct)]

    def tick(carry, now):
        known = invariant | dict(zip([*split.carry_in, *per_step], [*carry, *now], strict=True))
        results = loop(*(known[v] for v in loop.inputs))
        by_variable = dict(zip(split.kept, results[len(carry) :], strict=True))
        return results[: len(carry)], [by_variable[v] for v in kept]

    now = [values[v] for v in per_step]
    if affine_scan:
        carry, results = affine_scan(tick, carry, now, length=num_steps, reverse=reverse)
    else:
        arrays = [roomy[id(v)] for v in direct]
        carry, results = _scan_into(tick, carry, now, Room(arrays, room.start), num_steps, reverse)
    roomy.update((id(v), array) for v, array in zip(direct, results, strict=False))
    here = {id(v) for v in [*split.merged_after.inputs, *split.y[len(room.arrays) :]]}
    for v, many in zip(kept, results, strict=True):
        cut = v in direct and id(v) in here
        values[v] = lax.dynamic_slice_in_dim(many, room.start, num_steps) if cut else many
    _at_all_steps(split.merged_after, invariant, values, num_steps)

    def result(v):
        return _over_time(v, invariant, values, num_steps)

    def in_room(v):
        return roomy[id(v)] if id(v) in written else room.written(roomy[id(v)], result(v))

    written, num_roomy = set(map(id, direct)), len(room.arrays)
    return carry, [*map(in_room, split.y[:num_roomy]), *map(result, split.y[num_roomy:])]


def _scan_into(body, carry, xs, room, num_steps, reverse):
    """``lax.scan`` whose first outputs go into ``room``, in place: a scan within a scan would copy them once more."""

    def tick(state, inputs):
        (carry, arrays), (time, now) = state, inputs
        carry, out = body(carry, now)
        there = Room(arrays, time)
        arrays, stacked = [there.written(a, one[None]) for a, one in zip(arrays, out, strict=False)], out[len(arrays) :]
        return (carry, arrays), stacked

    times = room.start + jnp.arange(num_steps)
    (carry, arrays), stacked = lax.scan(tick, (carry, room.arrays), (times, xs), reverse=reverse)
    return carry, [*arrays, *stacked]


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
    run: Callable, state: Any, x: Any, per_block: Any, blocks: Blocks, reverse: bool
) -> tuple[Any, tuple[Any, Any]]:
    """``run(state, x, extra, start, num_steps) -> (state, extra)`` over all blocks.

    Args:
      run: takes leaves of x of one block's steps, and its first time; an ``extra`` is one pytree per block.
      state: what enters the first block, or the last if ``reverse``.
      x: leaves [T, ...].
      per_block: the pair of extras of the whole blocks, stacked, and of the rest.
      blocks: how T is cut.
      reverse: from the last block to the first.

    Returns:
      The state after the last block in this order, and the pair of extras.
    """
    end = blocks.count * blocks.size

    def whole(state):
        now = jax.tree.map(lambda leaf: leaf[:end].reshape(blocks.count, blocks.size, *leaf.shape[1:]), x)
        if blocks.count == 1:
            now, extra = jax.tree.map(lambda leaf: leaf[0], (now, per_block[0]))
            state, extra = run(state, now, extra, 0, blocks.size)
            return state, jax.tree.map(lambda leaf: leaf[None], extra)

        def one(state, inputs):
            start, now, extra = inputs
            return run(state, now, extra, start, blocks.size)

        starts = blocks.size * jnp.arange(blocks.count)
        return lax.scan(one, state, (starts, now, per_block[0]), reverse=reverse)

    def rest(state):
        if not blocks.rest:
            return state, None
        return run(state, jax.tree.map(lambda leaf: leaf[end:], x), per_block[1], end, blocks.rest)

    if reverse:
        state, extra_rest = rest(state)
        state, extra = whole(state)
    else:
        state, extra = whole(state)
        state, extra_rest = rest(state)
    return state, (extra, extra_rest)


def entering(edge: Any, after: Any, reverse: bool) -> Any:
    """The carry that enters each step of a block, from that which enters the block and those after each step."""
    return jnp.concatenate([after[1:], edge[None]] if reverse else [edge[None], after[:-1]])

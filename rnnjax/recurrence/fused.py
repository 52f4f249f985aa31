"""``method="fused"``: a step as what is done for many steps at once and a small loop, in values and gradients."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.recurrence.associative import affine_scan
from rnnjax.recurrence.blocks import (
    NO_ROOM,
    Blocks,
    Room,
    empty_arrays,
    entering,
    over_blocks,
    run_block,
    run_invariant,
    with_weights,
)
from rnnjax.recurrence.devices import explicit_mesh, zeros
from rnnjax.recurrence.factors import gather_factors
from rnnjax.recurrence.gradients import WeightGradients
from rnnjax.recurrence.products import accumulator
from rnnjax.recurrence.program import Variable
from rnnjax.recurrence.reverse import find_stages, is_float, reverse_step
from rnnjax.recurrence.split import Split, split, split_program

MEMORY = ("preactivations", "carries", "edges")


def differentiable(
    parts: Split,
    blocks: Blocks,
    forward_blocks: Blocks,
    reverse: bool,
    memory: str,
    affine: bool = False,
    mask_at: int | None = None,
) -> Callable:
    """``(values of parts.invariant.outputs, carry, x) -> (carry, y)``, lists of arrays; its derivative is ours.

    It runs in ``forward_blocks`` where no derivative is asked for, else in ``blocks``.

    If ``affine``, the loop of each block and that of its derivative, which is affine too, run by ``affine_scan``;
    then ``mask_at`` is the place of the mask in x, if there is one.
    """

    def by_steps(x):
        return partial(affine_scan, moves=None if mask_at is None else x[mask_at]) if affine else None

    extra = kept_variables(parts, memory)
    given = list({id(v): v for v in [*parts.y, *extra]}.values())  # what is both kept and given is stored once
    saving = split_program(parts.program, parts.carry_in, parts.x, parts.carry_out, given)

    def picked(variables, y):
        by_identity = {id(v): leaf for v, leaf in zip(given, y, strict=True)}
        return [by_identity[id(v)] for v in variables]

    def over_time(parts, blocks, invariant, carry, x):
        known = with_weights(parts, invariant)

        def run(state, x, _, start, num_steps):
            carry, y = state
            return run_block(parts, known, carry, x, num_steps, reverse, Room(y, start), by_steps(x)), carry

        room = empty_arrays(parts.y, blocks.num_steps, explicit_mesh((list(invariant.values()), carry, x)))
        (carry, y), edges = over_blocks(run, (carry, room), x, (None, None), blocks, reverse)
        return carry, y, edges

    @jax.custom_vjp
    def run(invariant, carry, x):
        carry, y, _ = over_time(parts, forward_blocks, _by_variable(parts.invariant.outputs, invariant), carry, x)
        return carry, y

    def forward(invariant, carry, x):
        known = _by_variable(parts.invariant.outputs, invariant)
        if memory == "edges":
            carry, y, edges = over_time(parts, blocks, known, carry, x)
            return (carry, y), (invariant, x, edges, [])
        carry, y, edges = over_time(saving, blocks, known, carry, x)
        return (carry, picked(parts.y, y)), (invariant, x, edges, picked(extra, y))

    def backward(saved, cotangents):
        invariant, x, edges, kept = saved
        known = _by_variable(parts.invariant.outputs, invariant)
        d_carry, d_y = (_floats(vs, ds) for vs, ds in zip((parts.carry_out, parts.y), cotangents, strict=True))
        known_again = with_weights(saving, known)
        back = _Reverse.of(parts, known, extra[len(parts.carry_out) :])

        def block(state, inputs, edge, start, num_steps):
            (d_carry, d_x, sums), (x, kept, d_y) = state, inputs
            if memory == "edges":
                _, y = run_block(saving, known_again, edge, x, num_steps, reverse, NO_ROOM, by_steps(x))
                kept = picked(extra, y)
            after, values = kept[: len(edge)], kept[len(edge) :]
            before = [entering(one, many, reverse) for one, many in zip(edge, after, strict=True)]
            inputs, room = [*x, *before, *values, *d_y], Room(d_x, start)
            d_carry, d_x, more = back.block(d_carry, inputs, num_steps, not reverse, room, affine)
            return (d_carry, d_x, jax.tree.map(jnp.add, sums, more)), None

        mesh = explicit_mesh(saved)
        room = empty_arrays([v for v in parts.x if is_float(v)], blocks.num_steps, mesh)
        state = d_carry, room, back.zeros(mesh)
        (d_carry, d_x, sums), _ = over_blocks(block, state, (x, kept, d_y), edges, blocks, not reverse)
        gradients = back.by_constant(sums)
        return (
            [gradients[v].astype(v.aval.dtype) if v in gradients else None for v in parts.invariant.outputs],
            _aligned(parts.carry_in, d_carry),
            _aligned(parts.x, d_x),
        )

    run.defvjp(forward, backward)
    return run


def kept_variables(parts: Split, memory: str) -> list[Any]:
    """What the backward pass of a block asks of each step: the carry after it, and the sums of products in the loop.

    "preactivations" keeps them from the forward pass, "edges" makes them again block by block, "carries" keeps the
    carries and makes the sums again.
    """
    return [*parts.carry_out, *([] if memory == "carries" else find_stages(parts).keepable(parts))]


@dataclasses.dataclass(frozen=True)
class _Reverse:
    """The step of the backward pass, split like any other."""

    parts: Split
    invariant: dict[Variable, Any]
    direct: list[Variable]  # constants of the forward step whose gradient each step gives
    weights: WeightGradients

    @classmethod
    def of(cls, parts: Split, known: dict[Variable, Any], sums: list[Variable]) -> "_Reverse":
        """Trace and split it; it knows x, the carry, the given sums and the cotangents of y at each step."""
        stages, names = find_stages(parts), [*parts.x, *parts.carry_in, *sums]
        found: Any = None

        def step(d_carry, inputs):
            nonlocal found
            values = _by_variable(names, inputs[: len(names)])
            d_after, d_y = _aligned(parts.carry_out, d_carry), _aligned(parts.y, inputs[len(names) :])
            d_before, found = reverse_step(parts, stages, known, d_after, values, d_y)
            d_x = [found.x.get(v, jnp.zeros_like(values[v])) for v in parts.x if is_float(v)]
            factors = [factor for _, operands, d in found.sums for factor in (*operands, d)]
            return d_before, [*d_x, *found.constants.values(), *factors]

        d_carry = [v.aval for v in parts.carry_in if is_float(v)]
        d_y = [v.aval for v in parts.y if is_float(v)]
        reversed_parts = split(step, d_carry, [*(v.aval for v in names), *d_y], gather_factors)
        invariant = with_weights(reversed_parts, run_invariant(reversed_parts))
        return cls(reversed_parts, invariant, list(found.constants), WeightGradients([s for s, _, _ in found.sums]))

    def zeros(self, mesh: Any) -> tuple[list[Any], list[Any]]:
        """Where the sums over blocks begin: of constants' gradients, and of weights'."""
        return [zeros(v.aval.shape, accumulator(v.aval.dtype), v.aval, mesh) for v in self.direct], self.weights.zeros(
            mesh
        )

    def block(self, d_carry: list[Any], inputs: list[Any], num_steps: int, reverse: bool, room: Room, affine: bool):
        """``(d_carry, d_x, what the block adds to the sums)``."""
        by_steps = affine_scan if affine else None
        d_carry, out = run_block(self.parts, self.invariant, d_carry, inputs, num_steps, reverse, room, by_steps)
        given, sizes = iter(out), [len(s.products) for s in self.weights.sums]
        d_x = [next(given) for _ in room.arrays]
        direct = [jnp.sum(next(given), 0, dtype=accumulator(v.aval.dtype)) for v in self.direct]
        factors = [([next(given) for _ in range(size)], next(given)) for size in sizes]
        return d_carry, d_x, (direct, self.weights.of_block(factors))

    def by_constant(self, sums: tuple[list[Any], list[Any]]) -> dict[Variable, Any]:
        """The gradients of constants from the sums over blocks."""
        direct, weights = _by_variable(self.direct, sums[0]), self.weights.by_weight(sums[1])
        return {v: direct[v] + weights[v] if v in direct and v in weights else d for v, d in (direct | weights).items()}


def _by_variable(variables: Sequence[Variable], values: Sequence[Any]) -> dict[Variable, Any]:
    return dict(zip(variables, values, strict=True))


def _floats(variables: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    return [value for v, value in zip(variables, values, strict=True) if is_float(v)]


def _aligned(variables: Sequence[Any], floats: Sequence[Any]) -> list[Any]:
    """One value per variable, None for those that have no cotangent."""
    given = iter(floats)
    return [next(given) if is_float(v) else None for v in variables]

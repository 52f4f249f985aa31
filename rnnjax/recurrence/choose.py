"""Which method runs a recurrence, with what memory, and why; and running it so."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from rnnjax.recurrence.associative import obstacle
from rnnjax.recurrence.blocks import Blocks, run_invariant
from rnnjax.recurrence.distribute import distribute
from rnnjax.recurrence.fallback import drawback, hindrance
from rnnjax.recurrence.fused import MEMORY, differentiable, kept_variables
from rnnjax.recurrence.program import SideEffectsError, num_numbers
from rnnjax.recurrence.scan import Recurrence, scan
from rnnjax.recurrence.split import Split, split

METHODS = ("auto", "scan", "fused", "associative")
MEMORY_LIMIT = 2**31  # bytes that memory="auto" keeps of one layer for the backward pass
CACHE = 2**22  # bytes of one array or few that stay in cache
LONG = 256  # steps from which on an affine step is taken at many times at once
SMALL = 512  # numbers in the carry up to which that pays on a CPU, whose loops are cheap


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the caller asks for."""

    method: str = "auto"
    memory: str = "auto"
    block: int | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """How one recurrence runs, and what was found in its step."""

    method: str
    reason: str
    num_steps: Any
    memory: str | None = None  # what is kept for the backward pass; None for a scan
    block: int | None = None  # steps per block of time
    forward_block: int | None = None  # the same where no derivative is asked for
    split: Split | None = None  # None where the step was not analysed
    obstacle: str | None = None  # why the associative method does not apply


def run(cell: Any, r: Recurrence, plan: Plan, record: Callable[[Any, Choice], None] | None) -> tuple[Any, Any]:
    """``lax.scan`` of the recurrence of ``cell``, by the method that the plan asks for; ``record`` is told which."""
    flat = _Flat(r)
    choice = choose(cell, r, flat, plan)
    if record is not None:
        record(cell, choice)
    if choice.split is None or choice.method == "scan":
        return scan(r)
    assert choice.block is not None
    assert choice.forward_block is not None
    assert choice.memory is not None
    affine = choice.method == "associative"
    mask_at = None if r.mask is None else len(jax.tree.leaves(r.inputs[0]))
    blocks, forward_blocks = (Blocks.of(r.num_steps, block) for block in (choice.block, choice.forward_block))
    by_parts = differentiable(choice.split, blocks, forward_blocks, r.reverse, choice.memory, affine, mask_at)
    carry, y = by_parts(list(run_invariant(choice.split).values()), flat.carry, flat.x)
    return flat.results(carry, y)


def choose(cell: Any, r: Recurrence, flat: "_Flat", plan: Plan) -> Choice:
    """How to run a recurrence of ``cell``."""

    def by_scan(reason):
        return Choice("scan", reason, r.num_steps)

    if plan.method == "scan":
        return by_scan("it was asked for")
    if not isinstance(r.num_steps, int):
        return by_scan("the number of steps is symbolic")
    if r.num_steps == 0:
        return by_scan("there are no steps")
    try:
        parts = split(flat.step, flat.carry, [leaf[0] for leaf in flat.x], distribute)
    except SideEffectsError as error:
        if plan.method == "associative":
            raise ValueError(f"unroll: method is 'associative', which does not apply to {cell}: {error}") from None
        return by_scan(f"the step cannot be taken apart: {error}")
    bar = hindrance(parts)
    found = bar or obstacle(parts)
    if plan.method == "associative" and found is not None:
        raise ValueError(f"unroll: method is 'associative', which does not apply to {cell}: {found}")
    if bar is None and plan == Plan():
        bar = drawback(parts)
    if bar is not None:
        return dataclasses.replace(by_scan(bar), split=parts, obstacle=found)
    small_carry = jax.default_backend() != "cpu" or num_numbers(parts.carry_in) <= SMALL
    if plan.method == "auto" and found is None and r.num_steps >= LONG and small_carry:
        method, reason = (
            "associative",
            "the step is affine and elementwise in the carry, which is small, and the sequence long",
        )
    elif plan.method == "auto":
        method, reason = "fused", "products leave the loop, and so do weight gradients"
    else:
        method, reason = plan.method, "it was asked for"
    block = forward_block = plan.block
    if block is None:
        small = plan.memory != "edges"  # which saves memory by blocks alone
        block = (
            affine_block_size(parts, r.num_steps) if method == "associative" else block_size(parts, r.num_steps, small)
        )
        forward_block = forward_block_size(parts, r.num_steps, block)
    memory = fitting_memory(parts, r.num_steps) if plan.memory == "auto" else plan.memory
    return Choice(method, reason, r.num_steps, memory, block, forward_block, parts, found)


def block_size(parts: Split, num_steps: int, whole_if_small: bool = True) -> int:
    """About 16 steps, more of small ones, all of few; a divisor of T where there is one near.

    Fewer leave the products narrow, more leave the cache and need memory.
    """
    carried = max((num_numbers([v]) for v in parts.carry_in), default=1)
    most = max(1, 2**24 // max(_largest(parts), 1))
    ideal = min(max(16, 2**15 // max(carried, 1)), 128, most)
    if num_steps <= 2 * ideal or (whole_if_small and num_steps * carried < 2**19 and num_steps <= most):
        return num_steps
    return min(range(ideal // 2, 2 * ideal + 1), key=lambda size: (num_steps % size > 0, abs(size - ideal)))


def forward_block_size(parts: Split, num_steps: int, block: int) -> int:
    """All of T where what is computed before the loop and after it stays in cache; else ``block``.

    Blocks save memory, and the derivative's loops read it again and again; a loop within a loop costs time.
    """
    return num_steps if num_steps * max(_bytes(parts.before.outputs), _largest(parts)) <= CACHE else block


def affine_block_size(parts: Split, num_steps: int) -> int:
    """As long as a block stays in cache (on a CPU), or memory; a divisor of T where there is one near."""
    limit = CACHE if jax.default_backend() == "cpu" else 2**26
    least = max(1, -(-num_steps * _bytes(parts.carry_in) // limit))
    count = next((n for n in range(least, 2 * least + 1) if num_steps % n == 0), least)
    return -(-num_steps // count)


def kept_bytes(parts: Split, num_steps: int, memory: str, block: int) -> int:
    """What a memory setting keeps of one layer from the forward pass to the backward pass, xs and ys apart."""
    edges = -(-num_steps // block) * _bytes(parts.carry_in)
    return edges + (0 if memory == "edges" else num_steps * _bytes(kept_variables(parts, memory)))


def fitting_memory(parts: Split, num_steps: int) -> str:
    """The fastest setting that keeps at most MEMORY_LIMIT bytes, or that which keeps least."""
    block = block_size(parts, num_steps, whole_if_small=False)
    fits = (memory for memory in MEMORY if kept_bytes(parts, num_steps, memory, block) <= MEMORY_LIMIT)
    return next(fits, MEMORY[-1])


def _largest(parts: Split) -> int:
    """Bytes of the largest array that is computed outside the loop, of one step."""
    equations = [*parts.before.equations, *parts.after.equations]
    return max((_bytes([v]) for equation in equations for v in equation.outvars), default=0)


def _bytes(variables: list[Any]) -> int:
    return sum(num_numbers([v]) * v.aval.dtype.itemsize for v in variables)


class _Flat:
    """A recurrence on lists of arrays."""

    def __init__(self, r: Recurrence):
        self.body = r.body
        self.carry, self.carry_tree = jax.tree.flatten(r.carry)
        self.x, self.x_tree = jax.tree.flatten(r.inputs)
        self.y_tree: Any = None

    def step(self, carry, x):
        after, y = self.body(self.carry_tree.unflatten(carry), self.x_tree.unflatten(x))
        y, self.y_tree = jax.tree.flatten(y)
        return jax.tree.leaves(after), y

    def results(self, carry, y):
        return self.carry_tree.unflatten(carry), self.y_tree.unflatten(y)

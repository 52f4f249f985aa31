"""The four parts of a step: what can be computed once, for many steps at once, and what only one step after another."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from rnnjax.recurrence.levels import BEFORE, INVARIANT, LOOP, find_levels
from rnnjax.recurrence.merge import merge
from rnnjax.recurrence.program import Part, Program, Variable, is_var, trace


@dataclasses.dataclass(frozen=True)
class Split:
    """A step ``(carry, x) -> (carry, y)``, with what it closes over, in four parts.

    Each part takes and gives lists of arrays in the order of its variables. A variable that leaves ``loop`` is
    computed for each step, one after the other; what leaves ``before`` and ``after``, for many steps at once.
    """

    program: Program
    carry_in: list[Variable]
    x: list[Variable]
    carry_out: list[Any]
    y: list[Any]  # variables or literal numbers; one may stand twice
    level: dict[Variable, int]
    invariant: Part  # constants -> constants and what is computed from them
    before: Part  # invariant, x -> hoisted
    loop: Part  # carry_in, invariant, x, hoisted -> carry_out, kept
    after: Part  # invariant, x, hoisted, kept -> late
    kept: list[Variable]  # what the loop gives beside its carry
    late: list[Variable]
    weights: Part  # invariant -> weights of products that are merged in
    merged_loop: Part  # the loop as it runs
    merged_after: Part


def split(
    step: Callable[..., tuple[Sequence[Any], Sequence[Any]]],
    carry: Sequence[Any],
    x: Sequence[Any],
    rewrite: Callable[[Program, list[Variable], list[Variable]], Program] = lambda program, carry_in, x: program,
) -> Split:
    """Trace ``step(carry, x) -> (carry, y)``, which takes and gives lists of arrays, and split it, rewritten."""

    def flat(*arguments):
        after, y = step(list(arguments[: len(carry)]), list(arguments[len(carry) :]))
        return [*after, *y]

    program = trace(flat, *carry, *x)
    num = len(carry)
    program = rewrite(program, program.inputs[:num], program.inputs[num:])
    return split_program(
        program, program.inputs[:num], program.inputs[num:], program.outputs[:num], program.outputs[num:]
    )


def split_program(program: Program, carry_in: list[Variable], x: list[Variable], carry_out: list, y: list) -> Split:
    """``split`` of a step that was traced."""
    level, free = find_levels(program, carry_in, x)

    def ready(v):  # before the loop, at a cost
        return level[v] < LOOP and v not in free

    variables = list(level)
    loop_core = program.part([v for v in variables if ready(v)] + carry_in, carry_out)
    in_loop = {v for equation in loop_core.equations for v in equation.outvars} | set(carry_in)
    late = _distinct(v for v in y if is_var(v) and level[v] == LOOP and v not in in_loop)
    after = program.part([v for v in variables if ready(v) or v in in_loop], late)
    wanted = {*after.inputs, *(v for v in y if is_var(v))}
    kept = [v for v in variables if v in in_loop and level[v] == LOOP and v in wanted]
    loop = program.part([v for v in variables if ready(v)] + carry_in, [*carry_out, *kept])
    used = {*loop.inputs, *after.inputs, *(v for v in [*carry_out, *y] if is_var(v))}
    hoisted = [v for v in variables if v in used and level[v] == BEFORE and v not in x]
    known = [v for v in variables if (level[v] == INVARIANT and v not in free) or v in x]
    before = program.part(known, hoisted)
    used |= set(before.inputs)
    once = [v for v in variables if v in used and level[v] == INVARIANT]
    invariant = program.part(list(program.constants), once)
    loop_weights, merged_loop = merge(program, loop, level)
    after_weights, merged_after = merge(program, after, level)
    weights = Part.joined([loop_weights, after_weights])
    merged = weights, merged_loop, merged_after
    return Split(program, carry_in, x, carry_out, y, level, invariant, before, loop, after, kept, late, *merged)


def _distinct(variables) -> list:
    return list(dict.fromkeys(variables))

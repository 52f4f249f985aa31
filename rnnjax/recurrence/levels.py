"""What each variable of a step depends on at most."""

from jax import lax

from rnnjax.recurrence.program import Program, Variable, is_var

INVARIANT, BEFORE, LOOP = range(3)  # what a variable depends on at most: constants; an input x too; the carry too

# Equations that cost nothing where XLA fuses them into what uses them, and memory elsewhere; products do not fuse them.
_FREE = {lax.broadcast_in_dim_p, lax.iota_p}


def find_levels(
    program: Program, carry_in: list[Variable], x: list[Variable]
) -> tuple[dict[Variable, int], set[Variable]]:
    """What each variable depends on, in the order of definition, and which variables are free to compute again."""
    level = dict.fromkeys(program.constants, INVARIANT) | dict.fromkeys(x, BEFORE) | dict.fromkeys(carry_in, LOOP)
    free = set()
    factors = {v for e in program.equations if e.primitive is lax.dot_general_p for v in e.invars if is_var(v)}
    for equation in program.equations:
        depth = max((level[v] for v in equation.invars if is_var(v)), default=INVARIANT)
        level.update(dict.fromkeys(equation.outvars, depth))
        if equation.primitive in _FREE and factors.isdisjoint(equation.outvars):
            free.update(equation.outvars)
    return level, free

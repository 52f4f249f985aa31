"""Factors that are known before the loop, multiplied before it: ``(d * a) * b`` becomes ``d * (a * b)``."""

import dataclasses

from jax import lax
from jax.extend.core import primitives

from rnnjax.recurrence.levels import LOOP, find_levels
from rnnjax.recurrence.program import Equation, Program, Variable, equations_of, is_var, new_variable

_SUMS = {lax.add_p, primitives.add_jaxvals_p}


def gather_factors(program: Program, carry_in: list[Variable], x: list[Variable]) -> Program:
    """The same step with fewer multiplications in its loop, and so fewer arrays that the loop reads.

    Made for the reverse step, whose carry goes through chains of such products: the derivatives of gates. That of
    tanh, ``d + d * a``, is a product with ``1 + a``.
    """
    needed = program.part([*program.constants, *program.inputs], program.outputs).equations
    program = dataclasses.replace(program, equations=needed)
    level, _ = find_levels(program, carry_in, x)
    uses: dict[Variable, int] = {}
    for v in [v for equation in program.equations for v in equation.invars] + program.outputs:
        if is_var(v):
            uses[v] = uses.get(v, 0) + 1
    product: dict[Variable, tuple[Variable, Variable]] = {}  # by result: what depends on the carry, and its factor
    equations: list[Equation] = []

    def carried(v):
        return is_var(v) and level[v] == LOOP

    def put(fn, inputs, output):
        equations.extend(equations_of(fn, inputs, [output]))

    def multiply(v, factor, out):
        """``out = v * factor``, over whatever v itself is a product of."""
        if v in product and uses[v] == 1:
            v, inner = product[v]
            both = new_variable(inner.aval, inner.aval.shape)
            level[both] = max(level[inner], level[factor])
            put(lambda a, b: [a * b], [inner, factor], both)
            factor = both
        product[out] = v, factor
        put(lambda v, a: [v * a], [v, factor], out)

    for equation in program.equations:
        out = equation.outvars[0]
        if len(equation.invars) == 2 and all(is_var(v) and v.aval == out.aval for v in equation.invars):
            one, other = equation.invars
            if equation.primitive is lax.mul_p and carried(one) != carried(other):
                multiply(*((one, other) if carried(one) else (other, one)), out)
                continue
            if equation.primitive in _SUMS and carried(one) and carried(other):
                for v, scaled in ((one, other), (other, one)):
                    if scaled in product and product[scaled][0] is v and uses[scaled] == 1:
                        break
                else:
                    equations.append(equation)
                    continue
                inner = product[scaled][1]
                factor = new_variable(inner.aval, inner.aval.shape)
                level[factor] = level[inner]
                put(lambda a: [1 + a], [inner], factor)
                uses[v] -= 1
                multiply(v, factor, out)
                continue
        equations.append(equation)
    return dataclasses.replace(program, equations=equations)

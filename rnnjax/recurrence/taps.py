"""The products in the loop through which the carry meets params."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.levels import LOOP
from rnnjax.recurrence.products import Product, find_product
from rnnjax.recurrence.program import Equation, Part, Variable, inner_jaxprs, is_var
from rnnjax.recurrence.split import Split


def find_taps(split: Split) -> list[Product]:
    """The products in the loop through which the carry meets params."""
    found = (find_product(e, split.level) for e in split.loop.equations if e.primitive is lax.dot_general_p)
    return [product for product in found if product is not None and split.level[product.operand] == LOOP]


def hidden_product(split: Split) -> str | None:
    """The name of an operation in the loop that has a product inside, such as cond, where no tap is found."""

    def has_product(jaxpr):
        return any(e.primitive is lax.dot_general_p or any(map(has_product, inner_jaxprs(e))) for e in jaxpr.eqns)

    for equation in split.loop.equations:
        carried = any(is_var(v) and split.level[v] == LOOP for v in equation.invars)
        if carried and any(map(has_product, inner_jaxprs(equation))):
            return equation.primitive.name
    return None


def run_with_operands(split: Split, inputs: list[Any], change: Callable[[int, Product, Any], Any]) -> list[Any]:
    """A traced step's results where the operand of the i-th tap is ``change(i, tap, operand)``."""
    program, taps = split.program, {id(tap.equation): (index, tap) for index, tap in enumerate(find_taps(split))}
    values: dict[Variable, Any] = program.constants | dict(zip(program.inputs, inputs, strict=True))

    def run(equations, known):
        part = Part.of(equations)
        values.update(zip(part.outputs, part(*(known[v] for v in part.inputs)), strict=True))

    waiting: list[Equation] = []
    for equation in program.equations:
        if id(equation) in taps:
            run(waiting, values)
            index, tap = taps[id(equation)]
            run([equation], values | {tap.operand: change(index, tap, values[tap.operand])})
            waiting = []
        else:
            waiting.append(equation)
    run(waiting, values)
    return [values[v] if is_var(v) else jnp.asarray(v.val, v.aval.dtype) for v in program.outputs]

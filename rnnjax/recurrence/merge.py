"""Products merged: one of twice the width costs less than two, and one wide enough keeps all cores busy."""

import functools
import itertools
from typing import Any

import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.products import Product, find_product, find_sums
from rnnjax.recurrence.program import Equation, Part, Program, Variable, equations_of, is_var, new_variable


def merge(program: Program, part: Part, level: dict[Variable, int]) -> tuple[Part, Part]:
    """``(weights, part)``: the merged weights, from constants, and the part of the program that uses them.

    Products of one operand become one product, whose result is sliced; a sum of products becomes one product of the
    operands side by side.
    """
    in_part = {id(equation) for equation in part.equations}
    before: list[Equation] = []  # what makes the merged weights
    instead: dict[int, list[Equation]] = {}  # by equation of the part: what stands in its place
    weights: list[Variable] = []

    def joined(products, axis):
        columns = [product.weight for product in products]
        size = sum(v.aval.shape[axis] for v in columns)
        shape = (size, columns[0].aval.shape[1]) if axis == 0 else (columns[0].aval.shape[0], size)
        weights.append(new_variable(columns[0].aval, shape))
        before.extend(equations_of(lambda *w: [jnp.concatenate(w, axis)], columns, weights[-1:]))
        return weights[-1]

    for s in find_sums(program, level):
        products = s.products
        inside = all(id(e) in in_part and all(map(is_var, e.invars)) for e in s.equations)  # no numbers among the terms
        if inside and len(products) > 1 and all(product.narrow for product in products) and _alike(products):
            operands, weight = [p.operand for p in products], joined(products, 0)
            instead |= {id(equation): [] for equation in s.equations}
            total = functools.partial(_total, len(operands))
            instead[id(s.equations[-1])] = equations_of(total, [weight, *operands, *s.terms], [s.out])

    groups: dict[tuple, list[Product]] = {}
    for equation in part.equations:
        product = find_product(equation, level) if equation.primitive is lax.dot_general_p else None
        if product is not None and id(equation) not in instead and product.narrow:
            key = (product.operand, product.weight.aval.dtype, product.weight.aval.shape[0])
            groups.setdefault(key, []).append(product)
    for products in groups.values():
        if len(products) > 1:
            sizes = [product.weight.aval.shape[1] for product in products]
            parts = functools.partial(_parts, sizes)
            instead |= {id(p.equation): [] for p in products}
            outputs = [p.equation.outvars[0] for p in products]
            instead[id(products[0].equation)] = equations_of(parts, [products[0].operand, joined(products, 1)], outputs)
    if not weights:
        return Part([], [], []), part
    equations = [new for e in part.equations for new in instead.get(id(e), [e])]
    inputs = [*Part.of(equations).inputs, *(v for v in part.outputs if is_var(v))]
    defined = {v for e in equations for v in e.outvars}
    part = Part(list(dict.fromkeys(v for v in inputs if v not in defined)), equations, part.outputs)
    return Part(Part.of(before).inputs, before, weights), part


def _total(count: int, weight: Any, *values: Any) -> list[Any]:
    """The product of the first ``count`` values side by side, and the sum of it and the others."""
    return [sum(values[count:], start=_dot(jnp.concatenate(values[:count], -1), weight))]


def _parts(sizes: list[int], operand: Any, weight: Any) -> list[Any]:
    """One product, cut into columns."""
    result, ends = _dot(operand, weight), [0, *itertools.accumulate(sizes)]
    return [lax.slice_in_dim(result, a, b, axis=-1) for a, b in itertools.pairwise(ends)]


def _dot(operand: Any, weight: Any) -> Any:
    return lax.dot_general(operand, weight, (((operand.ndim - 1,), (0,)), ((), ())))


def _alike(products: list[Product]) -> bool:
    """Whether the operands can stand side by side."""
    axes = {(p.operand.aval.shape[:-1], p.operand.aval.dtype, p.weight.aval.shape[1]) for p in products}
    return len(axes) == 1

"""Products of things side by side, written apart: what the carry does not reach leaves the loop.

Textbooks write four gates as one product that is cut afterwards, ``split(concatenate([x, h]) @ K + b, 4)``. The cut
would stay in the loop, where it costs more than the one product saves; written apart, it is a cut of the weights.
"""

import dataclasses
import functools
import itertools
import operator
from typing import Any

import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.levels import LOOP, find_levels
from rnnjax.recurrence.products import Product, Sum, find_product, find_sums
from rnnjax.recurrence.program import Equation, Program, Variable, equations_of, is_var

Columns = tuple[int, int]  # from, to


def distribute(program: Program, carry_in: list[Variable], x: list[Variable]) -> Program:
    """The same step with products of concatenated operands, and sums of products that are cut, written apart."""
    program = _by_operands(program, find_levels(program, carry_in, x)[0])
    return _by_columns(program, find_levels(program, carry_in, x)[0])


def _by_operands(program: Program, level: dict[Variable, int]) -> Program:
    """``concatenate([x, h]) @ K`` as ``x @ K[:D] + h @ K[D:]``, where some parts depend on the carry, others not."""
    made_by = {v: equation for equation in program.equations for v in equation.outvars}
    equations: list[Equation] = []
    for equation in program.equations:
        product = find_product(equation, level) if equation.primitive is lax.dot_general_p else None
        joined = made_by.get(product.operand) if product else None
        if product and joined and product.plain and _joins(joined, level, product.operand.aval.ndim - 1):
            equations += _apart(product, joined.invars, level)
        else:
            equations.append(equation)
    return dataclasses.replace(program, equations=equations)


def _joins(equation: Equation, level: dict[Variable, int], axis: int) -> bool:
    """Whether it puts what depends on the carry beside what does not, along ``axis``."""
    return (
        equation.primitive is lax.concatenate_p
        and equation.params["dimension"] == axis
        and len({level[v] == LOOP for v in equation.invars if is_var(v)}) == 2
        and all(map(is_var, equation.invars))
    )


def _apart(product: Product, parts: list[Variable], level: dict[Variable, int]) -> list[Equation]:
    """The sum of two products: of the parts that do not depend on the carry, and of those that do."""
    ends = [0, *itertools.accumulate(v.aval.shape[-1] for v in parts)]
    rows = list(zip(parts, itertools.pairwise(ends), strict=True))
    known = [part for part in rows if level[part[0]] != LOOP]
    carried = [part for part in rows if level[part[0]] == LOOP]

    def run(weight, *values):
        by_part = dict(zip(parts, values, strict=True))

        def one(side):
            operand = _beside([by_part[v] for v, _ in side], -1)
            return operand @ _beside([lax.slice_in_dim(weight, *ends) for _, ends in side], 0)

        return [one(known) + one(carried)]

    return equations_of(run, [product.weight, *parts], product.equation.outvars)


def _beside(values: list[Any], axis: int) -> Any:
    return jnp.concatenate(values, axis) if len(values) > 1 else values[0]


def _by_columns(program: Program, level: dict[Variable, int]) -> Program:
    """``split(x @ W + h @ U + b)`` as sums of products with columns of W and U, where a sum is used in no other way."""
    used_by: dict[Variable, list[Equation]] = {}
    for equation in program.equations:
        for v in filter(is_var, equation.invars):
            used_by.setdefault(v, []).append(equation)
    given = {v for v in program.outputs if is_var(v)}
    instead: dict[int, list[Equation]] = {}
    for s in find_sums(program, level):
        if level[s.out] != LOOP or s.out in given or not all(product.plain for product in s.products):
            continue
        cuts = [cut for user in used_by.get(s.out, []) for cut in _cuts(user, s.out)]
        no_more = sum(b - a for _, (a, b) in cuts) <= s.out.aval.shape[-1]
        exact = all(is_var(v) for e in s.equations for v in e.invars)  # no numbers among the terms
        if len(cuts) > 1 and no_more and exact and None not in dict(cuts):
            instead |= {id(equation): [] for equation in [*s.equations, *used_by[s.out]]}
            instead[id(s.equations[-1])] = [new for out, columns in cuts for new in _summed(s, out, columns)]
    if not instead:
        return program
    equations = [new for equation in program.equations for new in instead.get(id(equation), [equation])]
    return dataclasses.replace(program, equations=equations)


def _cuts(equation: Equation, v: Variable) -> list[tuple[Variable | None, Columns]]:
    """Which variables are which columns of ``v``; a variable that is None where the equation does anything else."""
    shape, given = v.aval.shape, equation.params
    axis = len(shape) - 1
    if equation.primitive is lax.split_p and given["axis"] == axis:
        ends = [0, *itertools.accumulate(map(int, given["sizes"]))]
        return list(zip(equation.outvars, itertools.pairwise(ends), strict=True))
    if equation.primitive is lax.slice_p and set(given["strides"] or (1,)) == {1}:
        start, limit = given["start_indices"], given["limit_indices"]
        if (*start[:-1], *limit[:-1]) == (*(0 for _ in shape[:-1]), *shape[:-1]):
            return [(equation.outvars[0], (start[-1], limit[-1]))]
    return [(None, (0, 0))]


def _summed(s: Sum, out: Variable, columns: Columns) -> list[Equation]:
    """``out`` as some columns of the sum."""
    size, num_products = s.out.aval.shape[-1], len(s.products)

    def cut(v):
        return lax.slice_in_dim(v, *columns, axis=-1) if v.ndim and v.shape[-1] == size else v

    def run(*values):
        operands, others = values[:num_products], [cut(v) for v in values[num_products:]]
        weights, terms = others[:num_products], others[num_products:]
        return [functools.reduce(operator.add, [*map(operator.matmul, operands, weights), *terms])]

    inputs = [*(p.operand for p in s.products), *(p.weight for p in s.products), *s.terms]
    return equations_of(run, inputs, [out])

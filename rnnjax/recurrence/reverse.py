"""The derivative of a step, again a step: it runs from the last time to the first and carries cotangents."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.recurrence.products import Sum, find_sums
from rnnjax.recurrence.program import Equation, Part, Variable, is_var
from rnnjax.recurrence.split import LOOP, Split


@dataclasses.dataclass(frozen=True)
class Stages:
    """A step cut at its sums of products: in stage s, what needs s such sums, one after the other.

    ``smooth[s]`` holds the equations of stage s that are no sums; ``sums[s]`` the sums that they wait for.
    """

    smooth: list[Part]
    sums: list[list[Sum]]

    def keepable(self, split: Split) -> list[Variable]:
        """The sums in the loop: kept from the forward pass, they spare the backward pass its products."""
        looped = {v for equation in split.loop.equations for v in equation.outvars}
        return [s.out for sums in self.sums for s in sums if s.out in looped and split.level[s.out] == LOOP]


def find_stages(split: Split) -> Stages:
    """Order the equations of a step that are not constant by the sums they wait for."""
    program, level = split.program, split.level
    sums = {s.equations[-1].outvars[0]: s for s in find_sums(program, level)}
    summed = {v for s in sums.values() for equation in s.equations for v in equation.outvars}
    changing = {id(e) for part in (split.before, split.loop, split.after) for e in part.equations}
    stage: dict[Variable, int] = {}
    smooth: list[list[Equation]] = [[]]
    by_stage: list[list[Sum]] = [[]]
    for equation in program.equations:
        out = equation.outvars[0]
        if out in sums and id(equation) in changing:
            waits_for = [product.operand for product in sums[out].products] + sums[out].terms
            stage[out] = 1 + max(stage.get(v, 0) for v in waits_for)
            while len(smooth) <= stage[out]:
                smooth.append([])
                by_stage.append([])
            by_stage[stage[out]].append(sums[out])
        elif out not in summed and id(equation) in changing:
            now = max((stage.get(v, 0) for v in equation.invars if is_var(v)), default=0)
            stage.update(dict.fromkeys(equation.outvars, now))
            smooth[now].append(equation)
    outside = {v for v in program.outputs if is_var(v)}
    outside |= {v for s in sums.values() for v in [*(p.operand for p in s.products), *s.terms]}
    parts = []
    for equations in smooth:
        elsewhere = {v for other in smooth if other is not equations for e in other for v in e.invars if is_var(v)}
        parts.append(Part.of(equations, outside | elsewhere))
    return Stages(parts, by_stage)


@dataclasses.dataclass(frozen=True)
class Gradients:
    """What ``reverse_step`` gives beside its carry: cotangents by variable, and the factors of weight gradients."""

    x: dict[Variable, Any]
    constants: dict[Variable, Any]
    sums: list[tuple[Sum, list[Any], Any]]  # a sum of products, the operands of these, the cotangent of all


def reverse_step(
    split: Split,
    stages: Stages,
    invariant: dict[Variable, Any],
    d_carry: Sequence[Any],
    known: dict[Variable, Any],
    d_y: Sequence[Any],
) -> tuple[list[Any], Gradients]:
    """Cotangents of one step's carry, inputs and constants, given those of its results.

    Args:
      split: of the step.
      stages: of the step.
      invariant: values of what is constant.
      d_carry: the cotangent of each leaf of carry_out, None where it has none.
      known: values of x, of carry_in, and of the sums that were kept.
      d_y: the cotangent of each leaf of y, None where it has none.
    """
    values, pullbacks = invariant | known, []
    for smooth, sums in zip(stages.smooth, stages.sums, strict=True):
        for s in sums:
            if s.out not in values:
                part = Part.of(s.equations, {s.out})
                (values[s.out],) = part(*(values[v] for v in part.inputs))
        pullbacks.append(_linearize(smooth, values))

    d: dict[Variable, Any] = {}

    def add(v, cotangent):
        if is_var(v) and cotangent is not None:
            d[v] = d[v] + cotangent if v in d else cotangent

    for v, cotangent in zip([*split.carry_out, *split.y], [*d_carry, *d_y], strict=True):
        add(v, cotangent)
    found = []
    for (outputs, inputs, pullback), sums in zip(reversed(pullbacks), reversed(stages.sums), strict=True):
        if any(v in d for v in outputs):
            cotangents = pullback([d.pop(v) if v in d else jnp.zeros_like(values[v]) for v in outputs])
            for v, cotangent in zip(inputs, cotangents, strict=True):
                add(v, cotangent)
        for s in sums:
            if s.out in d:
                d_out = d.pop(s.out)
                found.append((s, [values[product.operand] for product in s.products], d_out))
                for product in s.products:
                    add(product.operand, product.operand_gradient(d_out, values[product.weight]))
                for term in s.terms:
                    add(term, _as_summand(d_out, term))
    return [d.get(v, jnp.zeros_like(values[v])) for v in split.carry_in if is_float(v)], Gradients(
        {v: d[v] for v in split.x if v in d}, {v: d[v] for v in invariant if v in d}, found
    )


def is_float(v: Any) -> bool:
    """Whether a variable has a cotangent: real or complex floating point."""
    return jnp.issubdtype(v.aval.dtype, jnp.inexact)


def _linearize(part: Part, values: dict):
    """Run a part, adding to ``values``; its float outputs and inputs, and the map between their cotangents."""
    inputs = [v for v in part.inputs if is_float(v)]
    outputs = [v for v in part.outputs if is_float(v)]

    def run(*floats):
        given = dict(zip(inputs, floats, strict=True))
        results = part(*(given[v] if v in given else values[v] for v in part.inputs))
        return [result for v, result in zip(part.outputs, results, strict=True) if is_float(v)], results

    _, pullback, results = jax.vjp(run, *(values[v] for v in inputs), has_aux=True)
    values.update(zip(part.outputs, results, strict=True))
    return outputs, inputs, pullback


def _as_summand(d: Any, v: Variable) -> Any:
    """The cotangent of a summand that was broadcast along axes of length 1, or is a scalar."""
    if v.aval.ndim < d.ndim:
        return d.sum().astype(v.aval.dtype)
    axes = tuple(a for a in range(d.ndim) if v.aval.shape[a] != d.shape[a])
    return d.sum(axes, keepdims=True).astype(v.aval.dtype) if axes else d

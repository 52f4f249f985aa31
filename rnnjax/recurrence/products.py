"""Where parameters meet what changes over time: products with a constant factor, and the sums they stand in."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.levels import INVARIANT
from rnnjax.recurrence.program import Equation, Program, Variable, is_var

NARROW = 512  # rows and columns of a weight up to which its products are merged; a wider one fills the machine alone


@dataclasses.dataclass(frozen=True)
class Product:
    """``operand @ weight`` in any layout: a dot_general of which one factor is the same at every step."""

    equation: Equation
    operand: Variable
    weight: Variable

    @property
    def weight_first(self) -> bool:
        """Whether it is ``weight @ operand``."""
        return self.equation.invars[0] is self.weight

    @property
    def plain(self) -> bool:
        """Whether it is ``operand @ weight`` with a matrix, at the default precision."""
        given, dimensions = self.equation.params, (((self.operand.aval.ndim - 1,), (0,)), ((), ()))
        return (
            not self.weight_first
            and self.weight.aval.ndim == 2
            and tuple(tuple(map(tuple, pair)) for pair in given["dimension_numbers"]) == dimensions
            and given["precision"] is None
            and given["preferred_element_type"] in (None, self.weight.aval.dtype)
        )

    @property
    def narrow(self) -> bool:
        """Whether it is plain, and its weight narrow enough for the product to be merged with others."""
        return self.plain and max(self.weight.aval.shape) <= NARROW

    def operand_gradient(self, d: Any, weight: Any) -> Any:
        """The cotangent of the operand, given that of the product.

        The weight is transposed by an equation of its own, which is constant and so leaves the reverse loop: products
        with a weight that is read across its rows take up to twice the time.
        """
        axes = self._axes
        turned = weight.transpose([*axes.weight_batch, *axes.weight_own, *axes.weight_summed])
        num_batch, num_own = len(axes.batch), len(axes.weight_own)
        first = num_batch + (0 if self.weight_first else len(axes.own))  # where the weight's own axes stand in d
        batch, own = range(num_batch), range(num_batch, num_batch + num_own)
        summed = (tuple(range(first, first + num_own)), tuple(own))
        gradient = lax.dot_general(d, turned, (summed, (tuple(batch), tuple(batch))), self._precision)
        return gradient.transpose(_inverse([*axes.batch, *axes.own, *axes.summed]))

    def weight_gradient(self, operands: Any, ds: Any) -> Any:
        """The cotangent of the weight from all steps of a block: one product, summed over steps and batch.

        Both have the steps as their first axis. The sum is taken in float32 at least.
        """
        axes = self._axes
        num_batch = len(axes.batch)
        first = (
            1 + num_batch + (len(axes.weight_own) if self.weight_first else 0)
        )  # where the operand's own stand in ds
        summed = ((0, *(a + 1 for a in axes.own)), (0, *range(first, first + len(axes.own))))
        batch = (tuple(a + 1 for a in axes.batch), tuple(range(1, 1 + num_batch)))
        gradient = lax.dot_general(
            operands, ds, (summed, batch), self._precision, preferred_element_type=accumulator(self.weight.aval.dtype)
        )
        order = [*axes.weight_batch, *(w for _, w in sorted(zip(axes.summed, axes.weight_summed, strict=True)))]
        return gradient.transpose(_inverse([*order, *axes.weight_own]))

    @property
    def _precision(self):
        return self.equation.params["precision"]

    @property
    def _axes(self) -> "_Axes":
        summed, batch = self.equation.params["dimension_numbers"]
        mine, its = (1, 0) if self.weight_first else (0, 1)
        own = [a for a in range(self.operand.aval.ndim) if a not in summed[mine] and a not in batch[mine]]
        weight_own = [a for a in range(self.weight.aval.ndim) if a not in summed[its] and a not in batch[its]]
        return _Axes(batch[mine], own, summed[mine], batch[its], weight_own, summed[its])


class _Axes(NamedTuple):
    """The axes of a product's operand and weight: batch and summed ones in pairs, own ones of either."""

    batch: Sequence[int]
    own: Sequence[int]
    summed: Sequence[int]
    weight_batch: Sequence[int]
    weight_own: Sequence[int]
    weight_summed: Sequence[int]


def _inverse(order: Sequence[int]) -> list[int]:
    """The transposition that puts axes standing in ``order`` back into place."""
    return [list(order).index(a) for a in range(len(order))]


@dataclasses.dataclass(frozen=True)
class Sum:
    """``out = product + ... + term + ...``: linear, so that its derivative asks for no value of its summands."""

    out: Variable
    products: list[Product]
    terms: list[Variable]
    equations: list[Equation]


def find_sums(program: Program, level: dict[Variable, int]) -> list[Sum]:
    """The largest sums around each product with a constant factor, in the order of definition."""
    uses: dict[Variable, int] = {}
    for v in [v for equation in program.equations for v in equation.invars] + program.outputs:
        if is_var(v):
            uses[v] = uses.get(v, 0) + 1
    sums: dict[Variable, Sum] = {}
    for equation in program.equations:
        if equation.primitive is lax.dot_general_p:
            product = find_product(equation, level)
            if product is not None:
                (out,) = equation.outvars
                sums[out] = Sum(out, [product], [], [equation])
        elif equation.primitive is lax.add_p:
            (out,) = equation.outvars
            inner = [
                v
                for v in equation.invars
                if is_var(v) and v in sums and uses[v] == 1 and v.aval.shape == out.aval.shape
            ]
            if inner:
                parts = [sums.pop(v) for v in inner]
                sums[out] = Sum(
                    out,
                    [product for part in parts for product in part.products],
                    [term for part in parts for term in part.terms]
                    + [v for v in equation.invars if is_var(v) and v not in inner],
                    [e for part in parts for e in part.equations] + [equation],
                )
    return list(sums.values())


def find_product(equation: Equation, level: dict[Variable, int]) -> Product | None:
    """A dot_general as a product with a constant factor, None if it is none."""
    one, other = equation.invars
    if not is_var(one) or not is_var(other) or (level[one] == INVARIANT) == (level[other] == INVARIANT):
        return None
    weight, operand = (one, other) if level[one] == INVARIANT else (other, one)
    same = {one.aval.dtype, other.aval.dtype, equation.outvars[0].aval.dtype}
    return (
        Product(equation, operand, weight)
        if len(same) == 1 and jnp.issubdtype(weight.aval.dtype, jnp.inexact)
        else None
    )


def accumulator(dtype: Any) -> Any:
    """The dtype in which gradients over many steps are summed: float32 for narrower ones."""
    return jnp.promote_types(dtype, jnp.float32) if jnp.issubdtype(dtype, jnp.floating) else dtype

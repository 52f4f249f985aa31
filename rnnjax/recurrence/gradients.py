"""Gradients of weights from all steps of a block: one product for all weights that meet the same operands."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from rnnjax.recurrence.devices import zeros
from rnnjax.recurrence.products import Sum, accumulator
from rnnjax.recurrence.program import Variable


class WeightGradients:
    """The cotangents of the weights in some sums of products.

    ``a @ W.i + h @ U.i`` and ``a @ W.f + h @ U.f`` have the same operands: the gradients of all four weights are the
    blocks of one matrix, ``[a, h].T @ [d.i, d.f]``, which is summed over blocks of time as it is.
    """

    def __init__(self, sums: Sequence[Sum]):
        self.sums = list(sums)
        narrow = [all(product.narrow for product in s.products) for s in self.sums]
        alike: dict[tuple[Variable, ...], list[int]] = {}  # by operands: the indices of narrow sums
        for index, s in enumerate(self.sums):
            if narrow[index]:
                alike.setdefault(tuple(product.operand for product in s.products), []).append(index)
        alone = [[index] for index in range(len(self.sums)) if not narrow[index]]
        self._groups = [(True, indices) for indices in alike.values()] + [(False, indices) for indices in alone]

    def zeros(self, mesh: Any) -> list[Any]:
        """Where the sum over blocks begins."""
        started = []
        for merged, indices in self._groups:
            products = [product for index in indices for product in self.sums[index].products]
            dtype = accumulator(products[0].weight.aval.dtype)
            shapes = [product.weight.aval.shape for product in products]
            if merged:
                shapes = [tuple(map(sum, self._sizes(indices)))]
            started.extend(zeros(shape, dtype, products[0].weight.aval, mesh) for shape in shapes)
        return started

    def of_block(self, factors: Sequence[tuple[list[Any], Any]]) -> list[Any]:
        """What one block adds, given the operands and the cotangent of each sum, their first axis the steps."""
        gradients = []
        for merged, indices in self._groups:
            operands, d = factors[indices[0]]
            if merged:
                operand = jnp.concatenate(operands, -1)
                ds = jnp.concatenate([factors[index][1] for index in indices], -1)
                axes = tuple(range(ds.ndim - 1))
                dtype = accumulator(ds.dtype)
                gradients.append(lax.dot_general(operand, ds, ((axes, axes), ((), ())), preferred_element_type=dtype))
            else:
                products = self.sums[indices[0]].products
                gradients.extend(p.weight_gradient(one, d) for p, one in zip(products, operands, strict=True))
        return gradients

    def by_weight(self, gradients: Sequence[Any]) -> dict[Variable, Any]:
        """The gradient of each weight from sums of what ``of_block`` gives."""
        found: dict[Variable, Any] = {}
        remaining = iter(gradients)

        def add(weight, gradient):
            found[weight] = found[weight] + gradient if weight in found else gradient

        for merged, indices in self._groups:
            if merged:
                rows, columns = ([0, *itertools.accumulate(sizes)] for sizes in self._sizes(indices))
                matrix = next(remaining)
                for index, column in zip(indices, itertools.pairwise(columns), strict=True):
                    for product, row in zip(self.sums[index].products, itertools.pairwise(rows), strict=True):
                        add(product.weight, matrix[slice(*row), slice(*column)])
            else:
                for product in self.sums[indices[0]].products:
                    add(product.weight, next(remaining))
        return found

    def _sizes(self, indices: list[int]) -> tuple[list[int], list[int]]:
        """Rows of the weights, for one sum of a group; columns, for each sum."""
        first = self.sums[indices[0]]
        rows = [product.weight.aval.shape[0] for product in first.products]
        return rows, [self.sums[index].out.aval.shape[-1] for index in indices]

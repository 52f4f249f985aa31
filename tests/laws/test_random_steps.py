"""Law 2 beyond the cells of the registry: for random steps `method="fused"` gives what "scan" gives."""

import copy
import dataclasses

import hypothesis
import jax
import jax.numpy as jnp
import pytest
from hypothesis import strategies
from jax.extend.core import primitives

from rnnjax.recurrence import distribute, fused, products, program, reverse
from rnnjax.recurrence.gradients import WeightGradients
from tests.conftest import every
from tests.laws.random_examples import ALL_SETTINGS, Example, compare
from tests.laws.random_steps import KINDS, OUTPUTS, UPDATES, features, random_step

SEEDS = range(20)


def drawn(seed: int) -> Example:
    return Example.deal(random_step, [*KINDS, *UPDATES, *OUTPUTS], seed, SEEDS)


@pytest.mark.parametrize("seed", every(2, SEEDS, 0))
def test_fused_is_scan_for_random_steps(seed):
    assert drawn(seed).runs_by("fused")
    compare(drawn(seed), "fused")


def test_the_examples_have_all_features():
    """What the test above meets: every kind of op in the loop, products in every part, and so on."""
    found = set().union(*(features(drawn(seed).step) | drawn(seed).features() for seed in SEEDS))
    wanted = {f"{kind} (loop)" for kind in KINDS}
    wanted |= {"some product before", "some product after"}
    wanted |= {f"carry: {how}" for how in (*UPDATES, "key split", "key kept")} | {f"output: {name}" for name in OUTPUTS}
    wanted |= {"closed-over weight", "weight shared", "weight on x and on the carry", "product of two carried values"}
    wanted |= ALL_SETTINGS
    assert wanted <= found, wanted - found


def test_fused_is_scan_for_whatever_hypothesis_draws(request):
    """Two hundred more with `--all`; the first that fails is made smaller."""
    examples = 200 if request.config.getoption("--all") else 2

    @hypothesis.settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @hypothesis.given(strategies.randoms(use_true_random=False))
    def agree(rng):
        compare(Example.draw(random_step, rng), "fused")

    agree()


# Planted mistakes: the comparison above has to find each of them.


def _no_summand(d, v, original=reverse._as_summand):
    return jnp.zeros_like(original(d, v))


def _entering_too_late(edge, after, reverse):
    """The carry after each step for that before it."""
    del edge, reverse
    return after


def _gradients_without_operands(self, factors, original=WeightGradients.of_block):
    return original(self, [(list(map(jnp.ones_like, operands)), d) for operands, d in factors])


def _gradients_of_the_last_step(self, factors, original=WeightGradients.of_block):
    return original(self, jax.tree.map(lambda leaf: leaf[-1:], factors))


def _gradients_of_each_other(self, sums, original=WeightGradients.by_weight):
    swapped = copy.copy(self)
    swapped._groups = [(merged, indices[::-1] if merged else indices) for merged, indices in self._groups]
    return original(swapped, sums)


def _cuts_of_each_other(equation, v, original=distribute._cuts):
    variables, columns = zip(*original(equation, v), strict=True)
    return list(zip(variables, columns[::-1], strict=True))


def _rows_of_each_other(product, parts, level, original=distribute._apart):
    return original(product, parts[::-1], level)


def _transposed_weight_gradient(self, operands, ds, original=products.Product.weight_gradient):
    gradient = original(self, operands, ds)
    return gradient.T if gradient.ndim == 2 and gradient.shape[0] == gradient.shape[1] else gradient


def _backward_in_the_same_direction(self, d_carry, inputs, num_steps, reverse, *rest, original=fused._Reverse.block):
    return original(self, d_carry, inputs, num_steps, not reverse, *rest)


def _first_products(program, level, original=products.find_sums):
    return [
        s if len(s.products) == 1 else dataclasses.replace(s, products=s.products[:1]) for s in original(program, level)
    ]


MISTAKES = {
    "the carry that enters a step, off by one": (fused, "entering", _entering_too_late),
    "a sum forgets its other terms": (reverse, "_as_summand", _no_summand),
    "a sum forgets its other products": (reverse, "find_sums", _first_products),
    "weight gradients without operands": (WeightGradients, "of_block", _gradients_without_operands),
    "weight gradients of the last step alone": (WeightGradients, "of_block", _gradients_of_the_last_step),
    "weights given each other's gradients": (WeightGradients, "by_weight", _gradients_of_each_other),
    "parts of a sum exchanged": (distribute, "_cuts", _cuts_of_each_other),
    "rows of a kernel exchanged": (distribute, "_apart", _rows_of_each_other),
    "weight gradients transposed": (products.Product, "weight_gradient", _transposed_weight_gradient),
    "the backward pass runs forward": (fused._Reverse, "block", _backward_in_the_same_direction),
    "rules of custom_jvp ignored": (program, "_CALLS", program._CALLS | {primitives.custom_jvp_call_p}),
}


@pytest.mark.parametrize("mistake", every(3, list(MISTAKES), 0))
def test_a_planted_mistake_is_found(mistake, monkeypatch):
    """By one of the first examples: by its numbers, not by an error."""

    def compare_all():
        for seed in SEEDS:
            compare(drawn(seed), "fused")

    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare_all()

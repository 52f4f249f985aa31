"""Law 2 for random affine steps: `method="associative"` gives what "scan" gives."""

import hypothesis
import jax.numpy as jnp
import pytest
from hypothesis import strategies

from rnnjax.recurrence import associative
from tests.conftest import every
from tests.laws.random_affine_steps import KINDS, OUTPUTS, affine_features, random_affine_step
from tests.laws.random_examples import ALL_SETTINGS, Example, compare

SEEDS = range(7)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """So that few steps are blocks of blocks: 13 = 5 blocks of 3 = 2 of 3."""
    monkeypatch.setattr(associative, "SEQUENTIAL", 2)
    monkeypatch.setattr(associative, "BLOCK", 3)


def drawn(seed: int) -> Example:
    return Example.deal(random_affine_step, list(KINDS), seed, SEEDS)


@pytest.mark.parametrize("seed", every(2, SEEDS, 0))
def test_associative_is_scan_for_random_affine_steps(seed):
    assert drawn(seed).runs_by("associative")
    compare(drawn(seed), "associative")


def test_the_examples_have_all_features():
    found = set().union(*(affine_features(drawn(seed).step) | drawn(seed).features() for seed in SEEDS))
    wanted = {*KINDS, *(f"output: {name}" for name in OUTPUTS), "complex", "a leaf that stays"}
    assert wanted | ALL_SETTINGS <= found, (wanted | ALL_SETTINGS) - found


def test_associative_is_scan_for_whatever_hypothesis_draws(request):
    """A hundred more with `--all`."""
    examples = 100 if request.config.getoption("--all") else 1

    @hypothesis.settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @hypothesis.given(strategies.randoms(use_true_random=False))
    def agree(rng):
        compare(Example.draw(random_affine_step, rng, ["times a gate", "minus"]), "associative")

    agree()


def _too_late(edge, after, reverse):
    del edge, reverse
    return after


def _from_zero(a, b, start, reverse, original=associative.solve):
    return original(a, b, jnp.zeros_like(start), reverse)


MISTAKES = {
    "the carry that enters a step, off by one": ("entering", _too_late),
    "the given carry is forgotten": ("solve", _from_zero),
}


@pytest.mark.parametrize("mistake", every(2, list(MISTAKES), 0))
def test_a_planted_mistake_is_found(mistake, monkeypatch):
    def compare_all():
        for seed in SEEDS:
            compare(drawn(seed), "associative")

    monkeypatch.setattr(associative, *MISTAKES[mistake])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare_all()

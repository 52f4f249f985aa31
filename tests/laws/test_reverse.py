"""Law 4, the other way round: reverse=True, and segments of a sequence that is read in both directions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.conftest import every, full
from tests.laws.compare import assert_close, assert_same_with_gradients, with_gradients
from tests.laws.definition import flip
from tests.laws.events import random_events
from tests.registry import CELLS, T, random_carry, random_inputs, random_params

LOOKING_AHEAD = [entry for entry in CELLS if not entry.steps]


@pytest.mark.parametrize("seed", [0, full(1), full(2)])
@pytest.mark.parametrize("entry", every(4, CELLS, 3), ids=repr)
def test_reverse_is_flip_unroll_flip(entry, seed, unrolled):
    params = random_params(entry, seed)
    carry, xs = random_carry(entry, params, seed=seed), random_inputs(entry, seed=seed)
    mask, resets = random_events(seed)
    key = jax.random.key(seed) if entry.draws else None

    @jax.jit
    @with_gradients
    def reverse(params, carry, xs):
        after, ys = rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets, key=key, reverse=True)
        return after, flip(ys)

    outcome, (to_params, to_carry, to_xs) = reverse(params, carry, xs)
    flipped = unrolled(entry)(params, carry, flip(xs), flip(mask), flip(resets), key)
    assert_same_with_gradients((outcome, (to_params, to_carry, flip(to_xs))), flipped)


@pytest.mark.parametrize("seed", [0, full(1), full(2), full(3)])
@pytest.mark.parametrize("entry", LOOKING_AHEAD, ids=repr)
def test_segments_read_in_both_directions_are_segments_unrolled_on_their_own(entry, seed):
    """Whichever steps are masked: inside of segments, between them, or where a reset stands."""
    params, xs = random_params(entry, seed), random_inputs(entry, T, (), seed)
    mask, resets = random_events(seed, T, ())
    edges = sorted({0, *np.flatnonzero(resets & mask), T})
    assert len(edges) > 2

    @jax.jit
    def whole_and_parts(params, xs):
        def unroll(part, resets=None):
            return rx.unroll(entry.cell, params, xs[part], mask=mask[part], resets=resets)[1]

        parts = [unroll(slice(first, end)) for first, end in itertools.pairwise(edges)]
        return unroll(slice(None), resets), jnp.concatenate(parts)

    assert_close(*whole_and_parts(params, xs))

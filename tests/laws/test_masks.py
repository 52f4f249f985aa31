"""Law 3: where the mask is False nothing happens."""

import jax
import numpy as np
import pytest

from tests.conftest import full
from tests.laws.compare import assert_identical, floats, weigh
from tests.laws.events import random_events, spoil
from tests.registry import CELLS, random_carry, random_inputs, random_params

EMPTY = 1  # the element of the batch that has no valid step


@pytest.mark.parametrize("seed", [0, full(1), full(2)])
@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_nothing_happens_at_masked_steps(entry, seed, unrolled):
    params = random_params(entry, seed)
    carry, xs = random_carry(entry, params, seed=seed), random_inputs(entry, seed=seed)
    mask, resets = random_events(seed)
    mask[:, EMPTY] = False
    key = jax.random.key(seed) if entry.draws else None

    outcome = unrolled(entry)(params, carry, xs, mask, resets & mask, key)
    (after, ys), (_, to_carry, to_xs) = outcome

    # What stands in xs, or a reset there, is without effect on any value and any gradient.
    assert_identical(unrolled(entry)(params, carry, spoil(xs, ~mask), mask, resets | ~mask, key), outcome)
    # The outputs are zero, and so are the gradients of what went in.
    for leaf in jax.tree.leaves((ys, to_xs)):
        assert not np.asarray(leaf)[~mask].any()
        assert np.asarray(leaf)[mask].any()
    # An element without a valid step keeps its carry, bit for bit; the carry's gradient passes through.
    empty = lambda tree: jax.tree.map(lambda leaf: leaf[EMPTY], tree)
    passed_through = floats(jax.grad(lambda carry: weigh((carry, ys)), allow_int=True)(carry))
    assert_identical(empty((after, to_carry)), empty((carry, passed_through)))

"""Law 1: unroll equals the loop over step, in values and in gradients by params, carry and xs."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.conftest import every
from tests.laws.compare import assert_same_with_gradients, with_gradients
from tests.laws.definition import loop
from tests.registry import CELLS, random_carry, random_inputs, random_params

# Three steps are enough for every combination of mask and resets, each one an element of the batch.
STEPS = 3
_PATTERNS = np.array(list(itertools.product([True, False], repeat=2 * STEPS))).T
MASK, RESETS = jnp.asarray(_PATTERNS[:STEPS]), jnp.asarray(_PATTERNS[STEPS:])
BATCH = (MASK.shape[1],)

WITH_AND_WITHOUT_KEY = [(entry, with_key) for entry in CELLS for with_key in [False, True][: 1 + entry.draws]]


@pytest.mark.parametrize(("entry", "with_key"), every(2, WITH_AND_WITHOUT_KEY, 0))
def test_unroll_is_the_loop_over_step(entry, with_key):
    params = random_params(entry)
    inputs = (params, random_carry(entry, params, BATCH), random_inputs(entry, STEPS, BATCH))
    key = jax.random.key(5) if with_key else None
    none = jnp.zeros_like(MASK)

    looped = jax.jit(with_gradients(functools.partial(loop, entry.cell, key=key)))
    unroll = lambda params, carry, xs, mask, resets: rx.unroll(
        entry.cell, params, xs, carry, mask=mask, resets=resets, key=key
    )
    unrolled = jax.jit(with_gradients(unroll))

    assert_same_with_gradients(unrolled(*inputs, MASK, RESETS), looped(*inputs, MASK, RESETS))
    assert_same_with_gradients(unrolled(*inputs, None, None), looped(*inputs, ~none, none))

"""Law 5: cutting a sequence, padding it, and what else stands in the batch change nothing."""

import itertools
import operator

import jax
import jax.numpy as jnp
import pytest

import rnnjax as rx
from tests.conftest import every, full
from tests.laws.compare import assert_identical, assert_same_with_gradients, with_gradients
from tests.laws.events import random_events, spoil
from tests.registry import CELLS, B, T, random_carry, random_inputs, random_params

STEPPED = [entry for entry in CELLS if entry.steps]


@pytest.mark.parametrize("edges", [(0, 3, T), full((0, 1, 1, 5, T))], ids=str)
@pytest.mark.parametrize("entry", every(2, STEPPED, 1), ids=repr)
def test_a_sequence_may_be_cut_and_the_carry_passed_on(entry, edges, unrolled):
    params = random_params(entry)
    inputs = params, random_carry(entry, params), random_inputs(entry), *random_events()

    @jax.jit
    @with_gradients
    def in_pieces(params, carry, *sequences):
        ys = []
        for piece in itertools.starmap(slice, itertools.pairwise(edges)):
            xs, mask, resets = jax.tree.map(operator.itemgetter(piece), sequences)
            carry, y = rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets)
            ys.append(y)
        return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *ys)

    assert_same_with_gradients(in_pieces(*inputs), unrolled(entry)(*inputs))


@pytest.mark.parametrize("seed", [0, full(1), full(2)])
@pytest.mark.parametrize("entry", every(4, CELLS, 0), ids=repr)
def test_padding_changes_nothing(entry, seed, unrolled):
    """At either end, with anything in it."""
    params = random_params(entry, seed)
    inputs = params, random_carry(entry, params, seed=seed), random_inputs(entry, seed=seed), *random_events(seed)
    before, after = 2, 3
    inside = slice(before, before + T)
    padding = jnp.ones(before + T + after, bool).at[inside].set(False)

    @jax.jit
    @with_gradients
    def padded(params, carry, *sequences):
        widen = lambda leaf: jnp.pad(leaf, ((before, after), *((0, 0),) * (leaf.ndim - 1)))
        xs, mask, resets = jax.tree.map(widen, sequences)
        resets |= padding[:, None]
        carry, ys = rx.unroll(entry.cell, params, spoil(xs, padding), carry, mask=mask, resets=resets)
        return carry, jax.tree.map(operator.itemgetter(inside), ys)

    assert_same_with_gradients(padded(*inputs), unrolled(entry)(*inputs))


@pytest.mark.parametrize("entry", every(4, CELLS, 2), ids=repr)
def test_elements_of_the_batch_do_not_see_each_other(entry, unrolled):
    """NaN in one element leaves values and gradients of the others alone, bit for bit."""
    params = random_params(entry)
    carry, xs = random_carry(entry, params), random_inputs(entry)
    events = *random_events(), jax.random.key(2) if entry.draws else None
    bad = jnp.arange(B) == 1

    def others(outcome):
        (after, ys), (_, to_carry, to_xs) = outcome
        alone = lambda tree, axis: jax.tree.map(lambda leaf: leaf.take(jnp.flatnonzero(~bad), axis), tree)
        return alone((after, to_carry), 0), alone((ys, to_xs), 1)

    spoiled = unrolled(entry)(params, spoil(carry, bad), spoil(xs, jnp.broadcast_to(bad, (T, B))), *events)
    assert_identical(others(spoiled), others(unrolled(entry)(params, carry, xs, *events)))

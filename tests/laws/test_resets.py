"""Law 4: a reset starts a step from the cell's own initial carry, and no gradient crosses it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.laws.compare import assert_close, floats, weigh
from tests.registry import CELLS, B, T, random_carry, random_inputs, random_params

CUT = 3
LEARNED = [entry for entry in CELLS if isinstance(entry.cell, rx.LearnedCarry)]


def parts(tree):
    """The two segments of a sequence."""
    return jax.tree.map(lambda leaf: leaf[:CUT], tree), jax.tree.map(lambda leaf: leaf[CUT:], tree)


def is_zero(tree):
    return not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_no_gradient_crosses_a_reset(entry):
    params = random_params(entry)
    carry, xs = random_carry(entry, params), random_inputs(entry)
    resets = jnp.zeros((T, B), bool).at[CUT].set(True)
    key = jax.random.key(1) if entry.draws else None

    @jax.jit
    def gradients_of_each_segment(carry, xs):
        def losses(carry, xs):
            _, ys = rx.unroll(entry.cell, params, xs, carry, resets=resets, key=key)
            return jnp.stack([weigh(part) for part in parts(ys)])

        _, pull = jax.vjp(losses, carry, xs)
        return [floats(pull(jnp.eye(2)[segment])) for segment in (0, 1)]

    (_, of_first), (to_carry, of_second) = gradients_of_each_segment(carry, xs)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves((parts(of_first)[0], parts(of_second)[1])))
    assert is_zero((parts(of_first)[1], parts(of_second)[0]))
    if entry.steps:  # the second segment starts from cell.carry, never from the carry that was given
        assert is_zero(to_carry)


@pytest.mark.parametrize("entry", LEARNED, ids=repr)
def test_a_learned_initial_carry_gets_the_gradient_of_every_segment(entry):
    """As much as unrolling the segments on their own gives it."""
    params = random_params(entry)
    carry, xs = random_carry(entry, params), random_inputs(entry)
    resets = jnp.zeros((T, B), bool).at[jnp.array([0, CUT])].set(True)

    def whole(params):
        _, ys = rx.unroll(entry.cell, params, xs, carry, resets=resets)
        return sum(weigh(part, seed) for seed, part in enumerate(parts(ys)))

    def apart(params):
        return sum(weigh(rx.unroll(entry.cell, params, part)[1], seed) for seed, part in enumerate(parts(xs)))

    actual, expected = jax.jit(lambda params: (jax.grad(whole)(params), jax.grad(apart)(params)))(params)
    assert_close(actual, expected, rtol=1e-9)
    assert all(np.asarray(leaf).all() for leaf in jax.tree.leaves(actual.carry))

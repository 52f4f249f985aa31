"""RecurrentDropout acts where the carry meets params, once per sequence, and nowhere else."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.registry import B, D, Entry, H, T, random_carry, random_inputs, random_params

KEY = jax.random.key(0)
MANY = 500  # batch elements, each with a mask of its own


def given(cell, seed=0):
    """Random params, inputs and carry."""
    entry = Entry("", cell)
    params = random_params(entry, seed)
    return params, random_inputs(entry, seed=seed), random_carry(entry, params, seed=seed)


def without_recurrence(params):
    """The params with every recurrent kernel zero."""
    return params._replace(U=jax.tree.map(jnp.zeros_like, params.U))


@pytest.mark.parametrize(
    "cell", [rx.GRU(H), rx.GRU(H, reset_after=False), rx.LSTM(H), rx.Leaky(H, leak=0.3), rx.Elman(H)], ids=repr
)
def test_a_rate_of_one_cuts_the_recurrent_products_and_leaves_the_rest(cell):
    """The leak of a GRU, the memory of an LSTM: as in the cell with recurrent kernels of zero."""
    params, xs, carry = given(cell)
    for per_gate in (False, True):
        dropped = rx.RecurrentDropout(cell, 1.0, per_gate=per_gate)
        actual = rx.unroll(dropped, params, xs, carry, key=KEY)
        expected = rx.unroll(cell, without_recurrence(params), xs, carry)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), actual, expected)


@pytest.mark.parametrize(("rate", "key"), [(0.4, None), (0.0, KEY)])
def test_without_a_key_or_a_rate_it_is_the_cell(rate, key):
    cell = rx.LSTM(H)
    params, xs, carry = given(cell)
    actual = rx.unroll(rx.RecurrentDropout(cell, rate), params, xs, carry, key=key)
    expected = rx.unroll(cell, params, xs, carry)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), actual, expected)


def users(step, num_leaves=1):
    """A user's cell whose carry is a tuple of ones [*batch, H] and whose kernel is H x H."""
    return rx.Cell(
        init=lambda key, input_size: jnp.eye(H),
        carry=lambda U, batch_shape: (jnp.ones((*batch_shape, H)),) * num_leaves,
        step=step,
    )


def test_a_leak_beside_the_products_stays_bit_for_bit():
    """A leaf of the carry that meets no params in a product: through elementwise params, and the output too."""

    def step(U, carry, x):
        h, trace = carry
        trace = 0.9 * trace + x[..., :H] * U[0]
        h = jnp.tanh(h @ U + trace)
        return (h, trace), (h, trace, h @ U)

    cell = users(step, 2)
    _, xs, _ = given(rx.Elman(H))
    U = jnp.asarray(np.random.default_rng(0).normal(size=(H, H)))
    plain = rx.unroll(cell, U, xs)[1]
    h, trace, readout = rx.unroll(rx.RecurrentDropout(cell, 0.5), U, xs, key=KEY)[1]
    np.testing.assert_array_equal(trace, plain[1])
    assert np.any(h != plain[0])
    np.testing.assert_allclose(readout, h @ U, rtol=0, atol=1e-14)  # for the output alone: not recurrent


def test_one_mask_for_all_steps_and_one_for_each_element():
    """h -> h @ I, dropped at one half, doubles what is kept: after t steps every unit is 0 or 2**t."""
    cell = rx.RecurrentDropout(users(lambda U, h, x: ((after := h[0] @ U,), after)), 0.5)
    xs = jnp.zeros((T, MANY, 1))
    _, ys = rx.unroll(cell, jnp.eye(H), xs, key=KEY)
    kept = np.asarray(ys[0] != 0)
    np.testing.assert_array_equal(ys, kept * 2.0 ** np.arange(1, T + 1)[:, None, None])
    assert abs(kept.mean() - 0.5) < 0.07
    assert abs((kept[1:] == kept[:-1]).mean() - 0.5) < 0.07
    again = rx.unroll(cell, jnp.eye(H), xs, key=jax.random.key(1))[1]
    assert abs((np.asarray(again[0] != 0) == kept).mean() - 0.5) < 0.07


@pytest.mark.parametrize("per_gate", [False, True])
def test_products_of_one_operand_share_a_mask_or_have_one_each(per_gate):
    def step(U, carry, x):
        h, _, _ = carry
        first, second = h @ U, jnp.einsum("...i,ij->...j", h, U.T)
        return (h, first, second), (first, second)

    cell = rx.RecurrentDropout(users(step, 3), 0.5, per_gate=per_gate)
    _, (first, second) = rx.unroll(cell, jnp.eye(H), jnp.zeros((T, MANY, 1)), key=KEY)
    for ys in (first, second):
        np.testing.assert_array_equal(ys, np.broadcast_to(ys[0], ys.shape))
    share = float((first[0] == second[0]).mean())
    assert abs(share - 0.5) < 0.07 if per_gate else share == 1


def test_masks_of_different_operands_differ():
    """As in a GRU with the reset before the product, whose candidate has an operand of its own."""

    step = lambda U, h, x: ((h[0], h[0] @ U, (0.5 * h[0]) @ U), ())
    cell = rx.RecurrentDropout(users(step, 3), 0.5)
    (_, first, second), _ = rx.unroll(cell, jnp.eye(H), jnp.zeros((1, MANY, 1)), key=KEY)
    assert abs(((first != 0) == (second != 0)).mean() - 0.5) < 0.07


@pytest.mark.parametrize("cell", [rx.LRU(H), rx.MinGRU(H)], ids=repr)
def test_refused_where_the_carry_meets_no_params(cell):
    message = f"RecurrentDropout: the carry of {cell} enters no product with params, so there is nothing to drop"
    with pytest.raises(ValueError, match=re.escape(message)):
        rx.RecurrentDropout(cell, 0.5).init(KEY, D)
    with pytest.raises(ValueError, match=re.escape(message)):
        rx.unroll(rx.RecurrentDropout(cell, 0.5), cell.init(KEY, D), jnp.ones((T, B, D)), key=KEY)


def test_it_does_not_overflow_over_many_steps():
    """The leak of a GRU would multiply 200 factors of two, were it dropped too."""
    cell = rx.RecurrentDropout(rx.GRU(H), 0.5)
    params = given(cell)[0]
    xs = jax.random.normal(KEY, (200, B, D))
    gradient, ys = jax.grad(lambda p: ((ys := rx.unroll(cell, p, xs, key=KEY)[1]).sum(), ys), has_aux=True)(params)
    assert abs(ys).max() <= 1
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_the_rate_may_be_traced():
    """Many rates in one program: each as on its own."""
    params, xs, _ = given(rx.GRU(H))
    run = lambda rate: rx.unroll(rx.RecurrentDropout(rx.GRU(H), rate), params, xs, key=KEY)[1]
    rates = np.array([0.0, 0.4, 1.0])
    np.testing.assert_allclose(jax.vmap(run)(rates), np.stack([run(rate) for rate in rates]), rtol=0, atol=1e-14)


def test_refused_where_the_step_has_side_effects():
    def step(U, carry, x):
        jax.debug.print("{}", x.sum())
        h = jnp.tanh(x[..., :H] + carry[0] @ U)
        return (h,), h

    cell = rx.RecurrentDropout(users(step), 0.5)
    refusal = r"RecurrentDropout: nothing can be dropped inside Cell\(.*its step has side effects"
    with pytest.raises(ValueError, match=refusal):
        cell.init(KEY, D)

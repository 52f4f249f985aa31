"""Measured properties of regularisers and wrappers: what each promises beside the laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.registry import B, D, Entry, H, T, random_carry, random_inputs, random_params

KEY = jax.random.key(0)
MANY = 20_000  # draws: a mean is known to 1/sqrt(MANY) = 0.7 % of a standard deviation


def close(actual, expected, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def given(cell, input_size=D, seed=0):
    """Random params, inputs and carry."""
    entry = Entry("", cell, input_size)
    params = random_params(entry, seed)
    return params, random_inputs(entry, seed=seed), random_carry(entry, params, seed=seed)


# Regularisers


def layer_draws(layer, num_steps=T):
    """What a layer makes of ones [num_steps, 50, MANY / 50]."""
    return rx.unroll(layer, (), jnp.ones((num_steps, 50, MANY // 50)), key=KEY)[1]


@pytest.mark.parametrize("layer", [rx.Dropout(0.3), rx.TiedDropout(0.3)])
def test_dropout_drops_its_rate_and_keeps_the_mean(layer):
    ys = layer_draws(layer)[0]
    close((ys == 0).mean(), 0.3, atol=0.015)
    close(ys.mean(), 1, atol=0.02)
    close(ys[ys != 0], 1 / 0.7)


def test_masks_are_new_at_every_step_or_tied_over_time():
    """Two independent masks agree where both keep or both drop; a tied one agrees everywhere."""
    new, tied = (layer_draws(layer) == 0 for layer in (rx.Dropout(0.3), rx.TiedDropout(0.3)))
    for mask in (new[0] == new[1], new[0, 0] == new[0, 1], tied[0, 0] == tied[0, 1]):
        close(mask.mean(), 0.3**2 + 0.7**2, atol=0.08)
    assert (tied == tied[0]).all()


def test_gaussian_noise_has_its_standard_deviation():
    noise = layer_draws(rx.GaussianNoise(0.3)) - 1
    close(noise[0].mean(), 0, atol=0.01)
    close(noise.std(axis=(1, 2)), 0.3, atol=0.01)
    close((noise[0] * noise[1]).mean(), 0, atol=0.003)


@pytest.mark.parametrize("layer", [rx.Dropout(0.3), rx.TiedDropout(0.3), rx.GaussianNoise(0.3)], ids=repr)
def test_off_without_a_key(layer):
    xs = jax.random.normal(KEY, (T, B, D))
    np.testing.assert_array_equal(rx.unroll(layer, (), xs)[1], xs)


@pytest.mark.parametrize(("rate", "factor"), [(0.0, 1.0), (1.0, 0.0)])
def test_extreme_rates(rate, factor):
    """A rate of 0 drops nothing, a rate of 1 all, without NaN in values and gradients."""
    grad = jax.grad(lambda x: (rx.drop(x, rate, KEY) ** 2).sum() / 2)(jnp.arange(3.0))
    close(grad, factor * np.arange(3.0))


def test_zoneout_keeps_its_share_of_each_part():
    """Each part at its own rate; y is the h that is carried on; rate by rate, the mean over draws is evaluation."""
    rates = rx.LSTMCarry(h=0.2, c=0.6)
    cell = rx.Zoneout(rx.LSTM(H), rates)
    params, xs, carry = given(cell)
    many = jax.tree.map(lambda part: jnp.tile(part[:1], (MANY, 1)), carry)
    after, y = cell.step(params, many, jnp.tile(xs[0, :1], (MANY, 1)), KEY)
    for part in ("h", "c"):
        close((getattr(after, part) == getattr(many, part)).mean(), getattr(rates, part), atol=0.015)
    np.testing.assert_array_equal(y, after.h)
    expected, expected_y = cell.step(params, carry, xs[0])
    np.testing.assert_array_equal(expected_y, expected.h)
    jax.tree.map(lambda drawn, mean: close(drawn.mean(0), mean[0], atol=0.02), after, expected)


def test_zoneout_of_one_stands_still():
    cell = rx.Zoneout(rx.GRU(H), 1.0)
    params, xs, carry = given(cell)
    for key in (None, KEY):
        np.testing.assert_array_equal(rx.unroll(cell, params, xs, carry, key=key)[1], np.tile(carry, (T, 1, 1)))


# Wrappers


def test_learned_carry_starts_as_the_cells_own():
    """It is the same for all batch elements, and has a gradient, complex parts too."""
    cell = rx.Chain(rx.LSTM(H), rx.LRU(H))
    learned = rx.LearnedCarry(cell)
    params = learned.init(KEY, D)
    jax.tree.map(np.testing.assert_array_equal, learned.carry(params, (B,)), cell.carry(params.cell, (B,)))
    gradients = jax.grad(lambda params: rx.unroll(learned, params, jnp.ones((T, B, D)))[1].sum())(params)
    assert all(leaf.all() for leaf in jax.tree.leaves(gradients.carry))


def test_exposed_carry_is_that_after_each_step():
    cell = rx.ExposeCarry(rx.LSTM(H))
    params, xs, carry = given(cell)
    last, (ys, carries) = rx.unroll(cell, params, xs, carry)
    np.testing.assert_array_equal(ys, carries.h)
    close(carries.c[3], rx.unroll(cell.cell, params, xs[:4], carry)[0].c)
    jax.tree.map(lambda leaf, all_times: np.testing.assert_array_equal(leaf, all_times[-1]), last, carries)


def test_merge_may_be_a_function():
    """Of the outputs of both directions, each an unroll of its own."""
    cell = rx.Bidirectional(rx.GRU(H), merge=lambda forward, backward: forward - 2 * backward)
    params, xs, carry = given(cell)
    ahead = rx.unroll(rx.GRU(H), params.forward, xs, carry.forward)[1]
    back = rx.unroll(rx.GRU(H), params.backward, xs, carry.backward, reverse=True)[1]
    close(rx.unroll(cell, params, xs, carry)[1], ahead - 2 * back)


def test_residual_adds_the_input():
    cell = rx.Residual(rx.LRU(H))
    params, xs, carry = given(cell)
    close(rx.unroll(cell, params, xs, carry)[1], xs + rx.unroll(cell.cell, params, xs, carry)[1])


SIGNS = jnp.array([1.0, 1.0, -1.0])[:, None]
WIRING = jnp.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]])


def recurrent_kernels(fn):
    """The recurrent kernel that a cell runs with, from random params and after steps of gradient descent."""
    cell = rx.Reparametrize(rx.Elman(3), fn)
    params, xs, _ = given(cell)
    start = rx.bind(cell, params).params.U
    slopes_of = jax.jit(jax.grad(lambda params: (rx.unroll(cell, params, xs)[1] ** 2).sum()))
    for _ in range(10):
        params = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, slopes_of(params))
    return start, rx.bind(cell, params).params.U


def test_dales_rule_holds_in_training():
    start, U = recurrent_kernels(lambda p: p._replace(U=jnp.abs(p.U) * SIGNS))
    assert (U * SIGNS >= 0).all()
    assert (start != U).all()


def test_missing_wires_stay_missing_in_training():
    start, U = recurrent_kernels(lambda p: p._replace(U=p.U * WIRING))
    np.testing.assert_array_equal(U == 0, WIRING == 0)
    np.testing.assert_array_equal(start != U, WIRING == 1)


def test_orthogonal_kernels_stay_orthogonal_in_training():
    start, U = recurrent_kernels(lambda p: p._replace(U=jax.scipy.linalg.expm(p.U - p.U.T)))
    close(U @ U.T, np.eye(3))
    assert (start != U).all()


def test_frozen_params_have_no_gradient():
    """Frozen whole, or in part; the outputs are those of the cell itself."""
    plain = rx.Elman(H)
    params, xs, _ = given(plain)
    for fn, moving in [
        (jax.lax.stop_gradient, []),
        (lambda p: p._replace(U=jax.lax.stop_gradient(p.U)), ["W", "b"]),
    ]:
        cell = rx.Reparametrize(plain, fn)
        loss = lambda params, cell=cell: rx.unroll(cell, params, xs)[1].sum()
        np.testing.assert_array_equal(loss(params), rx.unroll(plain, params, xs)[1].sum())
        gradients = jax.grad(loss)(params)
        assert [name for name in gradients._fields if getattr(gradients, name).any()] == moving


def test_dropped_weights_are_drawn_once_per_sequence():
    """The same at every step: the unroll with a key is the cell's own with the weights bound to it."""
    cell = rx.Reparametrize(rx.Elman(50), lambda p, key=None: p._replace(U=rx.drop(p.U, 0.3, key)))
    params, xs, carry = given(cell)
    bound = rx.bind(cell, params, (B,), KEY).params
    close((bound.U == 0).mean(), 0.3, atol=0.04)
    close(rx.unroll(cell, params, xs, carry, key=KEY)[1], rx.unroll(cell.cell, bound, xs, carry)[1])
    np.testing.assert_array_equal(rx.bind(cell, params).params.U, params.U)

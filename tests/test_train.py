"""The training step, and truncated back-propagation through time with it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax as rx

T, B, D, H = 7, 3, 5, 2
model = rx.Chain(rx.LSTM(H), rx.GRU(D))


def loss_fn(params, carry, batch, key):
    xs, resets = batch
    carry, ys = rx.unroll(model, params, xs, carry, resets=resets, key=key)
    return rx.losses.squared_error(ys, xs), (carry, {"mean": ys.mean()})


def batches(num: int):
    xs = jax.random.normal(jax.random.key(1), (num * T, B, D))
    resets = jax.random.bernoulli(jax.random.key(2), 0.2, (num * T, B))
    return xs, resets, [(xs[k * T : (k + 1) * T], resets[k * T : (k + 1) * T]) for k in range(num)]


def test_carry_goes_on_and_no_gradient_does() -> None:
    """With a learning rate of 0 the chunks' losses are those of one long unroll; each gradient is its chunk's alone."""
    optimizer = optax.sgd(0.0)
    params = model.init(jax.random.key(0), D)
    state = rx.train.init_state(params, optimizer, model.carry(params, (B,)))
    step = jax.jit(rx.train.make_step(loss_fn, optimizer))
    xs, resets, chunks = batches(4)
    _, ys = rx.unroll(model, params, xs, resets=resets)
    for k, chunk in enumerate(chunks):
        constant = jax.lax.stop_gradient(state.carry)
        grads = jax.grad(lambda p, c, b: loss_fn(p, c, b, None)[0])(params, constant, chunk)
        state, metrics = step(state, chunk)
        part = slice(k * T, (k + 1) * T)
        np.testing.assert_allclose(metrics["loss"], ((ys - xs)[part] ** 2).mean(), rtol=1e-10)
        np.testing.assert_allclose(metrics["mean"], ys[part].mean(), rtol=1e-9)
        np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(grads), rtol=1e-10)
        assert metrics["update_norm"] == 0
    assert state.num_steps == 4


def test_step_is_optax() -> None:
    """Two steps equal optax by hand; clipping bounds the update, and the gradient norm is that before clipping."""
    optimizer = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    params = model.init(jax.random.key(0), D)
    state = rx.train.init_state(params, optimizer, model.carry(params, (B,)))
    step = jax.jit(rx.train.make_step(loss_fn, optimizer), donate_argnums=0)
    _, _, chunks = batches(2)
    by_hand, opt_state, carry = params, optimizer.init(params), model.carry(params, (B,))
    state = jax.tree.map(jnp.copy, state)  # donated below
    for chunk in chunks:
        grads, (carry, _) = jax.grad(loss_fn, has_aux=True)(by_hand, carry, chunk, None)
        updates, opt_state = optimizer.update(grads, opt_state, by_hand)
        by_hand = optax.apply_updates(by_hand, updates)
        state, metrics = step(state, chunk)
        np.testing.assert_allclose(metrics["update_norm"], 1e-3, rtol=1e-10)
        assert metrics["grad_norm"] > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), state.params, by_hand)


@pytest.mark.parametrize("cell", [rx.LSTM(H), model], ids=str)
def test_initial_state_can_be_donated(cell) -> None:
    """No two leaves of a carry are the same buffer."""
    params = cell.init(jax.random.key(0), D)
    carry = cell.carry(params, (B,))
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(carry)]
    assert len(set(pointers)) == len(pointers)

"""A population in one program: a whole training run, mapped over its hyperparameters, is the single runs."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rnnjax as rx
from tests.registry import B, D, H, T

NUM_STEPS, NUM_RUNS = 50, 100

XS = np.random.default_rng(0).normal(size=(T, B, D))
TARGETS = np.cumsum(XS[..., :1], axis=0)


def train(leak, gain, seed):
    """``NUM_STEPS`` optimiser steps of a ``Leaky`` network: its params, and the loss at each step."""
    cell = rx.Chain(rx.Leaky(H, leak=leak), rx.Lift(nn.Dense(1, param_dtype=jnp.float64)))
    hidden, readout = cell.init(jax.random.key(seed), D)
    params = (hidden._replace(W=gain * hidden.W), readout)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-2))

    def loss_fn(params):
        ys = rx.unroll(cell, params, XS)[1]
        return ((ys - TARGETS) ** 2).mean()

    def step(state, _):
        params, opt_state = state
        loss, gradients = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), length=NUM_STEPS)
    return params, losses


def test_a_hundred_runs_in_one_program():
    """Every leak, input gain and seed another: one vmapped program equals the hundred runs."""
    rng = np.random.default_rng(1)
    settings = rng.uniform(0.1, 0.9, NUM_RUNS), rng.uniform(0.5, 2.0, NUM_RUNS), np.arange(NUM_RUNS)
    program = jax.jit(jax.vmap(train)).lower(*settings).compile()
    single = jax.jit(train)
    runs = [single(*setting) for setting in zip(*settings, strict=True)]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
    population = program(*settings)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), population, expected)
    losses = np.asarray(population[1])
    assert losses.shape == (NUM_RUNS, NUM_STEPS)
    assert (losses[:, -1] < losses[:, 0]).mean() > 0.9  # they learn
    assert len(np.unique(losses[:, 0])) == NUM_RUNS  # and no two are the same

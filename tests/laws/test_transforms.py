"""Law 6: vmap over params, inputs and keys; first and second derivatives in either mode."""

import itertools
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.conftest import every, full
from tests.laws.compare import (
    assert_close,
    assert_same_with_gradients,
    unroll_with_gradients,
    weigh,
)
from tests.laws.definition import loop
from tests.laws.events import random_events
from tests.registry import CELLS, Entry, H, random_carry, random_inputs, random_params

# Made of parts that others here are made of too, and long to compile.
ALIKE = ("everything", "bidirectional_two", "residual_bidirectional", "deep_bidirectional", "language_model")
ALIKE += ("tied_dropout", "gaussian_noise", "zoneout_user", "learned_carry_user", "zoneout_lru", "lift_nnx")
UNLIKE = [entry for entry in CELLS if entry.name not in ALIKE]
REST = [full(entry) for entry in CELLS if entry.name in ALIKE]


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@pytest.mark.parametrize("entry", every(6, UNLIKE, 1) + REST, ids=repr)
def test_vmap_over_params_inputs_and_keys(entry, unrolled):
    """Each of the three while the others stay, as vmap within vmap, equals the single runs."""
    seeds = (0, 1)
    params = [random_params(entry, seed) for seed in seeds]
    inputs = [(random_carry(entry, params[0], seed=seed), random_inputs(entry, seed=seed)) for seed in seeds]
    keys: list[Any] = [jax.random.key(seed) for seed in seeds] if entry.draws else [None]
    events = random_events()

    run = lambda params, inputs, key: unroll_with_gradients(entry)(params, *inputs, *events, key)
    for axes in [(None, None, 0)] * entry.draws + [(None, 0, None), (0, None, None)]:
        run = jax.vmap(run, axes)
    mapped = jax.jit(run)(stack(params), stack(inputs), jnp.stack(keys) if entry.draws else None)

    singles = [unrolled(entry)(p, *i, *events, key) for p, i, key in itertools.product(params, inputs, keys)]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2 + entry.draws :]), mapped)
    assert_same_with_gradients(flat, stack(singles))


@pytest.mark.parametrize("order", ["grad of grad", full("forward over forward")])
@pytest.mark.parametrize("entry", every(9, UNLIKE, 0) + REST, ids=repr)
def test_forward_mode_and_second_derivatives(entry, order):
    """Along a random direction in all of params, carry and inputs: jvp equals grad, and forward over reverse, which
    is `jax.hessian`, equals the other orders."""
    params = random_params(entry)
    point = (params, random_carry(entry, params), random_inputs(entry))
    mask, resets = random_events()
    key = jax.random.key(3) if entry.draws else None

    def loss(amount, method="auto"):
        move = lambda leaf: leaf + amount * jnp.cos(3 * leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf
        params, carry, xs = jax.tree.map(move, point)
        return weigh(rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets, key=key, method=method))

    def scanned(amount):
        return loss(amount, "scan")

    @jax.jit
    def derivatives(at):
        backward, hessian = jax.jvp(jax.grad(loss), (at,), (1.0,))
        other = jax.grad(jax.grad(loss)) if order == "grad of grad" else jax.jacfwd(jax.jacfwd(scanned))
        return (jax.jacfwd(scanned)(at), other(at)), (backward, hessian)

    actual, expected = derivatives(0.0)
    assert_close(actual, expected, rtol=1e-9)
    assert np.all(expected)


def test_the_hessian_by_all_params():
    """Of a cell's loss as users take it, outside jit: equals that of the loop."""
    cell = rx.Chain(rx.GRU(H), rx.Dropout(0.5), rx.Elman(1))
    entry = Entry("small", cell)
    params = random_params(entry)
    carry, xs, key = random_carry(entry, params), random_inputs(entry, 3), jax.random.key(7)
    mask, resets = random_events(0, 3)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)

    def by_unroll(flat):
        return weigh(rx.unroll(cell, unflatten(flat), xs, carry, mask=mask, resets=resets, key=key))

    def by_loop(flat):
        return weigh(loop(cell, unflatten(flat), carry, xs, mask, resets, key))

    hessian = jax.hessian(by_unroll)(flat)
    assert_close(hessian, jax.jit(jax.hessian(by_loop))(flat), rtol=1e-9)
    assert_close(hessian, hessian.T, rtol=1e-9)

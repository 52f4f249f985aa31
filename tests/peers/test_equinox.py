"""Equinox's LSTMCell and GRUCell, from and to."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.interop.equinox import from_equinox, to_equinox
from tests.peers.agree import assert_agree, assert_same, random_like
from tests.registry import B, D, H, T

KINDS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def random_cell(kind, use_bias=True, dtype=jnp.float64):
    """``(arrays, settings)``, every array random."""
    cell = KINDS[kind](D, H, use_bias=use_bias, dtype=dtype, key=jax.random.key(0))
    arrays, settings = eqx.partition(cell, eqx.is_array)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), random_like(arrays)), settings


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(kind, use_bias):
    """For every parameter, the inputs and the start states; all of them random."""
    drawn, settings = random_cell(kind, use_bias)
    rng = np.random.default_rng(1)
    xs = rng.normal(size=(T, B, D))
    states = tuple(rng.normal(size=(B, H)) for _ in range(2 if kind == "lstm" else 1))

    def run_equinox(drawn, xs, states):
        cell = jax.vmap(eqx.combine(drawn, settings))

        def step(states, x):
            after = cell(x, states if len(states) > 1 else states[0])
            after = after if isinstance(after, tuple) else (after,)
            return after, after[0]

        return jax.lax.scan(step, states, xs)

    def run_ours(drawn, xs, states):
        carry = rx.LSTMCarry(*states) if kind == "lstm" else states[0]
        after, ys = rx.unroll(*from_equinox(eqx.combine(drawn, settings)), xs, carry)
        return tuple(jax.tree.leaves(after)), ys

    assert_agree(run_ours, run_equinox, drawn, xs, states)
    small = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (drawn, xs, states))
    assert_same(run_ours(*small), jax.tree.map(np.asarray, run_equinox(*small)), 1e-5)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trips_are_exact(kind, use_bias, dtype):
    cell = eqx.combine(*random_cell(kind, use_bias, dtype))
    back = to_equinox(*from_equinox(cell), use_bias=use_bias)
    assert jax.tree.structure(back) == jax.tree.structure(cell)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(cell), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def reshaped():
    cell = eqx.nn.GRUCell(D, H, key=jax.random.key(0))
    return eqx.tree_at(lambda cell: cell.bias_n, cell, jnp.ones(3))


def made(cell, input_size=D):
    return cell, cell.init(jax.random.key(0), input_size)


BAD = {
    "from_equinox: cell is of type Linear, expected eqx.nn.LSTMCell or eqx.nn.GRUCell": lambda: from_equinox(
        eqx.nn.Linear(D, H, key=jax.random.key(0))
    ),
    "from_equinox: bias_n has shape (3,), expected (2)": lambda: from_equinox(reshaped()),
    "from_equinox: weight_hh is None, expected floating-point weights": lambda: from_equinox(
        eqx.tree_at(lambda cell: cell.weight_hh, eqx.nn.GRUCell(D, H, key=jax.random.key(0)), None)
    ),
    "from_equinox: cell is the class GRUCell": lambda: from_equinox(eqx.nn.GRUCell),
    "to_equinox: Elman(hidden_size=2) cannot be represented exactly: Equinox has no such cell": lambda: to_equinox(
        *made(rx.Elman(H))
    ),
    "to_equinox: GRU(hidden_size=2, reset_after=False) cannot be represented exactly: Equinox's GRU resets after": (
        lambda: to_equinox(*made(rx.GRU(H, reset_after=False)))
    ),
    "cannot be represented exactly: Equinox's gates are sigmoids": lambda: to_equinox(
        *made(rx.GRU(H, activation=jax.nn.relu))
    ),
    "cannot be represented exactly: use_bias is False, but the biases are not zero": lambda: to_equinox(
        *made(rx.LSTM(H)), use_bias=False
    ),
    "to_equinox: use_bias is 0, expected True or False": lambda: to_equinox(*made(rx.LSTM(H)), use_bias=0),
    "GRU(hidden_size=2): params are a LSTMParams, expected GRUParams": lambda: to_equinox(
        rx.GRU(H), made(rx.LSTM(H))[1]
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_messages(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        BAD[message]()

"""Equinox: LSTMCell and GRUCell; 1e-10 in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.peers.agree import assert_agree, random_like
from tests.registry import B, D, H, T


def lstm(cell):
    split = lambda weights: rx.LSTMGates(*jnp.split(weights.T, 4, axis=-1))
    return rx.LSTMParams(split(cell.weight_ih), split(cell.weight_hh), split(cell.bias))


def gru(cell):
    """The second bias of the candidate is ``bias_n``."""
    split = lambda weights: rx.GRUGates(*jnp.split(weights.T, 3, axis=-1))
    return rx.GRUParams(split(cell.weight_ih), split(cell.weight_hh), split(cell.bias), cell.bias_n)


@pytest.mark.parametrize(
    ("make", "ours", "convert"),
    [(eqx.nn.LSTMCell, rx.LSTM(H), lstm), (eqx.nn.GRUCell, rx.GRU(H), gru)],
    ids=["lstm", "gru"],
)
def test_equinox(make, ours, convert):
    """Values, and gradients for every parameter, the inputs and the start states; all of them random."""
    drawn, settings = eqx.partition(make(D, H, dtype=jnp.float64, key=jax.random.key(0)), eqx.is_array)
    drawn = random_like(drawn)
    rng = np.random.default_rng(1)
    xs = rng.normal(size=(T, B, D))
    states = tuple(rng.normal(size=(B, H)) for _ in range(2 if isinstance(ours, rx.LSTM) else 1))

    def run_equinox(drawn, xs, states):
        cell = jax.vmap(eqx.combine(drawn, settings))

        def step(states, x):
            after = cell(x, states if len(states) > 1 else states[0])
            after = after if isinstance(after, tuple) else (after,)
            return after, after[0]

        return jax.lax.scan(step, states, xs)

    def run_ours(drawn, xs, states):
        carry = rx.LSTMCarry(*states) if isinstance(ours, rx.LSTM) else states[0]
        after, ys = rx.unroll(ours, convert(drawn), xs, carry)
        return tuple(jax.tree.leaves(after)), ys

    assert_agree(run_ours, run_equinox, drawn, xs, states)

"""Flax linen's cells and ours: the same equations, values and gradients to 1e-10 in float64."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.peers.agree import assert_agree, random_like
from tests.registry import B, D, H, T

LENGTHS = jnp.array([7, 4, 1])
MASK = rx.length_mask(LENGTHS, T)


def elman_from_linen(params):
    return rx.ElmanParams(W=params["i"]["kernel"], U=params["h"]["kernel"], b=params["i"]["bias"])


def lstm_from_linen(params):
    """One bias per gate, beside the recurrent kernel."""
    W, U, b = (
        rx.LSTMGates(*(params[side + gate][kind] for gate in "ifgo"))
        for side, kind in [("i", "kernel"), ("h", "kernel"), ("h", "bias")]
    )
    return rx.LSTMParams(W, U, b)


def gru_from_linen(params):
    """Biases beside the input kernels, and the candidate's second one."""
    W, U, b = (
        rx.GRUGates(*(params[side + gate][kind] for gate in "rzn"))
        for side, kind in [("i", "kernel"), ("h", "kernel"), ("i", "bias")]
    )
    return rx.GRUParams(W, U, b, params["hn"]["bias"])


@pytest.mark.parametrize(
    ("theirs", "ours", "convert", "reverse"),
    [
        (nn.SimpleCell, rx.Elman(H), elman_from_linen, False),
        (nn.LSTMCell, rx.LSTM(H), lstm_from_linen, False),
        (nn.GRUCell, rx.GRU(H), gru_from_linen, True),
    ],
    ids=["elman", "lstm", "gru_in_reverse"],
)
def test_linen_cell(theirs, ours, convert, reverse):
    """Sequences of different lengths, from a random carry."""
    rnn = nn.RNN(
        theirs(H, dtype=jnp.float64, param_dtype=jnp.float64),
        time_major=True,
        return_carry=True,
        reverse=reverse,
        keep_order=True,
    )
    xs = np.random.default_rng(1).normal(size=(T, B, D))
    params = random_like(rnn.init(jax.random.key(0), xs)["params"]["cell"])
    carry = random_like((np.zeros((B, H)),) * 2 if isinstance(ours, rx.LSTM) else np.zeros((B, H)), seed=2)

    def run_theirs(params, xs, carry):
        outputs: Any = rnn.apply({"params": {"cell": params}}, xs, initial_carry=carry, seq_lengths=LENGTHS)
        after, ys = outputs
        return after, jnp.where(MASK[..., None], ys, 0)

    def run_ours(params, xs, carry):
        start = rx.LSTMCarry(h=carry[1], c=carry[0]) if isinstance(ours, rx.LSTM) else carry
        after, ys = rx.unroll(ours, convert(params), xs, start, mask=MASK, reverse=reverse)
        return (after.c, after.h) if isinstance(ours, rx.LSTM) else after, ys

    assert_agree(run_ours, run_theirs, params, xs, carry)

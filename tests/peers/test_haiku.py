"""Haiku: VanillaRNN, LSTM and GRU (reset before), with resets as its ResetCore has them; 1e-10 in float64."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.peers.agree import assert_agree, random_like
from tests.registry import B, D, H, T

RESETS = np.random.default_rng(3).random((T, B)) < 0.3


def elman(params):
    inputs, hidden = params["vanilla_rnn/linear"], params["vanilla_rnn/linear_1"]
    return rx.ElmanParams(inputs["w"], hidden["w"], inputs["b"] + hidden["b"])


def lstm(params):
    """One kernel for x and h, gates in the order i g f o, 1 added to f when it runs."""
    split = lambda weights: rx.LSTMGates(**dict(zip("igfo", jnp.split(weights, 4, axis=-1), strict=True)))
    linear = params["lstm/linear"]
    b = split(linear["b"])
    return rx.LSTMParams(split(linear["w"][:D]), split(linear["w"][D:]), b._replace(f=b.f + 1))


def gru(params):
    """Gates in the order z r a, and 1 - z in place of z."""

    def split(weights):
        z, r, n = jnp.split(weights, 3, axis=-1)
        return rx.GRUGates(r=r, z=-z, n=n)

    return rx.GRUParams(*(split(params["gru"][name]) for name in ("w_i", "w_h", "b")), None)


@pytest.mark.parametrize(
    ("make", "ours", "convert"),
    [
        (hk.VanillaRNN, rx.Elman(H, activation=jax.nn.relu), elman),
        (hk.LSTM, rx.LSTM(H), lstm),
        (hk.GRU, rx.GRU(H, reset_after=False), gru),
    ],
    ids=["elman", "lstm", "gru_before"],
)
def test_haiku(make, ours, convert):
    """Values, and gradients for every parameter, the inputs and the start states; all of them random."""

    @hk.without_apply_rng
    @hk.transform
    def net(xs, state):
        return hk.dynamic_unroll(hk.ResetCore(make(H)), (xs, RESETS), state)

    rng = np.random.default_rng(1)
    xs, state = rng.normal(size=(T, B, D)), rng.normal(size=(B, H))
    if isinstance(ours, rx.LSTM):
        state = hk.LSTMState(hidden=state, cell=rng.normal(size=(B, H)))
    params = random_like(net.init(jax.random.key(0), xs, state))

    def run_haiku(params, xs, state):
        ys, after = net.apply(params, xs, state)
        return tuple(jax.tree.leaves(after)), ys

    def run_ours(params, xs, state):
        carry = rx.LSTMCarry(h=state.hidden, c=state.cell) if isinstance(ours, rx.LSTM) else state
        after, ys = rx.unroll(ours, convert(params), xs, carry, resets=RESETS)
        return tuple(jax.tree.leaves(after)), ys

    assert_agree(run_ours, run_haiku, params, xs, state)

"""Haiku's VanillaRNN, LSTM and GRU (reset before), from and to, with resets as its ResetCore has them."""

import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.interop.haiku import from_haiku, to_haiku
from rnnjax.interop.parametrizations import add_forget_bias
from tests.peers.agree import assert_agree, assert_same, random_like
from tests.registry import B, D, H, T

RESETS = np.random.default_rng(3).random((T, B)) < 0.3
KINDS = {
    "VanillaRNN": ("VanillaRNN", hk.VanillaRNN),
    "VanillaRNN of one bias": ("VanillaRNN", lambda size: hk.VanillaRNN(size, double_bias=False)),
    "LSTM": ("LSTM", hk.LSTM),
    "GRU": ("GRU", hk.GRU),
}


def net(make):
    @hk.without_apply_rng
    @hk.transform
    def run(xs, state):
        return hk.dynamic_unroll(hk.ResetCore(make(H)), (xs, RESETS), state)

    return run


def random_call(kind, make):
    rng = np.random.default_rng(1)
    xs, state = rng.normal(size=(T, B, D)), rng.normal(size=(B, H))
    if kind == "LSTM":
        state = hk.LSTMState(hidden=state, cell=rng.normal(size=(B, H)))
    return random_like(net(make).init(jax.random.key(0), xs, state)), xs, state


@pytest.mark.parametrize("two_biases", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients(name, two_biases):
    """For every parameter, the inputs and the start states; all of them random."""
    kind, make = KINDS[name]

    def run_haiku(params, xs, state):
        ys, after = net(make).apply(params, xs, state)
        return tuple(jax.tree.leaves(after)), ys

    def run_ours(params, xs, state):
        carry = rx.LSTMCarry(h=state.hidden, c=state.cell) if kind == "LSTM" else state
        after, ys = rx.unroll(*from_haiku(kind, params, two_biases=two_biases), xs, carry, resets=RESETS)
        return tuple(jax.tree.leaves(after)), ys

    arguments = random_call(kind, make)
    assert_agree(run_ours, run_haiku, *arguments)
    small = jax.tree.map(np.float32, arguments)
    assert_same(run_ours(*small), jax.tree.map(np.asarray, run_haiku(*small)), 1e-5)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", ["VanillaRNN", "LSTM", "GRU"])
def test_round_trips_are_exact(name, dtype):
    kind, make = KINDS[name]
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), random_call(kind, make)[0])
    kind_again, back = to_haiku(*from_haiku(kind, params, two_biases=True))
    assert kind_again == kind
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "cell", [rx.LSTM(H), rx.GRU(H, reset_after=False), rx.Elman(H, activation=jax.nn.relu)], ids=repr
)
def test_our_models_in_haiku(cell):
    """A plain LSTM's forget bias goes over less the 1 that Haiku adds."""
    params = random_like(cell.init(jax.random.key(0), D))
    if isinstance(cell, rx.LSTM):  # a number from which 1 can be taken without rounding
        params = params._replace(b=params.b._replace(f=1 + np.round(params.b.f * 2**20) / 2**20))
    kind, theirs = to_haiku(cell, params)
    _, xs, state = random_call(kind, KINDS[kind][1])
    carry = rx.LSTMCarry(h=state.hidden, c=state.cell) if kind == "LSTM" else state
    ys, _ = net(KINDS[kind][1]).apply(theirs, xs, state)
    np.testing.assert_allclose(rx.unroll(cell, params, xs, carry, resets=RESETS)[1], ys, rtol=1e-10, atol=1e-10)


def test_part_of_a_larger_model():
    params, *_ = random_call("LSTM", hk.LSTM)
    larger = {"agent/lstm/linear": params["lstm/linear"], "agent/torso/linear": {"w": np.ones((3, 5))}}
    cell, converted = from_haiku("LSTM", larger, prefix="agent/lstm")
    assert cell == rx.Reparametrize(rx.LSTM(H), add_forget_bias)
    np.testing.assert_array_equal(converted.U.i, params["lstm/linear"]["w"][D:, :H])
    assert list(to_haiku(cell, converted, name="agent/lstm")[1]) == ["agent/lstm/linear"]


LSTM = random_call("LSTM", hk.LSTM)[0]
GRU = random_call("GRU", hk.GRU)[0]
BAD = {
    "from_haiku: kind is 'lstm', expected one of 'VanillaRNN', 'LSTM', 'GRU'": lambda: from_haiku("lstm", LSTM),
    "from_haiku: params lacks linear.b, linear.w and has also gru.b, gru.w_h, gru.w_i; expected": lambda: from_haiku(
        "LSTM", GRU
    ),
    "from_haiku: params lacks w_h, w_i and has also w; expected b, w_h, w_i": lambda: from_haiku("GRU", LSTM),
    "from_haiku: params lacks b; expected b, w_h, w_i": lambda: from_haiku(
        "GRU", {"gru": {name: GRU["gru"][name] for name in ("w_i", "w_h")}}
    ),
    "from_haiku: kind GRU: w_i has shape (5, 3), expected (any, 6)": lambda: from_haiku(
        "GRU", {"gru": GRU["gru"] | {"w_i": np.ones((5, 3))}}
    ),
    "from_haiku: kind LSTM: linear.w has shape (7, 4), expected (any, 8)": lambda: from_haiku(
        "LSTM", {"lstm/linear": {"w": np.ones((7, 4)), "b": np.ones(8)}}
    ),
    "from_haiku: linear.w has shape (2, 8), expected rows for x beside those 2 for h": lambda: from_haiku(
        "LSTM", {"lstm/linear": {"w": np.ones((2, 8)), "b": np.ones(8)}}
    ),
    "from_haiku: no module of params is 'agent'; they are lstm/linear": lambda: from_haiku(
        "LSTM", LSTM, prefix="agent"
    ),
    "from_haiku: params hold several cores, lstm/linear, lstm_1/linear; give prefix": lambda: from_haiku(
        "LSTM", LSTM | {"lstm_1/linear": LSTM["lstm/linear"]}
    ),
    "from_haiku: params is *, expected Haiku's dict of dicts of arrays": lambda: from_haiku("LSTM", np.ones(3)),
    "to_haiku: Elman(hidden_size=2) cannot be represented exactly: Haiku's VanillaRNN has ReLU": lambda: to_haiku(
        rx.Elman(H), rx.Elman(H).init(jax.random.key(0), D)
    ),
    "to_haiku: GRU(hidden_size=2) cannot be represented exactly: Haiku's GRU resets before": lambda: to_haiku(
        rx.GRU(H), rx.GRU(H).init(jax.random.key(0), D)
    ),
    "to_haiku: LSTM(hidden_size=2) cannot be represented exactly: Haiku adds 1 to the forget bias at run time": (
        lambda: to_haiku(rx.LSTM(H), random_like(rx.LSTM(H).init(jax.random.key(0), D)))
    ),
    "from_haiku: weights are float32 and float64, expected one dtype": lambda: from_haiku(
        "GRU", {"gru": GRU["gru"] | {"b": np.ones(6, np.float32)}}
    ),
    "from_haiku: prefix is None, expected the name of a core": lambda: from_haiku("GRU", GRU, prefix=None),
    "to_haiku: params.U is float64[2,3], but": lambda: to_haiku(
        rx.Elman(H, jax.nn.relu), rx.ElmanParams(np.ones((D, H)), np.ones((H, 3)), np.ones(H))
    ),
    "double_bias is False, but the second bias is not zero": lambda: to_haiku(
        *from_haiku("VanillaRNN", random_call("VanillaRNN", hk.VanillaRNN)[0], two_biases=True), double_bias=False
    ),
    "to_haiku: MGU(hidden_size=2) cannot be represented exactly: Haiku has no such core": lambda: to_haiku(
        rx.MGU(H), rx.MGU(H).init(jax.random.key(0), D)
    ),
}


def test_cores_of_one_stack_and_one_bias():
    """Named alike but for a number; and a core without the second bias comes back without."""
    first = GRU["gru"]
    second = jax.tree.map(lambda leaf: leaf + 1, first)
    for name, expected in (("gru", first), ("gru_1", second)):
        _, converted = from_haiku("GRU", {"gru": first, "gru_1": second}, prefix=name)
        assert list(to_haiku(rx.GRU(H, False), converted, name=name)[1]) == [name]
        np.testing.assert_array_equal(converted.W.n, expected["w_i"][:, 2 * H :])
    params, *_ = random_call("VanillaRNN", lambda size: hk.VanillaRNN(size, double_bias=False))
    _, back = to_haiku(*from_haiku("VanillaRNN", params), double_bias=False)
    assert jax.tree.structure(back) == jax.tree.structure(params)


@pytest.mark.parametrize("message", BAD)
def test_messages(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        BAD[message]()

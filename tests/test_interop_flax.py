"""Flax's cells and ours: the same numbers, weights from and to, linen and NNX."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnjax as rx
from rnnjax.interop.flax import from_linen, from_nnx, to_linen, to_nnx
from rnnjax.interop.parametrizations import add_identity
from tests.conftest import full
from tests.peers.agree import assert_agree, random_like
from tests.registry import B, D, H, T

LENGTHS = jnp.array([7, 4, 1])
MASK = rx.length_mask(LENGTHS, T)
DTYPES = {"dtype": jnp.float64, "param_dtype": jnp.float64}
LINEN = {
    "simple": nn.SimpleCell(H, **DTYPES),
    "simple_relu": nn.SimpleCell(H, activation_fn=nn.relu, **DTYPES),
    "simple_residual": nn.SimpleCell(H, residual=True, **DTYPES),
    "lstm": nn.LSTMCell(H, **DTYPES),
    "lstm_optimized": nn.OptimizedLSTMCell(H, activation_fn=nn.relu, gate_fn=nn.hard_sigmoid, **DTYPES),
    "gru": nn.GRUCell(H, **DTYPES),
    "gru_relu": nn.GRUCell(H, activation_fn=nn.relu, gate_fn=nn.hard_sigmoid, **DTYPES),
    "mgu": nn.MGUCell(H, **DTYPES),
    "mgu_without_reset": nn.MGUCell(H, reset_gate=False, activation_fn=nn.relu, **DTYPES),
}
NNX = {
    "simple": nnx.SimpleCell,
    "simple_residual": lambda *sizes, **settings: nnx.SimpleCell(*sizes, residual=True, **settings),
    "lstm": nnx.LSTMCell,
    "lstm_optimized": nnx.OptimizedLSTMCell,
    "gru": nnx.GRUCell,
    "gru_relu": lambda *sizes, **settings: nnx.GRUCell(*sizes, activation_fn=nn.relu, **settings),
}


def linen_params(module, dtype=np.float64, seed=0):
    module = module.clone(dtype=None, param_dtype=jnp.float64)  # the orthogonal default draws no half precision
    carry = module.initialize_carry(jax.random.key(0), (B, D))
    spec = jax.eval_shape(module.init, jax.random.key(0), carry, jnp.zeros((B, D)))["params"]
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), random_like(spec, seed))


def nnx_module(kind, dtype=jnp.float64):
    """With every parameter random."""
    zeros = nnx.initializers.zeros  # the orthogonal default draws no half precision
    module = NNX[kind](D, H, dtype=dtype, param_dtype=dtype, recurrent_kernel_init=zeros, rngs=nnx.Rngs(0))
    params = nnx.state(module, nnx.Param)
    nnx.update(module, jax.tree.map(lambda array: jnp.asarray(array, dtype), random_like(params)))
    return module


def random_carry(lstm):
    return random_like((np.zeros((B, H)),) * 2 if lstm else np.zeros((B, H)), seed=2)


def run_ours(converted, xs, carry, **options):
    """With Flax's order of the LSTM's carry, c first."""
    cell, params = converted
    pair = isinstance(carry, tuple)
    after, ys = rx.unroll(cell, params, xs, rx.LSTMCarry(h=carry[1], c=carry[0]) if pair else carry, **options)
    return (after.c, after.h) if pair else after, ys


WAYS = [(kind, way) if way == (kind == "gru") else full(kind, way) for kind in LINEN for way in (False, True)]
XS = np.random.default_rng(1).normal(size=(T, B, D))


@pytest.mark.parametrize(("kind", "reverse"), WAYS)
def test_linen(kind, reverse):
    """Values and all gradients, over sequences of different lengths, from a random carry."""
    module = LINEN[kind]
    rnn = nn.RNN(module, time_major=True, return_carry=True, reverse=reverse, keep_order=True)

    def theirs(params, xs, carry):
        outputs: Any = rnn.apply({"params": {"cell": params}}, xs, initial_carry=carry, seq_lengths=LENGTHS)
        after, ys = outputs
        return after, jnp.where(MASK[..., None], ys, 0)

    def ours(params, xs, carry):
        return run_ours(from_linen(module, params), xs, carry, mask=MASK, reverse=reverse)

    assert_agree(ours, theirs, linen_params(module), XS, random_carry("lstm" in kind))


@pytest.mark.parametrize("kind", NNX)
def test_nnx(kind):
    """Values and all gradients, from a random carry."""
    module = nnx_module(kind)
    graph, state = nnx.split(module)
    params = nnx.to_pure_dict(state)

    def merged(params):
        own = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(own, params)
        return nnx.merge(graph, own)

    def theirs(params, xs, carry):
        return jax.lax.scan(merged(params), carry, xs)

    assert_agree(
        lambda params, xs, carry: run_ours(from_nnx(merged(params)), xs, carry),
        theirs,
        params,
        XS,
        random_carry("lstm" in kind),
    )


def assert_equal(one, other):
    """Bit for bit, and of one dtype."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


PRECISIONS = [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16]


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("kind", LINEN)
def test_linen_round_trips_are_exact(kind, dtype):
    """The module is the same but for LSTMCell, which comes back optimised; of the same params."""
    module = LINEN[kind].clone(dtype=None, param_dtype=dtype)
    params = linen_params(module, dtype)
    there, back = to_linen(*from_linen(module, params))
    assert_equal(back, params)
    assert there == (nn.OptimizedLSTMCell(H, param_dtype=dtype) if kind == "lstm" else module)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("kind", NNX)
def test_nnx_round_trips_are_exact(kind, dtype):
    module = nnx_module(kind, dtype)
    converted = from_nnx(module)
    back = to_nnx(*converted)
    if kind != "lstm":  # which comes back optimised
        assert_equal(nnx.state(back), nnx.state(module))
    assert from_nnx(back)[0] == converted[0]
    assert_equal(from_nnx(back)[1], converted[1])


def random_gru():
    cell = rx.GRU(H)
    return cell, random_like(cell.init(jax.random.key(0), D))


class Doubled(nn.GRUCell):
    """A user's own, which computes something else."""

    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, inputs)
        return carry, 2 * y


NOT_PARAMS: Any = 3
GRU_PARAMS = linen_params(LINEN["gru"])
BAD = {
    "from_linen: module is a Dense, expected one of SimpleCell, LSTMCell": lambda: from_linen(nn.Dense(H), {}),
    "from_linen: module is a RNN, expected one of SimpleCell, LSTMCell, OptimizedLSTMCell, GRUCell, MGUCell, not a"
    " subclass; give the cell within": lambda: from_linen(nn.RNN(nn.GRUCell(H)), {}),
    "from_linen: module is the class GRUCell": lambda: from_linen(nn.GRUCell, GRU_PARAMS),
    "from_linen: params is *, expected the cell's own dict of kernels": lambda: from_linen(LINEN["gru"], NOT_PARAMS),
    "from_linen: params lacks hf.bias, hf.kernel": lambda: from_linen(LINEN["lstm"], GRU_PARAMS),
    "from_linen: params lacks hn.bias; expected": lambda: from_linen(
        LINEN["gru"], GRU_PARAMS | {"hn": {"kernel": GRU_PARAMS["hn"]["kernel"]}}
    ),
    "from_linen: params ir.kernel has shape (5, 2), expected (any, 3)": lambda: from_linen(
        nn.GRUCell(3, dtype=jnp.float64), GRU_PARAMS
    ),
    "from_linen: params ir.kernel is int64[5,2], expected floating-point weights": lambda: from_linen(
        LINEN["gru"], jax.tree.map(lambda leaf: leaf.astype(int), GRU_PARAMS)
    ),
    "from_linen: dtype=bfloat16 of the module cannot be represented exactly": lambda: from_linen(
        nn.GRUCell(H, dtype=jnp.bfloat16), GRU_PARAMS
    ),
    "from_linen: carry_init of the module cannot be represented exactly: our cells start from zeros": lambda: (
        from_linen(nn.GRUCell(H, carry_init=nn.initializers.ones), GRU_PARAMS)
    ),
    "from_nnx: module is a Linear, expected one of SimpleCell": lambda: from_nnx(nnx.Linear(D, H, rngs=nnx.Rngs(0))),
    "from_nnx: module is a RNN, expected one of SimpleCell, LSTMCell, OptimizedLSTMCell, GRUCell, not a": (
        lambda: from_nnx(nnx.RNN(nnx_module("gru")))
    ),
    "to_nnx: GRU(hidden_size=2) cannot be represented exactly: NNX's GRU cannot hold a hidden candidate bias": (
        lambda: to_nnx(*random_gru())
    ),
    "to_nnx: FlaxMGU(hidden_size=2) cannot be represented exactly: NNX has no MGU": lambda: to_nnx(
        rx.FlaxMGU(H), rx.FlaxMGU(H).init(jax.random.key(0), D)
    ),
    "to_linen: GRU(hidden_size=2, reset_after=False) cannot be represented exactly: Flax's GRU resets after": lambda: (
        to_linen(rx.GRU(H, False), rx.GRU(H, False).init(jax.random.key(0), D))
    ),
    "to_linen: MGU(hidden_size=2) cannot be represented exactly: Flax has no such cell": lambda: to_linen(
        rx.MGU(H), rx.MGU(H).init(jax.random.key(0), D)
    ),
    "Flax's LSTM has one activation for candidate and output": lambda: to_linen(
        rx.LSTM(H, output_activation=jax.nn.relu), rx.LSTM(H).init(jax.random.key(0), D)
    ),
    "GRU(hidden_size=2): params are a LSTMParams, expected GRUParams": lambda: to_linen(
        rx.GRU(H), rx.LSTM(H).init(jax.random.key(0), D)
    ),
    "from_linen: module is a Doubled, expected one of": lambda: from_linen(Doubled(H), GRU_PARAMS),
    "from_linen: params ir.kernel is None, expected floating-point weights": lambda: from_linen(
        LINEN["gru"], GRU_PARAMS | {"ir": {"kernel": None, "bias": None}}
    ),
    "from_linen: weights are float32 and float64, expected one dtype": lambda: from_linen(
        nn.GRUCell(H), GRU_PARAMS | {"hr": {"kernel": np.ones((H, H), np.float32)}}
    ),
    "to_linen: params.W.r is int64[5,2], expected floating-point weights": lambda: to_linen(
        rx.GRU(H), jax.tree.map(lambda leaf: leaf.astype(int), random_gru()[1])
    ),
    "to_nnx: params.U.z is float64[2,3], but GRU(hidden_size=2).init has float64[2,2]": lambda: to_nnx(
        rx.GRU(H), random_gru()[1]._replace(U=random_gru()[1].U._replace(z=np.ones((H, 3))))
    ),
    "to_linen: cell is 3, which is not a cell": lambda: to_linen(3, ()),
}


@pytest.mark.parametrize("message", BAD)
def test_messages(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        BAD[message]()


def test_residual_cells_are_savable(tmp_path):
    """What stands for a constant added at run time is named in the file."""
    cell = rx.Reparametrize(rx.Elman(H), add_identity)
    params = cell.init(jax.random.key(0), D)
    rx.save(tmp_path / "model.safetensors", cell, params)
    loaded, back = rx.load(tmp_path / "model.safetensors")
    assert loaded == cell
    assert_equal(back, params)

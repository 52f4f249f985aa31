"""Every message of the ONNX conversions, and that nothing is written for what ONNX cannot hold."""

import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from onnx import helper

import rnnjax as rx
from rnnjax.interop import onnx
from tests.registry import D, Entry, H, random_params
from tests.test_interop_onnx import model_of, node_of, random_tensors

GRU = random_tensors("GRU")
LSTM = random_tensors("LSTM")
FORWARD = node_of("GRU", GRU)
READ_ERRORS = {
    "something else": (
        lambda: onnx.from_onnx(GRU),
        TypeError,
        "model_or_node is a dict, expected an onnx.ModelProto or NodeProto",
    ),
    "another node": (
        lambda: onnx.from_onnx(helper.make_node("Gemm", ["X", "W"], ["Y"]), GRU),
        ValueError,
        "got Gemm node 'Y', expected an RNN, LSTM or GRU of ONNX's own domain",
    ),
    "a quantised node": (
        lambda: onnx.from_onnx(helper.make_node("DynamicQuantizeLSTM", ["X"], ["Y"], domain="com.microsoft"), LSTM),
        ValueError,
        "got DynamicQuantizeLSTM node 'Y', expected an RNN, LSTM or GRU of ONNX's own domain",
    ),
    "a node of another domain": (
        lambda: onnx.from_onnx(helper.make_node("GRU", ["X", "W", "R"], ["Y"], "mine", domain="own"), GRU),
        ValueError,
        "got GRU node 'mine', expected",
    ),
    "a model without": (
        lambda: onnx.from_onnx(
            model_of([helper.make_node("Relu", ["X"], ["Y"]), helper.make_node("Exp", ["Y"], ["Z"])])
        ),
        ValueError,
        "the model has no RNN, LSTM or GRU node, it is made of Exp, Relu",
    ),
    "an unknown attribute": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, input_forget=1), GRU),
        ValueError,
        "an attribute of GRU node 'Y' is 'input_forget', expected one of 'activation_alpha', ",
    ),
    "an unknown direction": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, direction="both"), GRU),
        ValueError,
        "direction of GRU node 'Y' is 'both', expected one of 'forward', 'reverse', 'bidirectional'",
    ),
    "an unknown activation": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, activations=["Sigmoid", "Gelu"]), GRU),
        ValueError,
        "activation 'Gelu' is not one of Relu, Tanh",
    ),
    "too few activations": (
        lambda: onnx.from_onnx(node_of("LSTM", LSTM, activations=["Sigmoid", "Tanh"]), LSTM),
        ValueError,
        "LSTM node 'Y' has 2 activations, expected 3: Sigmoid, Tanh",
    ),
    "a number too many": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, activations=["Sigmoid", "Elu"], activation_alpha=[0.5, 1.0]), GRU),
        ValueError,
        "activation_alpha has 1 values more than the activations Sigmoid, Elu take",
    ),
    "a number too few": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, activations=["Sigmoid", "Affine"], activation_alpha=[0.5]), GRU),
        ValueError,
        "activation Affine lacks its activation_beta, for which the specification and onnxruntime have no common"
        " default",
    ),
    "no clip": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, clip=0.0), GRU),
        ValueError,
        "clip of GRU node 'Y' is 0.0, expected a positive number",
    ),
    "no weights": (
        lambda: onnx.from_onnx(FORWARD),
        ValueError,
        "R of GRU node 'Y' is 'R', which is neither an initializer or Constant of the model nor in weights",
    ),
    "a bias that is missing": (
        lambda: onnx.from_onnx(FORWARD, {"W": GRU["W"], "R": GRU["R"]}),
        ValueError,
        "B of GRU node 'Y' is 'B', which is neither",
    ),
    "another hidden size": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, hidden_size=3), GRU),
        ValueError,
        "W of GRU node 'Y' has shape (1, 6, 5), expected (1, 9, any)",
    ),
    "weights of another operator": (
        lambda: onnx.from_onnx(FORWARD, LSTM),
        ValueError,
        "W of GRU node 'Y' has shape (1, 8, 5), expected (1, 6, any)",
    ),
    "weights of one direction": (
        lambda: onnx.from_onnx(node_of("GRU", GRU, direction="bidirectional"), GRU),
        ValueError,
        "R of GRU node 'Y' has shape (1, 6, 2), expected (2, any, any)",
    ),
    "peepholes of another size": (
        lambda: onnx.from_onnx(node_of("LSTM", LSTM), LSTM | {"P": np.ones((1, 5))}),
        ValueError,
        "P of LSTM node 'Y' has shape (1, 5), expected (1, 6)",
    ),
    "integers": (
        lambda: onnx.from_onnx(FORWARD, GRU | {"R": GRU["R"].astype(np.int8)}),
        TypeError,
        "R of GRU node 'Y' is int8[1,6,2], expected floating-point weights",
    ),
    "two dtypes": (
        lambda: onnx.from_onnx(FORWARD, GRU | {"R": GRU["R"].astype(np.float16)}),
        ValueError,
        "weights of GRU node 'Y' are {'W': 'float64', 'R': 'float16', 'B': 'float64'}, expected one dtype",
    ),
}
STATE_ERRORS = {
    "two axes": (
        lambda: onnx.carry_from_onnx(np.ones((3, 2))),
        ValueError,
        "initial_h is float64[3,2], expected [1 or 2 directions, B, H]",
    ),
    "three directions": (
        lambda: onnx.carry_from_onnx(np.ones((3, 5, 2))),
        ValueError,
        "initial_h is float64[3,5,2], expected [1 or 2",
    ),
    "states that disagree": (
        lambda: onnx.carry_from_onnx(np.ones((1, 3, 2)), np.ones((1, 5, 2))),
        ValueError,
        "initial_c is float64[1,5,2], but initial_h float64[1,3,2]",
    ),
    "a carry of a chain": (
        lambda: onnx.carry_to_onnx((np.ones((3, 2)),)),
        ValueError,
        "carry is ('float64[3,2]',), expected [B, H] or LSTMCarry(h, c) for each direction",
    ),
    "a carry without batch": (
        lambda: onnx.carry_to_onnx(np.ones(2)),
        ValueError,
        "carry is float64[2], expected [B, H]",
    ),
}


class OwnLSTM(rx.LSTM):
    """Another step, so not ONNX's."""


def own_activation(x):
    return jnp.tanh(x) ** 2


def own_product(*args, **kwargs):
    return 2 * jax.lax.dot_general(*args, **kwargs)


def write(cell, dtype: Any = np.float32):
    return onnx.to_onnx(cell, random_params(Entry("cell", cell), dtype=dtype))


def lifted(module):
    return lambda: write(rx.Lift(module))


ONE_LIMIT = "ONNX clips all activations at one limit or none, but never the output's of an LSTM"
NO_OPERATOR = "ONNX has RNN, LSTM and GRU operators, but none for this recurrence"
DROPPED = rx.RecurrentDropout(rx.GRU(H), 0.5)
CLIPPED = onnx.Clipped(jnp.tanh, 0.5)
WRITE_ERRORS = {
    "no cell": (lambda: onnx.to_onnx(jnp.tanh, ()), TypeError, "model is tanh, which is not a cell"),
    "lengths": (
        lambda: onnx.to_onnx(rx.GRU(H), None, lengths=np.array([7, 3])),  # pyright: ignore[reportArgumentType]
        TypeError,
        "lengths is int64[2], expected True or False",
    ),
    "carries": (
        lambda: onnx.to_onnx(rx.GRU(H), None, carries=None),  # pyright: ignore[reportArgumentType]
        TypeError,
        "carries is None, expected True or False",
    ),
    "params of another cell": (
        lambda: onnx.to_onnx(rx.GRU(H), random_params(Entry("lstm", rx.LSTM(H)))),
        TypeError,
        "params are a LSTMParams, expected GRUParams",
    ),
    "zoneout": (
        lambda: write(rx.Zoneout(rx.GRU(H), 0.1)),
        ValueError,
        "Zoneout(cell=GRU(hidden_size=2), rate=0.1) cannot be represented exactly: in evaluation its carry is a mean of"
        " the old and the new one, which no ONNX operator has",
    ),
    "another recurrence": (
        lambda: write(rx.Chain(rx.GRU(H), rx.MGU(H))),
        ValueError,
        f"MGU(hidden_size=2) cannot be represented exactly: {NO_OPERATOR}",
    ),
    "a projection": (lambda: write(rx.ProjectedLSTM(H, 3)), ValueError, NO_OPERATOR),
    "a linear recurrence": (lambda: write(rx.LRU(H)), ValueError, NO_OPERATOR),
    "a carry that is shown": (lambda: write(rx.ExposeCarry(rx.LSTM(H))), ValueError, NO_OPERATOR),
    "a step of one's own": (
        lambda: write(OwnLSTM(H)),
        ValueError,
        f"OwnLSTM(hidden_size=2) cannot be represented exactly: {NO_OPERATOR}",
    ),
    "a merge of one's own": (
        lambda: write(rx.Bidirectional(rx.GRU(H), merge=jnp.maximum)),
        ValueError,
        "its merge is a function; 'concat', 'sum' and 'mean' can be written",
    ),
    "an activation of one's own": (
        lambda: write(rx.Elman(H, own_activation)),
        ValueError,
        "Elman(hidden_size=2, activation=own_activation) cannot be represented exactly: ONNX has no activation"
        " own_activation, only Relu, Tanh, Sigmoid, Softsign, Softplus, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh,"
        " HardSigmoid, Elu",
    ),
    "one activation clipped": (lambda: write(rx.GRU(H, activation=CLIPPED)), ValueError, ONE_LIMIT),
    "two limits": (
        lambda: write(rx.GRU(H, activation=CLIPPED, gate_activation=onnx.Clipped(jax.nn.sigmoid, 1.0))),
        ValueError,
        ONE_LIMIT,
    ),
    "the output clipped": (
        lambda: write(rx.LSTM(H, activation=CLIPPED, gate_activation=onnx.Clipped(jax.nn.sigmoid, 0.5))),
        ValueError,
        ONE_LIMIT,
    ),
    "clipped twice": (
        lambda: write(rx.Elman(H, onnx.Clipped(CLIPPED, 1.0))),
        ValueError,
        "ONNX has no activation Clipped(fn=tanh, limit=0.5)",
    ),
    "a number that float32 rounds": (
        lambda: write(rx.Elman(H, onnx.Elu(0.1)), np.float64),
        ValueError,
        "activation_alpha=0.1 of RNN_0 cannot be represented exactly: ONNX keeps it in float32, but params are float64;"
        " cast them to float32",
    ),
    "two dtypes": (
        lambda: onnx.to_onnx(
            rx.Chain(rx.GRU(H), rx.GRU(H)),
            tuple(random_params(Entry("gru", rx.GRU(H), size), dtype=dtype) for size, dtype in ((D, "f2"), (H, "f4"))),
        ),
        ValueError,
        "weights are float16 and float32, expected one dtype",
    ),
    "images": (
        lambda: onnx.to_onnx(rx.Lift(nn.Conv(2, (3, 3)), input_ndim=3), {}),
        ValueError,
        "one x has 3 axes; the operators take features or tokens",
    ),
    "another module": (
        lifted(nn.RMSNorm()),
        ValueError,
        "Lift of RMSNorm cannot be represented exactly: of Flax modules only Dense, Linear, Embed, LayerNorm and"
        " Sequential are written as ONNX operators",
    ),
    "another NNX module": (lifted(lambda rngs: nnx.RMSNorm(D, rngs=rngs)), ValueError, "Lift of RMSNorm cannot"),
    "a module in another dtype": (
        lifted(nn.Dense(H, dtype=jnp.bfloat16)),
        ValueError,
        "Lift of Dense with dtype=bfloat16 cannot be represented exactly: its operator has dtype=float32",
    ),
    "a norm over time": (
        lifted(nn.LayerNorm(reduction_axes=(0, -1))),
        ValueError,
        "Lift of LayerNorm with reduction_axes=(0, -1) cannot",
    ),
    "a product of one's own": (
        lifted(lambda rngs: nnx.Linear(D, H, dot_general=own_product, rngs=rngs)),
        ValueError,
        "Lift of Linear with dot_general=own_product cannot be represented exactly: its operator has"
        " dot_general=dot_general",
    ),
    "a function of one's own": (
        lifted(nn.Sequential([nn.Dense(H), own_activation])),
        ValueError,
        "Lift of Sequential cannot be represented exactly: ONNX has no activation own_activation",
    ),
    "an activation of recurrent operators only": (
        lifted(nn.Sequential([nn.Dense(H), onnx.ScaledTanh(1.0, 2.0)])),
        ValueError,
        "ONNX has ScaledTanh in recurrent operators only",
    ),
    "params bound with a key": (
        lambda: onnx.to_onnx(
            DROPPED, rx.bind(DROPPED, random_params(Entry("gru", DROPPED), dtype=np.float32), key=jax.random.key(0))
        ),
        TypeError,
        "params.extra is key<fry>[], expected floating-point weights",
    ),
    "params that a module lacks": (
        lambda: onnx.to_onnx(rx.Lift(nn.Dense(H)), {"kernel": np.ones((D, H), np.float32)}),
        ValueError,
        "params of Lift of Dense lacks bias; expected bias, kernel",
    ),
}


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [*(READ_ERRORS | STATE_ERRORS | WRITE_ERRORS).values()],
    ids=[*(READ_ERRORS | STATE_ERRORS | WRITE_ERRORS)],
)
def test_message(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    said = str(caught.value)
    assert said.startswith(("from_onnx: ", "to_onnx: ", "carry_from_onnx: ", "carry_to_onnx: ")) or kind is TypeError
    assert message in said
    assert len(said.splitlines()) == 1


def test_float64_without_x64():
    with jax.enable_x64(False), pytest.raises(TypeError, match=r"R of GRU node 'Y' is float64, which JAX would round"):
        onnx.from_onnx(FORWARD, GRU)


def test_onnx_is_imported_when_it_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"from_onnx needs onnx: pip install onnx"):
        onnx.from_onnx(FORWARD, GRU)
    with pytest.raises(ImportError, match=r"to_onnx needs onnx: pip install onnx"):
        onnx.to_onnx(rx.GRU(H), None)

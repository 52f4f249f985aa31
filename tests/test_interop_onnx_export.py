"""Whole models as ONNX models, run by the specification's own evaluator in float64; their inputs, outputs and nodes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

import rnnjax as rx
from rnnjax.interop import onnx
from tests.registry import VOCABULARY, D, Entry, H, random_carry, random_inputs, random_params

TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
EPSILON = 2.0**-20  # a float32 number, as ONNX keeps it
MODELS = [
    Entry("elman", rx.Elman(H)),
    Entry("lstm", rx.PeepholeLSTM(H)),
    Entry("gru", rx.Backward(rx.GRU(H, reset_after=False))),
    Entry("bidirectional", rx.Bidirectional(rx.LSTM(H), merge="mean")),
    Entry("two_sizes", rx.Bidirectional(rx.GRU(H), rx.GRU(3))),
    Entry("two_resets", rx.Bidirectional(rx.GRU(H), rx.GRU(H, reset_after=False))),
    Entry("with_peepholes_and_without", rx.Bidirectional(rx.LSTM(H), rx.PeepholeLSTM(H))),
    Entry("two_cells", rx.Bidirectional(rx.LearnedCarry(rx.GRU(H)), rx.Backward(rx.LSTM(H)), merge="sum")),
    Entry("backward", rx.Backward(rx.Residual(rx.Bidirectional(rx.LearnedCarry(rx.GRU(D)), merge="sum")))),
    Entry(
        "squared",
        rx.Reparametrize(rx.RecurrentDropout(rx.Elman(H), 0.3), lambda params: params._replace(U=params.U @ params.U)),
    ),
    Entry(
        "deep",
        rx.Chain(
            rx.Lift(nn.Embed(VOCABULARY, D)),
            rx.Chain(rx.Bidirectional(rx.GRU(3)), rx.Dropout(0.2)),
            rx.Lift(nn.LayerNorm(EPSILON)),
            rx.LearnedCarry(rx.LSTM(H)),
            rx.Lift(nn.Sequential([nn.Dense(7, dtype=jnp.float64), nn.tanh, nn.Dense(3, use_bias=False), nn.softmax])),
        ),
        TOKEN,
    ),
    Entry(
        "nnx",
        rx.Chain(
            rx.Lift(
                lambda rngs: nnx.Sequential(
                    nnx.Linear(D, 3, rngs=rngs), nnx.elu, nnx.LayerNorm(3, epsilon=EPSILON, rngs=rngs)
                )
            ),
            rx.TiedDropout(0.1),
            rx.GaussianNoise(0.1),
            rx.GRU(H),
            rx.Lift(lambda rngs: nnx.Linear(H, 3, use_bias=False, rngs=rngs)),
        ),
    ),
]


@pytest.mark.parametrize("with_carry", [False, True], ids=["start", "carry"])
@pytest.mark.parametrize("entry", MODELS, ids=repr)
def test_export_equals_unroll(entry, with_carry):
    """In float64, as the specification's evaluator runs it; tests/peers runs float32 in onnxruntime, with lengths."""
    params, xs = random_params(entry), random_inputs(entry)
    carry = random_carry(entry, params) if with_carry else None
    model = onnx.to_onnx(entry.cell, params, carries=with_carry)
    feeds = {"xs": np.asarray(xs, np.int32) if entry.input_size is TOKEN else np.asarray(xs)}
    found: Any = ReferenceEvaluator(model).run(None, feeds | (onnx.carry_inputs(carry) if with_carry else {}))
    after, ys = rx.unroll(entry.cell, params, xs, carry)
    for a, b in zip(found, [ys, *jax.tree.leaves(after)] if with_carry else [ys], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


FUNCTIONS = (
    nn.relu,
    nn.elu,
    nn.leaky_relu,
    nn.softplus,
    nn.soft_sign,
    nn.hard_sigmoid,
    nn.silu,
    nn.gelu,
    nn.log_softmax,
)


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__name__)
def test_functions_inside_sequential(fn):
    entry = Entry("one", rx.Lift(nn.Sequential([nn.Dense(3), fn])))
    params, xs = random_params(entry, dtype=np.float32), random_inputs(entry, dtype=np.float32)
    found: Any = ReferenceEvaluator(onnx.to_onnx(entry.cell, params)).run(None, {"xs": np.asarray(xs)})
    np.testing.assert_allclose(found[0], rx.unroll(entry.cell, params, xs)[1], rtol=1e-5, atol=1e-5)


def declared(values):
    def axes(value):
        return [axis.dim_value or axis.dim_param for axis in value.type.tensor_type.shape.dim]

    return {
        value.name: (helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type), *axes(value))
        for value in values
    }


def test_inputs_and_outputs_are_as_documented():
    model = rx.Chain(rx.Lift(nn.Embed(VOCABULARY, D)), rx.LSTM(H), rx.Bidirectional(rx.GRU(3)), rx.Lift(nn.Dense(7)))
    params = random_params(Entry("model", model, TOKEN), dtype=np.float32)
    carries = {"1.h": H, "1.c": H, "2.forward": 3, "2.backward": 3}
    graph = onnx.to_onnx(model, params, lengths=True, carries=True).graph
    assert declared(graph.input) == {
        "xs": (np.int32, "time", "batch"),
        "lengths": (np.int32, "batch"),
        **{f"carry_in.{name}": (np.float32, "batch", size) for name, size in carries.items()},
    }
    assert declared(graph.output) == {
        "ys": (np.float32, "time", "batch", 7),
        **{f"carry_out.{name}": (np.float32, "batch", size) for name, size in carries.items()},
    }
    graph = onnx.to_onnx(rx.GRU(H), random_params(Entry("gru", rx.GRU(H)), dtype=np.float16), carries=True).graph
    assert list(declared(graph.input)) == ["xs", "carry_in"]
    assert declared(graph.input)["xs"] == (np.float16, "time", "batch", D)
    assert declared(graph.output) == {"ys": (np.float16, "time", "batch", H), "carry_out": (np.float16, "batch", H)}


def test_only_what_is_needed_is_written():
    """No states without carries, no mask without lengths, tied weights once."""
    cell = rx.Elman(H)
    params = random_params(Entry("elman", cell, H))
    graph = onnx.to_onnx(rx.Chain(cell, cell), (params, params)).graph
    assert [node.op_type for node in graph.node] == ["RNN", "Gather", "RNN", "Gather", "Identity"]
    assert sum(len(tensor.dims) == 3 for tensor in graph.initializer) == 2  # W and R

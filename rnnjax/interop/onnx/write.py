"""``to_onnx``: a whole model as an ONNX model."""

from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Carry, Params
from rnnjax.interop._carries import carry_names
from rnnjax.interop._convert import expect_params, library, refuse
from rnnjax.interop.onnx.graph import Graph
from rnnjax.interop.onnx.layers import write_layer
from rnnjax.recurrence import protocol


def to_onnx(model: Any, params: Params, *, lengths: bool = False, carries: bool = False) -> Any:
    """A model in evaluation as an ONNX model that runs in onnxruntime, for any batch and any number of steps.

    Its inputs and outputs, T and B free, each at least 1::

        xs           input [T, B, D] in the dtype of params; of tokens int32 [T, B]
        lengths      input int32 [B] with lengths=True: the valid steps of each sequence, 0 to T
        carry_in...  inputs [B, H]   with carries=True: the carry to start from
        ys           output [T, B, ...], zero from a sequence's length on
        carry_out... outputs [B, H]  with carries=True: the carry after the last step

    A carry's leaf is named by where it stands: ``carry_in`` for that of a GRU, ``carry_in.h`` and ``carry_in.c`` of an
    LSTM, ``carry_in.1.h`` of an LSTM that is layer 1 of a chain, ``carry_in.forward`` of a bidirectional GRU. A long
    sequence runs in pieces when every ``carry_out`` is fed back as the ``carry_in`` of the same name::

        session = onnxruntime.InferenceSession(to_onnx(model, params, carries=True).SerializeToString())
        feeds = onnx.carry_inputs(model.carry(params, (batch_size,)))            # zeros, or what LearnedCarry learned
        names = [output.name for output in session.get_outputs()]
        for xs in pieces:
            found = dict(zip(names, session.run(None, {"xs": xs, **feeds})))
            ys = found.pop("ys")
            feeds = {name.replace("carry_out", "carry_in"): carry for name, carry in found.items()}

    Without ``carries`` sequences start from the model's own initial carry.

    Args:
      model: ``Elman``, ``LSTM``, ``GRU``, ``PeepholeLSTM`` and ``CoupledLSTM`` with activations that ONNX has; in
        ``Chain``, ``Bidirectional``, ``Backward``, ``Residual``, ``LearnedCarry``, ``Reparametrize``; ``Lift`` of
        Flax's Dense or Linear, Embed, LayerNorm, Sequential; dropout and noise, which evaluation leaves out.
      params: its params, all of one floating-point dtype. onnxruntime runs float32, and float16 in float32; float64
        and bfloat16 give a valid model, for other runtimes.
      lengths: whether the model takes lengths.
      carries: whether it takes and gives carries.

    Returns:
      An ``onnx.ModelProto``, checked by ``onnx.checker``; ``onnx.save(proto, path)`` writes it to a file. Kernels pass
      bit for bit; a gate's bias is the first of ONNX's two, the second is zero.

    Raises:
      ImportError: onnx is not installed.
      TypeError: model is not a cell, lengths or carries not a bool.
      ValueError: a part of the model, an activation or a setting cannot be represented exactly; the message has the
        reason.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, numpy as np, rnnjax as rx
    >>> from onnx.reference import ReferenceEvaluator
    >>> from rnnjax.interop import onnx
    >>> model = rx.Chain(rx.Bidirectional(rx.GRU(2)), rx.Dropout(0.1), rx.Lift(nn.Dense(3)))
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> xs = np.ones((7, 3, 5), np.float32)
    >>> [ys] = ReferenceEvaluator(onnx.to_onnx(model, params)).run(None, {"xs": xs})
    >>> bool(np.allclose(ys, rx.unroll(model, params, xs)[1], atol=1e-6))
    True

    Source: the ONNX specification, opset 22.

    Differs from: PyTorch's and Keras' exporters keep batch first; here, as in the model, time is first.
    """
    onnx = library("to_onnx", "onnx", "onnx")
    _checks.is_cell("to_onnx", "model", model)
    _checks.is_bool("to_onnx", "lengths", lengths)
    _checks.is_bool("to_onnx", "carries", carries)
    expect_params("to_onnx", model, params)
    features = _features(model, params)
    carry = model.carry(params, ())
    g = Graph(onnx, _dtype(params))

    xs_dtype = g.dtype if features else np.dtype(np.int32)
    xs = g.input("xs", xs_dtype, "time", "batch", *features)
    if lengths:
        g.lengths = g.input("lengths", np.dtype(np.int32), "batch")
    start = _inputs(g, carry) if carries else _constants(g, carry)
    after, ys = write_layer(g, model, params, _blank(g, xs, len(features), xs_dtype), start)
    g.output("ys", _blank(g, ys, 1, g.dtype), "time", "batch", "outputs")
    if carries:
        names = jax.tree.leaves(carry_names("carry_out", carry))
        for name, tensor, leaf in zip(names, jax.tree.leaves(after), jax.tree.leaves(carry), strict=True):
            g.output(name, tensor, "batch", *leaf.shape)
    return g.model()


def _features(model: Any, params: Params) -> tuple[Any, ...]:
    """The axes of one unbatched x: none of a token, one of features, with their number where it is known."""
    ndim = protocol.input_ndim(model)
    if ndim not in (0, 1):
        raise refuse("to_onnx", model, f"one x has {ndim} axes; the operators take features or tokens")
    return (protocol.input_size(model, params) or "features",) if ndim else ()


def _dtype(params: Params) -> np.dtype:
    """The one dtype of all weights."""
    return next((leaf.dtype for leaf in jax.tree.leaves(params)), np.dtype(np.float32))


def _inputs(g: Graph, carry: Carry) -> Any:
    """The initial carry as inputs of the model."""
    names = carry_names("carry_in", carry)
    return jax.tree.map(lambda name, leaf: g.input(name, g.dtype, "batch", *leaf.shape), names, carry)


def _constants(g: Graph, carry: Carry) -> Any:
    """The initial carry as it is, for each batch element; "" where all of it is zero, as the operators then have it."""
    if not any(leaf.any() for leaf in jax.tree.leaves(carry)):
        return jax.tree.map(lambda leaf: "", carry)
    batch = g.op("Shape", "xs", start=1, end=2)

    def batched(leaf):
        return g.op("Expand", g.constant(leaf), g.op("Concat", batch, g.constant(leaf.shape), axis=0))

    return jax.tree.map(batched, carry)


def _blank(g: Graph, tensor: str, num_axes: int, dtype: np.dtype) -> str:
    """Zero from each sequence's length on: what masked steps are given, and what they give."""
    if not g.lengths:
        return tensor
    num_steps = g.op("Squeeze", g.op("Shape", "xs", end=1))
    times = g.op("Unsqueeze", g.op("Range", g.constant(0), num_steps, g.constant(1)), g.constant([1]))
    valid = g.op("Less", times, g.op("Cast", g.lengths, to=g.onnx.TensorProto.INT64))
    if num_axes:
        valid = g.op("Unsqueeze", valid, g.constant([2]))
    return g.op("Where", valid, tensor, g.constant(dtype.type(0)))

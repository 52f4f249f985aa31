"""``from_onnx``: an RNN, LSTM or GRU operator as a cell."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.interop._convert import library, to_jax
from rnnjax.interop.onnx.activations import read_activations
from rnnjax.interop.onnx.gates import NUM_ACTIVATIONS, NUM_GATES, Direction, cell_of

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")  # the last two of an LSTM only
_DEFAULTS = {
    "activation_alpha": [],
    "activation_beta": [],
    "activations": None,
    "clip": None,
    "direction": b"forward",
    "hidden_size": None,
    "layout": 0,
}
_OWN_DEFAULTS = {"RNN": {}, "LSTM": {"input_forget": 0}, "GRU": {"linear_before_reset": 0}}
_OWN_ACTIVATIONS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_NUM_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def from_onnx(
    model_or_node: Any,
    weights: Mapping[str, Any] | None = None,
    *,
    node: str | None = None,
    two_biases: bool = False,
) -> tuple[Any, Any]:
    """An RNN, LSTM or GRU operator as a cell, with its weights.

    Direction "reverse" becomes ``Backward(cell)``, "bidirectional" ``Bidirectional(forward, backward)``, whose outputs
    [T, B, 2 H] are ONNX's Y [T, 2, B, H] side by side. What an operator takes at run time is given to ``unroll``::

        h, c = initial_h, initial_c                                     # [num_directions, B, H]
        carry, ys = rx.unroll(cell, params, X, onnx.carry_from_onnx(h, c), mask=rx.length_mask(sequence_lens, T))

    With layout=1 the cell and its params are the same; X is then batch first, so transpose it. A stack has one node a
    layer: convert each by its name, and give the cells to ``Chain``.

    Args:
      model_or_node: an ``onnx.ModelProto`` (from ``onnx.load``), or one node of its graph, an ``onnx.NodeProto``.
      weights: arrays by the names that the node has for its inputs W, R, B and P: needed for a node; for a model they
        come before its initializers and Constant nodes, which need not be there then.
      node: the name of the node, or of one of its outputs, in a model with several recurrent ones.
      two_biases: keep the two biases of B apart, bit for bit, in ``rx.TwoBiases``; else their sum is the one bias.

    Returns:
      ``(cell, params)``: an ``Elman``, ``LSTM``, ``PeepholeLSTM``, ``CoupledLSTM`` (with input_forget) or ``GRU``.
      Kernels pass bit for bit, the two biases of a gate become their sum. Activations with alpha or beta, and
      ``clip``, are the dataclasses of this module.

    Raises:
      ImportError: onnx is not installed.
      TypeError: model_or_node is neither of the two, or weights are not floating point or float64 without x64.
      ValueError: no recurrent node or several, a quantised one, an attribute or activation that ONNX does not have,
        weights that are missing or do not fit; lengths, or initial states other than zero, that the model holds.

    >>> import numpy as np, onnx as onnx_library
    >>> from rnnjax.interop import onnx
    >>> gru = onnx_library.helper.make_node("GRU", ["X", "W", "R"], ["Y"], hidden_size=2, direction="reverse")
    >>> weights = {"W": np.ones((1, 6, 5), np.float32), "R": np.ones((1, 6, 2), np.float32)}
    >>> cell, params = onnx.from_onnx(gru, weights)
    >>> cell, params.W.r.shape
    (Backward(cell=GRU(hidden_size=2, reset_after=False)), (5, 2))

    Source: the ONNX specification, operators RNN, LSTM and GRU, versions 7 to 22.

    Differs from: the specification bounds by ``clip`` the input of the activations, and leaves open how
    ``input_forget`` couples the gates; here, as in onnxruntime, the memory is not bounded where an LSTM makes its
    output, and f = 1 - i. onnxruntime gives zeros for the final states of a sequence of length 0; here they are the
    initial ones.
    """
    onnx = library("from_onnx", "onnx", "onnx")
    _checks.is_bool("from_onnx", "two_biases", two_biases)
    if weights is not None and not isinstance(weights, Mapping):
        raise TypeError(f"from_onnx: weights is of type {type(weights).__name__}, expected arrays by name")
    tensors = dict(weights or {})
    if isinstance(model_or_node, onnx.ModelProto):
        held = _constants(model_or_node.graph)
        model_or_node = _find(model_or_node.graph, node)
        _refuse_held(onnx, model_or_node, held)
        tensors = held | tensors
    elif not isinstance(model_or_node, onnx.NodeProto):
        raise TypeError(
            f"from_onnx: model_or_node is a {type(model_or_node).__name__}, expected an onnx.ModelProto or NodeProto"
        )
    elif not _is_recurrent(model_or_node):
        raise ValueError(f"from_onnx: got {_show(model_or_node)}, expected an RNN, LSTM or GRU of ONNX's own domain")
    way, directions = _directions(onnx, model_or_node, tensors)
    cells, params = zip(*(cell_of(direction, two_biases) for direction in directions), strict=True)
    if way == "bidirectional":
        forward, backward = cells
        return Bidirectional(forward, None if backward == forward else backward), Directions(*params)
    return (Backward(*cells) if way == "reverse" else cells[0]), params[0]


def _is_recurrent(node: Any) -> bool:
    return node.op_type in NUM_GATES and node.domain in ("", "ai.onnx")


def _show(node: Any) -> str:
    return f"{node.op_type} node {node.name or node.output[0]!r}"


def _find(graph: Any, wanted: str | None) -> Any:
    """The one recurrent node of the graph, or the one that is wanted."""
    found = [node for node in graph.node if _is_recurrent(node)]
    if not found:
        kinds = ", ".join(sorted({node.op_type for node in graph.node})) or "nothing"
        raise ValueError(f"from_onnx: the model has no RNN, LSTM or GRU node, it is made of {kinds}")
    shown = ", ".join(map(_show, found))
    if wanted is not None:
        found = [node for node in found if wanted == node.name or wanted in node.output]
    if len(found) != 1:
        asked = "give the name of one as node" if wanted is None else f"node is {wanted!r}"
        raise ValueError(f"from_onnx: the model has {shown}; {asked}")
    return found[0]


def _constants(graph: Any) -> dict[str, Any]:
    """The tensors that the graph holds, by name."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    return held | {node.output[0]: a.t for node in constants for a in node.attribute if a.name == "value"}


def _refuse_held(onnx: ModuleType, node: Any, held: Mapping[str, Any]) -> None:
    """Refuse lengths, and initial states other than zero, that a model holds."""
    for name, tensor in zip(INPUTS, node.input, strict=False):
        at_run_time = name in ("sequence_lens", "initial_h", "initial_c")
        if at_run_time and tensor in held and np.any(_array(onnx, held[tensor])):
            raise ValueError(
                f"from_onnx: {name} of {_show(node)} is held by the model, which a cell cannot: take that input away"
                " and give unroll its value, as mask=rx.length_mask(...) or carry=onnx.carry_from_onnx(...)"
            )


def _directions(onnx: ModuleType, node: Any, tensors: Mapping[str, Any]) -> tuple[str, list[Direction]]:
    """The direction attribute and each direction of one node."""
    op, shown = node.op_type, _show(node)
    settings = _attributes(onnx, node)
    way = settings["direction"].decode()
    _checks.one_of("from_onnx", f"direction of {shown}", way, tuple(_NUM_DIRECTIONS))
    num = _NUM_DIRECTIONS[way]
    activations = _activations(op, shown, num, settings)
    W, R, B, P = _weights(onnx, node, num, settings["hidden_size"], tensors)
    each = NUM_ACTIVATIONS[op]
    own = {name: settings[name] for name in ("clip", *_OWN_DEFAULTS[op]) if settings[name]}
    return way, [
        Direction(op, activations[each * d :][:each], own, W[d], R[d], B[d], None if P is None else P[d])
        for d in range(num)
    ]


def _attributes(onnx: ModuleType, node: Any) -> dict[str, Any]:
    """All attributes of the operator, defaults where the node has none."""
    defaults = _DEFAULTS | _OWN_DEFAULTS[node.op_type]
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    for name in given:
        _checks.one_of("from_onnx", f"an attribute of {_show(node)}", name, tuple(sorted(defaults)))
    settings = defaults | given
    if settings["clip"] is not None and not settings["clip"] > 0:
        raise ValueError(f"from_onnx: clip of {_show(node)} is {settings['clip']}, expected a positive number")
    return settings


def _activations(op: str, shown: str, num: int, settings: dict[str, Any]) -> tuple[Any, ...]:
    """The functions of all directions, one after the other."""
    expected = num * NUM_ACTIVATIONS[op]
    names = [name.decode() for name in settings["activations"] or []] or _OWN_ACTIVATIONS[op] * num
    if op == "RNN" and len(names) == 2:  # the specification's default, for one direction too
        names = names[:num]
    if len(names) != expected:
        raise ValueError(f"from_onnx: {shown} has {len(names)} activations, expected {expected}: {', '.join(names)}")
    return read_activations(names, settings["activation_alpha"], settings["activation_beta"])


def _array(onnx: ModuleType, tensor: Any) -> Any:
    return onnx.numpy_helper.to_array(tensor) if isinstance(tensor, onnx.TensorProto) else tensor


def _weights(
    onnx: ModuleType, node: Any, num: int, hidden_size: int | None, tensors: Mapping[str, Any]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """W, R, B and P of all directions, checked."""
    given = {name: tensor for name, tensor in zip(INPUTS, node.input, strict=False) if tensor}
    shown, G = _show(node), NUM_GATES[node.op_type]

    def weight(name: str, *shape: int | None) -> jax.Array:
        tensor = tensors.get(given.get(name, ""))
        if tensor is None:
            raise ValueError(
                f"from_onnx: {name} of {shown} is {given.get(name)!r}, which is neither an initializer or Constant of"
                " the model nor in weights"
            )
        return to_jax("from_onnx", f"{name} of {shown}", _array(onnx, tensor), (num, *shape))

    H = hidden_size or weight("R", None, None).shape[-1]
    W, R = weight("W", G * H, None), weight("R", G * H, H)
    B = weight("B", 2 * G * H) if "B" in given else jnp.zeros((num, 2 * G * H), W.dtype)
    P = weight("P", 3 * H) if "P" in given else None
    dtypes = {name: array.dtype.name for name, array in zip("WRBP", (W, R, B, P), strict=True) if array is not None}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"from_onnx: weights of {shown} are {dtypes}, expected one dtype")
    return W, R, B, P

"""From PyTorch: a module, or its weights by name."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.cells.projected_lstm import ProjectedLSTM, ProjectedLSTMParams
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.compose.chain import Chain
from rnnjax.compose.regularize import Dropout
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import expect_keys, library, one_dtype, split_gates, to_jax
from rnnjax.interop.torch.tensors import to_numpy

NUM_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}  # by PyTorch's names of the kinds


def from_torch(module: Any, *, two_biases: bool = False) -> tuple[Any, Any]:
    """The cell and params of a PyTorch module.

    ::

        module = torch.nn.LSTM(5, 2, num_layers=2, bidirectional=True)
        cell, params = from_torch(module)
        carry, ys = rx.unroll(cell, params, xs)               # xs [T, B, D], PyTorch's own order of the axes

    Args:
      module: ``nn.RNN``, ``nn.LSTM``, ``nn.GRU``, or ``nn.RNNCell``, ``nn.LSTMCell``, ``nn.GRUCell``.
      two_biases: keep ``bias_ih`` and ``bias_hh`` apart, in ``rx.TwoBiases``; else their sum is the one bias.

    Returns:
      ``(cell, params)``: ``Elman``, ``LSTM``, ``ProjectedLSTM`` or ``GRU``; ``Bidirectional`` of it; a ``Chain`` of
      several layers, with ``Dropout`` between them where the module has it. Params have the module's dtype. Without
      biases they are zero. ``batch_first`` says how PyTorch is called and has no counterpart.

    Raises:
      TypeError: another module, a quantised one, or float64 weights without JAX's 64-bit mode.
      ValueError: weights that are missing, of another shape, or not there yet (on the meta device).
      ImportError: PyTorch is not installed.

    Source: the equations in the documentation of ``torch.nn``, version 2.13.
    """
    kind = _kind(module)
    return _convert("from_torch", module.state_dict(), kind, getattr(module, "dropout", 0.0), two_biases)


def from_state_dict(
    state_dict: Mapping[str, Any], kind: str, *, prefix: str = "", dropout: float = 0.0, two_biases: bool = False
) -> tuple[Any, Any]:
    """The cell and params of weights by name, as ``module.state_dict()`` has them; sizes are read from the shapes.

    Args:
      state_dict: tensors or NumPy arrays, as from ``torch.load`` or ``safetensors.numpy.load_file``; for NumPy arrays
        PyTorch need not be installed.
      kind: ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``.
      prefix: of the names of this module within a larger model, such as ``"encoder.lstm."``; others are left alone.
      dropout: between layers, while training.
      two_biases: as of ``from_torch``.

    Returns:
      ``(cell, params)``, as ``from_torch``.

    Raises:
      ValueError: an unknown kind; names that are missing or too many; shapes of another architecture.
      TypeError: arrays that are not floating-point weights.

    >>> import numpy as np
    >>> from rnnjax.interop.torch import from_state_dict
    >>> weights = {"rnn.weight_ih_l0": np.ones((2, 5), np.float32), "rnn.weight_hh_l0": np.ones((2, 2), np.float32)}
    >>> cell, params = from_state_dict(weights, "RNN_TANH", prefix="rnn.")
    >>> cell, params.W.shape
    (Elman(hidden_size=2), (5, 2))
    """
    owner = "from_state_dict"
    _checks.one_of(owner, "kind", kind, tuple(NUM_GATES))
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{owner}: state_dict is of type {type(state_dict).__name__}, expected arrays by name")
    if not isinstance(prefix, str):
        raise TypeError(f"{owner}: prefix is {prefix!r}, expected the beginning of names, such as 'encoder.lstm.'")
    weights = {name.removeprefix(prefix): array for name, array in state_dict.items() if name.startswith(prefix)}
    if not weights:
        raise ValueError(
            f"{owner}: no name in state_dict starts with {prefix!r}; it has {', '.join(state_dict) or 'none'}"
        )
    return _convert(owner, weights, kind, dropout, two_biases)


def _kind(module: Any) -> str:
    nn = library("from_torch", "torch", "torch").nn
    kind = type(module)
    if kind in (nn.RNN, nn.LSTM, nn.GRU):
        return module.mode
    if kind is nn.RNNCell:
        return f"RNN_{module.nonlinearity.upper()}"
    if kind in (nn.LSTMCell, nn.GRUCell):
        return "LSTM" if kind is nn.LSTMCell else "GRU"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        advice = "which may compute something else; from_state_dict converts the weights"
        raise TypeError(f"from_torch: module is a subclass of PyTorch's, {kind.__name__}, {advice}")
    quantised = "quantized" in kind.__module__
    shown = f"the class {module.__name__}" if isinstance(module, type) else f"of type {kind.__name__}"
    raise TypeError(
        f"from_torch: module is {f'a quantised {kind.__name__}' if quantised else shown}, expected nn.RNN, nn.LSTM,"
        " nn.GRU or one of their cells, with floating-point weights"
    )


def _convert(owner: str, weights: Mapping[str, Any], kind: str, dropout: float, two_biases: bool) -> tuple[Any, Any]:
    """All layers and directions, once every name is as it should be."""
    _checks.is_bool(owner, "two_biases", two_biases)
    num_layers = max(1, sum(name.startswith("weight_hh") and not name.endswith("_reverse") for name in weights))
    ways = ("", "_reverse") if any(name.endswith("_reverse") for name in weights) else ("",)
    kinds = ["weight_ih", "weight_hh"]
    if any(name.startswith("bias_") for name in weights):
        kinds += ["bias_ih", "bias_hh"]
    if kind == "LSTM" and any(name.startswith("weight_hr") for name in weights):
        kinds += ["weight_hr"]
    ends = [[""]] if "weight_ih" in weights else [[f"_l{layer}{way}" for way in ways] for layer in range(num_layers)]
    expect_keys(owner, "state_dict", weights, [name + end for layer in ends for end in layer for name in kinds])
    arrays = {name: to_numpy(owner, name, tensor) for name, tensor in weights.items()}

    layers, num_features = [], None
    for layer in ends:
        if layers and dropout:
            layers.append((Dropout(dropout), ()))
        cells, params = zip(
            *(_direction(owner, kind, arrays, kinds, end, num_features, two_biases) for end in layer), strict=True
        )
        both = len(layer) == 2
        layers.append((Bidirectional(cells[0]), Directions(*params)) if both else (cells[0], params[0]))
        num_features = arrays[f"weight_hh{layer[0]}"].shape[1] * len(layer)
    cells, params = zip(*layers, strict=True)
    one_dtype(owner, params)
    return layers[0] if len(layers) == 1 else (Chain(*cells), params)


def _direction(
    owner: str,
    kind: str,
    arrays: Mapping[str, np.ndarray],
    kinds: list[str],
    end: str,
    num_features: int | None,
    two_biases: bool,
) -> tuple[Any, Any]:
    """One layer in one direction."""

    def array(name: str, *shape: int | None) -> jax.Array:
        return to_jax(f"{owner}: kind {kind}", name + end, arrays[name + end], shape)

    num_outputs = array("weight_hh", None, None).shape[1]
    projected = "weight_hr" in kinds
    H = array("weight_hr", num_outputs, None).shape[1] if projected else num_outputs
    wide = NUM_GATES[kind] * H
    W, U = array("weight_ih", wide, num_features).T, array("weight_hh", wide, num_outputs).T
    if "bias_ih" in kinds:
        b, b_h = array("bias_ih", wide), array("bias_hh", wide)
    else:
        b = b_h = jnp.zeros(wide, W.dtype)
    if kind == "GRU":
        cell, split = GRU(H), lambda array: split_gates(GRUGates, "rzn", array)
        params, second = GRUParams(split(W), split(U), split(b), split(b_h).n), split(b_h)._replace(n=None)
    elif kind == "LSTM":
        split = lambda array: split_gates(LSTMGates, "ifgo", array)
        cell, params, second = LSTM(H), LSTMParams(split(W), split(U), split(b)), split(b_h)
        if projected:
            P = array("weight_hr", num_outputs, H).T
            cell, params = ProjectedLSTM(H, num_outputs), ProjectedLSTMParams(params.W, params.U, P, params.b)
    else:
        cell = Elman(H) if kind == "RNN_TANH" else Elman(H, activation=jax.nn.relu)
        params, second = ElmanParams(W, U, b), b_h
    both = TwoBiasesParams(params, second)
    if two_biases:
        return TwoBiases(cell), both
    return cell, TwoBiases(cell).bind(both).params

"""To PyTorch: the module that computes what a cell computes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.cells.elman import Elman
from rnnjax.cells.gru import GRU
from rnnjax.cells.lstm import LSTM
from rnnjax.cells.projected_lstm import ProjectedLSTM
from rnnjax.compose.bidirectional import Bidirectional
from rnnjax.compose.chain import Chain
from rnnjax.compose.regularize import Dropout
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import expect_params, join_gates, library, refuse
from rnnjax.interop.torch.tensors import to_tensor
from rnnjax.recurrence import protocol


def to_torch(cell: Any, params: Any, *, bias: bool = True) -> Any:
    """The PyTorch module that computes what ``rx.unroll`` of a cell computes.

    ::

        module = to_torch(rx.LSTM(2), params)
        ys, (h, c) = module(xs)                                # xs [T, B, D]

    Args:
      cell: ``Elman`` with tanh or relu, ``LSTM``, ``ProjectedLSTM``, ``GRU(reset_after=True)``; ``TwoBiases`` of one;
        ``Bidirectional`` ("concat") of one; a ``Chain`` of such layers that differ in nothing but params, with no
        ``Dropout`` between them or one rate between all.
      params: of the cell.
      bias: False makes a module without biases; they have to be zero.

    Returns:
      ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` in the dtype of params, on the CPU. One bias becomes ``bias_ih``, beside a
      ``bias_hh`` of zeros.

    Raises:
      ValueError: PyTorch has no module that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell.
      ImportError: PyTorch is not installed.
    """
    _checks.is_bool("to_torch", "bias", bias)
    expect_params("to_torch", cell, params)
    num_features = protocol.input_size(cell, params)
    torch = library("to_torch", "torch", "torch")
    layers = list(zip(cell.layers, params, strict=True)) if isinstance(cell, Chain) else [(cell, params)]
    recurrent = [layer for layer in layers if not isinstance(layer[0], Dropout)]
    dropout = _dropout([layer for layer, _ in layers])
    (first, *_), *others = recurrent
    if any(layer != first for layer, _ in others):
        raise refuse("to_torch", cell, "layers of one PyTorch module differ in nothing but weights; convert each")
    both = isinstance(first, Bidirectional)
    if both and (first.merge != "concat" or first.backward not in (None, first.forward)):
        raise refuse("to_torch", first, "PyTorch puts the outputs of two like directions side by side")
    single = first.forward if both else first
    make, settings = _module(single.cell if isinstance(single, TwoBiases) else single)

    weights = {}
    for index, (layer, part) in enumerate(recurrent):
        ways = dict(zip(("", "_reverse"), part, strict=True)) if isinstance(layer, Bidirectional) else {"": part}
        for way, direction in ways.items():
            weights |= {f"{name}_l{index}{way}": array for name, array in _weights(direction).items()}
    if not bias:
        for name in [name for name in weights if name.startswith("bias")]:
            if np.any(weights.pop(name)):
                raise refuse("to_torch", cell, f"bias is False, but {name} is not zero")
    tensors = {name: to_tensor("to_torch", array) for name, array in weights.items()}
    module = getattr(torch.nn, make)(
        num_features,
        num_layers=len(recurrent),
        bidirectional=both,
        dropout=dropout,
        bias=bias,
        dtype=tensors["weight_ih_l0"].dtype,
        **settings,
    )
    module.load_state_dict(tensors)
    return module


def _dropout(cells: list[Any]) -> float:
    """The rate between layers, where it stands between all of them and nowhere else."""
    between = [isinstance(cell, Dropout) for cell in cells]
    rates = {cell.rate for cell in cells if isinstance(cell, Dropout)}
    if not rates and not any(between):
        return 0.0
    if between != [bool(index % 2) for index in range(len(cells))] or len(cells) % 2 == 0 or len(rates) != 1:
        raise refuse("to_torch", Chain(*cells), "PyTorch has dropout of one rate, between all layers and not after")
    return float(rates.pop())


def _module(cell: Any) -> tuple[str, dict[str, Any]]:
    """PyTorch's class and the settings that are the cell's own."""
    if isinstance(cell, GRU) and not cell.reset_after:
        raise refuse("to_torch", cell, "PyTorch's GRU resets after the recurrent product")
    if isinstance(cell, LSTM | GRU) and (cell.activation, cell.gate_activation) != (jnp.tanh, jax.nn.sigmoid):
        raise refuse("to_torch", cell, "PyTorch's gates are sigmoids, and its candidate is a tanh")
    if isinstance(cell, LSTM) and cell.output_activation not in (None, jnp.tanh):
        raise refuse("to_torch", cell, "PyTorch's output is a gated tanh of the memory")
    if isinstance(cell, Elman) and cell.activation not in (jnp.tanh, jax.nn.tanh, jax.nn.relu):
        raise refuse("to_torch", cell, "PyTorch's RNN has tanh or relu")
    match cell:
        case GRU():
            return "GRU", {"hidden_size": cell.hidden_size}
        case LSTM():
            return "LSTM", {"hidden_size": cell.hidden_size}
        case ProjectedLSTM():
            if cell.output_size >= cell.hidden_size:
                raise refuse("to_torch", cell, "PyTorch's proj_size is smaller than hidden_size")
            return "LSTM", {"hidden_size": cell.hidden_size, "proj_size": cell.output_size}
        case Elman():
            nonlinearity = "relu" if cell.activation is jax.nn.relu else "tanh"
            return "RNN", {"hidden_size": cell.hidden_size, "nonlinearity": nonlinearity}
    raise refuse("to_torch", cell, "PyTorch has no such layer")


def _weights(params: Any) -> dict[str, np.ndarray]:
    """PyTorch's arrays of one layer and direction, by their names."""
    params, b_h = params if isinstance(params, TwoBiasesParams) else (params, jax.tree.map(jnp.zeros_like, params.b))
    if hasattr(params, "b_hn"):
        b_h = b_h._replace(n=params.b_hn)
    order = {3: "rzn", 4: "ifgo"}.get(len(params.b)) if isinstance(params.b, tuple) else None
    joined = (lambda part: join_gates(part, order)) if order else np.asarray
    arrays = {
        "weight_ih": joined(params.W).T,
        "weight_hh": joined(params.U).T,
        "bias_ih": joined(params.b),
        "bias_hh": joined(b_h),
    }
    return arrays | ({"weight_hr": np.asarray(params.P).T} if hasattr(params, "P") else {})

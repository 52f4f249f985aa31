"""The conventions of ONNX's recurrent operators: order of the gates, two biases, kernels that stand upright."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cells.coupled_lstm import CoupledGates, CoupledLSTM, CoupledLSTMParams, CoupledPeepholes
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.cells.peephole_lstm import PeepholeLSTM, PeepholeLSTMParams, Peepholes
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import join_gates, refuse, split_gates
from rnnjax.interop.onnx.activations import Clipped

LSTM_ORDER, PEEPHOLE_ORDER, GRU_ORDER = "iofg", "iof", "zrn"  # ONNX writes iofc and zrh
NUM_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
NUM_ACTIVATIONS = {"RNN": 1, "LSTM": 3, "GRU": 2}


class Direction(NamedTuple):
    """One direction of an RNN, LSTM or GRU operator. G gates, D input, H hidden."""

    op: str  # "RNN", "LSTM" or "GRU"
    activations: tuple[Any, ...]  # in ONNX's order, without clip
    settings: dict[str, Any]  # of clip, input_forget and linear_before_reset those that are set
    W: Any  # [G * H, D]
    R: Any  # [G * H, H]
    B: Any  # [2 * G * H], one after the other
    P: Any = None  # [3 * H], of an LSTM with peepholes


def cell_of(direction: Direction, two_biases: bool = False) -> tuple[Any, Any]:
    """``(cell, params)`` of one direction."""
    clip = direction.settings.get("clip")
    clipped = direction.activations if clip is None else _clip(direction.activations, clip)
    make = {"RNN": _elman, "LSTM": _lstm, "GRU": _gru}[direction.op]
    cell, both = make(direction._replace(activations=clipped))
    return (TwoBiases(cell), both) if two_biases else (cell, TwoBiases(cell).bind(both).params)


def _elman(d: Direction) -> tuple[Any, TwoBiasesParams]:
    W_b, R_b = jnp.split(d.B, 2)
    return Elman(d.R.shape[-1], *d.activations), TwoBiasesParams(ElmanParams(d.W.T, d.R.T, W_b), R_b)


def _lstm(d: Direction) -> tuple[Any, TwoBiasesParams]:
    gate, phi, phi_c = d.activations
    H, activations = d.R.shape[-1], (phi, gate, None if phi_c == phi else phi_c)
    W, U, W_b, R_b = (split_gates(LSTMGates, LSTM_ORDER, array) for array in (d.W.T, d.R.T, *jnp.split(d.B, 2)))
    p = None if d.P is None else split_gates(Peepholes, PEEPHOLE_ORDER, d.P)
    if d.settings.get("input_forget"):  # f = 1 - i: the rows of f are not used
        W, U, W_b, R_b = (CoupledGates(gates.i, gates.g, gates.o) for gates in (W, U, W_b, R_b))
        p = None if p is None else CoupledPeepholes(p.i, p.o)
        cell = CoupledLSTM(H, p is not None, 1.0, *activations)
        return cell, TwoBiasesParams(CoupledLSTMParams(W, U, p, W_b), R_b)
    if p is None:
        return LSTM(H, 1.0, *activations), TwoBiasesParams(LSTMParams(W, U, W_b), R_b)
    return PeepholeLSTM(H, 1.0, *activations), TwoBiasesParams(PeepholeLSTMParams(W, U, p, W_b), R_b)


def _gru(d: Direction) -> tuple[Any, TwoBiasesParams]:
    gate, phi = d.activations
    reset_after = bool(d.settings.get("linear_before_reset"))
    W, U, W_b, R_b = (split_gates(GRUGates, GRU_ORDER, array) for array in (d.W.T, d.R.T, *jnp.split(d.B, 2)))
    cell = GRU(d.R.shape[-1], reset_after, phi, gate)
    if reset_after:  # the candidate's two biases are different parameters
        return cell, TwoBiasesParams(GRUParams(W, U, W_b, R_b.n), R_b._replace(n=None))
    return cell, TwoBiasesParams(GRUParams(W, U, W_b, None), R_b)


def direction_of(cell: Any, params: Any) -> Direction | None:
    """One direction for a cell that is an ONNX operator, None for others."""
    if type(cell) is TwoBiases:
        return _of_two_biases(cell, params)
    make = _DIRECTIONS.get(type(cell))
    if make is None:
        return None
    direction = make(cell, jax.tree.map(np.asarray, params))
    activations, clip = _unclip(cell, direction.activations)
    clip_if_set = {} if clip is None else {"clip": clip}
    return direction._replace(activations=activations, settings=direction.settings | clip_if_set)


def _of_two_biases(cell: TwoBiases, params: TwoBiasesParams) -> Direction | None:
    """The second biases where those of a single one are zero, or the candidate's b_hn."""
    direction, second = direction_of(cell.cell, params.cell), params.b_h
    if direction is None:
        return None
    if isinstance(second, CoupledGates):
        second = LSTMGates(i=second.i, f=np.zeros_like(second.i), g=second.g, o=second.o)
    if isinstance(second, GRUGates) and second.n is None:
        second = second._replace(n=params.cell.b_hn)
    if direction.op != "RNN":
        second = join_gates(second, LSTM_ORDER if direction.op == "LSTM" else GRU_ORDER)
    first = direction.B[: len(direction.B) // 2]
    return direction._replace(B=np.concatenate([first, np.asarray(second)]))


def _of_elman(cell: Elman, params: ElmanParams) -> Direction:
    B = np.concatenate([params.b, np.zeros_like(params.b)])
    return Direction("RNN", (cell.activation,), {}, params.W.T, params.U.T, B)


def _of_lstm(cell: Any, params: Any) -> Direction:
    W, U, b = (join_gates(gates, LSTM_ORDER) for gates in (params.W, params.U, params.b))
    activations = (cell.gate_activation, cell.activation, cell.output_activation or cell.activation)
    return Direction("LSTM", activations, {}, W.T, U.T, np.concatenate([b, np.zeros_like(b)]))


def _of_peephole_lstm(cell: PeepholeLSTM, params: PeepholeLSTMParams) -> Direction:
    return _of_lstm(cell, params)._replace(P=join_gates(params.p, PEEPHOLE_ORDER))


def _of_coupled_lstm(cell: CoupledLSTM, params: CoupledLSTMParams) -> Direction:
    """With zeros in the rows of f."""
    W, U, b = (LSTMGates(i=x.i, f=np.zeros_like(x.i), g=x.g, o=x.o) for x in (params.W, params.U, params.b))
    direction = _of_lstm(cell, LSTMParams(W, U, b))._replace(settings={"input_forget": 1})
    if params.p is None:
        return direction
    p = Peepholes(i=params.p.i, f=np.zeros_like(params.p.i), o=params.p.o)
    return direction._replace(P=join_gates(p, PEEPHOLE_ORDER))


def _of_gru(cell: GRU, params: GRUParams) -> Direction:
    W, U, b = (join_gates(gates, GRU_ORDER) for gates in (params.W, params.U, params.b))
    R_b, settings = np.zeros_like(b), {}
    if cell.reset_after:
        R_b[-cell.hidden_size :] = params.b_hn
        settings = {"linear_before_reset": 1}
    return Direction("GRU", (cell.gate_activation, cell.activation), settings, W.T, U.T, np.concatenate([b, R_b]))


_DIRECTIONS: dict[type, Callable[..., Direction]] = {
    Elman: _of_elman,
    LSTM: _of_lstm,
    PeepholeLSTM: _of_peephole_lstm,
    CoupledLSTM: _of_coupled_lstm,
    GRU: _of_gru,
}


def _clip(activations: tuple[Any, ...], limit: float) -> tuple[Any, ...]:
    """Of the gates and the candidate; that of an LSTM's memory, the third, is not clipped in onnxruntime."""
    return (*(Clipped(fn, limit) for fn in activations[:2]), *activations[2:])


def _unclip(cell: Any, activations: tuple[Any, ...]) -> tuple[tuple[Any, ...], float | None]:
    """The inverse of ``_clip``, with the limit."""
    limits = [fn.limit if isinstance(fn, Clipped) else None for fn in activations]
    if len(set(limits[:2])) > 1 or any(limit is not None for limit in limits[2:]):
        raise refuse(
            "to_onnx", cell, "ONNX clips all activations at one limit or none, but never the output's of an LSTM"
        )
    return tuple(fn.fn if isinstance(fn, Clipped) else fn for fn in activations), limits[0]

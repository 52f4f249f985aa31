"""Each kind of layer as ONNX operators: what its ``unroll`` does, in evaluation."""

from typing import Any

import jax
import numpy as np

from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.compose.carry import LearnedCarry
from rnnjax.compose.chain import Chain
from rnnjax.compose.lift import Lift
from rnnjax.compose.recurrent_dropout import RecurrentDropout
from rnnjax.compose.regularize import Dropout, GaussianNoise, TiedDropout, Zoneout
from rnnjax.compose.reparametrize import Reparametrize
from rnnjax.compose.residual import Residual
from rnnjax.interop._convert import refuse
from rnnjax.interop.onnx.activations import write_activation
from rnnjax.interop.onnx.gates import Direction, direction_of
from rnnjax.interop.onnx.graph import Graph
from rnnjax.interop.onnx.lift import write_module
from rnnjax.recurrence import protocol

_MERGES = {"concat": ("Concat", {"axis": -1}), "sum": ("Add", {}), "mean": ("Mean", {})}


def write_layer(g: Graph, cell: Any, params: Any, xs: str, carry: Any, reverse: bool = False) -> tuple[Any, str]:
    """``(carry, ys)`` of one layer: names for the arrays [B, H] and [T, B, ...] that ``unroll`` would give.

    The names of a carry are all "" if sequences start from zeros.
    """
    cell, params = _in_evaluation(cell, params)
    direction = direction_of(cell, params)
    if direction is not None:
        return _recurrent(g, cell, [direction], "reverse" if reverse else "forward", xs, [carry])[0]
    make = _LAYERS.get(type(cell))
    if make is None:
        reason = _REASONS.get(type(cell), "ONNX has RNN, LSTM and GRU operators, but none for this recurrence")
        raise refuse("to_onnx", cell, reason)
    return make(g, cell, params, xs, carry, reverse)


def _in_evaluation(cell: Any, params: Any) -> tuple[Any, Any]:
    """The cell inside wrappers that change nothing once params are bound and there is no key."""
    if type(cell) is LearnedCarry:
        return _in_evaluation(cell.cell, params.cell)
    if type(cell) in (RecurrentDropout, Reparametrize):
        return _in_evaluation(cell.cell, protocol.bound(cell, params, (), None).params)
    return cell, params


def _identity(g: Graph, cell: Any, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    return carry, xs


def _lift(g: Graph, cell: Lift, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    return carry, write_module(g, cell.module, params, xs)


def _chain(g: Graph, cell: Chain, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    after = []
    for part, part_params, part_carry in zip(cell.layers, params, carry, strict=True):
        part_carry, xs = write_layer(g, part, part_params, xs, part_carry, reverse)
        after.append(part_carry)
    return tuple(after), xs


def _residual(g: Graph, cell: Residual, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    carry, ys = write_layer(g, cell.cell, params, xs, carry, reverse)
    return carry, g.op("Add", xs, ys)


def _backward(g: Graph, cell: Backward, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    return write_layer(g, cell.cell, params, xs, carry, not reverse)


def _bidirectional(g: Graph, cell: Bidirectional, params: Any, xs: str, carry: Any, reverse: bool) -> tuple[Any, str]:
    if callable(cell.merge):
        raise refuse("to_onnx", cell, "its merge is a function; 'concat', 'sum' and 'mean' can be written")
    cells = Directions(cell.forward, cell.forward if cell.backward is None else cell.backward)
    directions = [direction_of(*_in_evaluation(*pair)) for pair in zip(cells, params, strict=True)]
    if not reverse and _fit_one_operator(*directions):
        results = _recurrent(g, cell, directions, "bidirectional", xs, carry)
    else:
        results = [
            write_layer(g, cells.forward, params.forward, xs, carry.forward, reverse),
            write_layer(g, cells.backward, params.backward, xs, carry.backward, not reverse),
        ]
    after, ys = zip(*results, strict=True)
    kind, attributes = _MERGES[cell.merge]
    return Directions(*after), g.op(kind, *ys, **attributes)


def _fit_one_operator(a: Direction | None, b: Direction | None) -> bool:
    """Whether two directions differ in weights and activations only."""
    if a is None or b is None:
        return False
    return (a.op, a.settings, a.P is None, a.R.shape) == (b.op, b.settings, b.P is None, b.R.shape)


def _recurrent(g: Graph, cell: Any, directions: Any, way: str, xs: str, carries: Any) -> list[tuple[Any, str]]:
    """``(carry, ys)`` for each direction of one RNN, LSTM or GRU operator."""
    first = directions[0]
    weights = {name: [getattr(d, name) for d in directions] for name in ("WRB" if first.P is None else "WRBP")}
    W, R, B, *P = (g.constant(np.stack(arrays)) for arrays in weights.values())
    states, structures = zip(*map(jax.tree.flatten, carries), strict=True)
    starts = [_stacked(g, names) for names in zip(*states, strict=True)]
    Y, *finals = g.ops(
        first.op,
        (xs, W, R, B, g.lengths, *starts, *P),
        1 + len(starts),
        hidden_size=first.R.shape[-1],
        direction=way,
        **_activations(cell, directions),
        **first.settings,
    )
    if g.lengths and any(starts):  # onnxruntime gives zeros for a sequence of length 0, not the state it started from
        finals = [_kept(g, *pair) for pair in zip(starts, finals, strict=True)]
    results = []
    for index, structure in enumerate(structures):
        at = g.constant(index)
        after = structure.unflatten(g.op("Gather", final, at, axis=0) for final in finals)
        results.append((after, g.op("Gather", Y, at, axis=1)))
    return results


def _activations(cell: Any, directions: list[Direction]) -> dict[str, list]:
    """The attributes activations, activation_alpha and activation_beta."""
    names, numbers = zip(*(write_activation(cell, fn) for d in directions for fn in d.activations), strict=True)
    lists = {f"activation_{kind}": [each[kind] for each in numbers if kind in each] for kind in ("alpha", "beta")}
    return {"activations": list(names)} | {name: values for name, values in lists.items() if values}


def _stacked(g: Graph, states: tuple[str, ...]) -> str:
    """[num_directions, B, H] from one [B, H] for each direction."""
    if "" in states:
        return ""
    rows = [g.op("Unsqueeze", state, g.constant([0])) for state in states]
    return rows[0] if len(rows) == 1 else g.op("Concat", *rows, axis=0)


def _kept(g: Graph, start: str, final: str) -> str:
    """The final states, those of empty sequences as they started."""
    lengths = g.op("Unsqueeze", g.lengths, g.constant([1]))
    return g.op("Where", g.op("Greater", lengths, g.constant(np.int32(0))), final, start)


_LAYERS = {
    Chain: _chain,
    Residual: _residual,
    Backward: _backward,
    Bidirectional: _bidirectional,
    Lift: _lift,
    Dropout: _identity,
    TiedDropout: _identity,
    GaussianNoise: _identity,
}
_REASONS = {
    Zoneout: "in evaluation its carry is a mean of the old and the new one, which no ONNX operator has",
}

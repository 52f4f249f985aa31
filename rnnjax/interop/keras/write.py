"""To Keras: the layer that computes what a cell computes."""

import dataclasses
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr

from rnnjax import _checks
from rnnjax.cells.elman import Elman
from rnnjax.cells.gru import GRU
from rnnjax.cells.lstm import LSTM
from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Bidirectional
from rnnjax.compose.chain import Chain
from rnnjax.compose.recurrent_dropout import RecurrentDropout
from rnnjax.compose.regularize import Dropout, TiedDropout
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import join_gates, library, refuse, to_jax
from rnnjax.interop.keras.activations import FUNCTIONS
from rnnjax.interop.keras.read import GRU_ORDER, LSTM_ORDER, MERGES
from rnnjax.recurrence import protocol

_LEAVES = Elman | LSTM | GRU | TwoBiases
_CELLS = _LEAVES | RecurrentDropout


def to_keras(cell: Any, params: Any, *, use_bias: bool = True) -> Any:
    """The Keras 3 layer that computes what ``rx.unroll`` of a cell computes, with any backend.

    ::

        layer = to_keras(rx.LSTM(2), params)
        ys = layer(xs, mask=mask)                              # xs [B, T, D], mask [B, T]

    Args:
      cell: ``Elman``, ``LSTM``, ``GRU``, with activations that Keras has; ``TwoBiases`` of a ``GRU`` that resets after;
        ``RecurrentDropout`` of one of these, for ``LSTM`` and ``GRU`` with a mask ``per_gate``; ``Bidirectional`` of
        one, of one after ``TiedDropout``, or of a ``Chain`` of them; ``Dropout``, ``TiedDropout``; a ``Chain`` of any
        of these, ``Backward`` of any.
      params: of the cell.
      use_bias: False makes layers without biases; they have to be zero.

    Returns:
      A built layer, ``Sequential`` of a chain, in the dtype of params, with ``return_sequences=True``, and
      ``zero_output_for_mask=True`` so that outputs at masked steps are those of ``rx.unroll`` too. To have the states
      beside the outputs, set ``layer.return_state = True``.

    Raises:
      ValueError: Keras has no layer that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell, or of several dtypes.
      ImportError: Keras is not installed.

    Differs from: Keras gives outputs of a backward layer in the order of processing, from the last step to the first,
    and does not reverse the mask for a layer after it. Its tanh on JAX rounds float64 to float32.
    """
    _checks.is_cell("to_keras", "cell", cell)
    _checks.is_bool("to_keras", "use_bias", use_bias)
    protocol.input_size(cell, params)  # a cell that knows its own params refuses others
    arrays = jax.tree.map_with_path(lambda path, leaf: to_jax("to_keras", f"params{keystr(path)}", leaf), params)
    dtypes = sorted({str(array.dtype) for array in jax.tree.leaves(arrays)})
    if len(dtypes) > 1:
        raise refuse("to_keras", cell, f"params are {' and '.join(dtypes)}, and a Keras layer has one dtype")
    keras = library("to_keras", "keras", "keras, and set KERAS_BACKEND=jax")
    writer = _Writer(keras, dtypes[0] if dtypes else None, use_bias)

    layers, weights = [], []
    flipped = False  # whether the layers so far give their outputs from the last step to the first
    for part, part_params, against in _row(cell, arrays):
        layer, part_weights = writer.layer(part, part_params, against != flipped)
        layers.append(layer)
        weights += part_weights
        flipped = against if part_weights else flipped
    model = keras.Sequential(layers) if isinstance(cell, Chain) or len(layers) > 1 else layers[0]
    model.build((None, None, len(weights[0]) if weights else None))
    shapes, expected = [array.shape for array in weights], [tuple(variable.shape) for variable in model.weights]
    if shapes != expected:
        raise ValueError(f"to_keras: params of {cell} have weights of the shapes {shapes}, but Keras makes {expected}")
    model.set_weights(weights)
    return model


def _row(cell: Any, params: Any, against: bool = False) -> Iterator[tuple[Any, Any, bool]]:
    """The layers of a chain, and of chains within; each with its params, and whether it goes against time."""
    match cell:
        case Backward(cell=Chain(layers=layers)) if all(isinstance(layer, _CELLS) for layer in layers):
            yield cell.cell, params, not against  # the cells of one RNN, under one mask
        case Backward():
            yield from _row(cell.cell, params, not against)
        case Chain():
            for layer, part in zip(cell.layers, params, strict=True):
                yield from _row(layer, part, against)
        case _:
            yield cell, params, against


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Makes layers that are not built yet, each with its weights in Keras's order."""

    keras: ModuleType
    dtype: str | None
    use_bias: bool

    def layer(self, cell: Any, params: Any, go_backwards: bool) -> tuple[Any, list[np.ndarray]]:
        """One layer of a stack."""
        layers = self.keras.layers
        match cell:
            case Dropout():
                return layers.Dropout(float(cell.rate), dtype=self.dtype), []
            case TiedDropout():
                return layers.SpatialDropout1D(float(cell.rate), dtype=self.dtype), []
            case Bidirectional():
                modes = [mode for mode, merge in MERGES.items() if merge == cell.merge]
                if not modes:
                    raise refuse("to_keras", cell, "Keras merges by concat, sum, mean, jnp.multiply or rx.Directions")
                other = cell.forward if cell.backward is None else cell.backward
                forward, ahead = self.one_way(cell.forward, params.forward, go_backwards)
                backward, back = self.one_way(other, params.backward, not go_backwards)
                both = layers.Bidirectional(forward, modes[0], backward_layer=backward, dtype=self.dtype)
                return both, ahead + back
        return self.one_way(cell, params, go_backwards)

    def one_way(self, cell: Any, params: Any, go_backwards: bool) -> tuple[Any, list[np.ndarray]]:
        """A layer of one direction, or several as the cells of one."""
        layers = self.keras.layers
        flags = {"return_sequences": True, "zero_output_for_mask": True, "go_backwards": go_backwards}
        if isinstance(cell, Chain) and not isinstance(cell.layers[0], TiedDropout):
            parts = [self.settings(*part) for part in zip(cell.layers, params, strict=True)]
            cells = [getattr(layers, f"{kind}Cell")(**settings) for kind, settings, _ in parts]
            return layers.RNN(cells, dtype=self.dtype, **flags), [array for *_, own in parts for array in own]
        kind, settings, weights = self.settings(cell, params)
        return getattr(layers, kind)(**settings, **flags), weights

    def settings(self, cell: Any, params: Any) -> tuple[str, dict[str, Any], list[np.ndarray]]:
        """Keras's name of a cell, all its settings and its weights."""
        kind, settings, (W, U, b) = _settings(cell, params)
        if not self.use_bias and np.any(b):
            raise refuse("to_keras", cell, "use_bias is False, but a bias is not zero")
        settings |= {"use_bias": self.use_bias, "dtype": self.dtype}
        settings |= {"recurrent_initializer": "glorot_uniform"}  # Keras draws no orthogonal matrix in half precision
        return kind, settings, [W, U, b] if self.use_bias else [W, U]


def _settings(cell: Any, params: Any) -> tuple[str, dict[str, Any], list[np.ndarray]]:
    """Keras's name of a cell, the settings that are its own, and its kernels and biases."""
    if isinstance(cell, _LEAVES):
        _check(cell, params)
    match cell:
        case Chain(layers=(TiedDropout() as dropout, within)) if isinstance(within, _CELLS):
            kind, settings, weights = _settings(within, params[1])
            if "recurrent_dropout" in settings and kind != "SimpleRNN":
                raise refuse("to_keras", cell, "with recurrent dropout Keras draws a mask of the inputs for each gate")
            return kind, settings | {"dropout": float(dropout.rate)}, weights
        case RecurrentDropout() if isinstance(cell.cell, _LEAVES):
            kind, settings, weights = _settings(cell.cell, params)
            if kind != "SimpleRNN" and not cell.per_gate:
                raise refuse("to_keras", cell, "Keras draws a mask for each gate, as per_gate=True does")
            return kind, settings | {"recurrent_dropout": float(cell.rate)}, weights
        case Elman():
            settings = {"units": cell.hidden_size, "activation": _activation(cell, "activation")}
            return "SimpleRNN", settings, [np.asarray(array) for array in params]
        case LSTM():
            if cell.output_activation not in (None, cell.activation):
                raise refuse("to_keras", cell, "Keras has one activation for the candidate and the memory")
            return "LSTM", _gated(cell), [join_gates(part, LSTM_ORDER) for part in params]
        case GRU(reset_after=True):
            b_h = jax.tree.map(jnp.zeros_like, params.b)._replace(n=None)
            return _settings(TwoBiases(cell), TwoBiasesParams(params, b_h))
        case GRU():
            weights = [join_gates(part, GRU_ORDER) for part in (params.W, params.U, params.b)]
            return "GRU", _gated(cell) | {"reset_after": False}, weights
        case TwoBiases(cell=GRU(reset_after=True) as gru):
            (W, U, b, b_hn), b_h = params
            rows = [join_gates(part, GRU_ORDER) for part in (b, b_h._replace(n=b_hn))]
            return "GRU", _gated(gru), [join_gates(W, GRU_ORDER), join_gates(U, GRU_ORDER), np.stack(rows)]
    raise refuse("to_keras", cell, "Keras has no recurrent layer that computes this")


def _check(cell: Any, params: Any) -> None:
    """Refuse params whose shapes are not those that ``cell.init`` gives."""
    size, dtype = protocol.input_size(cell, params), jax.tree.leaves(params)[0].dtype
    own = jax.eval_shape(lambda key: cell.init(key, size), jax.random.key(0))
    expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), own)
    _checks.same_tree("to_keras", "params", params, expected, f"{cell}.init(key, {size})")


def _gated(cell: Any) -> dict[str, Any]:
    activations = {"activation": "activation", "recurrent_activation": "gate_activation"}
    return {"units": cell.hidden_size} | {theirs: _activation(cell, ours) for theirs, ours in activations.items()}


def _activation(cell: Any, which: str) -> str:
    fn = getattr(cell, which)
    for name, ours in FUNCTIONS.items():
        if ours is fn:
            return name
    raise refuse("to_keras", cell, f"Keras has no {which} that is {getattr(fn, '__name__', fn)}")

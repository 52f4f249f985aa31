"""From Keras: a layer, or a stack of them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.compose.backward import Backward
from rnnjax.compose.bidirectional import Bidirectional, Directions
from rnnjax.compose.chain import Chain
from rnnjax.compose.recurrent_dropout import RecurrentDropout
from rnnjax.compose.regularize import Dropout, TiedDropout
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import library, refuse, split_gates, to_jax
from rnnjax.interop.keras.activations import FUNCTIONS

MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": jnp.multiply, None: Directions}  # by Keras's names
LSTM_ORDER, GRU_ORDER = "ifgo", "zrn"

_EXPECTED = (
    "a built SimpleRNN, LSTM, GRU, RNN of their cells, Bidirectional, Dropout, SpatialDropout1D,"
    " or a Sequential or list of these"
)


def from_keras(layer: Any, *, two_biases: bool = False) -> tuple[Any, Any]:
    """The cell and params of a Keras 3 layer, of any backend.

    ::

        layer = keras.layers.GRU(2, return_sequences=True)
        layer.build((None, None, 5))
        cell, params = from_keras(layer)
        carry, ys = rx.unroll(cell, params, xs, mask=mask)     # xs [T, B, D], mask [T, B]: Keras has the batch first

    What Keras is told by flags is said by calls here::

        return_sequences=False      rx.last(ys, mask); or h of the carry, for a backward layer and for both directions
        return_state, stateful      the carry, whose leaves stand in the order of Keras's states: h, c; then backward
        zero_output_for_mask=False  rx.repeat_last(ys, mask), with reverse=True for a backward layer
        dropout, recurrent_dropout  act where rx.unroll is given a key

    Args:
      layer: ``SimpleRNN``, ``LSTM``, ``GRU``, or ``RNN`` of ``SimpleRNNCell``, ``LSTMCell``, ``GRUCell``, a list of
        them, or ``StackedRNNCells``; ``Bidirectional`` of such; ``Dropout``, ``SpatialDropout1D``; ``Sequential``, or
        a list, of such layers; one of the cells.
      two_biases: keep the two rows of the biases of ``GRU(reset_after=True)`` apart, bit for bit, in
        ``rx.TwoBiases``; else the rows of z and r are one, their sum.

    Returns:
      ``(cell, params)``: ``Elman``, ``LSTM`` or ``GRU``, in ``Backward`` where it goes backward; ``Bidirectional``,
      whose merge mode None is ``merge=rx.Directions``, the pair; a ``Chain`` of a stack. ``dropout`` is a
      ``TiedDropout`` before the cell, ``recurrent_dropout`` a ``RecurrentDropout`` around it. Params have the dtype of
      the layer's variables. Without biases they are zero. Initialisers, constraints and regularisers stay behind.

    Raises:
      TypeError: another layer, or float64 weights without JAX's 64-bit mode.
      ValueError: a layer that is not built; an activation without counterpart in JAX; dropout of the inputs with a mask
        for each gate; a layer in the middle of a stack that gives its last output only.
      ImportError: Keras is not installed.

    Differs from: ``go_backwards=True`` gives outputs in the order of processing, ours stand at their own times; a layer
    after it, which Keras gives reversed sequences, here goes the other way, but Keras does not reverse its mask. The
    tanh of Keras on JAX rounds float64 to float32, ours does not.

    Source: ``keras/src/layers/rnn`` of Keras 3.15.
    """
    _checks.is_bool("from_keras", "two_biases", two_biases)
    keras = library("from_keras", "keras", "keras, and set KERAS_BACKEND=jax")
    row = list(_row(keras, layer))
    if not row:
        raise ValueError(f"from_keras: layer is empty, expected {_EXPECTED}")
    converted, against = [], False  # against: the outputs come from the last step to the first
    for part in row:
        cell, params = _layer(keras, part, two_biases)
        against ^= _goes_backward(part)
        converted.append((Backward(cell) if against and params else cell, params))
    recurrent = (part for part in row if hasattr(part, "return_sequences"))
    for part, after in pairwise(recurrent):
        if not part.return_sequences:
            raise ValueError(
                f"from_keras: {_name(part)} gives its last output only, expected return_sequences=True,"
                f" as {_name(after)} comes after it"
            )
    if row[0] is layer:
        return converted[0]
    cells, all_params = zip(*converted, strict=True)
    return Chain(*cells), all_params


def _row(keras: ModuleType, layer: Any) -> Iterator[Any]:
    """The layers of a stack, and of stacks within."""
    if isinstance(layer, list | tuple | keras.Sequential):
        for part in layer.layers if isinstance(layer, keras.Sequential) else layer:
            yield from _row(keras, part)
    elif not isinstance(layer, keras.layers.InputLayer):
        yield layer


def _goes_backward(layer: Any) -> bool:
    return getattr(getattr(layer, "forward_layer", layer), "go_backwards", False)


def _name(layer: Any) -> str:
    return f"{type(layer).__name__} {layer.name!r}"


def _layer(keras: ModuleType, layer: Any, two_biases: bool) -> tuple[Any, Any]:
    """One layer; of which direction is the caller's to see. Subclasses may compute something else, so are not taken."""
    kind, layers = type(layer), keras.layers
    if kind is layers.Bidirectional:
        forward, backward = (_layer(keras, part, two_biases) for part in (layer.forward_layer, layer.backward_layer))
        cells, params = Directions(forward[0], backward[0]), Directions(forward[1], backward[1])
        other = None if cells.backward == cells.forward else cells.backward
        return Bidirectional(cells.forward, other, merge=MERGES[layer.merge_mode]), params
    if kind in (layers.SimpleRNN, layers.LSTM, layers.GRU, layers.RNN):
        return _cell(keras, layer.cell, _name(layer), two_biases)
    if kind in (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell, layers.StackedRNNCells):
        return _cell(keras, layer, _name(layer), two_biases)
    if kind is layers.SpatialDropout1D:
        return TiedDropout(layer.rate), ()
    if kind is layers.Dropout:
        if layer.noise_shape is not None:
            reason = "rx.Dropout draws a mask for every element; SpatialDropout1D has one for all steps"
            raise refuse("from_keras", f"{_name(layer)} with noise_shape={layer.noise_shape}", reason)
        return Dropout(layer.rate), ()
    if kind is layers.Masking:
        advice = f"leave it out and give rx.unroll mask=(xs != {layer.mask_value}).any(-1)"
        raise refuse("from_keras", _name(layer), f"it makes a mask of the inputs; {advice}")
    shown = f"the class {layer.__name__}" if isinstance(layer, type) else f"of type {kind.__name__}"
    raise TypeError(f"from_keras: layer is {shown}, expected {_EXPECTED}")


def _cell(keras: ModuleType, cell: Any, name: str, two_biases: bool) -> tuple[Any, Any]:
    """The cell within a layer of that name."""
    kind, layers = type(cell), keras.layers
    if kind is layers.StackedRNNCells:
        cells, params = zip(*(_cell(keras, part, name, two_biases) for part in cell.cells), strict=True)
        return Chain(*cells), params
    if kind not in (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell):
        raise TypeError(
            f"from_keras: {name} has a cell of type {kind.__name__}, expected SimpleRNNCell, LSTMCell, GRUCell or"
            " StackedRNNCells"
        )
    if not cell.built:
        raise ValueError(
            f"from_keras: {name} is not built, so it has no weights; call it once, or its build((None, None, D))"
        )
    W, U, b = (_array(keras, cell, name, kernel) for kernel in ("kernel", "recurrent_kernel", "bias"))
    H, phi = cell.units, _activation(keras, cell, name, "activation")
    if kind is layers.SimpleRNNCell:
        ours, params = Elman(H, phi), ElmanParams(W, U, b)
    elif kind is layers.LSTMCell:
        split = lambda array: split_gates(LSTMGates, LSTM_ORDER, array)
        gate = _activation(keras, cell, name, "recurrent_activation")
        ours, params = LSTM(H, activation=phi, gate_activation=gate), LSTMParams(split(W), split(U), split(b))
    else:
        gate = _activation(keras, cell, name, "recurrent_activation")
        ours, params = _gru(GRU(H, cell.reset_after, phi, gate), W, U, b, two_biases)
    return _with_dropout(cell, name, ours, params)


def _gru(cell: GRU, W: jax.Array, U: jax.Array, b: jax.Array, two_biases: bool) -> tuple[Any, Any]:
    split = lambda array: split_gates(GRUGates, GRU_ORDER, array)
    if not cell.reset_after:
        return cell, GRUParams(split(W), split(U), split(b), None)
    b_x, b_h = split(b[0]), split(b[1])
    both = TwoBiasesParams(GRUParams(split(W), split(U), b_x, b_h.n), b_h._replace(n=None))
    return (TwoBiases(cell), both) if two_biases else (cell, TwoBiases(cell).bind(both).params)


def _array(keras: ModuleType, cell: Any, name: str, kernel: str) -> jax.Array:
    """A variable of a cell; zeros for biases that are not used."""
    if kernel == "bias" and not cell.use_bias:
        W = _array(keras, cell, name, "kernel")
        two_rows = isinstance(cell, keras.layers.GRUCell) and cell.reset_after
        return jnp.zeros((2, W.shape[1]) if two_rows else W.shape[1], W.dtype)
    return to_jax("from_keras", f"{kernel} of {name}", keras.ops.convert_to_numpy(getattr(cell, kernel)))


def _activation(keras: ModuleType, cell: Any, name: str, which: str) -> Callable:
    """A function of Keras as one of JAX; a user's function stays what it is, where it is one of JAX."""
    fn = getattr(cell, which)
    for keras_name, ours in FUNCTIONS.items():
        if fn is getattr(keras.activations, keras_name, None):
            return ours
    if keras.backend.backend() == "jax" and not (getattr(fn, "__module__", None) or "").startswith("keras."):
        return fn
    shown = getattr(fn, "__name__", type(fn).__name__)
    reason = f"JAX has no such function; give a function of JAX, or one of {', '.join(FUNCTIONS)}"
    raise refuse("from_keras", f"{which} {shown} of {name}", reason)


def _with_dropout(cell: Any, name: str, ours: Any, params: Any) -> tuple[Any, Any]:
    """What Keras drops while it trains, with one mask for all steps."""
    gated = not isinstance(ours, Elman)
    if cell.recurrent_dropout:
        ours = RecurrentDropout(ours, cell.recurrent_dropout, per_gate=gated)
    if not cell.dropout:
        return ours, params
    if gated and cell.implementation == 1:
        reason = "it draws a mask of the inputs for each gate; for evaluation alone set the dropout of its cell to 0"
        raise refuse("from_keras", f"dropout={cell.dropout} of {name}", reason)
    return Chain(TiedDropout(cell.dropout), ours), ((), params)

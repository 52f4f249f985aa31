"""Weights from and to Equinox's cells."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.interop._convert import expect_params, join_gates, library, one_dtype, refuse, split_gates, to_jax


def from_equinox(cell: Any) -> tuple[Any, Any]:
    """The cell and params of an Equinox cell.

    ::

        cell, params = from_equinox(eqx.nn.GRUCell(5, 2, key=key))

    Args:
      cell: ``eqx.nn.LSTMCell`` or ``eqx.nn.GRUCell``.

    Returns:
      ``(cell, params)``: ``LSTM`` or ``GRU``. Without biases they are zero.

    Raises:
      TypeError: another module.
      ValueError: arrays of other shapes than its settings say.
      ImportError: Equinox is not installed.

    Source: ``equinox.nn``, equinox 0.13.
    """
    owner = "from_equinox"
    nn = library(owner, "equinox.nn", "equinox")
    if type(cell) not in (nn.LSTMCell, nn.GRUCell):
        shown = f"the class {cell.__name__}" if isinstance(cell, type) else f"of type {type(cell).__name__}"
        raise TypeError(f"{owner}: cell is {shown}, expected eqx.nn.LSTMCell or eqx.nn.GRUCell, not a subclass")
    D, H = cell.input_size, cell.hidden_size
    gates, order = (LSTMGates, "ifgo") if isinstance(cell, nn.LSTMCell) else (GRUGates, "rzn")
    wide = len(order) * H

    def array(name: str, *shape: int) -> jax.Array:
        if name.startswith("bias") and not cell.use_bias:
            return jnp.zeros(shape, cell.weight_ih.dtype)
        return to_jax(owner, name, getattr(cell, name), shape)

    W, U = array("weight_ih", wide, D).T, array("weight_hh", wide, H).T
    W, U, b = (split_gates(gates, order, part) for part in (W, U, array("bias", wide)))
    if isinstance(cell, nn.LSTMCell):
        return LSTM(H), one_dtype(owner, LSTMParams(W, U, b))
    return GRU(H), one_dtype(owner, GRUParams(W, U, b, array("bias_n", H)))


def to_equinox(cell: Any, params: Any, *, use_bias: bool = True) -> Any:
    """The Equinox cell that computes what a cell computes.

    Args:
      cell: ``LSTM`` or ``GRU(reset_after=True)``.
      params: of the cell.
      use_bias: False makes a cell without biases; they have to be zero.

    Returns:
      ``eqx.nn.LSTMCell`` or ``eqx.nn.GRUCell``, in the dtype of params.

    Raises:
      ValueError: Equinox has no cell that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell.
      ImportError: Equinox is not installed.
    """
    owner = "to_equinox"
    _checks.is_cell(owner, "cell", cell)
    _checks.is_bool(owner, "use_bias", use_bias)
    if not isinstance(cell, LSTM | GRU):
        raise refuse(owner, cell, "Equinox has no such cell")
    if isinstance(cell, GRU) and not cell.reset_after:
        raise refuse(owner, cell, "Equinox's GRU resets after the recurrent product")
    if (cell.activation, cell.gate_activation) != (jnp.tanh, jax.nn.sigmoid) or (
        isinstance(cell, LSTM) and cell.output_activation not in (None, jnp.tanh)
    ):
        raise refuse(owner, cell, "Equinox's gates are sigmoids, the other activations tanh")
    expect_params(owner, cell, params)
    D = cell.input_size(params)
    if not use_bias and any(np.any(b) for b in jax.tree.leaves((params.b, getattr(params, "b_hn", None)))):
        raise refuse(owner, cell, "use_bias is False, but the biases are not zero")
    eqx = library(owner, "equinox", "equinox")
    order = "ifgo" if isinstance(cell, LSTM) else "rzn"
    arrays = {"weight_ih": join_gates(params.W, order).T, "weight_hh": join_gates(params.U, order).T}
    if use_bias:
        arrays |= {"bias": join_gates(params.b, order)} | ({"bias_n": params.b_hn} if order == "rzn" else {})
    make = eqx.nn.LSTMCell if isinstance(cell, LSTM) else eqx.nn.GRUCell
    dtype = params.W[0].dtype
    made = make(D, cell.hidden_size, use_bias=use_bias, dtype=dtype, key=jax.random.key(0))
    read = lambda module: [getattr(module, name) for name in arrays]
    return eqx.tree_at(read, made, [jnp.asarray(array) for array in arrays.values()])

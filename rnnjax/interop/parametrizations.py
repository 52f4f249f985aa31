"""Constants that other libraries add at run time, as functions for ``rx.Reparametrize``: the weights stay as stored."""

import jax.numpy as jnp

from rnnjax.cells.elman import ElmanParams
from rnnjax.cells.lstm import LSTMParams


def add_forget_bias(params: LSTMParams) -> LSTMParams:
    """Haiku's and TensorFlow 1's LSTM: 1 is added to the forget gate's bias."""
    return params._replace(b=params.b._replace(f=params.b.f + 1))


def add_identity(params: ElmanParams) -> ElmanParams:
    """Flax's ``SimpleCell(residual=True)``: the old state is added before the activation."""
    return params._replace(U=params.U + jnp.eye(len(params.U), dtype=params.U.dtype))

"""Keras on JAX: ``LSTM``, ``GRU`` and ``SimpleRNN``, batch-major, as its layers are."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax.numpy as jnp
import keras

from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.sizes import Size


def lstm(params):
    """Gates in the order i f c o, as ours."""
    return [jnp.concatenate(gates, axis=-1) for gates in params]


def gru(params):
    """Gates in the order z r h; two rows of biases, added together but for the candidate's."""
    join = lambda gates: jnp.concatenate([gates.z, gates.r, gates.n], axis=-1)
    b, b_hn = params.b, params.b_hn
    rows = join(b._replace(z=b.z / 2, r=b.r / 2)), join(b._replace(z=b.z / 2, r=b.r / 2, n=b_hn))
    return [join(params.W), join(params.U), jnp.stack(rows)]


CELLS = {
    "LSTM": (keras.layers.LSTM, lstm),
    "GRU": (keras.layers.GRU, gru),
    "Elman": (keras.layers.SimpleRNN, list),
}


def make(cell_name: str, size: Size) -> JaxPeer:
    """Through ``stateless_call``, Keras's own way to a pure function."""
    cell, convert = CELLS[cell_name]
    layer = cell(size.H, return_sequences=True)
    layer.build((size.B, size.T, size.I))
    fixed = [variable.value for variable in layer.non_trainable_variables]
    return JaxPeer(lambda weights, xs: layer.stateless_call(weights, fixed, xs)[0], convert, batch_major=True)

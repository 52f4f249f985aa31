"""Equinox: ``LSTMCell`` and ``GRUCell``, vmapped over the batch in a ``lax.scan``; it has no simple recurrent cell."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.sizes import Size


def lstm(params):
    W, U, b = (jnp.concatenate(gates, axis=-1).T for gates in params)
    return {"weight_ih": W, "weight_hh": U, "bias": b}


def gru(params):
    W, U, b = (jnp.concatenate(gates, axis=-1).T for gates in params[:3])
    return {"weight_ih": W, "weight_hh": U, "bias": b, "bias_n": params.b_hn}


CELLS = {"LSTM": (eqx.nn.LSTMCell, lstm), "GRU": (eqx.nn.GRUCell, gru)}


def make(cell_name: str, size: Size) -> JaxPeer | None:
    """A module of Equinox is the pytree of its weights."""
    if cell_name not in CELLS:
        return None
    make_cell, weights_of = CELLS[cell_name]
    drawn = make_cell(size.I, size.H, key=jax.random.key(0))

    def convert(params):
        weights = weights_of(params)
        return eqx.tree_at(lambda cell: [getattr(cell, name) for name in weights], drawn, list(weights.values()))

    def apply(cell, xs):
        def step(state, x):
            after = jax.vmap(cell)(x, state)
            return after, after[0] if isinstance(after, tuple) else after

        zeros = jnp.zeros((size.B, size.H))
        return jax.lax.scan(step, (zeros, zeros) if cell_name == "LSTM" else zeros, xs)[1]

    return JaxPeer(apply, convert)

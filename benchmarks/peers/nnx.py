"""Flax NNX: ``nnx.RNN`` of ``OptimizedLSTMCell``, ``GRUCell`` and ``SimpleCell``."""

import jax
import jax.numpy as jnp
from flax import nnx

import rnnjax as rx
from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.sizes import Size


def lstm(params):
    W, U, b = (jnp.concatenate(gates, axis=-1) for gates in params)
    return {"dense_i": {"kernel": W}, "dense_h": {"kernel": U, "bias": b}}


def gru(params):
    """No bias for the candidate's recurrent product."""
    W, U, b = (jnp.concatenate(gates, axis=-1) for gates in params[:3])
    return {"dense_i": {"kernel": W, "bias": b}, "dense_h": {"kernel": U}}


def elman(params):
    return {"dense_i": {"kernel": params.W, "bias": params.b}, "dense_h": {"kernel": params.U}}


CELLS = {"LSTM": (nnx.OptimizedLSTMCell, lstm), "GRU": (nnx.GRUCell, gru), "Elman": (nnx.SimpleCell, elman)}


def make(cell_name: str, size: Size, batch_major: bool = False) -> JaxPeer:
    """Time-major or as Flax has it, and its parameters broadcast: by default they are carried from step to step."""
    cell, convert = CELLS[cell_name]
    axes = nnx.StateAxes({nnx.Param: None, ...: nnx.Carry})
    rnn = nnx.RNN(cell(size.I, size.H, rngs=nnx.Rngs(0)), time_major=not batch_major, state_axes=axes)
    graph, state, rest = nnx.split(rnn, nnx.Param, ...)

    def apply(weights, xs):
        filled = nnx.map_state(lambda path, variable: variable.replace(_at(weights, path)), state)
        fresh = jax.tree.map(lambda leaf: leaf, rest)  # its counts change in the call: only those made here may
        ys = nnx.merge(graph, filled, fresh)(xs)
        assert isinstance(ys, jax.Array)
        return ys

    def without_b_hn(params, xs):
        return rx.unroll(rx.GRU(size.H), params._replace(b_hn=jnp.zeros(size.H)), xs, method="scan")[1]

    return JaxPeer(apply, convert, without_b_hn if cell_name == "GRU" else None, batch_major)


def _at(weights, path):
    _, *names = path  # the first is "cell"
    for name in names:
        weights = weights[name]
    return weights

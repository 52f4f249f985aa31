"""Flax linen: ``nn.RNN`` of ``OptimizedLSTMCell``, ``GRUCell`` and ``SimpleCell``."""

import flax.linen as nn
import jax

from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.sizes import Size


def lstm(params):
    """Kernels without a bias for x, with one for h."""
    W, U, b = params
    inputs = {f"i{gate}": {"kernel": getattr(W, gate)} for gate in W._fields}
    return inputs | {f"h{gate}": {"kernel": getattr(U, gate), "bias": getattr(b, gate)} for gate in U._fields}


def gru(params):
    """Biases with x, and one for the candidate with h."""
    W, U, b, b_hn = params
    inputs = {f"i{gate}": {"kernel": getattr(W, gate), "bias": getattr(b, gate)} for gate in W._fields}
    return inputs | {"hr": {"kernel": U.r}, "hz": {"kernel": U.z}, "hn": {"kernel": U.n, "bias": b_hn}}


def elman(params):
    return {"i": {"kernel": params.W, "bias": params.b}, "h": {"kernel": params.U}}


CELLS = {"LSTM": (nn.OptimizedLSTMCell, lstm), "GRU": (nn.GRUCell, gru), "Elman": (nn.SimpleCell, elman)}


def make(cell_name: str, size: Size, batch_major: bool = False) -> JaxPeer:
    """Time-major, as rnnjax is, or batch-major, as Flax is where nothing is said."""
    cell, convert = CELLS[cell_name]
    rnn = nn.RNN(cell(size.H), time_major=not batch_major)

    def apply(weights, xs):
        ys = rnn.apply({"params": {"cell": weights}}, xs)
        assert isinstance(ys, jax.Array)
        return ys

    return JaxPeer(apply, convert, batch_major=batch_major)

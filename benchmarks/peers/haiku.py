"""Haiku: ``dynamic_unroll`` of ``LSTM``, ``GRU`` (reset before the product) and ``VanillaRNN`` (ReLU).

It has no other GRU and no other activation: these two rows are of cells that do a little less work than the rest.
"""

import haiku as hk
import jax
import jax.numpy as jnp

import rnnjax as rx
from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.sizes import Size


def lstm(params):
    """One kernel for x and h, gates in the order i g f o, 1 added to f when it runs."""
    W, U, b = (jnp.concatenate([gates.i, gates.g, gates.f, gates.o], axis=-1) for gates in params)
    one = jnp.repeat(jnp.array([0.0, 0.0, 1.0, 0.0]), params.b.f.shape[-1])
    return {"lstm/linear": {"w": jnp.concatenate([W, U]), "b": b - one}}


def gru(params):
    """Gates in the order z r a, and 1 - z in place of z."""
    W, U, b = (jnp.concatenate([-gates.z, gates.r, gates.n], axis=-1) for gates in params[:3])
    return {"gru": {"w_i": W, "w_h": U, "b": b}}


def elman(params):
    return {"vanilla_rnn/linear": {"w": params.W, "b": params.b}, "vanilla_rnn/linear_1": {"w": params.U}}


CELLS = {
    "LSTM": (hk.LSTM, lstm),
    "GRU": (hk.GRU, gru),
    "Elman": (lambda hidden_size: hk.VanillaRNN(hidden_size, double_bias=False), elman),
}


def make(cell_name: str, size: Size) -> JaxPeer:
    """Time-major, as rnnjax is."""
    cell, convert = CELLS[cell_name]

    def net(xs):
        core = cell(size.H)
        return hk.dynamic_unroll(core, xs, core.initial_state(size.B))[0]

    apply = hk.without_apply_rng(hk.transform(net)).apply
    references = {
        "GRU": lambda params, xs: rx.unroll(rx.GRU(size.H, False), params._replace(b_hn=None), xs, method="scan")[1],
        "Elman": lambda params, xs: rx.unroll(rx.Elman(size.H, jax.nn.relu), params, xs, method="scan")[1],
    }
    return JaxPeer(apply, convert, references.get(cell_name))

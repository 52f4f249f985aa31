"""A cell that the library has never seen: the textbook's LSTM, wide kernels and sliced gates, as a user writes it."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.peers.ours import unrolled
from benchmarks.sizes import PASSES, draw
from benchmarks.suites import Options, labels
from benchmarks.timing import Row, measure

OURS, SCAN = "rnnjax", "lax.scan"


def one_kernel(hidden_size: int) -> rx.Cell:
    """[x, h] times one kernel [D + H, 4 H]."""

    def init(key, input_size):
        return {"W": jax.random.normal(key, (input_size + hidden_size, 4 * hidden_size)), "b": _zeros(hidden_size)}

    def step(params, carry, x):
        h, c = carry
        return _gates(jnp.concatenate([x, h], axis=-1) @ params["W"] + params["b"], c)

    return rx.Cell(init=init, carry=_carry, step=step)


def two_kernels(hidden_size: int) -> rx.Cell:
    """Kernels [D, 4 H] and [H, 4 H]."""

    def init(key, input_size):
        W, U = (jax.random.normal(key, (size, 4 * hidden_size)) for size in (input_size, hidden_size))
        return {"W": W, "U": U, "b": _zeros(hidden_size)}

    def step(params, carry, x):
        h, c = carry
        return _gates(x @ params["W"] + h @ params["U"] + params["b"], c)

    return rx.Cell(init=init, carry=_carry, step=step)


def _zeros(hidden_size):
    return jnp.zeros(4 * hidden_size)


def _carry(params, batch_shape=()):
    h = jnp.zeros((*batch_shape, params["b"].shape[-1] // 4), params["b"].dtype)
    return h, h


def _gates(a, c):
    H = c.shape[-1]
    i = sigmoid(a[..., :H])
    f = sigmoid(a[..., H : 2 * H])
    g = jnp.tanh(a[..., 2 * H : 3 * H])
    o = sigmoid(a[..., 3 * H :])
    c = f * c + i * g
    h = o * jnp.tanh(c)
    return (h, c), h


CELLS = {"LSTM, one kernel": one_kernel, "LSTM, two kernels": two_kernels}


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each form, size and pass."""
    for cell_name, make in CELLS.items():
        for size in options.sizes:
            cell = make(size.H)
            params, xs = draw(cell, size)

            def by_hand(params, xs, cell=cell, size=size):
                return jax.lax.scan(partial(cell.step, params), cell.carry(params, (size.B,)), xs)[1]

            for pass_name in PASSES:
                ours = unrolled(cell).contender(OURS, pass_name, params, xs)
                scan = JaxPeer(by_hand).contender(SCAN, pass_name, params, xs)
                check_same(f"{cell_name} {size}", pass_name, ours.result, scan.result)
                yield measure(labels("user", cell_name, size, pass_name), [ours, scan], options.effort)

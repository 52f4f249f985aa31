"""Our Flax modules against Flax's own, on [B, T, I] as Flax has it, and on [T, B, I] against ``rx.unroll``.

What is timed is the compiled program. ``nnx.jit`` adds the time it takes to flatten a module's variables at each call.
"""

from collections.abc import Iterator

import jax

import rnnjax.flax.linen as our_linen
import rnnjax.flax.nnx as our_nnx
from benchmarks.agreement import check_same
from benchmarks.peers import Peer, linen, nnx
from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.peers.ours import unrolled
from benchmarks.sizes import CELLS, PASSES, draw
from benchmarks.suites import Options, labels
from benchmarks.suites.peers import expected_of
from benchmarks.timing import Row, measure
from rnnjax._types import CellLike

UNROLL = "rx.unroll"
OURS = {"nnx": "NNX module", "linen": "linen module"}  # in the place of Flax's
TIME_FIRST = " (time_major)"


def nnx_module(cell: CellLike, time_major: bool) -> JaxPeer:
    """``rnnjax.flax.nnx.RNN``."""
    return JaxPeer(
        lambda params, xs: our_nnx.RNN(cell, params=params, time_major=time_major)(xs), batch_major=not time_major
    )


def linen_module(cell: CellLike, time_major: bool) -> JaxPeer:
    """``rnnjax.flax.linen.RNN``."""
    rnn = our_linen.RNN(cell, time_major=time_major)

    def apply(weights, xs):
        ys = rnn.apply({"params": weights}, xs)
        assert isinstance(ys, jax.Array)
        return ys

    return JaxPeer(apply, our_linen.from_cell_params, batch_major=not time_major)


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each cell, size and pass."""
    for cell_name in options.cells:
        for size in options.sizes:
            cell = CELLS[cell_name](size.H)
            params, xs = draw(cell, size)
            sides: dict[str, Peer] = {
                UNROLL: unrolled(cell),
                OURS["nnx"]: nnx_module(cell, time_major=False),
                OURS["nnx"] + TIME_FIRST: nnx_module(cell, time_major=True),
                OURS["linen"]: linen_module(cell, time_major=False),
                OURS["linen"] + TIME_FIRST: linen_module(cell, time_major=True),
                "nnx": nnx.make(cell_name, size, batch_major=True),
                "linen": linen.make(cell_name, size, batch_major=True),
            }
            for pass_name in PASSES:
                contenders = {name: side.contender(name, pass_name, params, xs) for name, side in sides.items()}
                for name, side in sides.items():
                    expected = expected_of(side, contenders[UNROLL], pass_name, params, xs)
                    check_same(f"{name} {cell_name} {size}", pass_name, contenders[name].result, expected)
                yield measure(labels("flax", cell_name, size, pass_name), list(contenders.values()), options.effort)

"""rnnjax and the plain scan against other libraries: the same weights, inputs, values and gradients."""

from collections.abc import Iterator
from typing import Any

from benchmarks.agreement import check_same
from benchmarks.peers import Peer, make
from benchmarks.peers.jax_peer import JaxPeer
from benchmarks.peers.ours import unrolled
from benchmarks.sizes import CELLS, PASSES, draw
from benchmarks.suites import Options, labels
from benchmarks.timing import Contender, Row, measure

OURS, SCAN = "rnnjax", "scan"


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each cell, size and pass."""
    for cell_name in options.cells:
        for size in options.sizes:
            cell = CELLS[cell_name](size.H)
            params, xs = draw(cell, size)
            sides: dict[str, Peer] = {OURS: unrolled(cell), SCAN: unrolled(cell, method="scan")}
            sides |= {name: peer for name in options.peers if (peer := make(name, cell_name, size))}
            for pass_name in PASSES:
                contenders = {name: side.contender(name, pass_name, params, xs) for name, side in sides.items()}
                for name, side in sides.items():
                    expected = expected_of(side, contenders[SCAN], pass_name, params, xs)
                    check_same(f"{name} {cell_name} {size}", pass_name, contenders[name].result, expected)
                yield measure(labels("peers", cell_name, size, pass_name), list(contenders.values()), options.effort)


def expected_of(side: Peer, ours: Contender, pass_name: str, params: Any, xs: Any) -> Any:
    """What a side must give: our result, or that of its own reference."""
    if side.reference is None:
        return ours.result
    return JaxPeer(side.reference).contender("reference", pass_name, params, xs).result

"""Cells that are linear in their carry: the associative method against the scan."""

from collections.abc import Iterator

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.peers.ours import unrolled
from benchmarks.sizes import PASSES, Size, draw
from benchmarks.suites import Options, labels
from benchmarks.timing import Row, measure

CELLS = {"LRU": rx.LRU, "MinGRU": rx.MinGRU}
LENGTHS = (1_000, 10_000)
METHODS = ("associative", "scan")


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each cell, length and pass."""
    for cell_name, make in CELLS.items():
        for T in (T for T in options.lengths if T in LENGTHS):
            size = Size(T, 1, 64, 64)
            cell = make(size.H)
            params, xs = draw(cell, size)
            for pass_name in PASSES:
                contenders = [
                    unrolled(cell, method=method).contender(method, pass_name, params, xs) for method in METHODS
                ]
                check_same(f"{cell_name} {size}", pass_name, *(contender.result for contender in contenders))
                yield measure(labels("linear", cell_name, size, pass_name), contenders, options.effort)

"""Long sequences: what each memory setting costs in time and saves in memory, training an LSTM."""

from collections.abc import Iterator

import rnnjax as rx
from benchmarks.agreement import check_same
from benchmarks.peers.jax_peer import training
from benchmarks.peers.ours import unrolled
from benchmarks.sizes import Size, draw
from benchmarks.suites import Options, labels
from benchmarks.timing import Contender, Row, compiled, measure

SIZES = {T: Size(T, B, H, H) for T, B, H in ((1_000, 16, 64), (10_000, 16, 64), (100_000, 4, 128))}
SETTINGS = {
    "scan": {"method": "scan"},
    "auto": {},
    "preactivations": {"memory": "preactivations"},
    "carries": {"memory": "carries"},
    "edges": {"memory": "edges"},
}
LIMIT = 8 * 2**30  # bytes of temporary memory; what needs more is compiled and not run


def run(options: Options) -> Iterator[list[Row]]:
    """Rows of each length; a setting that needs too much memory has a row without a time."""
    for T in options.lengths:
        size = SIZES[T]
        cell = rx.LSTM(size.H)
        params, xs = draw(cell, size)
        label = labels("long", "LSTM", size, "training")
        left_out: list[Row] = []
        contenders: list[Contender] = []
        for name, settings in SETTINGS.items():
            step = training(unrolled(cell, **settings).apply)
            contender = compiled(name, step, params, xs, limit_bytes=LIMIT)
            if not isinstance(contender, Contender):
                left_out.append(label | contender)
                continue
            if contenders:
                first = contenders[0]
                check_same(f"{name} against {first.variant}, T={T}", "training", contender.result, first.result)
                contender.result = None  # hundreds of megabytes
            contenders.append(contender)
        if contenders:
            contenders[0].result = None
        yield left_out + (measure(label, contenders, options.effort) if contenders else [])

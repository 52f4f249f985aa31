"""What is measured: one file a suite, each a generator ``run(options)`` of lists of rows measured in turn."""

import dataclasses

from benchmarks.sizes import CELLS, LENGTHS, POPULATIONS, SIZES, Size
from benchmarks.timing import Effort

NAMES = ("peers", "user", "flax", "long", "linear", "population", "fit", "sweep")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user asked for."""

    cells: tuple[str, ...] = tuple(CELLS)  # of the suites peers and flax
    sizes: tuple[Size, ...] = SIZES  # of the suites peers, user and flax
    peers: tuple[str, ...] = ()
    lengths: tuple[int, ...] = LENGTHS  # T of the suites long and linear
    populations: tuple[int, ...] = POPULATIONS
    effort: Effort = dataclasses.field(default_factory=Effort)


def labels(suite: str, cell_name: str, size: Size, pass_name: str) -> dict:
    """The part of a row that says what was measured."""
    return {"suite": suite, "cell": cell_name, **size._asdict(), "pass": pass_name}

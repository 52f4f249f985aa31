"""Measure rnnjax against its peers, check first that all compute the same, and keep the rows.

python -m benchmarks                                     all suites, flax linen and torch as peers
python -m benchmarks --suite peers --cells LSTM --sizes 100,32,64,128 --peers all
python -m benchmarks --suite long --lengths 1000         what the memory settings cost and save
python -m benchmarks --quick                             a minute, to see that all works; rows go to out/benchmarks
python -m benchmarks --report                            the summary of the rows that are stored
python -m benchmarks --readme                            writes it between the markers of README.md

Rows go to OUT/cpu.json (gpu.json on a GPU) with versions and machine, and a picture beside it. A row measured anew
takes the place of the old one, all others stay; after Ctrl-C all rows measured so far are there.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch and the suites apart share a GPU with JAX

import jax

from benchmarks import machine, peers, suites, timing
from benchmarks.errors import BenchmarkError
from benchmarks.report.picture import draw_picture
from benchmarks.report.table import readme_block, summary, write_between_markers
from benchmarks.sizes import CELLS, LENGTHS, POPULATIONS, SIZES, Size
from benchmarks.store import Results
from benchmarks.suites import apart

HERE = Path(__file__).parent
BUSY = 0.75  # running threads a core
QUICK = suites.Options(
    sizes=SIZES[:1], lengths=LENGTHS[:1], populations=POPULATIONS[:1], effort=timing.Effort(rounds=3, budget=0.5)
)


class Parser(argparse.ArgumentParser):
    """Errors in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message}\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options."""
    defaults = suites.Options()
    parser = Parser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--suite", nargs="+", choices=suites.NAMES, default=suites.NAMES, metavar="SUITE", help=_list(suites.NAMES))
    add(
        "--cells",
        nargs="+",
        choices=CELLS,
        default=defaults.cells,
        metavar="CELL",
        help=_list(CELLS, "of peers and flax"),
    )
    sizes = " ".join(map(str, SIZES))
    add("--sizes", nargs="+", type=size, metavar="T,B,I,H", help=f"of the suites peers, user and flax: {sizes}")
    choices = ("default", "all", "none", *peers.ALL)
    add("--peers", nargs="+", choices=choices, default=("default",), metavar="PEER", help=_list(choices, "libraries"))
    add("--lengths", nargs="+", type=int, choices=LENGTHS, metavar="T", help=_list(LENGTHS, "of long and linear"))
    add("--populations", nargs="+", type=int, choices=POPULATIONS, metavar="N", help=_list(POPULATIONS, "models"))
    add("--rounds", type=positive_int, help="most runs of each, in turn with what it is compared with (15)")
    add("--budget", type=positive, metavar="SECONDS", help="no further round after this many, but 5 in any case (3)")
    add(
        "--quick",
        action="store_true",
        help="the least size, length, population; 3 rounds; rows to out/benchmarks",
    )
    add("--out", type=Path, metavar="DIR", help="where rows and picture go (benchmarks/results)")
    add("--report", action="store_true", help="measure nothing, print the summary of the rows in OUT")
    add(
        "--readme",
        nargs="?",
        type=Path,
        const=HERE.parent / "README.md",
        metavar="FILE",
        help="measure nothing, write the table of the rows in OUT between\n"
        "<!-- benchmarks --> and <!-- /benchmarks --> of FILE (README.md)",
    )
    return parser.parse_args(argv)


def _list(names, of: str = "") -> str:
    return f"{of}: {', '.join(map(str, names))}".removeprefix(": ")


def size(text: str) -> Size:
    """One of ``SIZES``."""
    known = {str(each): each for each in SIZES}
    if text not in known:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {' '.join(known)})")
    return known[text]


def positive_int(text: str) -> int:
    """At least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def positive(text: str) -> float:
    """Above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def options_of(args: argparse.Namespace) -> suites.Options:
    """What was asked for, over what is usual."""
    usual = QUICK if args.quick else suites.Options()
    named = {"none": (), "default": peers.DEFAULT, "all": peers.ALL}
    chosen = [name for choice in args.peers for name in named.get(choice, (choice,))]
    return suites.Options(
        cells=tuple(args.cells),
        sizes=tuple(args.sizes or usual.sizes),
        peers=tuple(dict.fromkeys(chosen)),
        lengths=tuple(args.lengths or usual.lengths),
        populations=tuple(args.populations or usual.populations),
        effort=timing.Effort(args.rounds or usual.effort.rounds, args.budget or usual.effort.budget),
    )


def measure(names: Sequence[str], options: suites.Options, results: Results, argv: Sequence[str]) -> None:
    """Run the suites, and keep the rows as they come."""
    machine.use_float32()
    timing.start()
    run = machine.describe()
    if (run["machine"]["load"] or 0) > BUSY * machine.num_cores() and not apart.is_apart():
        print("benchmarks: this machine is busy: no time will hold, PyTorch's least of all", file=sys.stderr)
    if not set(names) <= set(apart.NAMES) and len(jax.local_devices(backend="cpu")) > 1:
        raise BenchmarkError(f"these suites run on one host device: unset {apart.VARIABLE} (or XLA_FLAGS)")
    if "peers" in names:  # before an hour of measuring rather than after it
        for name in options.peers:
            peers.make(name, options.cells[0], SIZES[0])
    for name in names:
        if name in apart.NAMES and not apart.is_apart():
            _measure_apart(name, results, argv)
            continue
        for rows in importlib.import_module(f"benchmarks.suites.{name}").run(options):
            results.add(rows, run)
            print(line(rows), flush=True)


def _measure_apart(name: str, results: Results, argv: Sequence[str]) -> None:
    status = apart.run_apart(name, argv)
    results.load()
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise BenchmarkError(f"the suite {name} ended early: see above")


def line(rows: Sequence[timing.Row]) -> str:
    """Rows measured in turn, for a person who waits."""
    row = rows[0]
    where = f"{row['suite']} {row['cell']} {row['T']},{row['B']},{row['I']},{row['H']} {row['pass']}"
    if "models" in row:
        where += f" {row['models']} models"
    times = (f"{r['variant']} {r['ms']:.1f} ms" if r["ms"] else f"{r['variant']} {r['note']}" for r in rows)
    return f"{where}: {', '.join(times)}"


def main(argv: Sequence[str]) -> int:
    """The command; its exit status."""
    args = parse(argv)
    folder = args.out or (HERE.parent / "out/benchmarks" if args.quick else HERE / "results")
    try:
        if args.readme:
            write_between_markers(args.readme, readme_block(folder, args.readme.parent))
            return 0
        results = Results(folder / f"{jax.default_backend()}.json")
        if not args.report:
            try:
                measure(args.suite, options_of(args), results, argv)
            except KeyboardInterrupt:
                if not apart.is_apart():  # the process that started this one says it
                    print(f"benchmarks: stopped; the rows measured so far are in {results.path}", file=sys.stderr)
                return 130
            if apart.is_apart():
                return 0
        if not results.rows:
            raise BenchmarkError(f"{results.path} holds no rows yet: run python -m benchmarks")
        draw_picture(results.rows, results.path.with_suffix(".png"))
        print(f"\n{summary(results)}\n\nAll rows: {results.path}")
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

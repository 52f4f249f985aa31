"""The figures that rnnjax is held to, computed from rows."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence

from benchmarks.sizes import CELLS, PASSES, POPULATIONS
from benchmarks.suites import fit, flax, sweep
from benchmarks.suites.peers import OURS
from benchmarks.suites.population import ONE_BY_ONE
from benchmarks.timing import Row

BEST_OF = ("linen", "haiku")  # "the best JAX peer" is the better of these, size by size
# (required, aim), two cores
AGAINST_JAX = {"LSTM": (0.80, 0.60), "GRU": (0.85, 0.60), "Elman": (0.85, 0.60)}
AGAINST_TORCH = {"LSTM": (1.05, 0.90), "GRU": (0.35, 0.25), "Elman": (0.40, 0.30)}
FORWARD, ANY_ROW, FIRST_CALL = (1.00, 0.75), (1.10, 1.05), (2.0, 1.5)
USER, LINEAR = (0.80, 0.65), (0.7, 0.4)
MODULE_UNROLL, MODULE_REPLACED = (1.10, None), (1.0, 0.8)
MEMORY = {"auto": (0.65, 0.5), "edges": (0.25, 0.15)}
EDGES_TIME, LONGEST_GIB = (1.7, None), (4.0, None)
POPULATION_BOTH, POPULATION_ONE = (0.60, 0.40), (1.0, 0.7)
FIT, SWEEP, MANY_GIB = (1.03, None), (0.60, 0.40), (2.0, None)
NONE = (None, None)


@dataclasses.dataclass(frozen=True)
class Claim:
    """One figure; smaller is better."""

    text: str
    value: float
    required: float | None = None
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """Which of the two holds; empty where there is neither."""
        if self.aim is not None and self.value <= self.aim:
            return "aim"
        if self.required is None:
            return ""
        return "required" if self.value <= self.required else "**missed**"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Every figure that the rows are enough for."""
    parts = (_peers, _user, _flax, _long, _linear, _population, _fit, _sweep)
    return [claim for part in parts for claim in part(rows)]


def select(rows: Sequence[Row], **labels) -> list[Row]:
    """Rows whose labels are these."""
    return [row for row in rows if all(row.get(name) == value for name, value in labels.items())]


def ratio(row: Row, subject: str) -> float:
    """The subject's time over this row's, of the run in which both took turns."""
    return row["together"][subject] / row["together"][row["variant"]]


def best_ratios(rows: Sequence[Row], subject: str, others: Sequence[str]) -> list[float]:
    """The subject's time over the best of the others', size by size."""
    by_size: dict[tuple, float] = {}
    for row in rows:
        if row["variant"] in others:
            size = row["T"], row["B"], row["I"], row["H"]
            by_size[size] = max(by_size.get(size, 0.0), ratio(row, subject))
    return list(by_size.values())


def _mean(text: str, ratios: Sequence[float], limits: tuple) -> Iterator[Claim]:
    if ratios:
        count = "" if len(ratios) == 6 else f" ({len(ratios)} of 6 sizes)"
        yield Claim(text + count, statistics.geometric_mean(ratios), *limits)


def _peers(rows: Sequence[Row]) -> Iterator[Claim]:
    rows = select(rows, suite="peers")
    for pass_name, jax_limits, torch_limits in (
        ("training", AGAINST_JAX, AGAINST_TORCH),
        ("forward", dict.fromkeys(CELLS, FORWARD), dict.fromkeys(CELLS, NONE)),
    ):
        for cell in CELLS:
            chosen = select(rows, cell=cell, **{"pass": pass_name})
            present = [name for name in BEST_OF if select(chosen, variant=name)]
            for names, limits in ((present, jax_limits[cell]), (["torch"], torch_limits[cell]), (["scan"], NONE)):
                text = f"{cell} {pass_name} / {' or '.join(names).replace('scan', 'plain scan')}"
                yield from _mean(text, best_ratios(chosen, OURS, names), limits)
    scans = select(rows, variant="scan", **{"pass": "training"})
    if scans:
        worst = max(scans, key=lambda row: ratio(row, OURS))
        where = f"{worst['cell']} {worst['T']},{worst['B']},{worst['I']},{worst['H']} training"
        yield Claim(f"worst single row / plain scan: {where}", ratio(worst, OURS), *ANY_ROW)
    for cell in CELLS:
        chosen = select(rows, cell=cell, **{"pass": "training"})
        pairs = zip(select(chosen, variant=OURS), select(chosen, variant="scan"), strict=True)
        ratios = [ours["first_call_s"] / scan["first_call_s"] for ours, scan in pairs]
        yield from _mean(f"{cell} training, first call / plain scan's", ratios, FIRST_CALL)


def _user(rows: Sequence[Row]) -> Iterator[Claim]:
    rows = select(rows, suite="user")
    for cell in dict.fromkeys(row["cell"] for row in rows):
        for pass_name in reversed(PASSES):
            chosen = select(rows, cell=cell, **{"pass": pass_name})
            limits = USER if pass_name == "training" else NONE
            text = f"a user's {cell}, {pass_name} / its own lax.scan"
            yield from _mean(text, best_ratios(chosen, OURS, ["lax.scan"]), limits)


def _flax(rows: Sequence[Row]) -> Iterator[Claim]:
    rows = select(rows, suite="flax")
    for theirs, ours in flax.OURS.items():
        for pass_name in reversed(PASSES):
            by_cell = {cell: select(rows, cell=cell, **{"pass": pass_name}) for cell in CELLS}
            for subject, other, limits in (
                (ours, theirs, MODULE_REPLACED),
                (ours + flax.TIME_FIRST, flax.UNROLL, MODULE_UNROLL),
                (ours, flax.UNROLL, NONE),
            ):
                measured = [(best_ratios(chosen, subject, [other]), cell) for cell, chosen in by_cell.items() if chosen]
                if measured:
                    ratios, worst = max(measured, key=lambda pair: statistics.geometric_mean(pair[0]))
                    name = f"{other}.RNN" if other == theirs else other
                    yield from _mean(f"{subject}, {pass_name} / {name}, worst cell: {worst}", ratios, limits)


def _long(rows: Sequence[Row]) -> Iterator[Claim]:
    rows = select(rows, suite="long")
    for T in sorted({row["T"] for row in rows}):
        by_variant = {row["variant"]: row for row in select(rows, T=T)}
        if {"scan", "auto", "edges"} <= by_variant.keys():
            scan, auto, edges = (by_variant[name] for name in ("scan", "auto", "edges"))
            for name, row in (("auto", auto), ("edges", edges)):
                limits = MEMORY[name] if T == 1_000 else NONE
                text = f"T={T:,}, temporary memory, {name} / plain scan"
                yield Claim(text, row["temp_bytes"] / scan["temp_bytes"], *limits)
            if auto["ms"] and edges["ms"]:
                limits = EDGES_TIME if T == 1_000 else NONE
                yield Claim(f"T={T:,}, time, edges / auto", ratio(auto, "edges"), *limits)
            if T == 100_000:
                text = "T=100,000, edges: GiB with arguments and results"
                yield Claim(text, edges["total_bytes"] / 2**30, *LONGEST_GIB)


def _linear(rows: Sequence[Row]) -> Iterator[Claim]:
    for row in select(rows, suite="linear", variant="scan"):
        text = f"{row['cell']} T={row['T']:,} {row['pass']}, associative / scan"
        yield Claim(text, ratio(row, "associative"), *(LINEAR if row["T"] == 10_000 else NONE))


def _population(rows: Sequence[Row]) -> Iterator[Claim]:
    for num_models in POPULATIONS:
        for row in select(rows, suite="population", models=num_models, variant=ONE_BY_ONE):
            kinds: tuple[tuple[str, Callable[[str], bool], tuple], ...] = (
                ("two host devices", lambda name: name.endswith("two devices"), POPULATION_BOTH),
                ("one device", lambda name: name in ("vmap", "map"), POPULATION_ONE),
            )
            for text, belongs, limits in kinds:
                names = [name for name in row["together"] if belongs(name)]
                if names:
                    best = min(names, key=lambda name: row["together"][name])
                    what = f"{num_models} models, {text} ({best.split(',')[0]}) / one by one"
                    yield Claim(what, ratio(row, best), *(limits if num_models == 64 else NONE))


def _fit(rows: Sequence[Row]) -> Iterator[Claim]:
    for row in select(rows, suite="fit", variant=fit.BARE):
        text = f"rx.train.fit / the jitted step alone, of {row['ms'] / fit.STEPS:.1f} ms"
        yield Claim(text, ratio(row, fit.OURS), *FIT)


def _sweep(rows: Sequence[Row]) -> Iterator[Claim]:
    for row in select(rows, suite="sweep", variant=ONE_BY_ONE):
        best = min((name for name in row["together"] if name != ONE_BY_ONE), key=lambda name: row["together"][name])
        yield Claim(f"{row['models']} members, rx.{best}, two host devices / a Python loop", ratio(row, best), *SWEEP)
    for row in select(rows, suite="sweep", variant=sweep.LIMITED):
        yield Claim(
            f"{row['models']} members, {row['variant']}: GiB of the process", row["peak_bytes"] / 2**30, *MANY_GIB
        )

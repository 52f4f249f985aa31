"""Tables in Markdown: for the terminal, and for the README between its markers."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.report.claims import claims, select
from benchmarks.sizes import CELLS, PASSES, SIZES
from benchmarks.store import Results
from benchmarks.timing import Row

BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
NAMES: dict[str, str] = {
    "linen": "flax linen",
    "nnx": "flax NNX",
    "scan": "plain scan",
    "torch": "PyTorch",
    "keras": "Keras (JAX)",
    "haiku": "Haiku",
    "equinox": "Equinox",
}
CELL_NOTES: dict[tuple[str, str], str] = {("haiku", "GRU"): ", reset before", ("haiku", "Elman"): ", ReLU"}


def summary(results: Results) -> str:
    """The claims, and the times behind them."""
    parts = [_claims(results.rows, results.path.stem)]
    for pass_name in reversed(PASSES):
        table = _times(results.rows, pass_name)
        if table:
            parts.append(f"{pass_name.capitalize()}, ms (T,B,I,H)\n\n{table}")
    return "\n\n".join(parts)


def readme_block(folder: Path, base: Path) -> str:
    """What the README shows: for each device the machine, the claims and the times of a training step."""
    files = [folder / f"{device}.json" for device in ("cpu", "gpu")]
    parts = [_device_block(Results(path), base) for path in files if path.exists()]
    if not parts:
        raise BenchmarkError(f"{folder} holds no rows yet: run python -m benchmarks")
    return "\n\n".join(parts)


def write_between_markers(readme: Path, block: str) -> None:
    """Put the block in place of what stands between the markers."""
    if not readme.exists():
        raise BenchmarkError(f"{readme} does not exist")
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BenchmarkError(f"{readme} has no place for the table: write {BEGIN} and {END} on lines of their own")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def _device_block(results: Results, base: Path) -> str:
    date, run = list(results.runs.items())[-1]
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items() if name != "jaxlib")
    what = f"{machine['cores']} cores of {machine['cpu']}"
    if machine["device"] != "cpu":
        what = f"{machine['device']}, with {what}"
    path = Path(os.path.relpath(results.path.resolve(), base.resolve()))
    rows, picture = path.as_posix(), path.with_suffix(".png").as_posix()
    parts = [
        f"{what}; float32, medians of interleaved runs; {versions}; {date[:10]}. All rows: [{rows}]({rows}), in a "
        f"[picture]({picture}). Ratios are geometric means over the sizes, below 1 is faster or smaller.",
        _claims(results.rows, results.path.stem),
    ]
    times = _times(results.rows, "training")
    if times:
        parts.append(f"Training step in ms, at T,B,I,H:\n\n{times}")
    return "\n\n".join(parts)


def _claims(rows: Sequence[Row], device: str) -> str:
    found = claims(rows)
    if device != "cpu":  # what is required is required of two cores
        return table(("", "measured"), [(claim.text, f"{claim.value:.2f}") for claim in found])
    lines = [
        (claim.text, f"{claim.value:.2f}", _number(claim.required), _number(claim.aim), claim.verdict)
        for claim in found
    ]
    return table(("", "measured", "required", "aim", "holds"), lines)


def _times(rows: Sequence[Row], pass_name: str) -> str:
    rows = select(rows, suite="peers", **{"pass": pass_name})
    sizes = [size for size in SIZES if select(rows, **size._asdict())]
    lines = []
    for cell in CELLS:
        for variant in dict.fromkeys(row["variant"] for row in select(rows, cell=cell)):
            found = [select(rows, cell=cell, variant=variant, **size._asdict()) for size in sizes]
            name = (NAMES.get(variant) or variant) + CELL_NOTES.get((variant, cell), "")
            lines.append((cell, name, *(f"{match[0]['ms']:.1f}" if match else "" for match in found)))
    return table(("", "", *map(str, sizes)), lines) if lines else ""


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned so that it can be read as text too."""
    everything = [tuple(head), *map(tuple, lines)]
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    padded = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in everything
    ]
    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([padded[0], rule, *padded[1:]])

"""One picture of the suite peers: rnnjax's time over each library's, by cell, pass and size."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.claims import ratio, select
from benchmarks.report.table import NAMES
from benchmarks.sizes import CELLS, PASSES, SIZES
from benchmarks.timing import Row


def draw_picture(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG; nothing where the suite has no rows. Below the line rnnjax is the faster one."""
    rows = select(rows, suite="peers")
    if not rows:
        return
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    variants = [name for name in dict.fromkeys(row["variant"] for row in rows) if name != "rnnjax"]
    passes = tuple(reversed(PASSES))
    figure, axes = plt.subplots(len(passes), len(CELLS), figsize=(12, 7), sharex=True, sharey=True, squeeze=False)
    for line, pass_name in zip(axes, passes, strict=True):
        for axis, cell in zip(line, CELLS, strict=True):
            for number, variant in enumerate(variants):
                found = [
                    (place, ratio(row, "rnnjax"))
                    for place, size in enumerate(SIZES)
                    for row in select(rows, cell=cell, variant=variant, **{"pass": pass_name}, **size._asdict())
                ]
                axis.plot(*zip(*found, strict=True), "o", color=f"C{number}") if found else None
            axis.axhline(1, color="black", linewidth=0.8)
            axis.set(yscale="log", title=f"{cell}, {pass_name}", xlim=(-0.5, len(SIZES) - 0.5))
            axis.set_xticks(range(len(SIZES)), [str(size) for size in SIZES], rotation=30, ha="right", fontsize=8)
            axis.set_yticks([0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2])
            axis.yaxis.set_major_formatter(ScalarFormatter())
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3)
        line[0].set_ylabel("rnnjax's time / the other's")
    handles = [Line2D([], [], marker="o", linestyle="", color=f"C{number}") for number in range(len(variants))]
    figure.legend(handles, [NAMES.get(name) or name for name in variants], loc="upper center", ncols=len(variants))
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)

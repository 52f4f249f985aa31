"""A picture of learning curves."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

EVALUATED = "eval_"  # before the names of what an evaluation measures
POINTS = 500  # a curve has at most: means over as many steps as that takes
WIDTH, HEIGHT = 6.0, 2.2  # inches, of each panel


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw each metric against the step: a panel for each, what was evaluated over what was trained.

    Args:
      rows: of metrics, as ``fit`` gives them.
      path: the picture, such as curve.png.

    Raises:
      OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for name in row if name not in ("step", "epoch"))
    panels = sorted(dict.fromkeys(name.removeprefix(EVALUATED) for name in names), key=lambda name: name != "loss")
    if not panels:
        return
    figure = Figure(figsize=(WIDTH, HEIGHT * len(panels)), layout="constrained")
    every_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(every_axes, panels, strict=True):
        for name, style in ((panel, "-"), (EVALUATED + panel, ".-")):
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if points:
                axes.plot(*zip(*thinned(points), strict=True), style, label=name)
        axes.set_ylabel(panel)
        if len(axes.lines) > 1:
            axes.legend()
    every_axes[-1].set_xlabel("step")
    figure.savefig(path)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS`` of them, each the mean of several in a row.

    >>> thinned([(1, 3.0), (2, 5.0)])
    [(1.0, 3.0), (2.0, 5.0)]
    """
    size = math.ceil(len(points) / POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]

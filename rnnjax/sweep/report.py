"""Tables and pictures of a sweep."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.sweep.groups import label, shown
from rnnjax.sweep.results import Results

MOST_LINES = 10
LOG_FROM = 10  # times the smallest value, and an axis is logarithmic


def write_csv(results: Results, path: str | Path) -> None:
    """Write ``results.rows()`` as a table, one line a member.

    Args:
      results: of ``run``.
      path: the file.

    Raises:
      OSError: it cannot be written.

    >>> import pathlib, tempfile, jax.numpy as jnp, rnnjax as rx
    >>> init = lambda hparams, key: jnp.array(hparams["w"])
    >>> step = lambda w, batch: (w - 0.5 * (w - batch), {"loss": abs(w - batch)})
    >>> results = rx.sweep.run(init, step, rx.sweep.grid(w=[0.0, 2.0]), [3.0], num_steps=1)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.csv"
    >>> rx.sweep.write_csv(results, path)
    >>> print(path.read_text().strip())
    w,seed,loss,loss_min,loss_max,diverged
    0.0,0,3.0,3.0,3.0,
    2.0,0,1.0,1.0,1.0,
    """
    rows = results.rows()
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: getattr(value, "__name__", value) for name, value in row.items()} for row in rows)


def draw_settings(results: Results, metric: str, path: str | Path) -> None:
    """Draw the last value of a metric against each setting: a point for each member, a line through the medians.

    Settings that do not vary are left out, and so are members that diverged; the title says how many.

    Args:
      results: of ``run``.
      metric: its name.
      path: the picture, such as settings.png.

    Raises:
      ValueError: there is no such metric, or no setting varies.
      ImportError: matplotlib is not installed.
      OSError: it cannot be written.

    >>> import pathlib, tempfile, jax.numpy as jnp, rnnjax as rx
    >>> init = lambda hparams, key: jnp.array(hparams["w"])
    >>> step = lambda w, batch: (w - 0.5 * (w - batch), {"loss": abs(w - batch)})
    >>> results = rx.sweep.run(init, step, rx.sweep.grid(w=[0.0, 2.0]), [3.0], num_steps=4, every=2)
    >>> draw_settings(results, "loss", pathlib.Path(tempfile.mkdtemp()) / "settings.png")
    """
    last, finite = results.curve(metric)[-1], results.diverged == 0
    names = results.settings[:-1]  # without the seed
    varying = [name for name in names if len({label(value) for value in results.setting(name)}) > 1]
    if not varying:
        raise ValueError("draw_settings: no setting varies, so there is nothing to draw the metric against")
    figure = _figure("draw_settings", 3.2 * len(varying))
    every_axes = figure.subplots(1, len(varying), sharey=True, squeeze=False)[0]
    for axes, name in zip(every_axes, varying, strict=True):
        places = _places(axes, results.setting(name))
        axes.plot(places[finite], last[finite], ".", alpha=0.4)
        distinct = np.unique(places[finite])
        axes.plot(distinct, [np.nanmedian(last[finite & (places == place)]) for place in distinct])
        axes.set_xlabel(name)
    every_axes[0].set_ylabel(metric)
    figure.suptitle(_title(results))
    figure.savefig(path)


def draw_curves(results: Results, metric: str, path: str | Path, by: str | None = None, largest: bool = False) -> None:
    """Draw a metric against the step: medians over seeds, in a band that holds half of the members.

    Args:
      results: of ``run``.
      metric: its name.
      path: the picture, such as curves.png.
      by: a setting: a line for each of its values, over all members that share it. None: a line for each member of
        ``settings``, over its seeds. Of more than 10 lines the best are drawn.
      largest: whether the best lines end highest.

    Raises:
      ValueError: there is no such metric, or no such setting.
      ImportError: matplotlib is not installed.
      OSError: it cannot be written.

    >>> import pathlib, tempfile, jax.numpy as jnp, rnnjax as rx
    >>> init = lambda hparams, key: jnp.array(hparams["w"])
    >>> step = lambda w, batch: (w - 0.5 * (w - batch), {"loss": abs(w - batch)})
    >>> results = rx.sweep.run(init, step, rx.sweep.grid(w=[0.0, 2.0]), [3.0], num_steps=4, every=2)
    >>> draw_curves(results, "loss", pathlib.Path(tempfile.mkdtemp()) / "curves.png")
    """
    curve = results.curve(metric)
    if by is None:
        labels = [shown(member.hparams) for member in results.members]
    else:
        labels = [f"{by}={label(value)}" for value in results.setting(by)]
    lines = {name: _quartiles(curve[:, [other == name for other in labels]]) for name in dict.fromkeys(labels)}
    worst = -np.inf if largest else np.inf
    ranked = sorted(lines, key=lambda name: np.nan_to_num(lines[name][1, -1], nan=worst), reverse=largest)
    figure = _figure("draw_curves", 8.0)
    axes = figure.subplots()
    for name in (name for name in lines if name in ranked[:MOST_LINES]):
        low, median, high = lines[name]
        [drawn] = axes.plot(results.steps, median, label=name)
        axes.fill_between(results.steps, low, high, alpha=0.2, color=drawn.get_color())
    axes.set(xlabel="step", ylabel=metric)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.suptitle(_title(results))
    figure.savefig(path)


def _quartiles(curve: np.ndarray) -> np.ndarray:
    """[3, R] of a metric [R, M], of the members where it is finite; NaN where it is so of none."""
    finite = [row[np.isfinite(row)] for row in curve]
    return np.array([np.quantile(row, (0.25, 0.5, 0.75)) if row.size else [np.nan] * 3 for row in finite]).T


def _places(axes: Any, values: Sequence[Any]) -> np.ndarray:
    """Where values lie on the horizontal axis: numbers on a scale that suits them, all else in order."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        places = np.array(values, float)
        if places.min() > 0 and places.max() >= LOG_FROM * places.min():
            axes.set_xscale("log")
        return places
    names = list(dict.fromkeys(map(label, values)))
    axes.set_xticks(range(len(names)), names)
    return np.array([names.index(label(value)) for value in values])


def _title(results: Results) -> str:
    count = int((results.diverged > 0).sum())
    return f"{len(results)} members" + (f", {count} diverged" if count else "")


def _figure(owner: str, width: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{owner} needs matplotlib: pip install "rnnjax[train]"') from error
    return Figure(figsize=(width, 4.0), layout="constrained")

"""Results as rows, tables and pictures; host devices."""

import csv
import io
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.sweep import grid, host_devices
from tests.test_sweep import small_run

SETTINGS = grid(lr=[0.01, 0.1, 0.5, 1e80], size=[2, 3])


def scale(hparams, key):
    return {"w": jnp.array(hparams["w"]), "act": rx.sweep.Static(hparams["act"])}


def shrink(state, batch):
    return state | {"w": state["w"] / 2}, {"loss": state["act"].value(state["w"])}


@pytest.fixture(scope="module")
def results() -> rx.sweep.Results:
    return small_run(SETTINGS)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are saved."""
    figures: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure, "savefig", lambda self, *args: figures.append(self) or save(self, *args)
    )
    return figures


def test_rows_and_best() -> None:
    """Last values and extremes, by hand: w is halved, the loss is w or its negative."""
    results = rx.sweep.run(scale, shrink, grid(w=[8.0, 4.0], act=[jnp.negative, jnp.abs]), [0.0], num_steps=3, every=1)
    rows = results.rows()
    assert rows[0] == {
        "w": 8.0, "act": jnp.negative, "seed": 0, "loss": -2.0, "loss_min": -8.0, "loss_max": -2.0, "diverged": None,
    }  # fmt: skip
    assert [row["loss"] for row in rows] == [-2.0, 2.0, -1.0, 1.0]
    assert results.best("loss").hparams == {"w": 8.0, "act": jnp.negative}
    best = results.best("loss", largest=True)
    assert (best.hparams, best.metrics) == ({"w": 8.0, "act": jnp.abs}, {"loss": 2.0})
    assert best.state["w"] == 1.0
    assert results.settings == ["w", "act", "seed"]


def test_csv(results: rx.sweep.Results, tmp_path: Path) -> None:
    rx.sweep.write_csv(results, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(results) == 24
    for line, row in zip(lines, results.rows(), strict=True):
        assert list(line) == list(row)
        np.testing.assert_array_equal([float(line[name]) for name in line if name != "diverged"],
                                      [float(row[name]) for name in row if name != "diverged"])  # fmt: skip
        assert line["diverged"] == ("" if row["diverged"] is None else str(row["diverged"]))
    small = rx.sweep.run(scale, shrink, grid(w=[8.0], act=[jnp.abs]), [0.0], num_steps=1)
    rx.sweep.write_csv(small, tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_text().splitlines()[1] == "8.0,abs,0,8.0,8.0,8.0,"


def test_settings_are_drawn(results: rx.sweep.Results, tmp_path: Path, drawn: list) -> None:
    """A panel for each setting that varies: a point for each member that did not diverge, the line at medians."""
    rx.sweep.draw_settings(results, "valid", tmp_path / "settings.png")
    [figure] = drawn
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(panels) == ["lr", "size"]
    assert figure.get_suptitle() == "24 members, 6 diverged"
    points, line = panels["lr"].lines
    assert panels["lr"].get_xscale() == "log"
    assert len(points.get_xdata()) == 18
    last = results.curves["valid"][-1]
    np.testing.assert_allclose(line.get_xdata(), [0.01, 0.1, 0.5])
    np.testing.assert_allclose(line.get_ydata(), [np.median(last[begin : begin + 6]) for begin in (0, 6, 12)])
    assert panels["size"].get_xscale() == "linear"
    assert (tmp_path / "settings.png").stat().st_size > 1000

    named = rx.sweep.run(scale, shrink, grid(w=[8.0, 4.0], act=[jnp.negative, jnp.abs]), [0.0], num_steps=1)
    rx.sweep.draw_settings(named, "loss", tmp_path / "settings.png")
    axes = drawn[-1].axes[1]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["negative", "abs"]
    assert drawn[-1].get_suptitle() == "4 members"


def test_curves_are_drawn(results: rx.sweep.Results, tmp_path: Path, drawn: list) -> None:
    """A line of medians for each value, in a band over the others."""
    rx.sweep.draw_curves(results, "valid", tmp_path / "curves.png", by="lr")
    lines = {line.get_label(): line for line in drawn[-1].axes[0].lines}
    assert set(lines) == {"lr=0.01", "lr=0.1", "lr=0.5", "lr=1e+80"}
    np.testing.assert_array_equal(lines["lr=0.1"].get_xdata(), [2, 4, 6, 7])
    np.testing.assert_allclose(lines["lr=0.1"].get_ydata(), np.median(results.curves["valid"][:, 6:12], 1))
    assert list(lines)[-1] == "lr=1e+80"
    band = drawn[-1].axes[0].collections[list(lines).index("lr=0.1")].get_paths()[0].vertices
    low, high = np.quantile(results.curves["valid"][:, 6:12], (0.25, 0.75), 1)
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [low.min(), high.max()])
    rx.sweep.draw_curves(results, "valid", tmp_path / "curves.png")
    labels = [line.get_label() for line in drawn[-1].axes[0].lines]
    assert len(labels) == 8
    assert "lr=0.1, size=3" in labels
    many = small_run(grid(lr=[number / 100 for number in range(15)]), num_steps=4)
    rx.sweep.draw_curves(many, "loss", tmp_path / "curves.png")
    rx.sweep.draw_curves(many, "loss", tmp_path / "curves.png", largest=True)
    medians = np.sort(np.median(many.curves["loss"][-1].reshape(15, 3), 1))
    for figure, best in zip(drawn[-2:], (medians[:10], medians[5:]), strict=True):
        np.testing.assert_allclose(sorted(line.get_ydata()[-1] for line in figure.axes[0].lines), best)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_host_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before JAX starts they are had; afterwards a warning says what there is."""
    assert rx.sweep.use_host_devices(2) == 2  # as tests/conftest.py asked for
    with pytest.warns(
        UserWarning, match="use_host_devices: JAX has started with 2 host devices, so 3 cannot be had any"
    ):
        assert rx.sweep.use_host_devices(3) == 2
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    monkeypatch.setattr(host_devices, "_num_cores", lambda: 4)
    with pytest.warns(UserWarning, match=r"run: JAX has one host device, this machine 4 cores: rx.sweep.use_host_dev"):
        small_run(SETTINGS[:1], num_steps=1)
    small_run(SETTINGS[:1], num_steps=1, seeds=[0])  # one member has no use for more
    with pytest.raises(ValueError, match="use_host_devices: num_devices is 0, expected a positive integer"):
        rx.sweep.use_host_devices(0)
    code = """
        import sys
        from rnnjax.sweep import use_host_devices
        assert use_host_devices(3) == 3
        import jax
        assert len(jax.devices()) == 3
        loaded = {"flax", "orbax", "tqdm", "matplotlib"} & sys.modules.keys()
        assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code)], check=True)


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar over the steps of all members; elsewhere nothing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        small_run(SETTINGS[:1], num_steps=2)
        assert ("3 members with size=2, 4 at a time by map" in stream.getvalue()) == shown
        assert ("6.00/6.00" in stream.getvalue()) == shown


def test_without_tqdm_and_matplotlib(
    results: rx.sweep.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    small_run(SETTINGS[:1], num_steps=2)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (rx.sweep.draw_curves, rx.sweep.draw_settings):
        with pytest.raises(ImportError, match=rf"{draw.__name__} needs matplotlib: pip install \"rnnjax\[train\]\""):
            draw(results, "loss", tmp_path / "x.png")

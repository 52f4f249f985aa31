"""The examples of sweeps, in a tiny setting."""

import importlib
from pathlib import Path

import jax
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def as_a_user_runs_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with jax.enable_x64(False):
        yield


@pytest.mark.filterwarnings("ignore:use_host_devices")  # JAX has started
def test_sweep(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It runs, says what it returns, goes on from what is there, and explains a folder of another sweep."""
    sweep = importlib.import_module("sweep")
    tiny = ["--leaks", "2", "--rates", "2", "--seeds", "3", "--steps", "4", "--size", "3", "--out", str(tmp_path)]
    accuracy = sweep.main(tiny)
    assert 0.3 < accuracy < 0.8
    said = capsys.readouterr().out
    assert "12 networks, 0 diverged; 12 at a time by map on 2 cpu devices" in said
    assert f"best setting: {accuracy:.3f} of the answers right" in said
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 13
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("settings.png", "curves.png"))
    assert sweep.main(tiny) == accuracy
    with pytest.raises(ValueError, match="is of another sweep: num_steps is 4 there, 5 here"):
        sweep.main([*tiny, "--steps", "5"])


@pytest.mark.filterwarnings("ignore:use_host_devices")
def test_optuna_sweep(capsys: pytest.CaptureFixture) -> None:
    loss = importlib.import_module("optuna_sweep").main(["--rounds", "2", "--trials", "3", "--steps", "2"])
    assert 0 < loss < 2
    assert f"6 trials, best: {loss:.4f} with" in capsys.readouterr().out

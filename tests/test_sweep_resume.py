"""A sweep that was killed goes on from its folder, bit for bit the same; what is finished is not run again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnjax as rx
from rnnjax.sweep import grid
from rnnjax.sweep.job import Job
from tests.test_sweep import DATA, same, small_evaluate, small_init, small_run, small_step

SETTINGS = grid(lr=[0.1, 0.2, 1e80], size=[2, 3])


class Stopped(Exception):
    """In place of a kill."""


def data_until(num_batches: float) -> Any:
    """The same data, whose reader is stopped after so many batches of the whole sweep."""
    left = iter(range(10**6 if num_batches == float("inf") else int(num_batches)))

    def epoch(number: int) -> Any:
        for batch in DATA:
            if next(left, None) is None:
                raise Stopped
            yield batch + number

    return epoch


@pytest.fixture(scope="module")
def whole() -> rx.sweep.Results:
    return small_run(SETTINGS, data_until(float("inf")))


@pytest.fixture
def parts(whole: rx.sweep.Results) -> float:
    """A limit under which each of the two groups runs in two parts or more."""
    return 0.9 * min(plan.num_bytes for plan in whole.plans)


def test_goes_on_from_any_moment(
    whole: rx.sweep.Results, parts: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while reading its data, again and again, each time further on."""
    calls = []
    advance = Job.advance
    monkeypatch.setattr(Job, "advance", lambda self, *args: calls.append(1) or advance(self, *args))
    options = {"folder": tmp_path / "new" / "sweep", "memory_limit": parts, "save_seconds": 0.0}
    for num_batches in (0, 3, 6, 11, 9, 14):
        with pytest.raises(Stopped):
            small_run(SETTINGS, data_until(num_batches), **options)
    results = small_run(SETTINGS, data_until(float("inf")), **options)
    same(results, whole)
    assert all(len(plan.parts(9)) >= 2 for plan in results.plans)
    assert max(results.diverged) > 0
    calls.clear()
    again = small_run(SETTINGS, data_until(1), folder=options["folder"])  # only one batch is looked at
    same(again, whole)
    assert not calls


def test_data_that_fail_lose_nothing(tmp_path: Path) -> None:
    """All rows before are saved, though it was not yet time to."""
    settings = grid(lr=[0.1, 0.2])
    with pytest.raises(Stopped):
        small_run(settings, data_until(1 + 2 + 3), folder=tmp_path)  # for the shapes, to plan, and to train on
    assert json.loads(str(np.load(tmp_path / "part-0-0.npz")["record"]))["steps"] == [2]
    same(small_run(settings, data_until(99), folder=tmp_path), small_run(settings, data_until(99)))


def test_goes_on_after_a_kill(tmp_path: Path) -> None:
    code = f"""
        import sys, jax
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_num_cpu_devices", 2)
        from tests.test_sweep import DATA, grid, small_run

        def data(epoch):
            for number, batch in enumerate(DATA):
                if epoch == 1 and number == 1:
                    print("there", flush=True)
                    sys.stdin.read()
                yield batch

        small_run(grid(lr=[0.1, 0.2]), data, folder={str(tmp_path)!r}, save_seconds=0.0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)
    assert sorted(os.listdir(tmp_path)) == ["group-0.json", "lock", "part-0-0.npz", "sweep.json"]
    same(small_run(grid(lr=[0.1, 0.2]), folder=tmp_path), small_run(grid(lr=[0.1, 0.2])))


def test_an_interrupt_saves_first(tmp_path: Path) -> None:
    def data(epoch):
        for batch in DATA:
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)
            yield batch

    settings = grid(lr=[0.1, 0.2])
    with pytest.raises(KeyboardInterrupt, match="run: interrupted; the same call goes on from"):
        small_run(settings, data, folder=tmp_path)
    assert (tmp_path / "part-0-0.npz").exists()
    same(small_run(settings, folder=tmp_path), small_run(settings))
    with pytest.raises(KeyboardInterrupt, match="run: interrupted; nothing was kept, as there is no folder"):
        small_run(settings, data)


def test_what_cannot_be_read_is_run_again(tmp_path: Path) -> None:
    settings = grid(lr=[0.1, 0.2])
    expected = small_run(settings, folder=tmp_path)
    file = tmp_path / "part-0-0.npz"
    content = file.read_bytes()
    for damaged in (b"", content[:-1000], content[:500] + bytes(100) + content[600:]):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"run: cannot read .*part-0-0.npz: .*; its members start anew"):
            same(small_run(settings, folder=tmp_path), expected)
        assert file.read_bytes() == content


def test_a_full_disk_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = grid(lr=[0.1, 0.2])
    with pytest.raises(Stopped):
        small_run(settings, data_until(8), folder=tmp_path, save_seconds=0.0)
    before = (tmp_path / "part-0-0.npz").read_bytes()

    def full(*_args, **_arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match=r"run: cannot write .*: No space left on device; the sweep goes on, and what"):
        results = small_run(settings, data_until(float("inf")), folder=tmp_path)
    assert (tmp_path / "part-0-0.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    same(results, small_run(settings, data_until(float("inf"))))


def test_a_folder_of_another_sweep(tmp_path: Path) -> None:
    settings = grid(lr=[0.1, 0.2])
    small_run(settings, folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def wider(hparams: Any, key: Any) -> Any:
        return small_init(hparams | {"size": 4}, key)

    def other(message: str, settings: Any = settings, **options: Any) -> None:
        with pytest.raises(ValueError, match=rf"run: the folder {tmp_path} is of another sweep: {message}"):
            small_run(settings, folder=tmp_path, **options)

    other("num_steps is 7 there, 8 here", num_steps=8)
    other("every is 2 there, 3 here", every=3)
    other("members has 6 entries there, 4 here", seeds=range(2))
    other(r"members\[3\].lr is 0.2 there, 0.3 here", grid(lr=[0.1, 0.3]))
    other(r"members\[0\].size is missing there, 2 here", grid(lr=[0.1, 0.2], size=[2]))
    other("metrics has 3 entries there, 2 here", evaluate=None)
    with pytest.raises(
        ValueError, match=r"is of another sweep: states\[0\].half is bfloat16\[2\] there, bfloat16\[4\]"
    ):
        rx.sweep.run(
            wider, small_step, settings, DATA, num_steps=7, every=2, seeds=range(3), evaluate=small_evaluate,
            folder=tmp_path,
        )  # fmt: skip
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"run: cannot write to the folder .*file/sweep: Not a directory"):
        small_run(grid(lr=[0.1]), folder=tmp_path / "file" / "sweep")
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(OSError, match=r"run: cannot write to the folder .*: Is a directory"):
        small_run(grid(lr=[0.1]), folder=tmp_path)

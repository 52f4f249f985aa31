"""Checkpoints: a run that was stopped anyhow and goes on is the run that was not; nothing else is ever believed."""

import errno
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as orbax
import pytest

import rnnjax as rx
from rnnjax.train.checkpoints import Checkpoints
from rnnjax.train.fitting import report, waiting

D, STEPS = 5, 11
KEY = jax.random.key(3)

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in")  # tensorstore's threads after a failure


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch) -> None:
    monkeypatch.setattr(report, "draw_curves", lambda rows, path: None)


def loss_fn(w, carry, batch, key):
    loss = jnp.square(w - batch - jax.random.normal(key, (D,))).sum() + jnp.sin(carry)
    return loss, (carry + loss, {})


optimizer = optax.adam(0.1)
step = rx.train.make_step(loss_fn, optimizer)
start = rx.train.init_state(np.ones(D), optimizer, jnp.zeros(()))


def data(epoch):
    return (np.random.default_rng((epoch, number)).normal(size=D) for number in range(4))


def fit(folder, step=step, state=start, evaluate=lambda state: {"first": jnp.abs(state.params[0])}, **settings):
    usual = {"num_steps": STEPS, "key": KEY, "save_steps": 3, "best": rx.train.Best("first", patience=50)}
    return rx.train.fit(step, state, data, folder=folder, evaluate=evaluate, **(usual | settings))


def same(one, other) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, one._replace(rows=()), other._replace(rows=()))
    assert one.rows == other.rows


def test_going_on_from_any_moment(tmp_path, monkeypatch) -> None:
    """The folder is copied at many moments, as a kill would leave it. Each copy goes on to the same end."""
    monkeypatch.setattr(waiting, "MOST", 2)  # rows are written at once, so some are past the newest checkpoint
    copies = (tmp_path / str(number) for number in itertools.count())
    taken = []

    def evaluate(state):
        if not resumed:
            taken.append(shutil.copytree(tmp_path / "whole", next(copies)))
        return {"first": jnp.abs(state.params[0])}

    resumed = False
    whole = fit(tmp_path / "whole", evaluate=evaluate, evaluate_every=2)
    rows = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    resumed = True
    newest = [max([int(path.name) for path in (copy / "checkpoints").iterdir()], default=0) for copy in taken]
    assert newest == [0, 3, 3, 6, 9, 9]
    past = [json.loads(line)["step"] for line in (taken[2] / "metrics.jsonl").read_text().splitlines()]
    assert max(past) > newest[2]
    for copy in taken:
        with (copy / "metrics.jsonl").open("a") as file:
            file.write('{"step": 4, "lo')  # the line that was cut off
        same(fit(copy, evaluate=evaluate, evaluate_every=2, resume=True), whole)
        assert (copy / "metrics.jsonl").read_bytes() == rows


def test_going_on_after_the_end(tmp_path) -> None:
    """With more steps, until there is no more to do: by patience, which is as far as it was."""
    settings = {"evaluate_every": 1, "best": rx.train.Best("off", patience=6), "save_steps": None}
    settings["evaluate"] = lambda state: {"off": abs(int(state.num_steps) - 8)}
    whole = fit(None, num_steps=99, **settings)
    assert (whole.stopped, whole.state.num_steps) == ("patience", 14)
    fit(tmp_path, num_steps=STEPS, **settings)
    same(fit(tmp_path, num_steps=99, resume=True, **settings), whole)
    same(fit(tmp_path, num_steps=99, resume=True, **settings), whole)


@pytest.mark.parametrize("log_every", [1, 5])
def test_no_evaluation_is_lost(tmp_path, log_every) -> None:
    """Ctrl-C at the end of an epoch, an evaluation that fails: the one that was due comes first when it goes on."""
    settings = {"best": rx.train.Best("first", patience=2), "log_every": log_every, "num_steps": 30}
    whole = fit(None, **settings)
    assert whole.stopped == "patience"
    rows = [row for row in whole.rows if "eval_first" in row]

    def interrupted(epoch):
        yield from data(epoch)
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)

    stopped = rx.train.fit(
        step, start, interrupted, key=KEY, folder=tmp_path / "a",
        evaluate=lambda state: {"first": jnp.abs(state.params[0])}, **settings,
    )  # fmt: skip
    assert stopped.stopped == "interrupt"
    same(fit(tmp_path / "a", resume=True, **settings), whole)

    def failing(state):
        if state.num_steps == 8:
            raise NameError("a slip")
        return {"first": jnp.abs(state.params[0])}

    with pytest.raises(NameError, match="a slip"):
        fit(tmp_path / "b", evaluate=failing, **settings)
    again = fit(tmp_path / "b", resume=True, **settings)
    same(again._replace(rows=[]), whole._replace(rows=[]))
    found = [row for row in again.rows if "eval_first" in row]
    assert [(row["step"], row["eval_first"]) for row in found] == [(row["step"], row["eval_first"]) for row in rows]
    assert [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()] == again.rows


def test_killed_runs() -> None:
    """A few of the kills of `make test-kills`."""
    command = [sys.executable, str(Path(__file__).with_name("kill_and_resume.py")), "--kills", "3", "--steps", "9"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "0 lost, 0 different" in done.stdout


def damages(data: bytes) -> dict[str, bytes | None]:
    """What can happen to a file; None: it is gone."""
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :] if data else b"?"
    return {"flip": flipped, "cut": data[:middle], "zero": bytes(len(data)), "gone": None}


def test_any_damage_is_noticed(tmp_path) -> None:
    """Whatever happens to a file of a checkpoint: it is refused, or what is read is right."""
    folder = tmp_path / "checkpoints"
    trees = [{"a": np.full((D, 4), number), "b": np.arange(3.0) + number} for number in (1.0, 2.0)]
    store = Checkpoints(folder)
    for number, tree in enumerate(trees):
        store.save(number, tree, {"number": number})
    noticed = 0
    for file in sorted(path for path in (folder / "1").rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for damaged in damages(whole).values():
            file.unlink() if damaged is None else file.write_bytes(damaged)
            try:
                content, arrays = store.read(1)
            except Exception:
                noticed += 1
            else:
                assert content["record"] == {"number": 1}
                np.testing.assert_array_equal(arrays["0"], trees[1]["a"])
                np.testing.assert_array_equal(arrays["1"], trees[1]["b"])
            file.write_bytes(whole)
    assert noticed > 10
    store.close()


def break_checkpoint(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(b"")


def test_damaged_checkpoint(tmp_path) -> None:
    """The one before it is used, and a warning says so; the damaged one is kept aside. Without any, nothing is done."""
    fit(tmp_path)
    break_checkpoint(tmp_path / "checkpoints" / "11")
    message = (
        r"cannot read the checkpoint .*/checkpoints/11: ValueError .*; .*/9 is used, and it is kept as .*damaged-11-0"
    )
    with pytest.warns(UserWarning, match=message):
        again = fit(tmp_path, resume=True)
    same(again, fit(None))
    assert (tmp_path / "damaged-11-0").is_dir()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["11", "9"]
    for name in ("9", "11"):
        break_checkpoint(tmp_path / "checkpoints" / name)
    with pytest.raises(ValueError, match=r"fit: none of the checkpoints in .* can be read \(11: ValueError .*, 9: Val"):
        fit(tmp_path, resume=True)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["11", "9"]


@pytest.mark.parametrize("limit", [10, 300])
def test_full_disk(tmp_path, limit) -> None:
    """Files cannot grow while steps 4 to 8 are taken: training goes on, the last checkpoint stays, no row is lost."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(epoch):
        for number, batch in enumerate(data(epoch)):
            full = 4 <= 4 * epoch + number < 8
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit if full else usual[0], usual[1]))
            if (epoch, number) == (2, 0):
                assert "3" in os.listdir(tmp_path / "checkpoints")
                (tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir(exist_ok=True)  # as a late thread does
            yield batch

    try:
        with pytest.warns(UserWarning, match="fit: cannot write") as caught:
            fitted = rx.train.fit(step, start, limited, num_steps=STEPS, key=KEY, folder=tmp_path, save_steps=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    said = [str(warning.message) for warning in caught]
    [checkpoint] = [each for each in said if "metrics.jsonl: File too large" not in each]
    assert re.search(r"^fit: cannot write the checkpoint .*/6: .*training goes on, and .*/3 stays$", checkpoint)
    expected = rx.train.fit(step, start, data, num_steps=STEPS, key=KEY)
    same(fitted, expected)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == expected.rows
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["11", "9"]


def test_bad_folders(tmp_path) -> None:
    fit(tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"fit: the folder .*/run holds a run already: .* resume=True"):
        fit(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"fit: cannot write to the folder .*/file/run: Not a directory"):
        fit(tmp_path / "file" / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    wider = rx.train.init_state(np.ones(D + 1), optimizer, jnp.zeros(()))
    message = r"fit: the checkpoint .*/11 is of another run: state/params is float64\[5\] there, but float64\[6\] here"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "run", state=wider, resume=True)
    plain = rx.train.init_state(np.ones(D), optax.sgd(0.1), jnp.zeros(()))
    with pytest.raises(ValueError, match=r"another run: state/opt_state/0/count is int32\[\] there, but missing here"):
        fit(tmp_path / "run", state=plain, resume=True)
    with pytest.raises(ValueError, match=r"another run: key is key<fry>\[\] there, but missing here"):
        fit(tmp_path / "run", key=None, resume=True)
    with pytest.raises(ValueError, match=r"fit: key is not the one that the run in .*/run was started with"):
        fit(tmp_path / "run", key=jax.random.key(4), resume=True)
    with pytest.raises(ValueError, match="fit: data gave 2 batches in epoch 2, where 3 were taken before"):
        rx.train.fit(
            step, start, lambda n: list(data(n))[:2], num_steps=20, key=KEY, folder=tmp_path / "run", resume=True
        )
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == ["11", "9"]


def test_checkpoints_of_someone_else_stay(tmp_path) -> None:
    """Nothing is deleted before the newest is known to be of this run."""
    folder = tmp_path / "checkpoints"
    with orbax.CheckpointManager(folder, options=orbax.CheckpointManagerOptions(max_to_keep=9)) as manager:
        for number in range(5):
            manager.save(number, args=orbax.args.StandardSave({"w": np.ones(3)}))
    with pytest.raises(ValueError, match=r"fit: none of the checkpoints in .* can be read"):
        fit(tmp_path, resume=True)
    assert sorted(os.listdir(folder)) == ["0", "1", "2", "3", "4"]


def test_two_runs_in_one_folder(tmp_path) -> None:
    """The second is refused while the first is at work, not afterwards."""

    def evaluate(state):
        with pytest.raises(BlockingIOError, match=r"fit: another run is at work in the folder .*"):
            fit(tmp_path, resume=True)
        return {"first": 1.0}

    fit(tmp_path, evaluate=evaluate)
    assert fit(tmp_path, resume=True).stopped == "num_steps"


def test_a_first_step_that_fails_leaves_no_run(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        fit(tmp_path, step=broken)
    fit(tmp_path)


def broken(state, batch, key):
    raise RuntimeError("a bug")


def test_failing_step(tmp_path) -> None:
    """The batch that a step failed on is not one that was trained on."""

    def failing(w, carry, batch, key):
        if batch.shape != (D,):
            raise RuntimeError("a bug")
        return loss_fn(w, carry, batch, key)

    def longer(epoch):
        return (np.zeros(D + 1) if (epoch, number) == (1, 2) else batch for number, batch in enumerate(data(epoch)))

    with pytest.raises(RuntimeError, match="a bug"):
        rx.train.fit(
            rx.train.make_step(failing, optimizer),
            start,
            longer,
            num_steps=STEPS,
            key=KEY,
            folder=tmp_path,
            max_shapes=2,
        )
    assert os.listdir(tmp_path / "checkpoints") == ["6"]
    again = rx.train.fit(step, start, data, num_steps=STEPS, key=KEY, folder=tmp_path, resume=True)
    same(again, rx.train.fit(step, start, data, num_steps=STEPS, key=KEY))


def test_metrics_that_are_none(tmp_path) -> None:
    fit(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("a note\n")
    with pytest.raises(ValueError, match=r"fit: line 1 of .*/metrics.jsonl is not one of metrics; take it out"):
        fit(tmp_path, resume=True)
    assert (tmp_path / "metrics.jsonl").read_text() == "a note\n"


def test_no_permission(tmp_path, monkeypatch) -> None:
    def denied(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)  # root, whom tests may run as, may write anywhere
    with pytest.raises(PermissionError, match=r"fit: cannot write to the folder .*: Permission denied"):
        fit(tmp_path)


def test_every_kind_of_leaf(tmp_path) -> None:
    tree = {
        "half": jnp.arange(3, dtype=ml_dtypes.bfloat16),
        "complex": jnp.array([1 + 2j], jnp.complex64),
        "key": jax.random.split(jax.random.key(1), 2),
        "old key": jax.random.PRNGKey(2),
        "empty": jnp.zeros((0, 3)),
        "flags": jnp.array([True, False]),
        "number": jnp.int8(3),
        "nothing": None,
    }
    store = Checkpoints(tmp_path / "checkpoints")
    store.save(1, tree, {"best": [float("inf"), 3]})
    found = store.load(lambda record: jax.tree.map(jnp.zeros_like, tree))
    store.close()
    assert found
    loaded, record = found
    assert record == {"best": [float("inf"), 3]}
    kinds = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)] for each in (loaded, tree)]
    assert kinds[0] == kinds[1]
    loaded["key"], tree["key"] = map(jax.random.key_data, (loaded["key"], tree["key"]))
    jax.tree.map(np.testing.assert_array_equal, loaded, tree)

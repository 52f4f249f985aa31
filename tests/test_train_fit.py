"""`fit`: it is the loop that one would write, it says what is wrong, and it loses nothing."""

import json
import os
import signal
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax as rx
from rnnjax.train.fitting import waiting
from rnnjax.train.fitting.picture import POINTS, thinned
from rnnjax.train.fitting.program import compiled

T, B, D = 7, 3, 5
KEY = jax.random.key(3)
traces = []  # one entry for each time that the loss was traced


class Batch(NamedTuple):
    xs: np.ndarray  # [T, B, D]
    labels: np.ndarray  # int [T, B]
    mask: np.ndarray  # bool [T, B]


def loss_fn(params, carry, batch, key):
    """A noisy classifier; the carry counts the steps it has seen."""
    traces.append(batch.xs.shape)
    noise = 0.0 if key is None else 0.1 * jax.random.normal(key, batch.xs.shape)
    logits = (batch.xs + noise) @ params["W"] + params["b"]
    correct = (logits.argmax(-1) == batch.labels).sum()
    return rx.losses.cross_entropy(logits, batch.labels, batch.mask), (carry + T, {"correct": correct})


def draw(epoch: int, number: int) -> Batch:
    rng = np.random.default_rng((epoch, number))
    xs = rng.normal(size=(T, B, D))
    return Batch(xs, xs[..., :2].argmax(-1), rng.random((T, B)) < 0.8)


def data(epoch: int) -> list[Batch]:
    return [draw(epoch, number) for number in range(4)]


optimizer = optax.adam(0.1)
step = rx.train.make_step(loss_fn, optimizer)
start = rx.train.init_state({"W": np.zeros((D, 2)), "b": np.zeros(2)}, optimizer, jnp.zeros((), int))


def fit(data=data, step=step, state=start, **settings):
    return rx.train.fit(step, state, data, **({"num_steps": 11, "key": KEY} | settings))


def same(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_it_is_the_loop() -> None:
    """The state and every row; nothing is traced or compiled after the first step, for another seed neither."""
    fresh = rx.train.make_step(loss_fn, optimizer)
    jitted = jax.jit(step)
    state, rows = start, []
    for number in range(11):
        epoch, place = divmod(number, 4)
        state, metrics = jitted(state, draw(epoch, place), jax.random.fold_in(KEY, number))
        rows.append({"step": number + 1, "epoch": epoch} | {name: float(value) for name, value in metrics.items()})
        del rows[-1]["nonfinite_leaf"]
    traces.clear()
    fitted = fit(step=fresh)
    assert len(traces) == 1
    assert fitted.stopped == "num_steps"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), fitted.state, state)
    for row, expected in zip(fitted.rows, rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-12)
    same(start.carry, 0)  # the caller's state was not donated
    fit(step=fresh, key=jax.random.key(4), state=fitted.state._replace(num_steps=start.num_steps))
    program: Any = compiled(fresh, None)
    assert (len(traces), program._cache_size()) == (1, 1)


def test_kinds_of_data() -> None:
    """A function of the epoch, batches that can be iterated again, an iterator: the same batches, the same result."""
    by_epoch = fit(lambda epoch: iter(data(0)), num_steps=None, num_epochs=2)
    again = fit(data(0), num_steps=None, num_epochs=2)
    stream = iter(data(0) + data(0) + [draw(5, 5)])
    once = fit(stream, num_steps=8)
    assert len(list(stream)) == 1  # it was asked for no more than needed
    assert fit(iter(data(0)), num_epochs=2).stopped == "data"
    assert by_epoch.stopped == again.stopped == "num_epochs"
    assert by_epoch.state.num_steps == 8
    same(by_epoch.state, again.state)
    same(by_epoch.state, once.state)
    both = fit(data(0), num_steps=100, num_epochs=1)
    assert (both.stopped, len(both.rows)) == ("num_epochs", 4)


@pytest.mark.parametrize(("every", "expected"), [(None, [4, 8, 11]), (3, [3, 6, 9, 11]), (11, [11])])
def test_evaluation(every, expected) -> None:
    """After each epoch, or every so many steps, and at the end; what it gives stands in the row of the step."""
    seen = []

    def evaluate(state):
        seen.append(int(state.num_steps))
        return {"loss": 2 * state.num_steps}

    fitted = fit(evaluate=evaluate, evaluate_every=every)
    assert seen == expected
    assert [(row["step"], row["eval_loss"]) for row in fitted.rows if "eval_loss" in row] == [(n, 2 * n) for n in seen]
    assert fitted.best is None
    thin = fit(evaluate=evaluate, evaluate_every=every, log_every=5)
    assert [row["step"] for row in thin.rows] == sorted({5, 10, *expected})


@pytest.mark.parametrize(
    ("values", "settings", "best", "stop"),
    [
        ([5, 3, 4, 2, 6, 7, 8, 9, 9, 9, 9], {"patience": 3}, 4, 7),
        ([5, 3, 4, 2, 6, 7, 8, 9, 9, 9, 9], {}, 4, 11),
        ([5, 6, 6, np.nan, 1, 1, 1, 1, 1, 1, 1], {"patience": 3, "largest": True}, 2, 5),
        ([np.nan, 5, 4, np.nan, 4, 9, 9, 9, 9, 9, 9], {"patience": 4}, 3, 7),
        ([np.nan] * 11, {"patience": 2}, None, 2),
    ],
)
def test_best_state_and_patience(values, settings, best, stop) -> None:
    fitted = fit(
        evaluate=lambda state: {"value": values[int(state.num_steps) - 1]},
        evaluate_every=1,
        best=rx.train.Best("value", **settings),
    )
    assert fitted.state.num_steps == stop
    assert fitted.stopped == ("num_steps" if stop == 11 else "patience")
    if best is None:
        assert fitted.best is None
    else:
        same(fitted.best, fit(num_steps=best).state)


def poisoned(epoch: int):
    """The sixth batch is bad."""
    for batch in data(epoch):
        xs = np.where(np.arange(D) == 1, np.nan, batch.xs) if batch.xs[0, 0, 0] == draw(1, 1).xs[0, 0, 0] else batch.xs
        yield batch._replace(xs=xs)


def test_not_finite(tmp_path) -> None:
    """The message names step, leaf, batch and checkpoint; all before it is in the files."""
    with pytest.raises(rx.train.NotFiniteError) as caught:
        fit(poisoned, folder=tmp_path / "run", save_steps=2)
    checkpoint = tmp_path / "run" / "checkpoints" / "4"
    assert str(caught.value) == (
        "fit: at step 6 (batch 1 of epoch 1) the loss is nan and the gradient of params/W is not finite;"
        f" {T * B} of the {T * B * D} entries of batch/xs are not finite; the last good checkpoint is {checkpoint}"
    )
    assert (caught.value.step, caught.value.leaf, caught.value.checkpoint) == (6, "params/W", checkpoint)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] is None
    again = fit(folder=tmp_path / "run", resume=True)  # with the batch as it should be
    same(again.state, fit().state)


def test_skipping_what_is_not_finite() -> None:
    skipping = rx.train.skip_nonfinite(step)
    fitted = rx.train.fit(skipping, start, poisoned, num_steps=11, key=KEY)
    assert [row["skipped"] for row in fitted.rows] == [number == 6 for number in range(1, 12)]
    assert fitted.rows[5]["loss"] is None
    assert fitted.state.carry == 10 * T


def test_labels_out_of_range() -> None:
    batch = draw(0, 0)
    bad = batch._replace(labels=np.where(batch.labels == 1, 2, 0))
    pattern = r"the loss is nan.*the batch is finite, batch/labels holds integers from 0 to 2 \(labels of V"
    with pytest.raises(rx.train.NotFiniteError, match=pattern):
        fit([bad])


def test_params_that_are_not_finite_are_not_saved(tmp_path) -> None:
    """Though the step measures nothing that is not finite."""

    def spoil(state, batch):
        worse = {**state.params, "b": state.params["b"] / (2.0 - state.num_steps)}
        return state._replace(params=worse, num_steps=state.num_steps + 1), {}

    state = start._replace(params={**start.params, "b": np.ones(2)})
    with pytest.raises(rx.train.NotFiniteError, match=r"fit: at step 3 params/b is not finite; .*checkpoints/2$"):
        rx.train.fit(spoil, state, data, num_steps=5, folder=tmp_path, save_steps=1)


@pytest.mark.parametrize("epoch", [0, 2])
def test_epoch_without_a_valid_step(epoch) -> None:
    def masked(number):
        return [b._replace(mask=b.mask & (number != epoch)) for b in data(number)]

    with pytest.raises(ValueError, match=f"in epoch {epoch} batch/mask was False"):
        fit(masked, num_steps=16)
    first = data(0)[0]
    fit([first._replace(mask=np.zeros((T, B), bool)), first])  # a batch without any is no harm


class Buckets:
    """Batches of two lengths; as those of rx.data, they say how many kinds there are."""

    num_shapes = 2

    def __call__(self, epoch):
        return [Batch(*(leaf[: T - number % 2] for leaf in batch)) for number, batch in enumerate(data(epoch))]


def test_kinds_of_batches() -> None:
    """One kind, unless more are asked for, each compiled once; the message says which batch differs, and how."""
    traces.clear()
    fit(Buckets())
    assert fit(Buckets(), max_shapes=3).state.num_steps == 11
    assert traces.count((T - 1, B, D)) == 1
    with pytest.raises(ValueError, match=r"batch 1 of epoch 0 is float64\[6,3,5\] at xs, the first float64\[7,3,5\]"):
        fit(Buckets(), max_shapes=1)
    with pytest.raises(ValueError, match=r"batch 1 of epoch 0 has the structure \(\*, \*\), the first Batch\(xs=\*"):
        fit([draw(0, 0), draw(0, 1)[:2]])
    with pytest.raises(ValueError, match=r"batch 1 of epoch 0 is float32\[7,3,5\] at xs, the first float64"):
        fit([draw(0, 0), draw(0, 1)._replace(xs=draw(0, 1).xs.astype(np.float32))])


class Foreign:
    """An array of another library."""

    def __init__(self, array: Any):
        self.array, self.dtype, self.shape = array, str(array.dtype), array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_foreign_arrays_and_keys_in_batches() -> None:
    foreign: Any = [jax.tree.map(Foreign, draw(0, number)) for number in range(4)]
    same(fit(foreign).state, fit(data(0)).state)

    def loss(params, carry, batch, key):
        xs, noise = batch
        return (params * xs).sum() + jax.random.normal(noise), (carry, {})

    with pytest.raises(rx.train.NotFiniteError, match="1 of the 2 entries of batch/0 are not finite"):
        rx.train.fit(
            rx.train.make_step(loss, optax.sgd(0.1)), rx.train.init_state(jnp.ones(2), optax.sgd(0.1)),
            [(np.array([1.0, np.inf]), jax.random.key(1))], num_steps=3,
        )  # fmt: skip


def test_masks_are_told_from_resets() -> None:
    """A mask that is all False is refused whatever the loss is; resets that are so are no harm, though it is 0."""

    def decayed(params, carry, batch, key):
        loss, aux = loss_fn(params, carry, batch, key)
        return loss + 0.1 * jnp.square(params["b"] - 1).sum(), aux

    masked = [batch._replace(mask=np.zeros((T, B), bool)) for batch in data(0)]
    with pytest.raises(ValueError, match="in epoch 0 batch/mask was False everywhere"):
        fit(masked, step=rx.train.make_step(decayed, optimizer))
    converged = rx.train.make_step(lambda w, carry, batch, key: (0 * (w * batch["xs"]).sum(), (carry, {})), optimizer)
    batches = [{"xs": np.ones(2), "mask": np.ones(2, bool), "resets": np.zeros(2, bool)}]
    rx.train.fit(converged, rx.train.init_state(jnp.ones(2), optimizer), batches, num_steps=5)


def test_interrupt(tmp_path) -> None:
    """Ctrl-C ends the run after the step it is at, with all that was computed; it can go on from there."""

    def interrupted(epoch):
        for number, batch in enumerate(data(epoch)):
            if (epoch, number) == (1, 2):
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    fitted = fit(interrupted, folder=tmp_path)
    assert fitted.stopped == "interrupt"
    assert 6 <= fitted.state.num_steps <= 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same(fit(folder=tmp_path, resume=True).state, fit().state)


def test_failing_data(tmp_path) -> None:
    """What was computed before is saved."""

    def failing(epoch):
        yield from data(epoch)[: 4 - epoch]
        if epoch:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(failing, folder=tmp_path)
    again = fit(folder=tmp_path, resume=True)
    same(again.state, fit().state)
    assert [row["step"] for row in again.rows] == list(range(1, 12))


def test_metrics_are_fetched_in_bunches(monkeypatch) -> None:
    """However they are fetched, each step has its row; and it is many of them at a time."""
    monkeypatch.setattr(waiting, "MOST", 4)
    monkeypatch.setattr(waiting, "LONGEST", float("inf"))
    counts = []
    fetch = waiting.unpack
    monkeypatch.setattr(waiting, "unpack", lambda steps: counts.append(len(steps)) or fetch(steps))
    assert [row["step"] for row in fit().rows] == list(range(1, 12))
    assert counts == [2, 2, 2, 2, 3]


def test_files_and_bar(tmp_path, capsys, monkeypatch) -> None:
    fitted = fit(folder=tmp_path)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == fitted.rows
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fit()
    assert "11/11" in (err := capsys.readouterr().err)
    assert "loss=" in err


def test_curves_are_thinned() -> None:
    points = [(number, 2.0 * number) for number in range(3 * POINTS + 1)]
    thin = thinned(points)
    assert len(thin) <= POINTS
    assert thin[0] == pytest.approx((1.5, 3.0))
    assert np.mean([x for x, _ in thin]) == pytest.approx(np.mean([x for x, _ in points]), rel=0.01)


def test_predict() -> None:
    """Outputs are joined along the batch axis, of batches of different sizes too."""
    W = np.random.default_rng(0).normal(size=(D, 2))
    parts = [draw(0, number).xs[:, : number + 1] for number in range(3)]

    def apply(params, xs):
        return {"all": xs @ params, "last": (xs @ params)[-1][None]}

    found = rx.train.predict(apply, W, iter(parts))
    whole = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(found["all"], whole @ W, rtol=1e-12)
    np.testing.assert_allclose(found["last"], whole[-1:] @ W, rtol=1e-12)
    assert rx.train.predict(lambda params, xs: (xs @ params)[-1], W, parts, axis=0).shape == (6, 2)
    with pytest.raises(ValueError, match="predict: data gave no batch"):
        rx.train.predict(apply, W, [])
    with pytest.raises(ValueError, match=r"output/all of batch 1 is float64\[6,3,2\], which cannot be joined"):
        rx.train.predict(apply, W, [draw(0, 0).xs, draw(0, 1).xs[:6]])
    with pytest.raises(TypeError, match="predict: data is 3, expected batches to iterate over"):
        rx.train.predict(apply, W, 3)  # pyright: ignore[reportArgumentType]


def bad_carry(state, batch, key):
    return state._replace(carry=state.carry.astype(jnp.float32)), {}


def failing(state, batch, key):
    raise RuntimeError("a bug")


def drawing(state, batch, key=None):
    return state._replace(num_steps=state.num_steps + 1), {"drawn": jax.random.normal(key)}  # pyright: ignore


def metric(value):
    return lambda state, batch, key: (state._replace(num_steps=state.num_steps + 1), value)


BAD = {
    "no end": ({"num_steps": None}, ValueError, "num_steps and num_epochs are both None"),
    "num_steps": ({"num_steps": 0}, ValueError, "num_steps is 0, expected a positive integer"),
    "log_every": ({"log_every": 1.5}, ValueError, "log_every is 1.5, expected a positive integer"),
    "max_shapes": ({"max_shapes": 0}, ValueError, "max_shapes is 0, expected a positive integer"),
    "save_seconds": ({"save_seconds": -1.0}, ValueError, "save_seconds is -1.0, expected to lie in"),
    "state": ({"state": {"W": 1}}, TypeError, "state is a dict, expected a TrainState"),
    "key": ({"key": 3}, TypeError, "key is 3, expected one key"),
    "best": ({"best": "loss", "evaluate": dict}, TypeError, r"best is 'loss', expected rx.train.Best\(metric\)"),
    "best alone": ({"best": rx.train.Best("loss")}, ValueError, "evaluate is None, expected a function"),
    "evaluate": ({"evaluate": 3}, TypeError, "evaluate is 3, expected a function"),
    "other metric": (
        {"best": rx.train.Best("loss"), "evaluate": lambda state: {"nats": 1.0}},
        ValueError,
        "best.metric is 'loss', but evaluate gave nats",
    ),
    "no metrics": ({"evaluate": lambda state: 1.0}, TypeError, "evaluate gave metrics of type float, expected a dict"),
    "data": ({"data": 3}, TypeError, "data is 3, expected batches to iterate over, or a function of the epoch"),
    "empty": ({"data": []}, ValueError, "data gave no batch in epoch 0"),
    "empty later": ({"data": lambda n: data(n) * (n < 2)}, ValueError, "data gave no batch in epoch 2"),
    "no arrays": ({"data": {"xs": 1}}, TypeError, "batch 0 of epoch 0 is 'xs', expected an array"),
    "step": ({"step": 3}, TypeError, "step is 3, expected a function"),
    "carry": ({"step": bad_carry}, ValueError, r"the state after a step.carry is float32\[\], but the state before it"),
    "array": (
        {"step": metric({"y": jnp.ones(3)})},
        TypeError,
        r"step gave 'y' as float64\[3\], expected a real scalar",
    ),
    "text": ({"evaluate": lambda state: {"y": "good"}}, TypeError, "evaluate gave 'y' as 'good', expected a real"),
    "parallel": ({"parallel": 2}, TypeError, r"parallel is 2, expected rx.train.DataParallel\(\)"),
    "resume": ({"resume": "yes"}, TypeError, "resume is 'yes', expected True or False"),
    "not counted": (
        {"step": lambda state, batch, key: (state, {})},
        ValueError,
        "step left num_steps at 0, expected 1",
    ),
    "column": ({"step": metric({"epoch": 1.0})}, ValueError, "step gave a metric 'epoch', which"),
    "no iterable": ({"data": lambda epoch: 3}, TypeError, "data gave 3 in epoch 0, expected batches to iterate over"),
    "no key": ({"step": drawing, "key": None}, TypeError, "step draws at random, but key is None: pass key="),
    "folder": ({"folder": 3}, TypeError, "folder is 3, expected a path"),
    "list": ({"step": metric([1.0])}, TypeError, "step gave metrics of type list, expected a dict"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name) -> None:
    settings, kind, message = BAD[name]
    with pytest.raises(kind, match=f"fit: {message}"):
        rx.train.fit(**({"step": step, "state": start, "data": data, "num_steps": 11, "key": KEY} | settings))


def test_bad_best() -> None:
    with pytest.raises(TypeError, match="Best: metric is 3, expected the name of a metric"):
        rx.train.Best(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="Best: patience is 0, expected a positive integer"):
        rx.train.Best("loss", patience=0)
    with pytest.raises(TypeError, match="Best: largest is 'max', expected True or False"):
        rx.train.Best("loss", largest="max")  # pyright: ignore[reportArgumentType]

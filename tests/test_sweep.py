"""Sweeps: every member computes what it would alone, however members are grouped, split and run."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax as rx
from rnnjax.sweep import Static, grid, planning

T, B, D = 7, 3, 5
NUM_STEPS, EVERY, ROWS = 6, 3, [3, 6]
DATA = [np.random.default_rng(number).normal(size=(T, B, D)) for number in range(5)]
adam = optax.inject_hyperparams(optax.adam)


def init(hparams: Any, key: Any) -> Any:
    """A leaky network with its optimiser; its leak, its size and a key of its own lie in the state."""
    init_key, own_key = jax.random.split(key)
    params = rx.Leaky(hparams["units"], leak=hparams["leak"]).init(init_key, D)
    state = rx.train.init_state(params, adam(hparams["lr"]))
    return {"train": state, "leak": hparams["leak"], "units": Static(hparams["units"]), "key": own_key, "one": 1.0}


def loss_of(state: Any, params: Any, batch: Any, key: Any = None) -> jax.Array:
    cell = rx.Leaky(state["units"].value, leak=state["leak"], noise=0.1)
    return jnp.square(rx.unroll(cell, params, batch, key=key)[1] - 0.5).mean()


def step(state: Any, batch: Any) -> Any:
    def loss_fn(params, carry, batch, key):
        return loss_of(state, params, batch, key), (carry, {"mean": batch.mean()})

    key, now = jax.random.split(state["key"])
    train, metrics = rx.train.make_step(loss_fn, adam(0.0))(state["train"], batch, now)
    return state | {"train": train, "key": key}, metrics


def evaluate(state: Any) -> Any:
    return {"valid": loss_of(state, state["train"].params, DATA[0])}


SMALL = grid(lr=[0.0, 0.1], leak=[0.2, 0.9], units=[2])
SETTINGS = [*SMALL, *grid(lr=[1e-3, 0.1, 0.2], leak=[0.5], units=[4])]
SEEDS = (3, 11, 4)


def alone(data: Any, settings: Any, seeds: Any) -> list[Any]:
    """Each member in a Python loop: its metrics at every step, its evaluations, its last state."""
    jitted, found = {name: jax.jit(fn) for name, fn in {"step": step, "evaluate": evaluate}.items()}, []
    for hparams, seed in itertools.product(settings, seeds):
        state, metrics, valid = init(hparams, jax.random.key(seed)), [], []
        for number, batch in zip(range(NUM_STEPS), itertools.cycle(data), strict=False):
            state, now = jitted["step"](state, batch)
            metrics.append(now)
            if number + 1 in ROWS:
                valid.append(jitted["evaluate"](state)["valid"])
        found.append((hparams, seed, metrics, valid, state))
    return found


def check(results: rx.sweep.Results, expected: list[Any]) -> None:
    assert len(results) == len(expected)
    assert list(results.steps) == ROWS
    assert set(results.curves) == {"mean", "loss", "grad_norm", "update_norm", "valid"}
    assert not results.diverged.any()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    for number, (hparams, seed, metrics, valid, state) in enumerate(expected):
        member = results[number]
        assert (member.hparams, member.seed, member.diverged) == (hparams, seed, None)
        for name in ("loss", "grad_norm", "update_norm", "mean"):
            rows: Any = [np.mean([now[name] for now in metrics[end - EVERY : end]]) for end in ROWS]
            close(results.curves[name][:, number], rows)
            assert member.metrics[name] == results.curves[name][-1, number]
        close(results.curves["valid"][:, number], valid)
        assert jax.tree.structure(member.state) == jax.tree.structure(state)
        assert member.state.pop("key") == state["key"]
        jax.tree.map(close, member.state, {name: state[name] for name in member.state})


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    return alone(DATA, SETTINGS, SEEDS)


@pytest.mark.parametrize(("way", "num_devices"), [("vmap", 2), ("map", 1)])
def test_each_member_is_what_it_is_alone(way: str, num_devices: int, expected: list[Any]) -> None:
    options = {"num_steps": NUM_STEPS, "seeds": SEEDS, "evaluate": evaluate, "every": EVERY}
    results = rx.sweep.run(init, step, SMALL, DATA, way=way, devices=jax.devices()[:num_devices], **options)
    check(results, expected[: len(SMALL) * len(SEEDS)])
    plural = "s" if num_devices > 1 else ""
    assert str(results.plans[0]).startswith(f"12 at a time by {way} on {num_devices} cpu device{plural}, ")


def test_groups_and_numbers_that_do_not_divide(expected: list[Any]) -> None:
    """21 members: 12 and 9 of them in a program, the 9 on two devices; batches in the order of the epoch."""
    options = {"num_steps": NUM_STEPS, "seeds": SEEDS, "evaluate": evaluate, "every": EVERY}
    results = rx.sweep.run(init, step, SETTINGS, lambda epoch: iter(DATA), way="map", **options)
    check(results, expected)
    assert [plan.size for plan in results.plans] == [12, 10]


# A model that is quick to compile: its size is static, its learning rate traced; it draws, and half of it is bfloat16.


def small_init(hparams: Any, key: Any) -> Any:
    w = jax.random.normal(key, (hparams.get("size", 2),))
    return {"w": w, "half": w.astype(jnp.bfloat16), "lr": hparams["lr"], "key": key, "count": 0}


def small_step(state: Any, batch: Any) -> Any:
    key, now = jax.random.split(state["key"])
    error = state["w"] - batch.mean() + 0.1 * jax.random.normal(now, state["w"].shape)
    after = {"w": state["w"] - state["lr"] * error, "half": state["half"] / 2, "key": key, "count": state["count"] + 1}
    return state | after, {"loss": (error**2).mean(), "entries": jnp.array(batch.size)}


def small_evaluate(state: Any) -> Any:
    return {"valid": (state["w"] ** 2).sum()}


def small_run(settings: Any, data: Any = DATA, **options: Any) -> rx.sweep.Results:
    usual = {"num_steps": 7, "every": 2, "seeds": range(3), "evaluate": small_evaluate, "way": "map"}
    return rx.sweep.run(small_init, small_step, settings, data, **usual | options)


def same(results: rx.sweep.Results, expected: rx.sweep.Results, members: Any = slice(None)) -> None:
    """Bit for bit."""
    numbers = np.arange(len(expected))[members]
    assert len(results) == len(numbers)
    for name in expected.curves:
        np.testing.assert_array_equal(results.curves[name], expected.curves[name][:, numbers])
    np.testing.assert_array_equal(results.diverged, expected.diverged[numbers])
    for one, number in enumerate(numbers):
        for a, b in zip(*(jax.tree.leaves(r.state) for r in (results[one], expected[int(number)])), strict=True):
            assert a.dtype == b.dtype
            assert ((a == b) | (a != a)).all()


def test_a_diverged_member_harms_no_other() -> None:
    """It is marked with the step of its first metric that is not finite, and computes on as it would alone."""
    good, bad = grid(lr=[0.1, 0.5]), grid(lr=[1e80])
    results = small_run(good + bad, num_steps=9, evaluate=None)
    same(small_run(good, num_steps=9, evaluate=None), results, slice(6))
    state, finite = small_init(bad[0], jax.random.key(1)), []
    for batch in DATA:
        state, metrics = small_step(state, batch)
        finite.append(bool(np.isfinite(metrics["loss"])))
    assert 1 < finite.index(False) < 4
    assert list(results.diverged[:6]) == [0] * 6
    assert results[7].diverged == results.diverged[7] == finite.index(False) + 1
    assert not np.isfinite(results[7].state["w"]).any()
    assert results.best("loss").hparams["lr"] < 1 < results[8].hparams["lr"]
    assert results.best("loss", largest=True).hparams["lr"] < 1
    assert [row["diverged"] for row in results.rows()][:7] == [None] * 6 + [results[6].diverged]
    with pytest.raises(ValueError, match=r"Results.best: all 3 members diverged"):
        small_run(bad, num_steps=9, evaluate=None).best("loss")


def test_an_evaluation_that_is_not_finite_marks_its_step() -> None:
    def from_step_3(state):
        return {"valid": jnp.where(state["count"] < 3, 0.0, jnp.inf)}

    results = small_run(grid(lr=[0.1]), evaluate=from_step_3)
    assert list(results.steps) == [2, 4, 6, 7]
    assert list(results.diverged) == [4, 4, 4]


def test_batches_of_several_shapes() -> None:
    """Whatever their order, with few programs."""
    data = [np.full((number % 3 + 1, B), number, float) for number in (1, 4, 2, 3, 5, 0, 8)]
    traced = []

    def noted(state, batch):
        traced.append(batch.shape)
        return small_step(state, batch)

    results = rx.sweep.run(small_init, noted, grid(lr=[0.1]), data, num_steps=7, every=2, way="map")
    np.testing.assert_array_equal(results.curves["entries"][:, 0], [6, (9 + 3) / 2, (9 + 3) / 2, 9])
    state, metrics = small_init({"lr": 0.1}, jax.random.key(0)), {}
    for batch in data:
        state, metrics = small_step(state, batch)
    np.testing.assert_allclose(results.curves["loss"][-1, 0], metrics["loss"], rtol=1e-10)
    np.testing.assert_allclose(results[0].state["w"], state["w"], rtol=1e-10)


def test_members_that_do_not_fit_run_in_parts() -> None:
    """The same numbers, and each part within the limit by XLA's own account; the smallest is one on each device."""
    whole = small_run(grid(lr=[0.1, 0.2, 0.3]))
    [plan] = whole.plans
    for share in (0.99, 0.8):
        parts = small_run(grid(lr=[0.1, 0.2, 0.3]), memory_limit=share * plan.num_bytes)
        same(parts, whole)
        assert parts.plans[0].size < plan.size
        assert parts.plans[0].num_bytes <= share * plan.num_bytes
    with pytest.raises(
        ValueError, match=r"run: 2 members at a time, one on each device, take .* bytes, above memory_limit=10 b"
    ):
        small_run(grid(lr=[0.1]), memory_limit=10)


def test_the_faster_way_is_chosen_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying the other way is for runs that are longer than that; the measured steps leave no trace."""
    settings = grid(lr=[0.1, 0.2])
    explicit = {way: small_run(settings, way=way) for way in ("map", "vmap")}
    short = small_run(settings, way="auto")
    assert short.plans[0].place.way == "map"
    same(short, explicit["map"])
    monkeypatch.setattr(planning, "WORTHWHILE", 0)
    measured = small_run(settings, way="auto")
    same(measured, explicit[measured.plans[0].place.way])
    monkeypatch.setattr(planning, "_seconds", lambda job, batches, plan: {"map": 2.0, "vmap": 1.0}[plan.place.way])
    same(small_run(settings, way="auto"), explicit["vmap"])


def test_one_program_serves_all_floats_and_seeds_and_later_sweeps() -> None:
    traced = []

    def noted(state, batch):
        traced.append(state["w"].shape)
        return small_step(state, batch)

    def run(lr):
        settings = grid(lr=[lr, lr + 0.5], size=[2, 3])
        return rx.sweep.run(small_init, noted, settings, DATA, num_steps=4, every=2, seeds=range(3), way="map")

    run(0.1)
    assert traced == [(2,), (3,)] * 2  # each size looked at for its shapes, then compiled
    run(0.2)
    assert len(traced) == 4


def test_one_member_and_a_member_without_settings() -> None:
    """A sweep of one is a run, on as many devices as there are members."""
    state = {"w": jnp.zeros(2), "lr": jnp.array(0.1)}

    def step(state, batch):
        error = state["w"] - batch.mean()
        return state | {"w": state["w"] - state["lr"] * error}, {"loss": (error**2).mean()}

    results = rx.sweep.run(lambda hparams, key: state, step, grid(), DATA, num_steps=3)
    for batch in DATA[:3]:
        state, _ = step(state, batch)
    np.testing.assert_allclose(results.best("loss").state["w"], state["w"], rtol=1e-12)
    assert [len(plan.place.devices) for plan in results.plans] == [1]


def test_fit_is_the_sweep_with_one_member() -> None:
    """The same step, the same state after it, the same metrics."""

    def loss_fn(params, carry, batch, key):
        carry, ys = rx.unroll(rx.Elman(2), params, batch, carry)
        return jnp.square(ys - 0.5).mean(), (carry, {"mean": batch.mean()})

    def start(hparams, key):
        params = rx.Elman(2).init(key, D)
        return rx.train.init_state(params, adam(hparams["lr"]), rx.Elman(2).carry(params, (B,)))

    train_step = rx.train.make_step(loss_fn, adam(0.0))
    results = rx.sweep.run(start, train_step, grid(lr=[0.1]), DATA, num_steps=NUM_STEPS, seeds=[3], every=1, way="map")
    fitted = rx.train.fit(train_step, start({"lr": 0.1}, jax.random.key(3)), DATA, num_steps=NUM_STEPS)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    jax.tree.map(close, results[0].state, fitted.state)
    for name, curve in results.curves.items():
        close(curve[:, 0], [row[name] for row in fitted.rows])

"""Grids and random settings."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.sweep import choice, grid, log_uniform, random, uniform
from rnnjax.sweep.settings import checked


def test_grid() -> None:
    assert grid() == [{}]
    made = grid(lr=np.array([0.1, 0.2], np.float32), size=range(2, 5), act=(jnp.tanh, None))
    assert len(made) == 12
    assert made[:3] == [
        {"lr": float(np.float32(0.1)), "size": 2, "act": jnp.tanh},
        {"lr": float(np.float32(0.1)), "size": 2, "act": None},
        {"lr": float(np.float32(0.1)), "size": 3, "act": jnp.tanh},
    ]
    assert type(made[0]["lr"]) is float
    assert type(grid(size=np.arange(2))[0]["size"]) is int


def test_random_draws_stay() -> None:
    """More settings begin with the same ones; a name added last leaves the others alone; names are independent."""
    distributions = {"lr": log_uniform(1e-4, 1e-1), "leak": uniform(0.2, 0.9), "size": choice(2, 3, 5), "depth": 1}
    key = jax.random.key(3)
    drawn = random(key, 200, **distributions)
    assert random(key, 7, **distributions) == drawn[:7]
    assert random(key, 5, **distributions, more=uniform(0, 1))[4].items() > drawn[4].items()
    assert random(jax.random.key(4), 1, **distributions) != drawn[:1]
    lr, leak = np.array([each["lr"] for each in drawn]), np.array([each["leak"] for each in drawn])
    assert 1e-4 <= lr.min() < 2e-4 < 5e-2 < lr.max() <= 1e-1
    np.testing.assert_allclose(np.log10(lr).mean(), -2.5, atol=0.2)
    assert 0.2 <= leak.min() < 0.25 < 0.85 < leak.max() <= 0.9
    assert abs(np.corrcoef(np.log(lr), leak)[0, 1]) < 0.2
    counts = [sum(each["size"] == size for each in drawn) for size in (2, 3, 5)]
    assert min(counts) > 40
    assert {each["depth"] for each in drawn} == {1}
    assert {type(each["lr"]) for each in drawn} == {float}
    assert random(key, 1, x=lambda key: float(jax.random.normal(key)))[0]["x"] != 0


def test_numbers_beside_floats_are_floats() -> None:
    made = checked(grid(rate=[0, 0.5, np.float32(1)], size=[1, 2], flag=[True]))
    assert [type(each["rate"]) for each in made] == [float] * 6
    assert {(type(each["size"]), type(each["flag"])) for each in made} == {(int, bool)}
    assert checked([{"a": None, "b": 1}, {"b": 1.0, "a": 0}]) == [{"a": None, "b": 1.0}, {"a": 0, "b": 1.0}]


def test_bad_settings() -> None:
    key = jax.random.key(0)
    for message, mistake in {
        "grid: lr is empty, expected at least one value": lambda: grid(lr=[]),
        "random: num is 0, expected a positive integer": lambda: random(key, 0, lr=0.1),
        "uniform: low is 2, above high=1": lambda: uniform(2, 1),
        "log_uniform: low is 0, expected above 0": lambda: log_uniform(0, 1),
        "choice: got no values, expected at least one": choice,
        "run: settings[1] has a setting 'seed', which results have of themselves": lambda: checked(
            [{"lr": 0.1}, {"seed": 3}]
        ),
        "run: settings is empty, expected at least one dict": lambda: checked([]),
        "run: settings[1] has no 'leak', but settings[0] has one": lambda: checked([{"leak": 0.1}, {}]),
        "run: settings[0] has no 'leek', but settings[2] has one": lambda: checked([{}, {}, {"leek": 0.1}]),
        "run: settings[0] and settings[2] are the same, {'lr': 0.1}; repeat with seeds=": lambda: checked(
            grid(lr=[0.1, 0.2]) + grid(lr=[0.1])
        ),
        "run: settings[0] and settings[1] are the same": lambda: checked([{"tau": np.ones(2)}, {"tau": np.ones(2)}]),
    }.items():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            mistake()
    for message, mistake in {
        "grid: lr is 0.1, expected a list of values": lambda: grid(lr=0.1),  # pyright: ignore
        "grid: act is 'relu', expected a list of values": lambda: grid(act="relu"),
        "random: act is tanh, which takes no key; to share it give choice(tanh)": lambda: random(key, 1, act=jnp.tanh),
        "random: cell is LSTM, which takes no key; to share it give choice(LSTM)": lambda: random(key, 1, cell=rx.LSTM),
        "random: key is 0, expected one key": lambda: random(0, 2, lr=0.1),  # pyright: ignore
        "uniform: high is 'x', expected a number": lambda: uniform(1, "x"),  # pyright: ignore
        "run: settings is a dict, expected a list of dicts, such as grid(...)": lambda: checked({"lr": 0.1}),
        "run: settings[0] is 0.1, expected a dict with names for keys": lambda: checked([0.1]),
        "run: the setting sizes is [2, 3], which cannot be hashed; give a tuple": lambda: checked([{"sizes": [2, 3]}]),
    }.items():
        with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
            mistake()

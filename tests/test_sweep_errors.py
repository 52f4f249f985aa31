"""What a sweep refuses, in a sentence, before anything runs."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.sweep import grid
from tests.test_sweep import DATA, small_init, small_run, small_step

SETTINGS = grid(lr=[0.1, 0.2])


def refused(kind: type[Exception], message: str, settings: Any = SETTINGS, data: Any = DATA, **options: Any) -> None:
    init, step = options.pop("init", small_init), options.pop("step", small_step)
    usual: dict[str, Any] = {"num_steps": 3}
    with pytest.raises(kind, match=f"^run: {re.escape(message)}"):
        rx.sweep.run(init, step, settings, data, **usual | options)


def test_arguments() -> None:
    refused(ValueError, "num_steps is 0, expected a positive integer", num_steps=0)
    refused(ValueError, "every is 1.5, expected a positive integer", every=1.5)
    refused(ValueError, "way is 'pmap', expected one of 'auto', 'map', 'vmap'", way="pmap")
    refused(ValueError, "devices is empty, expected at least one of jax.devices()", devices=[])
    refused(TypeError, "devices is CpuDevice(id=0), expected a list of some of jax.devices()", devices=jax.devices()[0])
    refused(TypeError, "folder is 3, expected a path", folder=3)
    refused(ValueError, "memory_limit is 0, expected to lie in (0.0, inf]", memory_limit=0)
    refused(ValueError, "save_seconds is -1, expected to lie in [0.0, inf]", save_seconds=-1)
    refused(TypeError, "init is 3, expected a function", init=3)
    refused(TypeError, "evaluate is 3, expected a function", evaluate=3)
    refused(TypeError, "seeds is ['a'], expected a list of integers", seeds=["a"])
    refused(TypeError, "seeds is 8, expected a list of integers, such as range(8)", seeds=8)
    refused(TypeError, "seeds is [0.5], expected a list of integers", seeds=[0.5])
    refused(ValueError, "seeds is empty, expected at least one integer", seeds=[])
    refused(ValueError, "seeds is [1, 2, 1], expected no seed twice", seeds=[1, 2, 1])
    for seeds in (np.arange(2), list(np.arange(2)), iter([0, 1])):
        assert small_run(SETTINGS, seeds=seeds, num_steps=1).setting("seed") == [0, 1, 0, 1]


def test_data() -> None:
    refused(TypeError, "data is None, expected batches to iterate over, or a function of the epoch", data=None)
    refused(TypeError, "data is a list_iterator, which can be read once, but every group", data=iter(DATA))
    refused(ValueError, "data gave no batch in epoch 0", data=[])
    refused(TypeError, "data gave 3 in epoch 0, expected batches to iterate over", data=lambda epoch: 3)
    refused(ValueError, "data gave no batch in epoch 1", data=lambda epoch: DATA[:2] if epoch == 0 else [])
    refused(TypeError, "batch 1 of epoch 0['x'] is 'text', expected an array", data=[{"x": 1.0}, {"x": "text"}],
            step=lambda state, batch: (state, {"loss": batch["x"]}))  # fmt: skip


def test_batches_that_teach_nothing(tmp_path: Any) -> None:
    """Said at the first; what was computed before is kept. A batch is not to blame for a member that diverges alone."""
    bad = np.where(np.arange(5) == 2, np.nan, DATA[1])
    message = "at step 5 (batch 1 of epoch 1) all members diverged: 21 of the 105 entries of batch are not finite"
    refused(ValueError, message, data=lambda n: [DATA[0], bad if n else DATA[1], DATA[2]], num_steps=7, every=3,
            folder=tmp_path, seeds=range(3), way="map")  # fmt: skip
    good = [DATA[0], DATA[1], DATA[2]]
    assert small_run(SETTINGS, good, num_steps=7, every=3, folder=tmp_path, evaluate=None).steps[-1] == 7
    lone = small_run(grid(lr=[0.1, 1e80]), [DATA[0], DATA[1], bad], num_steps=3)
    assert list(lone.diverged > 0) == [True] * 6

    def masked(state, batch):
        return state, {"loss": jnp.where(batch["mask"], state["w"].sum(), 0.0).sum()}

    def epoch(number):
        return [{"mask": np.full(3, number != 2)} for _ in range(2)]

    message = "in epoch 2 batch/mask was False everywhere: there is nothing to learn from"
    refused(ValueError, message, data=epoch, num_steps=9, step=masked)


def test_names_that_init_does_not_know() -> None:
    refused(ValueError, "init does not use the setting 'leek'; it uses lr", grid(lr=[0.1], leek=[0.5, 1]))
    refused(ValueError, "init does not use the setting 'units'; it uses lr", grid(lr=[0.1], units=[2, 3]))
    some = grid(kind=["sgd", "adam"], momentum=[0.5, 0.9])  # a setting that only members of one kind have a use for

    def by_kind(hparams, key):
        return {"w": hparams["momentum"] if hparams["kind"] == "sgd" else 0.0}

    keeping = lambda state, batch: (state, {"loss": state["w"]})
    results = rx.sweep.run(by_kind, keeping, some, DATA, num_steps=1, way="map")
    assert list(results.curves["loss"][0]) == [0.5, 0.9, 0.0, 0.0]
    with pytest.raises(KeyError, match="init asks for the setting 'lr'; there are rate"):
        small_run(grid(rate=[0.1]))

    def whole(hparams, key):
        return {**hparams}

    def given_on(hparams, key):
        return {"hparams": hparams}

    step = lambda state, batch: (state, {"loss": jax.tree.leaves(state)[0]})

    def popped(hparams, key):
        copied = hparams.copy()
        return {"lr": copied.pop("lr"), "rest": copied}

    others = [lambda hparams, key: dict(**hparams), lambda hparams, key: hparams | {"more": 1.0}]
    for init in (whole, given_on, popped, *others):
        results = rx.sweep.run(init, step, grid(lr=[0.1, 0.2], leak=[0.5]), DATA, num_steps=1, way="map")
        assert {0.2, 0.5} <= {float(leaf) for leaf in jax.tree.leaves(results[1].state)}


def test_init() -> None:
    def looks(hparams, key):
        return {"w": jnp.ones(2) if hparams["lr"] > 0.1 else jnp.zeros(2)}

    def counts(hparams, key):
        return {"w": np.ones(int(hparams["lr"]))}

    for init in (looks, counts):
        refused(TypeError, "init needs the value of a setting that is a float or an array; these are traced", init=init)
    with pytest.raises(
        TypeError, match="Static: value is a Chain with a traced setting in it: leave that in the state"
    ):
        rx.sweep.run(
            lambda hparams, key: rx.sweep.Static(rx.Chain(rx.Leaky(2, leak=hparams["leak"]))),
            small_step, grid(leak=[0.1]), DATA, num_steps=1,
        )  # fmt: skip
    refused(ValueError, "the state that init gives holds no array", init=lambda hparams, key: {"lr": None})
    message = "the state that init gives['act'] is 'relu', expected an array; rx.sweep.Static holds all else"
    refused(TypeError, message, init=lambda hparams, key: {"lr": hparams["lr"], "act": "relu"})


def test_step_and_evaluate() -> None:
    def gives(state: Any, metrics: Any) -> Any:
        return lambda before, batch: (state(before), metrics)

    same = lambda state: state
    refused(ValueError, "the state that step gives['w'] is float64[], but the state that init gives has float64[2]",
            step=gives(lambda state: state | {"w": state["w"].sum()}, {"loss": 1.0}))  # fmt: skip
    refused(ValueError, "the state that step gives has the structure {'w': *}, but the state that init gives has {",
            step=gives(lambda state: {"w": state["w"]}, {"loss": 1.0}))  # fmt: skip
    refused(TypeError, "the metrics of step are a tuple, expected a dict of numbers", step=gives(same, (1.0,)))
    refused(ValueError, "step gives no metrics, expected at least one, such as its loss", step=gives(same, {}))
    refused(TypeError, "the metric 'ys' of step is float64[3], expected a number", step=gives(same, {"ys": np.ones(3)}))
    refused(TypeError, "the metric 'z' of step is complex128[], expected a number", step=gives(same, {"z": 1j}))
    refused(TypeError, "the metric 'ys' of evaluate is float64[2]", evaluate=lambda state: {"ys": state["w"]})
    refused(ValueError, "step and evaluate both have a metric 'loss'; rename one", evaluate=lambda _: {"loss": 1.0})
    for name in ("lr", "seed", "diverged"):
        message = f"the metric {name!r} has a column {name!r} that is taken; rename it"
        refused(ValueError, message, step=gives(same, {name: 1.0}))
    refused(ValueError, "the metric 'lr' has a column 'lr_max' that is taken", grid(lr_max=[0.1]),
            init=lambda hparams, key: {"w": hparams["lr_max"]}, step=gives(same, {"lr": 1.0}))  # fmt: skip
    message = "step gave {'count': *, 'half': *, 'key': *, 'lr': *, 'w': *}, expected (state, metrics)"
    refused(TypeError, message, step=lambda state, batch: state)


def test_names_asked_of_results(tmp_path: Any) -> None:
    results = small_run(SETTINGS, num_steps=2)
    known = "Results: there is no metric 'los'; there are entries, loss, valid"
    for ask in (results.best, lambda name: rx.sweep.draw_curves(results, name, tmp_path / "x.png"),
                lambda name: rx.sweep.draw_settings(results, name, tmp_path / "x.png")):  # fmt: skip
        with pytest.raises(ValueError, match=known):
            ask("los")
    with pytest.raises(ValueError, match="Results: there is no setting 'leak'; there are lr, seed"):
        rx.sweep.draw_curves(results, "loss", tmp_path / "x.png", by="leak")
    with pytest.raises(ValueError, match="draw_settings: no setting varies, so there is nothing to draw"):
        rx.sweep.draw_settings(small_run(SETTINGS[:1], num_steps=2), "loss", tmp_path / "x.png")
    assert not list(tmp_path.iterdir())

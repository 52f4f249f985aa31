"""`rx.save` and `rx.load`: exact, self-describing, atomic, and clear about what does not fit."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import rnnjax as rx
from rnnjax.interop import onnx
from rnnjax.interop.keras.activations import gelu
from tests.registry import CELLS, D, Entry, H, random_inputs, random_params

OWN_FUNCTIONS = re.compile("user|weight|everything|nnx")  # cells of the registry that hold a user's functions


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_round_trip_is_exact(entry: Entry, tmp_path: Path) -> None:
    params = random_params(entry)
    rx.save(tmp_path / "model", entry.cell, params)
    if OWN_FUNCTIONS.search(entry.name):  # they are named, and given again
        with pytest.raises(ValueError, match=r"does not hold cell\S* \((<lambda>|_\w+)\).*rx.load\(path, cell=...\)"):
            rx.load(tmp_path / "model")
        cell, loaded = rx.load(tmp_path / "model", cell=entry.cell)
    else:
        cell, loaded = rx.load(tmp_path / "model")
    assert cell == entry.cell
    assert hash(cell) == hash(entry.cell)
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(params), strict=True):
        assert one.dtype == other.dtype
        assert bool((one == other).all())
    xs = random_inputs(entry)
    for one, other in zip(*(jax.tree.leaves(rx.unroll(c, params, xs)) for c in (cell, entry.cell)), strict=True):
        assert bool((one == other).all())


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes_stay(dtype, tmp_path: Path) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), rx.LSTM(H).init(jax.random.key(0), D))
    rx.save(tmp_path / "model", rx.LSTM(H), params)
    _, loaded = rx.load(tmp_path / "model")
    assert loaded.U.f.dtype == dtype
    assert bool((loaded.U.f == params.U.f).all())


def test_settings_of_other_libraries_survive(tmp_path: Path) -> None:
    """Activations with numbers of their own, Keras's, and what becomes of both directions."""
    activation = onnx.Clipped(onnx.HardSigmoid(0.3), 2.0)
    cell = rx.Bidirectional(rx.LSTM(H, activation=activation), rx.GRU(H, activation=gelu), merge=rx.Directions)
    rx.save(tmp_path / "model", cell, cell.init(jax.random.key(0), D))
    assert rx.load(tmp_path / "model")[0] == cell


def test_settings_survive(tmp_path: Path) -> None:
    init = jax.nn.initializers
    cell = rx.Chain(
        rx.LSTM(
            3, forget_bias=0.25, kernel_init=init.normal(0.02), recurrent_init=init.glorot_normal(), bias_init=init.ones
        ),
        rx.Zoneout(rx.LSTM(2), rate=rx.LSTMCarry(h=0.05, c=0.5)),
        rx.Bidirectional(rx.Elman(4, jax.nn.leaky_relu), rx.MinGRU(4), merge="sum"),
        rx.Lift(nn.Sequential([nn.Dense(3, use_bias=False), nn.LayerNorm(epsilon=1e-3), jax.nn.gelu])),
    )
    params = cell.init(jax.random.key(0), D)
    rx.save(tmp_path / "model", cell, params)
    loaded, _ = rx.load(tmp_path / "model")
    assert loaded.layers[1:3] == cell.layers[1:3]
    fresh = loaded.init(jax.random.key(0), D)  # the initialisers too
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), fresh, params))
    xs = jnp.ones((2, D))
    assert bool((rx.unroll(loaded, params, xs)[1] == rx.unroll(cell, params, xs)[1]).all())


def test_file_says_what_it_is(tmp_path: Path) -> None:
    """Any safetensors reader sees readable names and the cell."""
    cell = rx.Chain(rx.LSTM(H), rx.Lift(nn.Dense(3)))
    rx.save(tmp_path / "model", cell, cell.init(jax.random.key(0), D), metadata={"note": "a note"})
    with safetensors.safe_open(tmp_path / "model", "numpy") as file:
        assert {"0.W.f", "0.U.o", "0.b.i", "1.kernel", "1.bias"} <= set(file.keys())
        description = json.loads(file.metadata()["cell"])
    assert description["settings"]["layers"]["tuple"][0]["settings"]["hidden_size"] == H
    assert rx.read_metadata(tmp_path / "model") == {"note": "a note"}


class Weights(NamedTuple):
    """A user's own params."""

    w: jax.Array  # [D]


def test_users_own_cell(tmp_path: Path) -> None:
    cell = rx.Cell(
        init=lambda key, input_size: Weights(jnp.ones(input_size)),
        carry=lambda params, batch_shape: jnp.zeros(batch_shape),
        step=lambda params, h, x: (h + x @ params.w, h),
    )
    rx.save(tmp_path / "model", cell, Weights(jnp.arange(3.0)))
    loaded, params = rx.load(tmp_path / "model", cell=cell)
    assert loaded is cell
    assert isinstance(params, Weights)
    assert params.w.tolist() == [0, 1, 2]


def _saved(tmp_path: Path, cell) -> Path:
    rx.save(tmp_path / "model", cell, cell.init(jax.random.key(0), D))
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (rx.GRU(H), r"cell is Chain in the file, but GRU in cell"),
        (rx.Chain(rx.LSTM(H)), r"cell.layers has 2 entries in the file, but 1 in cell"),
        (
            rx.Chain(rx.LSTM(H + 1), rx.Residual(rx.GRU(H))),
            r"cell.layers.0.hidden_size is 2 in the file, but 3 in cell",
        ),
        (
            rx.Chain(rx.LSTM(H), rx.Residual(rx.Elman(H))),
            r"cell.layers.1.cell is GRU in the file, but Elman in cell",
        ),
        (
            rx.Chain(rx.LSTM(H), rx.Residual(rx.GRU(H, reset_after=False))),
            r"cell.layers.1.cell.reset_after is True in the file, but False in cell",
        ),
    ],
)
def test_another_cell_names_the_first_difference(other, difference: str, tmp_path: Path) -> None:
    path = _saved(tmp_path, rx.Chain(rx.LSTM(H), rx.Residual(rx.GRU(H))))
    with pytest.raises(ValueError, match=f"holds another cell: {difference}"):
        rx.load(path, cell=other)


def test_what_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load: there is no file .*nothing"):
        rx.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(ValueError, match=r"load: .*text is not a safetensors file, or is cut off"):
        rx.load(tmp_path / "text")
    path = _saved(tmp_path, rx.LSTM(H))
    (tmp_path / "half").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"load: .*half is not a safetensors file, or is cut off"):
        rx.load(tmp_path / "half")
    safetensors.numpy.save_file({"a": np.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match=r"load: .*foreign was not written by rx.save"):
        rx.load(tmp_path / "foreign")


def test_a_file_cannot_name_any_function(tmp_path: Path) -> None:
    path = _saved(tmp_path, rx.Elman(H))
    data = path.read_bytes().replace(b"jax.nn.tanh", b"shutil.copy")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"names the function 'shutil.copy', which is not one a file may name"):
        rx.load(path)


def test_float64_is_not_cut_silently(tmp_path: Path) -> None:
    path = _saved(tmp_path, rx.Elman(H))
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"[WUb] is float64, which JAX would cut to 32 bits"):
        rx.load(path)


def test_what_cannot_be_saved_leaves_the_file_alone(tmp_path: Path) -> None:
    cell = rx.Reparametrize(rx.Elman(H), jax.lax.stop_gradient)
    path = _saved(tmp_path, cell)
    before, params = path.read_bytes(), cell.init(jax.random.key(0), D)
    with pytest.raises(TypeError, match=r"save: params are bound \(rx.bind\); save the params that cell.init made"):
        rx.save(path, cell, rx.bind(cell, params))
    with pytest.raises(TypeError, match=r"params are a LSTMParams, expected ElmanParams"):
        rx.save(path, rx.Elman(H), rx.LSTM(H).init(jax.random.key(0), D))
    with pytest.raises(TypeError, match=r"save: params.W is a str"):
        rx.save(path, rx.Elman(H), params._replace(W="weights"))
    with pytest.raises(TypeError, match=r"save: metadata\['step'\] is a int, expected a string"):
        rx.save(path, cell, params, metadata={"step": 3})  # pyright: ignore[reportArgumentType] (that is the mistake)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    """A process that only saves is killed at many moments: what is there loads, and is one of the two models."""
    code = f"""
        import jax, rnnjax as rx
        cell = rx.LSTM(64)
        params = [jax.tree.map(lambda p: p * 0 + k, cell.init(jax.random.key(0), 64)) for k in (1, 2)]
        rx.save({str(tmp_path / "model")!r}, cell, params[0])
        print("ready", flush=True)
        while True:
            for one in params:
                rx.save({str(tmp_path / "model")!r}, cell, one)
    """
    for delay in (0.0, 0.01, 0.023, 0.05):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        _, params = rx.load(tmp_path / "model")
        values = {float(value) for leaf in jax.tree.leaves(params) for value in np.unique(leaf)}
        assert values in ({1.0}, {2.0})

"""The linen modules inside linen: params as nested dicts, rngs, modules made inside others."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization, traverse_util

import rnnjax as rx
import rnnjax.flax.linen as ours_linen
from tests.flax_modules import GRU, LSTM, ZONEOUT, assert_equal, refused, turned
from tests.registry import CELLS, B, D, H, T, random_inputs, random_params


def test_linen_draws_from_its_rng_dropout():
    rnn = ours_linen.RNN(ZONEOUT)
    inputs = turned(random_inputs(LSTM))
    variables = rnn.init(jax.random.key(0), inputs)
    evaluated: Any = rnn.apply(variables, inputs)
    rngs = {"dropout": jax.random.key(1)}
    drawn: Any = rnn.apply(variables, inputs, rngs=rngs)
    assert not np.allclose(drawn, evaluated)
    another: Any = rnn.apply(variables, inputs, rngs={"dropout": jax.random.key(2)})
    assert not np.allclose(drawn, another)
    assert_equal(rnn.apply(variables, inputs, rngs=rngs), drawn)
    assert_equal(rnn.apply(variables, inputs, rngs=rngs, deterministic=True), evaluated)
    assert_equal(ours_linen.RNN(ZONEOUT, deterministic=True).apply(variables, inputs, rngs=rngs), evaluated)


class LinenModel(nn.Module):
    """Cells and the modules they lift are made where a linen user makes them."""

    @nn.compact
    def __call__(self, inputs):
        ys = ours_linen.RNN(rx.Chain(rx.LSTM(H), rx.Lift(nn.Dense(3))))(inputs)
        return nn.Dense(1)(nn.Bidirectional(ours_linen.RNN(rx.GRU(H)), ours_linen.RNN(rx.GRU(H)))(ys))


def test_linen_params_are_nested_dicts_that_serialise():
    model, inputs = LinenModel(), turned(random_inputs(LSTM))
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    variables = model.init(jax.random.key(0), inputs)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    found = jax.tree.map(jnp.shape, traverse_util.flatten_dict(variables["params"], sep="/"))
    assert found["RNN_0/cell_params/0/W/f"] == (D, H)
    assert found["RNN_0/cell_params/1/kernel"] == (H, 3)
    assert found["RNN_2/cell_params/b_hn"] == (H,)
    assert len(jax.tree.leaves(variables)) == 12 + 2 + 2 * 10 + 2
    other = jax.tree.map(jnp.zeros_like, variables)
    restored = serialization.from_bytes(other, serialization.to_bytes(variables))
    assert_equal(restored, variables)
    assert_equal(jax.jit(model.apply)(restored, inputs), model.apply(variables, inputs))


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_linen_params_and_back(entry):
    params = random_params(entry)
    nested = ours_linen.from_cell_params(params)
    assert all(isinstance(leaf, jax.Array) for leaf in traverse_util.flatten_dict(nested).values())
    assert_equal(ours_linen.to_cell_params(entry.cell, nested, entry.input_size), params)


def test_linen_init_draws_what_the_cell_draws():
    inputs = turned(random_inputs(LSTM))
    params = ours_linen.RNN(LSTM.cell).init(jax.random.key(0), inputs)["params"]
    found = ours_linen.to_cell_params(LSTM.cell, params, D)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, random_params(LSTM))
    np.testing.assert_array_equal(found.b.f, 1)
    np.testing.assert_allclose(found.U.i @ found.U.i.T, np.eye(H), atol=1e-6)


def test_what_linen_cannot_be_made_of():
    inputs = jnp.ones((B, T, D))
    key = jax.random.key(0)
    assert "Flax's LSTMCell, expected a cell of rnnjax" in refused(
        TypeError, lambda: ours_linen.RNN(nn.LSTMCell(H)).init(key, inputs)
    )
    both: Any = ours_linen.Bidirectional
    layer = both(ours_linen.RNN(GRU.cell), nn.RNN(nn.GRUCell(H)))
    assert "backward_rnn is RNN, expected rnnjax.flax.linen.RNN" in refused(TypeError, lambda: layer.init(key, inputs))
    params = ours_linen.from_cell_params(random_params(LSTM))
    message = refused(ValueError, lambda: ours_linen.RNN(GRU.cell).apply({"params": params}, inputs))
    assert "params has the entries cell_params/U/f, " in message
    assert "but GRU(hidden_size=2).init gives cell_params/U/n, " in message

"""The NNX modules inside NNX: state, streams of keys, transforms, optimizers, checkpoints."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import rnnjax as rx
import rnnjax.flax.nnx as ours_nnx
from tests.flax_modules import GRU, LENGTHS, LSTM, ZONEOUT, assert_equal, refused, turned
from tests.laws.compare import assert_close
from tests.registry import CELLS, B, D, H, T, random_inputs, random_params


@pytest.mark.parametrize("entry", [entry for entry in CELLS if entry.name != "leaky_per_unit"], ids=repr)
def test_who_draws_keeps_a_stream(entry):
    """Others hold params alone. (``leaky_per_unit`` draws noise and multiplies it by zero.)"""
    rnn = ours_nnx.RNN(entry.cell, entry.input_size, rngs=nnx.Rngs(0))
    assert (rnn.rngs is not None) == entry.draws
    assert bool(jax.tree.leaves(nnx.state(rnn, nnx.RngState))) == entry.draws


def test_nnx_draws_from_its_stream_dropout():
    rngs = nnx.Rngs(params=0, dropout=1)
    rnn = ours_nnx.RNN(ZONEOUT, D, rngs=rngs)
    inputs = turned(random_inputs(LSTM))
    keys = nnx.Rngs(dropout=1).dropout.fork()
    first, second = (
        turned(rx.unroll(ZONEOUT, rnn.cell_params, turned(inputs), key=key)[1]) for key in (keys(), keys())
    )
    evaluated = turned(rx.unroll(ZONEOUT, rnn.cell_params, turned(inputs))[1])
    assert not np.allclose(first, second)
    assert not np.allclose(first, evaluated)
    assert_equal(rnn(inputs), first)
    assert_equal(nnx.jit(lambda rnn, inputs: rnn(inputs))(rnn, inputs), second)  # the count has moved on
    assert_equal(rnn(inputs, deterministic=True), evaluated)
    rnn.eval()
    assert_equal(rnn(inputs), evaluated)
    assert_equal(rnn(inputs, deterministic=False, rngs=nnx.Rngs(dropout=1).dropout.fork()), first)
    rnn.train()
    assert_equal(nnx.view(rnn, deterministic=True)(inputs), evaluated)
    given = ours_nnx.RNN(ZONEOUT, params=rnn.cell_params, rngs=nnx.Rngs(dropout=1))
    assert_equal(given(inputs), first)
    assert_equal(ours_nnx.RNN(ZONEOUT, params=rnn.cell_params)(inputs), evaluated)


def test_bidirectional_draws_in_each_direction():
    rngs = nnx.Rngs(0)
    both = ours_nnx.Bidirectional(*(ours_nnx.RNN(ZONEOUT, D, rngs=rngs) for _ in range(2)))
    inputs = turned(random_inputs(LSTM))
    drawn, again, evaluated = both(inputs), both(inputs), both(inputs, deterministic=True)
    for half in (np.s_[..., :H], np.s_[..., H:]):
        assert not np.allclose(drawn[half], evaluated[half])
        assert not np.allclose(drawn[half], again[half])
    assert_equal(both(inputs, rngs=nnx.Rngs(3)), both(inputs, rngs=nnx.Rngs(3)))
    both.eval()
    assert_equal(both(inputs), evaluated)


class Classifier(nnx.Module):
    """As a user writes it."""

    def __init__(self, cell: Any, rngs: nnx.Rngs):
        self.rnn = ours_nnx.RNN(cell, D, return_carry=True, rngs=rngs)
        self.head = nnx.Linear(H, 1, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, inputs, lengths):
        carry, _ = self.rnn(inputs, seq_lengths=lengths)
        return self.head(carry.h)[..., 0]


def test_training_in_nnx_jit_traces_once():
    traced = []

    def step(params, h_tm1, x):
        traced.append(None)
        h = jnp.tanh(x @ params["W"] + h_tm1 @ params["U"])
        return h, h

    cell = rx.Cell(
        init=lambda key, size: {"W": jax.random.normal(key, (size, H)), "U": jnp.eye(H)},
        carry=lambda params, batch_shape: jnp.zeros((*batch_shape, H), params["U"].dtype),
        step=step,
    )
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(ours_nnx.RNN(cell, D, rngs=rngs), nnx.Linear(H, 1, param_dtype=jnp.float64, rngs=rngs))
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)
    inputs = turned(random_inputs(LSTM))
    targets = inputs.sum(-1, keepdims=True)

    @nnx.jit
    def train_step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda model: jnp.square(model(inputs) - targets).mean())(model)
        optimizer.update(model, gradients)
        return loss

    first = train_step(model, optimizer)
    count = len(traced)
    losses = [train_step(model, optimizer) for _ in range(30)]
    assert count > 0
    assert len(traced) == count
    assert losses[-1] < 0.8 * first


def test_split_merge_and_paths():
    model = Classifier(ZONEOUT, nnx.Rngs(0))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    inputs = turned(random_inputs(LSTM))
    expected = nnx.clone(model)(inputs, LENGTHS)
    assert_equal(nnx.merge(graph, params, nnx.clone(rest))(inputs, LENGTHS), expected)
    assert_equal(jax.jit(lambda *state: nnx.merge(graph, *state)(inputs, LENGTHS))(params, rest), expected)
    assert ("rnn", "params", "W", "f") in dict(nnx.to_flat_state(params))
    assert hash(graph) == hash(nnx.graphdef(Classifier(rx.Zoneout(rx.LSTM(H), 0.3), nnx.Rngs(1))))
    assert type(nnx.merge(graph, params, rest).rnn.cell_params) is rx.LSTMParams


@pytest.mark.parametrize("name", ["gru_before", "everything", "user_random", "bidirectional_two", "learned_carry"])
def test_nnx_state_goes_to_pure_dicts_and_to_disk(name, tmp_path):
    entry = next(entry for entry in CELLS if entry.name == name)
    saved, other = (ours_nnx.RNN(entry.cell, params=random_params(entry, seed)) for seed in (0, 1))
    state = nnx.state(other)
    nnx.replace_by_pure_dict(state, nnx.to_pure_dict(nnx.state(saved)))
    nnx.update(other, state)
    assert_equal(other.cell_params, saved.cell_params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(saved))
        checkpointer.wait_until_finished()
        abstract = nnx.eval_shape(lambda: ours_nnx.RNN(entry.cell, params=random_params(entry)))
        restored = checkpointer.restore(tmp_path / "state", nnx.state(abstract))
    nnx.update(abstract, restored)
    assert_equal(abstract.cell_params, saved.cell_params)


def test_many_models_at_once():
    """``nnx.vmap`` makes them and runs them."""
    inputs = turned(random_inputs(LSTM))

    @nnx.vmap
    def make(key):
        return ours_nnx.RNN(ZONEOUT, D, deterministic=True, rngs=nnx.Rngs(key))

    models = make(jax.random.split(jax.random.key(0), 4))
    assert models.params.W.i.shape == (4, D, H)
    found = nnx.vmap(lambda model, inputs: model(inputs), in_axes=(0, None))(models, inputs)
    expected = jax.vmap(lambda params: turned(rx.unroll(ZONEOUT, params, turned(inputs))[1]))(models.cell_params)
    assert_close(found, expected)


def test_what_nnx_cannot_be_made_of():
    rngs = nnx.Rngs(0)
    make: Any = ours_nnx.RNN
    both: Any = ours_nnx.Bidirectional
    assert "Flax's LSTMCell, expected a cell of rnnjax" in refused(
        TypeError, lambda: make(nnx.LSTMCell(D, H, rngs=rngs), D, rngs=rngs)
    )
    assert "expected a cell, LSTM(...)" in refused(TypeError, lambda: make(rx.LSTM, D, rngs=rngs))
    assert "rngs is None, expected nnx.Rngs to draw the params of LSTM(hidden_size=2)" in refused(
        TypeError, lambda: make(LSTM.cell, D)
    )
    assert "rngs is 0, expected nnx.Rngs" in refused(TypeError, lambda: make(LSTM.cell, D, rngs=0))
    assert "but neither is given" in refused(ValueError, lambda: make(LSTM.cell, rngs=rngs))
    params = random_params(LSTM)
    assert "but both are given" in refused(ValueError, lambda: make(LSTM.cell, D, params=params))
    assert "LSTMParams" in refused(TypeError, lambda: make(GRU.cell, params=params))
    rnn = make(LSTM.cell, params=params)
    assert "backward_rnn is GRU(hidden_size=2), expected rnnjax.flax.nnx.RNN" in refused(
        TypeError, lambda: both(rnn, rx.GRU(H))
    )
    assert "rngs is 3, expected nnx.Rngs or one of its streams" in refused(
        TypeError, lambda: rnn(jnp.ones((B, T, D)), rngs=3)
    )

"""Law 9 for settings, for what a cell is made of, and for values that are looked at where they are concrete."""

# pyright: reportArgumentType=false, reportCallIssue=false

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnjax as rx
from tests.registry import D, H, T

KEY = jax.random.key(0)
TOKEN = jax.ShapeDtypeStruct((), jnp.int32)


class Normalised(nnx.Module):
    def __init__(self, size, rngs):
        self.norm = nnx.BatchNorm(size, rngs=rngs)

    def __call__(self, x):
        return self.norm(x)


BAD = {
    "LSTM: hidden_size is 0, expected a positive integer": lambda: rx.LSTM(0),
    "GRU: hidden_size is '256', expected a positive integer": lambda: rx.GRU("256"),
    "Elman: hidden_size is True, expected a positive integer": lambda: rx.Elman(True),
    "LRU: hidden_size is 2.0, expected a positive integer": lambda: rx.LRU(2.0),
    "MinGRU: hidden_size is -1, expected a positive integer": lambda: rx.MinGRU(-1),
    "Elman: activation is 'tanh', expected a function": lambda: rx.Elman(H, activation="tanh"),
    "LSTM: kernel_init is 'orthogonal', expected a function": lambda: rx.LSTM(H, kernel_init="orthogonal"),
    "GRU: bias_init is 0, expected a function": lambda: rx.GRU(H, bias_init=0),
    "Leaky: leak is 0, expected to lie in (0.0, 1.0]": lambda: rx.Leaky(H, leak=0),
    "Leaky: leak is 2.0, expected to lie in (0.0, 1.0]": lambda: rx.Leaky.continuous(H, tau=0.5),
    "Leaky: leak is [0.5 2. ], expected to lie in (0.0, 1.0]": lambda: rx.Leaky(H, leak=jnp.array([0.5, 2.0])),
    "Leaky: leak is nan, expected to lie in (0.0, 1.0]": lambda: rx.Leaky(H, leak=float("nan")),
    "Leaky: leak is None, expected a number in (0.0, 1.0]": lambda: rx.Leaky(H, leak=None),
    "Leaky: noise is -1, expected to lie in [0.0, inf]": lambda: rx.Leaky(H, noise=-1),
    "LRU: r_min is 0.9, expected to lie in [0.0, 0.5]": lambda: rx.LRU(H, r_min=0.9, r_max=0.5),
    "Dropout: rate is 1.5, expected to lie in [0.0, 1.0]": lambda: rx.Dropout(1.5),
    "TiedDropout: rate is -0.1, expected to lie in [0.0, 1.0]": lambda: rx.TiedDropout(-0.1),
    "Dropout: rate is '0.5', expected a number in [0.0, 1.0]": lambda: rx.Dropout("0.5"),
    "drop: rate is 2, expected to lie in [0.0, 1.0]": lambda: rx.drop(jnp.ones(3), 2, KEY),
    "GaussianNoise: stddev is -1, expected to lie in [0.0, inf]": lambda: rx.GaussianNoise(-1),
    "Zoneout: rate is 1.5, expected to lie in [0.0, 1.0]": lambda: rx.Zoneout(rx.LSTM(H), rx.LSTMCarry(0.1, 1.5)),
    "Chain: got no layers, expected at least one cell": rx.Chain,
    "Chain: layer 1 is Dense, which is not a cell (it has no carry, step); wrap feed-forward modules in rx.Lift": (
        lambda: rx.Chain(rx.LSTM(H), nn.Dense(H))
    ),
    "Chain: layer 0 is [Elman(hidden_size=2)], which is not a cell (it has no init, carry, step); see rx.Cell": (
        lambda: rx.Chain([rx.Elman(H)])
    ),
    "Bidirectional: backward is tanh, which is not a cell": lambda: rx.Bidirectional(rx.Elman(H), jnp.tanh),
    "Bidirectional: merge is 'max', expected one of 'concat', 'sum', 'mean'": (
        lambda: rx.Bidirectional(rx.Elman(H), merge="max")
    ),
    "Residual: cell is 3, which is not a cell (it has no init, carry, step); see rx.Cell": lambda: rx.Residual(3),
    "Zoneout: cell is the class LSTM, expected a cell, LSTM(...)": lambda: rx.Zoneout(rx.LSTM, 0.1),
    "RecurrentDropout: rate is 1.5, expected to lie in [0.0, 1.0]": lambda: rx.RecurrentDropout(rx.GRU(H), 1.5),
    "RecurrentDropout: cell is the class GRU, expected a cell, GRU(...)": lambda: rx.RecurrentDropout(rx.GRU, 0.5),
    "LearnedCarry: cell is None, which is not a cell": lambda: rx.LearnedCarry(None),
    "ExposeCarry: cell is Dense, which is not a cell": lambda: rx.ExposeCarry(nn.Dense(H)),
    "Reparametrize: fn is 3, expected a function": lambda: rx.Reparametrize(rx.Elman(H), 3),
    "Cell: step is 3, expected a function": lambda: rx.Cell(jnp.ones, jnp.ones, 3),
    "Cell: bind is 3, expected a function": lambda: rx.Cell(jnp.ones, jnp.ones, jnp.ones, bind=3),
    "Elman.init: input_size is 0, expected a positive integer": lambda: rx.Elman(H).init(KEY, 0),
    "LSTM.init: input_size is (5,), expected a positive integer": lambda: rx.LSTM(H).init(KEY, (5,)),
    "GRU.init: input_size is int32[], expected a vector of floating-point features; put rx.Lift(nn.Embed(...)) before"
    " it for tokens, or flatten the axes": lambda: rx.Chain(rx.GRU(H), rx.GRU(H)).init(KEY, TOKEN),
    "Lift: module is an instance of nnx.Linear, which already holds arrays; give the function that makes it:"
    " rx.Lift(lambda rngs: nnx.Linear(..., rngs=rngs))": lambda: rx.Lift(nnx.Linear(D, H, rngs=nnx.Rngs(0))),
    "Lift: module is <class 'flax.linen.linear.Dense'>, expected a flax.linen module or a function": (
        lambda: rx.Lift(nn.Dense)
    ),
    "Lift: tanh(rngs) fails, expected it to make an nnx.Module: ": lambda: rx.Lift(jnp.tanh),
    "Lift: <lambda>(rngs) gives a Dense, expected an nnx.Module": lambda: rx.Lift(lambda rngs: nn.Dense(H)),
    "Lift.init: BatchNorm() has state other than parameters (batch_stats), which a layer cannot hold; use modules"
    " without it (LayerNorm for BatchNorm, rx.Dropout for nnx.Dropout)": (
        lambda: rx.Lift(nn.BatchNorm(use_running_average=False)).init(KEY, D)
    ),
    "Lift.init: Sequential(layers=[Dense(features=2), BatchNorm()]) has state other than parameters (batch_stats)": (
        lambda: rx.Lift(nn.Sequential([nn.Dense(H), nn.BatchNorm(use_running_average=False)])).init(KEY, D)
    ),
    "Lift.init: <lambda> has state other than parameters (BatchStat), which a layer cannot hold": (
        lambda: rx.Lift(lambda rngs: Normalised(D, rngs)).init(KEY, D)
    ),
    "Lift.init: <lambda> has state other than parameters (RngCount, RngKey), which a layer cannot hold": (
        lambda: rx.Lift(lambda rngs: nnx.Dropout(0.5, rngs=rngs)).init(KEY, D)
    ),
    "Lift.init: Embed(num_embeddings=3, features=2) does not take an input of float64[5]; tokens are"
    " input_size=jax.ShapeDtypeStruct((), jnp.int32): ": lambda: rx.Lift(nn.Embed(3, 2)).init(KEY, D),
    # values, looked at where they are concrete
    "length_mask: a length is 9, expected between 0 and num_steps=7": lambda: rx.length_mask(jnp.array([3, 9]), T),
    "length_mask: a length is -1, expected between 0 and num_steps=7": lambda: rx.length_mask(np.array([-1]), T),
    "length_mask: num_steps is -1, expected at least 0": lambda: rx.length_mask([0], -1),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_settings_get_one_clear_sentence(message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        BAD[message]()


def test_values_are_not_looked_at_where_they_are_traced():
    """Under jit and vmap a length beyond T, or a rate beyond 1, is not refused: as the docstrings say."""
    assert jax.jit(rx.length_mask, static_argnums=1)(jnp.array([3, 9]), T).all(0).tolist() == [False, True]
    rates = jax.vmap(lambda rate: rx.Dropout(rate).step((), (), rate)[1])(jnp.array([0.5, 1.5]))
    assert rates.tolist() == [0.5, 1.5]

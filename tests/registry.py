"""The single list of cells; every law runs over it. Add a cell here and it is tested."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import rnnjax as rx

# One letter per axis, pairwise different primes, so that a swapped axis fails.
T, B, D, H = 7, 3, 5, 2
VOCABULARY = 11


class Entry(NamedTuple):
    """A cell and what it is given."""

    name: str
    cell: Any
    input_size: Any = D
    steps: bool = True  # False: it looks ahead, so it cannot be stepped

    def __repr__(self) -> str:
        return self.name


def _moving_average() -> rx.Cell:
    """A user's own cell: three functions, a dict carry with an integer and a boolean leaf, two outputs."""

    def step(params, carry, x):
        mean = carry["mean"] + jax.nn.sigmoid(params["rate"]) * (x @ params["W"] - carry["mean"])
        above = mean[..., 0] > 0
        carry = {"mean": mean, "count": carry["count"] + 1, "above": above}
        return carry, {"mean": mean, "crossed": above != carry["above"], "count": carry["count"]}

    return rx.Cell(
        init=lambda key, input_size: {
            "rate": jax.random.normal(key, (H,)),
            "W": jax.random.normal(key, (input_size, H)),
        },
        carry=lambda params, batch_shape: {
            "mean": jnp.zeros((*batch_shape, H), params["rate"].dtype),
            "count": jnp.zeros(batch_shape, jnp.int32),
            "above": jnp.zeros(batch_shape, bool),
        },
        step=step,
    )


def _noisy() -> rx.Cell:
    """A user's own random cell."""

    def step(params, carry, x, key=None):
        noise = 0 if key is None else jax.random.normal(key, carry.shape, carry.dtype)
        h = jnp.tanh(carry * params + x[..., :1] + noise)
        return h, h

    return rx.Cell(
        init=lambda key, input_size: jax.random.normal(key, (H,)),
        carry=lambda params, batch_shape: jnp.zeros((*batch_shape, H), params.dtype),
        step=step,
    )


def _drop_recurrent(params, key=None):
    return params._replace(U=rx.drop(params.U, 0.5, key))


def _square_recurrent(params):
    return params._replace(U=jax.tree.map(lambda U: U @ U, params.U))


_TOKEN = jax.ShapeDtypeStruct((), jnp.int32)

CELLS = (
    Entry("elman", rx.Elman(H)),
    Entry("elman_relu", rx.Elman(H, activation=jax.nn.relu, recurrent_init=rx.initializers.identity)),
    Entry("elman_softmax", rx.Elman(H, activation=jax.nn.softmax)),
    Entry("lstm", rx.LSTM(H, forget_bias=0.5)),
    Entry("gru_after", rx.GRU(H)),
    Entry("gru_before", rx.GRU(H, reset_after=False)),
    Entry("leaky", rx.Leaky(H, leak=0.3, noise=0.2)),
    Entry("leaky_per_unit", rx.Leaky(H, leak=jnp.linspace(0.2, 0.7, H))),
    Entry("lru", rx.LRU(H)),
    Entry("mingru", rx.MinGRU(H)),
    Entry("user", _moving_average()),
    Entry("user_random", _noisy()),
    Entry("bidirectional", rx.Bidirectional(rx.LSTM(H)), steps=False),
    Entry("bidirectional_two", rx.Bidirectional(rx.GRU(H), rx.Elman(H), merge="mean"), steps=False),
    Entry("residual", rx.Residual(rx.GRU(D))),
    Entry("residual_bidirectional", rx.Residual(rx.Bidirectional(rx.GRU(D), merge="sum")), steps=False),
    Entry("dropout", rx.Chain(rx.Elman(H), rx.Dropout(0.5), rx.Elman(H))),
    Entry("tied_dropout", rx.Chain(rx.TiedDropout(0.4), rx.Elman(H), rx.TiedDropout(0.4))),
    Entry("gaussian_noise", rx.Chain(rx.GaussianNoise(0.3), rx.Elman(H))),
    Entry("zoneout", rx.Zoneout(rx.LSTM(H), rate=rx.LSTMCarry(h=0.2, c=0.5))),
    Entry("zoneout_lru", rx.Zoneout(rx.LRU(H), rate=0.3)),
    Entry("zoneout_user", rx.Zoneout(_moving_average(), rate=0.3)),
    Entry("weight_drop", rx.Reparametrize(rx.GRU(H), _drop_recurrent)),
    Entry("squared_weights", rx.Reparametrize(rx.LSTM(H), _square_recurrent)),
    Entry("learned_carry", rx.LearnedCarry(rx.LSTM(H))),
    Entry("learned_carry_lru", rx.LearnedCarry(rx.LRU(H))),
    Entry("learned_carry_user", rx.LearnedCarry(_moving_average())),
    Entry("expose_carry", rx.ExposeCarry(rx.LSTM(H))),
    Entry("lift_linen", rx.Lift(nn.Dense(H))),
    Entry("lift_nnx", rx.Lift(lambda rngs: nnx.Linear(D, H, rngs=rngs))),
    Entry("language_model", rx.Chain(rx.Lift(nn.Embed(VOCABULARY, D)), rx.LSTM(H), rx.Lift(nn.Dense(VOCABULARY))), _TOKEN),
    Entry(
        "everything",
        rx.Chain(
            rx.TiedDropout(0.3),
            rx.LearnedCarry(rx.Reparametrize(rx.Zoneout(rx.LSTM(H), 0.2), _drop_recurrent)),
            rx.Residual(rx.Chain(rx.Leaky(H, leak=0.4, noise=0.1), rx.Dropout(0.3))),
            rx.Lift(nn.Dense(D)),
            rx.LRU(H),
        ),
    ),
    Entry("deep_bidirectional", rx.Chain(rx.Bidirectional(rx.GRU(H)), rx.Dropout(0.3), rx.Elman(H)), steps=False),
)


def random_params(entry: Entry, seed: int = 0, dtype: Any = None) -> Any:
    """The cell's params, every one of them random, biases too."""
    params = entry.cell.init(jax.random.key(seed), entry.input_size)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    drawn = [
        0.7 * jax.random.normal(key, leaf.shape, jnp.float32).astype(dtype or leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return structure.unflatten(drawn)


def random_inputs(entry: Entry, num_steps: int = T, batch_shape: tuple[int, ...] = (B,), seed: int = 0, dtype: Any = None) -> Any:
    """xs [T, *batch, ...] for the cell: normal features, or tokens."""
    key = jax.random.key(seed + 2)
    if entry.input_size is _TOKEN:
        return jax.random.randint(key, (num_steps, *batch_shape), 0, VOCABULARY)
    return jax.random.normal(key, (num_steps, *batch_shape, entry.input_size)).astype(dtype or jnp.result_type(float))


def random_carry(entry: Entry, params: Any, batch_shape: tuple[int, ...] = (B,), seed: int = 0) -> Any:
    """A carry like the cell's own, its inexact leaves random."""
    own = entry.cell.carry(params, batch_shape)
    leaves, structure = jax.tree.flatten(own)
    keys = jax.random.split(jax.random.key(seed + 3), max(len(leaves), 1))
    drawn = [
        jax.random.normal(key, leaf.shape, leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf
        for key, leaf in zip(keys, leaves, strict=False)
    ]
    return structure.unflatten(drawn)

"""The single list of cells; every law runs over it. Add a cell here and it is tested."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
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
    draws: bool = False  # True: it draws random numbers where it is given a key

    def __repr__(self) -> str:
        return self.name


def _moving_average() -> rx.Cell:
    """A user's own cell: three functions, a dict carry with an integer and a boolean leaf, two outputs."""

    def step(params, carry, x):
        new = x @ params["W"]
        mean = carry["mean"] + jax.nn.sigmoid(params["rate"]) * (new - carry["mean"])
        above = new[..., 0] > 0
        y = {"mean": mean, "crossed": above != carry["above"], "count": carry["count"]}
        return {"mean": mean, "count": carry["count"] + 1, "above": above}, y

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


def _labelled() -> rx.Cell:
    """A user's own cell whose x is a pytree of features and a token, and whose bind is its own."""

    def step(params, carry, x):
        h = jnp.tanh(x["features"] @ params["W"] + params["rows"][x["token"]] + carry * params["decay"])
        return h, h

    return rx.Cell(
        init=lambda key, input_size: {
            "W": jax.random.normal(key, (*input_size["features"].shape, H)),
            "rows": jax.random.normal(key, (VOCABULARY, H)),
            "rate": jax.random.normal(key, (H,)),
        },
        carry=lambda params, batch_shape: jnp.zeros((*batch_shape, H), params["W"].dtype),
        step=step,
        bind=lambda params, batch_shape, key: params | {"decay": jax.nn.sigmoid(params["rate"])},
        input_ndim={"features": 1, "token": 0},
    )


def _drop_recurrent(params, key=None):
    return params._replace(U=rx.drop(params.U, 0.5, key))


def _square_recurrent(params):
    return params._replace(U=jax.tree.map(lambda U: U @ U, params.U))


_TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
_LABELLED = {"features": jax.ShapeDtypeStruct((D,), jnp.float32), "token": _TOKEN}

CELLS = (
    Entry("elman", rx.Elman(H)),
    Entry("elman_relu", rx.Elman(H, activation=jax.nn.relu, recurrent_init=rx.initializers.identity)),
    Entry("elman_softmax", rx.Elman(H, activation=jax.nn.softmax)),
    Entry("lstm", rx.LSTM(H, forget_bias=0.5)),
    Entry("gru_after", rx.GRU(H)),
    Entry("gru_before", rx.GRU(H, reset_after=False)),
    Entry("peephole_lstm", rx.PeepholeLSTM(H)),
    Entry("coupled_lstm", rx.CoupledLSTM(H)),
    Entry("coupled_peephole_lstm", rx.CoupledLSTM(H, peephole=True)),
    Entry("projected_lstm", rx.ProjectedLSTM(3, output_size=H)),
    Entry("mgu", rx.MGU(H)),
    Entry("flax_mgu", rx.FlaxMGU(H)),
    Entry("leaky", rx.Leaky(H, leak=0.3, noise=0.2), draws=True),
    Entry("leaky_per_unit", rx.Leaky(H, leak=jnp.linspace(0.2, 0.7, H))),
    Entry("lru", rx.LRU(H)),
    Entry("mingru", rx.MinGRU(H)),
    Entry("user", _moving_average()),
    Entry("user_random", _noisy(), draws=True),
    Entry("user_pytree", _labelled(), _LABELLED),
    Entry("bidirectional", rx.Bidirectional(rx.LSTM(H)), steps=False),
    Entry("bidirectional_two", rx.Bidirectional(rx.LearnedCarry(rx.GRU(H)), rx.Elman(H), merge="mean"), steps=False),
    Entry("backward", rx.Backward(rx.GRU(H)), steps=False),
    Entry("residual", rx.Residual(rx.GRU(D))),
    Entry("residual_bidirectional", rx.Residual(rx.Bidirectional(rx.GRU(D), merge="sum")), steps=False),
    Entry("dropout", rx.Chain(rx.Elman(H), rx.Dropout(0.5), rx.Elman(H)), draws=True),
    Entry("tied_dropout", rx.Chain(rx.TiedDropout(0.4), rx.Elman(H), rx.TiedDropout(0.4)), draws=True),
    Entry("gaussian_noise", rx.Chain(rx.GaussianNoise(0.3), rx.Elman(H)), draws=True),
    Entry("zoneout", rx.Zoneout(rx.LSTM(H), rate=rx.LSTMCarry(h=0.2, c=0.5)), draws=True),
    Entry("zoneout_lru", rx.Zoneout(rx.LRU(H), rate=0.3), draws=True),
    Entry("zoneout_user", rx.Zoneout(_moving_average(), rate=0.3), draws=True),
    Entry("weight_drop", rx.Reparametrize(rx.GRU(H), _drop_recurrent), draws=True),
    Entry("recurrent_dropout", rx.RecurrentDropout(rx.GRU(H), 0.4), draws=True),
    Entry("recurrent_dropout_per_gate", rx.RecurrentDropout(rx.LSTM(H), 0.4, per_gate=True), draws=True),
    Entry("two_biases", rx.TwoBiases(rx.GRU(H))),
    Entry("squared_weights", rx.Reparametrize(rx.LSTM(H), _square_recurrent)),
    Entry("learned_carry", rx.LearnedCarry(rx.LSTM(H))),
    Entry("learned_carry_lru", rx.LearnedCarry(rx.LRU(H))),
    Entry("learned_carry_user", rx.LearnedCarry(_moving_average())),
    Entry("expose_carry", rx.ExposeCarry(rx.LSTM(H))),
    Entry("lift_linen", rx.Lift(nn.Dense(H))),
    Entry("lift_nnx", rx.Lift(lambda rngs: nnx.Linear(D, H, rngs=rngs))),
    Entry(
        "language_model", rx.Chain(rx.Lift(nn.Embed(VOCABULARY, D)), rx.LSTM(H), rx.Lift(nn.Dense(VOCABULARY))), _TOKEN
    ),
    Entry(
        "everything",
        rx.Chain(
            rx.TiedDropout(0.3),
            rx.LearnedCarry(rx.Reparametrize(rx.Zoneout(rx.LSTM(H), 0.2), _drop_recurrent)),
            rx.Residual(rx.Chain(rx.Leaky(H, leak=0.4, noise=0.1), rx.Dropout(0.3))),
            rx.Lift(nn.Dense(D)),
            rx.LRU(H),
        ),
        draws=True,
    ),
    Entry(
        "deep_bidirectional",
        rx.Chain(rx.Bidirectional(rx.Elman(H), rx.Leaky(H, leak=0.4, noise=0.3)), rx.Dropout(0.3), rx.Elman(H)),
        steps=False,
        draws=True,
    ),
)


def random_params(entry: Entry, seed: int = 0, dtype: Any = None) -> Any:
    """The cell's params, every one of them random, biases too."""
    spec = jax.eval_shape(lambda: entry.cell.init(jax.random.key(0), entry.input_size))
    return _draw(spec, seed, dtype or jnp.result_type(float), scale=0.7)


def random_inputs(
    entry: Entry, num_steps: int = T, batch_shape: tuple[int, ...] = (B,), seed: int = 0, dtype: Any = None
) -> Any:
    """xs [T, *batch, ...] for the cell: normal features, tokens."""
    size = entry.input_size
    spec = jax.ShapeDtypeStruct((size,), jnp.float32) if isinstance(size, int) else size
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((num_steps, *batch_shape, *x.shape), x.dtype), spec)
    return _draw(many, seed + 1000, dtype or jnp.result_type(float))


def random_carry(entry: Entry, params: Any, batch_shape: tuple[int, ...] = (B,), seed: int = 0) -> Any:
    """A carry of the structure, shapes and dtypes of the cell's own."""
    return _draw(jax.eval_shape(lambda: entry.cell.carry(params, batch_shape)), seed + 2000)


def _draw(spec: Any, seed: int, dtype: Any = None, scale: float = 1.0) -> Any:
    """Random arrays like ``spec``: normal, integers below VOCABULARY, booleans; ``dtype`` in place of real ones."""
    rng = np.random.default_rng(seed)

    def one(leaf):
        if leaf.dtype == bool:
            return jnp.asarray(rng.random(leaf.shape) < 0.5)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(rng.integers(0, VOCABULARY, leaf.shape), leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            return jnp.asarray(rng.normal(size=leaf.shape) + 1j * rng.normal(size=leaf.shape), leaf.dtype)
        return jnp.asarray(scale * rng.normal(size=leaf.shape), dtype or leaf.dtype)

    return jax.tree.map(one, spec)

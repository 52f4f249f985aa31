"""Law 7: outside jit, a second call with the same shapes neither traces nor compiles."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.conftest import full
from tests.laws.events import random_events
from tests.registry import CELLS, B, D, H, T, random_carry, random_inputs, random_params


@contextlib.contextmanager
def events():
    """The names of what JAX does meanwhile: traces, lowerings, compilations."""
    names = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        names.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


def calls_of(entry):
    """The ways to call unroll, each `call(seed)` with values of its own."""
    params = [random_params(entry, seed) for seed in (0, 1)]
    carry = [random_carry(entry, params[0], seed=seed) for seed in (0, 1)]
    xs = [random_inputs(entry, seed=seed) for seed in (0, 1)]
    keys = [jax.random.key(seed) if entry.draws else None for seed in (0, 1)]
    masks = [random_events(seed) for seed in (0, 1)]
    twice = [jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), p) for p in params]

    def run(params, seed):
        mask, resets = masks[seed]
        return rx.unroll(entry.cell, params, xs[seed], carry[seed], mask=mask, resets=resets, key=keys[seed])

    def loss(params, seed):
        return sum(leaf.real.sum() for leaf in jax.tree.leaves(run(params, seed)) if leaf.dtype != bool)

    return {
        "plain": lambda seed: run(params[seed], seed),
        "grad": lambda seed: jax.grad(loss)(params[seed], seed),
        "vmap": lambda seed: jax.vmap(run, (0, None))(twice[seed], seed),
        "vmap of grad": lambda seed: jax.vmap(jax.grad(loss), (0, None))(twice[seed], seed),
    }


HOW = ("plain", "vmap of grad", "grad", "vmap")
IN_SHORT = [(entry, HOW[index // 2 % 2]) for index, entry in enumerate(CELLS) if index % 2]
ALL = IN_SHORT + [full(entry, how) for entry in CELLS for how in HOW if (entry, how) not in IN_SHORT]


@pytest.mark.parametrize(("entry", "how"), ALL, ids=str)
def test_a_second_call_neither_traces_nor_compiles(entry, how):
    call = calls_of(entry)[how]
    call(0)
    with events() as second:
        call(1)
    assert second == []


def test_other_shapes_do_trace_and_compile():
    """The law above would notice: `events` sees what JAX does."""
    traces = []

    def step(W, h, x):
        traces.append(x.shape)
        h = jnp.tanh(x @ W + h)
        return h, h

    cell = rx.Cell(lambda key, input_size: None, lambda W, batch_shape: jnp.zeros((*batch_shape, H)), step)
    call = lambda num_steps: rx.unroll(cell, jnp.ones((D, H)), jnp.ones((num_steps, B, D)))
    for num_steps, traced in [(T, True), (T, False), (T + 1, True), (T, False)]:
        traces.clear()
        with events() as seen:
            call(num_steps)
        assert (
            bool(traces) == any("trace" in name for name in seen) == any("compile" in name for name in seen) == traced
        )


def _averaging():
    """A user's cell whose carry is a dict."""

    def step(params, carry, x):
        h = jnp.tanh(x[..., :H] + carry["h"])
        return {"h": h, "n": carry["n"] + 1}, h

    def carry(params, batch_shape):
        return {"h": jnp.zeros((*batch_shape, H)), "n": jnp.zeros(batch_shape, int)}

    return rx.Cell(lambda key, input_size: (), carry, step)


AVERAGING = _averaging()
MADE_ANEW = {
    "numbers": lambda value: rx.Leaky(H, leak=0.3),
    "functions": lambda value: rx.Chain(rx.Elman(H, jax.nn.relu), rx.Lift(nn.Sequential([nn.Dense(H), nn.relu]))),
    "arrays": lambda value: rx.Leaky(H, leak=jnp.full(H, value)),
    "NumPy arrays": lambda value: rx.Leaky(H, leak=np.full(H, value)),
    "arrays in a NamedTuple": lambda value: rx.Zoneout(rx.LSTM(H), rx.LSTMCarry(h=jnp.array(value), c=0.1)),
    "arrays in a dict": lambda value: rx.Zoneout(AVERAGING, {"h": jnp.array(value), "n": 0.0}),
    "arrays in a layer": lambda value: rx.Chain(rx.LSTM(H), rx.Residual(rx.Leaky(H, leak=jnp.array(value)))),
}


@pytest.mark.parametrize("name", MADE_ANEW)
def test_a_cell_made_anew_with_other_values_neither_traces_nor_compiles(name):
    """Arrays among the settings count as params; other settings as they compare."""
    make = MADE_ANEW[name]
    params, xs = make(0.2).init(jax.random.key(0), D), jnp.ones((T, B, D))
    with events() as first:
        before, _ = rx.unroll(make(0.2), params, xs)
    with events() as second:
        after, _ = rx.unroll(make(0.7), params, xs)
    assert any("compile" in name for name in first)
    assert second == []
    differs = any(np.any(a != b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True))
    assert differs == ("arrays" in name)

"""Law 6: values that a cell holds or closes over count as params; traced, they can be mapped and differentiated."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.conftest import every
from tests.laws.compare import assert_close, weigh
from tests.laws.definition import loop
from tests.laws.events import random_events
from tests.registry import Entry, H, random_carry, random_inputs, random_params

STEPS = 3


class Setting(NamedTuple):
    """A cell by one of its settings."""

    name: str
    cell: Callable[[Any], Any]
    key: bool = False
    shape: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return self.name


def closing_over(rate: Any) -> rx.Cell:
    """A user's cell whose step closes over a value."""

    def step(W, h, x):
        h = h + rate * (jnp.tanh(x @ W) - h)
        return h, h

    return rx.Cell(
        init=lambda key, input_size: jax.random.normal(key, (input_size, H)),
        carry=lambda W, batch_shape: jnp.zeros((*batch_shape, H), W.dtype) + rate,
        step=step,
    )


SETTINGS = (
    Setting("leak", lambda leak: rx.Leaky(H, leak=leak)),
    Setting("leak of each unit", lambda leak: rx.Leaky(H, leak=leak), shape=(H,)),
    Setting("leak under noise", lambda leak: rx.Leaky(H, leak=leak, noise=0.5), key=True),
    Setting("noise", lambda noise: rx.Leaky(H, noise=noise), key=True),
    Setting("dropout", lambda rate: rx.Chain(rx.Elman(H), rx.Dropout(rate)), key=True),
    Setting("tied dropout", lambda rate: rx.Chain(rx.TiedDropout(rate), rx.Elman(H)), key=True),
    Setting("weight drop", lambda rate: rx.Reparametrize(rx.Elman(H), dropping(rate)), key=True),
    Setting("gaussian noise", lambda stddev: rx.Chain(rx.GaussianNoise(stddev), rx.Elman(H)), key=True),
    Setting("zoneout", lambda rate: rx.Zoneout(rx.LSTM(H), rate), key=True),
    Setting("zoneout's expectation", lambda rate: rx.Zoneout(rx.LSTM(H), rate)),
    Setting("zoneout by part", lambda rate: rx.Zoneout(rx.LSTM(H), rx.LSTMCarry(h=0.3, c=rate))),
    Setting("reparametrize", lambda scale: rx.Reparametrize(rx.Elman(H), lambda p: p._replace(U=scale * p.U))),
    Setting("a user's step", closing_over),
    Setting("in both directions", lambda leak: rx.Bidirectional(rx.LearnedCarry(closing_over(leak)))),
)


def dropping(rate):
    return lambda params, key=None: params._replace(U=rx.drop(params.U, rate, key))


@pytest.mark.parametrize("setting", every(3, SETTINGS, 1), ids=repr)
def test_a_traced_setting_can_be_mapped_and_differentiated(setting):
    """Outside jit, mapped over values, equals the loop of each value."""
    values = np.random.default_rng(0).uniform(0.2, 0.8, (3, *setting.shape))
    entry = Entry(setting.name, setting.cell(values[0]))
    params = random_params(entry)
    inputs = params, random_carry(entry, params), random_inputs(entry, STEPS), *random_events(0, STEPS)
    key = jax.random.key(6) if setting.key else None

    def by_unroll(value):
        params, carry, xs, mask, resets = inputs
        cell = setting.cell(value)
        return weigh(rx.unroll(cell, params, xs, carry, mask=mask, resets=resets, key=key))

    def by_loop(value):
        return weigh(loop(setting.cell(value), *inputs, key))

    mapped = jax.vmap(jax.value_and_grad(by_unroll))(values)
    looped = jax.jit(lambda values: jax.lax.map(jax.value_and_grad(by_loop), values))(values)
    assert_close(mapped, looped, rtol=1e-9)
    as_numbers = [by_unroll(value if setting.shape else float(value)) for value in values[:1]]
    assert_close(jnp.stack(as_numbers), looped[0][:1])

"""Law 9, params, stepping and reductions: bad input gets one clear sentence, inside and outside of jit."""

# pyright: reportArgumentType=false

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import rnnjax as rx
from tests.registry import B, D, H, T

ELMAN, LSTM, GRU = rx.Elman(H), rx.LSTM(H), rx.GRU(H)
DEEP = rx.Chain(rx.LSTM(H), rx.Dropout(0.1), rx.GRU(H))
BOTH = rx.Bidirectional(GRU)
DENSE = rx.Lift(nn.Dense(H))
NNX = rx.Lift(lambda rngs: nnx.Linear(D, H, rngs=rngs))
XS, FLAGS, KEY = jnp.ones((T, B, D)), jnp.ones((T, B), bool), jax.random.key(0)


def params(cell, input_size=D):
    return cell.init(KEY, input_size)


def unroll(cell):
    """Unroll a cell with params of its own."""
    return rx.unroll(cell, params(cell), XS)


BAD = {
    # params
    "params of another cell": (
        lambda: rx.unroll(ELMAN, params(LSTM), XS),
        "Elman(hidden_size=2): params are a LSTMParams, expected ElmanParams from Elman(hidden_size=2).init",
    ),
    "params of the other GRU": (
        lambda: rx.unroll(GRU, params(rx.GRU(H, reset_after=False)), XS),
        "GRU(hidden_size=2): params are of the GRU with reset_after=False",
    ),
    "params of a shorter chain": (
        lambda: rx.unroll(DEEP, params(DEEP)[:2], XS),
        f"{DEEP}: params are 2 entries, expected a tuple of 3, one for each layer",
    ),
    "params of another third layer": (
        lambda: rx.unroll(DEEP, (*params(DEEP)[:2], params(ELMAN, H)), XS),
        "GRU(hidden_size=2): params are a ElmanParams, expected GRUParams from GRU(hidden_size=2).init",
    ),
    "params of one direction": (
        lambda: rx.unroll(BOTH, params(GRU), XS),
        f"{BOTH}: params are a GRUParams, expected Directions from {BOTH}.init",
    ),
    "params of another backward cell": (
        lambda: rx.unroll(BOTH, rx.Directions(params(GRU), params(ELMAN)), XS),
        "GRU(hidden_size=2): params are a ElmanParams, expected GRUParams from GRU(hidden_size=2).init",
    ),
    "params without a learned carry": (
        lambda: rx.unroll(rx.LearnedCarry(ELMAN), params(ELMAN), XS),
        "LearnedCarry(cell=Elman(hidden_size=2)): params are a ElmanParams, expected LearnedCarryParams",
    ),
    "params of another module": (
        lambda: rx.unroll(NNX, params(rx.Lift(nn.Dense(3))), XS),
        "Lift(<lambda>): the module does not take x float64[3,5] with params {'bias': 'float32[3]', 'kernel':"
        " 'float32[5,3]'}: its own have the shapes {'bias': (2,), 'kernel': (5, 2)}",
    ),
    "a path for params": (
        lambda: rx.unroll(ELMAN, "model.safetensors", XS),
        "unroll: params is 'model.safetensors', expected an array",
    ),
    "bind params of another cell": (
        lambda: rx.bind(rx.Zoneout(LSTM, 0.1), params(GRU)),
        "LSTM(hidden_size=2): params are a GRUParams, expected LSTMParams from LSTM(hidden_size=2).init",
    ),
    "bind params of a shorter chain": (
        lambda: rx.bind(DEEP, params(DEEP)[:1]),
        f"{DEEP}: params are 1 entries, expected a tuple of 3, one for each layer",
    ),
    # stepping
    "step what looks ahead": (
        lambda: BOTH.step(params(BOTH), BOTH.carry(params(BOTH)), XS[0, 0]),
        f"{BOTH} looks ahead: its output depends on later inputs, so it cannot be stepped; unroll it over a whole"
        " sequence",
    ),
    "step a chain that looks ahead": (
        lambda: rx.Chain(BOTH, DENSE).step((params(BOTH), None), (None, ()), XS[0, 0]),
        f"{BOTH} looks ahead: its output depends on later inputs, so it cannot be stepped",
    ),
    "zone out what looks ahead": (
        lambda: unroll(rx.Zoneout(BOTH, 0.1)),
        f"{BOTH} looks ahead: its output depends on later inputs, so it cannot be stepped",
    ),
    "step without binding": (
        lambda: rx.TiedDropout(0.1).step((), (), XS[0]),
        "TiedDropout.step: params are not bound; call params = rx.bind(cell, params, batch_shape) once before the"
        " first step",
    ),
    "step free params": (
        lambda: rx.Reparametrize(ELMAN, lambda p: p).step(params(ELMAN), ELMAN.carry(params(ELMAN)), XS[0, 0]),
        "Reparametrize.step: params are not bound; call params = rx.bind(cell, params, batch_shape) once before the"
        " first step",
    ),
    "draw without key": (
        lambda: rx.unroll(rx.Lift(nn.Dropout(0.5, deterministic=False)), {}, XS),
        "Lift(Dropout(rate=0.5)): the module draws random numbers, but there is no key; give unroll a key, or use"
        " rx.Dropout, which is off without one",
    ),
    # wrappers
    "merge of two sizes": (
        lambda: unroll(rx.Bidirectional(rx.GRU(2), rx.GRU(3), merge="sum")),
        "outputs float64[7,3,2] and float64[7,3,3] cannot be merged by 'sum'; give a function",
    ),
    "rates of another carry": (
        lambda: unroll(rx.Zoneout(GRU, rx.LSTMCarry(0.1, 0.2))),
        "Zoneout: rate has the structure LSTMCarry(h=*, c=*), but the carry of GRU(hidden_size=2) has *",
    ),
    # reductions
    "last of floats": (
        lambda: rx.last(XS, FLAGS.astype(jnp.float32)),
        "last: mask is float32[7,3], expected bool [T, *batch]",
    ),
    "mean of batch first": (
        lambda: rx.mean_over_time(XS, FLAGS.T),
        "mean_over_time: mask has shape (3, 7), but ys has the leading axes (7, 3, 5)",
    ),
    "maximum of a number": (
        lambda: rx.max_over_time({"a": jnp.ones(())}),
        "max_over_time: ys['a'] is float64[], expected an array [T, *batch, ...]",
    ),
    "maximum of complex": (
        lambda: rx.max_over_time(jnp.ones((T, B), jnp.complex64)),
        "max_over_time: ys is complex64[7,3], expected real numbers",
    ),
    "lengths of floats": (
        lambda: rx.length_mask(jnp.ones(B, jnp.float32), T),
        "length_mask: lengths are float32, expected integers",
    ),
    "half a number of steps": (
        lambda: rx.length_mask(jnp.ones(B, int), 2.5),
        "length_mask: num_steps is 2.5, expected an integer",
    ),
}


@pytest.mark.parametrize("transform", [lambda call: call, jax.jit], ids=["outside jit", "inside jit"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_sentence(name, transform):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        transform(call)()

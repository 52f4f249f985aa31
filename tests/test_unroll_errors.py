"""Law 9: bad input gets one clear sentence that names the argument, what came and what was expected."""

# pyright: reportArgumentType=false, reportCallIssue=false

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import rnnjax as rx
from tests.registry import VOCABULARY, B, D, H, T

ELMAN, LSTM, GRU = rx.Elman(H), rx.LSTM(H), rx.GRU(H)
DEEP = rx.Chain(rx.LSTM(H), rx.Dropout(0.1), rx.GRU(H))
BOTH = rx.Bidirectional(GRU)
MODEL = rx.Chain(rx.Lift(nn.Embed(VOCABULARY, D)), rx.LSTM(H))
DENSE = rx.Lift(nn.Dense(H))
NNX = rx.Lift(lambda rngs: nnx.Linear(D, H, rngs=rngs))
XS, FLAGS, KEY = jnp.ones((T, B, D)), jnp.ones((T, B), bool), jax.random.key(0)


def params(cell, input_size=D):
    return cell.init(KEY, input_size)


def unroll(cell, xs=XS, *args, **options):
    """Unroll a cell with params of its own."""
    size = jax.ShapeDtypeStruct((), jnp.int32) if cell is MODEL else D
    return rx.unroll(cell, params(cell, size), xs, *args, **options)


def users(step=lambda W, h, x: (jnp.tanh(x @ W + h),) * 2, carry=lambda W, batch_shape: jnp.zeros((*batch_shape, H))):
    """A user's cell."""
    return rx.Cell(init=lambda key, input_size: jnp.ones((input_size, H)), carry=carry, step=step)


def changes(**change):
    """A user's cell that changes a leaf of its carry."""

    def step(W, carry, x):
        return carry | {name: fn(carry[name]) for name, fn in change.items()}, x

    return users(step, lambda W, batch_shape: {"h": jnp.zeros((*batch_shape, H)), "n": jnp.zeros(batch_shape, int)})


USERS = "Cell(init=<lambda>, carry=<lambda>, step=<lambda>)"
STEPS = "Cell(init=<lambda>, carry=<lambda>, step=step)"
BAD = {
    # xs
    "features": (
        lambda: unroll(LSTM, jnp.ones((T, B, 3))),
        "unroll: xs has 3 features on its last axis, but params of LSTM(hidden_size=2) expect 5",
    ),
    "features of a chain": (
        lambda: unroll(DEEP, jnp.ones((T, B, 3))),
        "unroll: xs has 3 features on its last axis, but params of LSTM(hidden_size=2) expect 5",
    ),
    "features between layers": (
        lambda: rx.unroll(rx.Chain(ELMAN, ELMAN), (params(ELMAN), params(ELMAN)), XS),
        "unroll: xs has 2 features on its last axis, but params of Elman(hidden_size=2) expect 5",
    ),
    "features of both directions": (
        lambda: unroll(BOTH, jnp.ones((T, B, 3))),
        "unroll: xs has 3 features on its last axis, but params of GRU(hidden_size=2) expect 5",
    ),
    "features of linen": (
        lambda: rx.unroll(DENSE, params(DENSE, 3), XS),
        "Lift(Dense(features=2)): the module does not take x float64[3,5] with params {'bias': 'float32[2]', 'kernel':"
        " 'float32[3,2]'}: ",
    ),
    "features of nnx": (
        lambda: unroll(NNX, jnp.ones((T, B, 3))),
        "Lift(<lambda>): the module does not take x float64[3,3] with params {'bias': 'float32[2]', 'kernel':"
        " 'float32[5,2]'}: ",
    ),
    "features of a shortcut": (
        lambda: unroll(rx.Residual(ELMAN)),
        "Residual(cell=Elman(hidden_size=2)): the layer turns float64[7,3,5] into float64[7,3,2], but a shortcut needs"
        " both alike",
    ),
    "too few axes": (lambda: unroll(ELMAN, jnp.ones(D)), "unroll: xs is float64[5], expected the axes [T, *batch, 5]"),
    "no axes": (lambda: unroll(ELMAN, jnp.ones(())), "unroll: xs is float64[], expected the axes [T, *batch, 5]"),
    "integers": (
        lambda: unroll(ELMAN, jnp.ones((T, B, D), jnp.int32)),
        "unroll: xs is int32[7,3,5], but Elman(hidden_size=2) expects floating-point features; cast them, or embed"
        " tokens with rx.Lift(nn.Embed(...))",
    ),
    "floats for tokens": (
        lambda: unroll(MODEL, jnp.ones((T, B))),
        "Lift(Embed(num_embeddings=11, features=5)): the module does not take x float64[3] with params {'embedding':"
        " 'float32[11,5]'}: Input type must be an integer or unsigned integer.",
    ),
    "a list": (
        lambda: unroll(ELMAN, [[1.0] * D] * T),
        "unroll: xs[0][0] is 1.0, expected an array [T, *batch, ...]",
    ),
    "a string": (lambda: unroll(ELMAN, "text"), "unroll: xs is 'text', expected an array [T, *batch, ...]"),
    "two arrays": (
        lambda: unroll(ELMAN, {"a": XS, "b": XS}),
        "unroll: xs is a pytree of 2 arrays, but Elman(hidden_size=2) expects one array of features",
    ),
    "arrays of two lengths": (
        lambda: unroll(ELMAN, {"a": XS, "b": XS[:3]}),
        "unroll: xs['b'] has the leading axes (3, 3), but other leaves of xs have (7, 3)",
    ),
    "another structure": (
        lambda: unroll(
            rx.Cell(
                lambda key, input_size: jnp.ones(H),
                lambda W, shape: jnp.zeros(shape),
                lambda W, h, x: (h, h),
                None,
                {"a": 1},
            )
        ),
        "has the structure {'a': *}, but xs has *",
    ),
    # length
    "no xs and no length": (
        lambda: unroll(ELMAN, None),
        "unroll: xs is None, so length must say how many time steps to take",
    ),
    "no xs for a cell with input": (
        lambda: unroll(ELMAN, None, length=T),
        "unroll: xs is a pytree of 0 arrays, but Elman(hidden_size=2) expects one array of features",
    ),
    "another length": (lambda: unroll(ELMAN, length=3), "unroll: length is 3, but xs has 7 time steps"),
    "length of the mask": (
        lambda: unroll(users(), None, length=3, mask=FLAGS),
        "unroll: length is 3, but mask or resets have 7 time steps",
    ),
    "negative length": (lambda: unroll(users(), None, length=-1), "unroll: length is -1, expected at least 0"),
    "half a length": (lambda: unroll(users(), None, length=1.5), "unroll: length is 1.5, expected an integer"),
    # mask and resets
    "mask of batch first": (
        lambda: unroll(ELMAN, mask=FLAGS.T),
        "unroll: mask has shape (3, 7), expected [T, *batch] = (7, 3)",
    ),
    "mask without batch": (
        lambda: unroll(ELMAN, mask=FLAGS[:, 0]),
        "unroll: mask has shape (7,), expected [T, *batch] = (7, 3)",
    ),
    "mask of floats": (
        lambda: unroll(ELMAN, mask=jnp.ones((T, B), jnp.float32)),
        "unroll: mask is float32[7,3], expected bool [T, *batch] = (7, 3)",
    ),
    "lengths for a mask": (
        lambda: unroll(ELMAN, mask=jnp.array([7, 4, 0], jnp.int32)),
        "unroll: mask is int32[3], expected bool [T, *batch] = (7, 3)",
    ),
    "a list for a mask": (
        lambda: unroll(ELMAN, mask=[[True] * B] * T),
        "unroll: mask is of type list, expected an array, bool [T, *batch]",
    ),
    "resets of one step": (
        lambda: unroll(ELMAN, resets=FLAGS[0]),
        "unroll: resets has shape (3,), expected [T, *batch] = (7, 3)",
    ),
    "resets of integers": (
        lambda: unroll(ELMAN, resets=jnp.ones((T, B), jnp.int32)),
        "unroll: resets is int32[7,3], expected bool [T, *batch] = (7, 3)",
    ),
    "a mask for a shared carry": (
        lambda: unroll(users(carry=lambda W, batch_shape: jnp.zeros(H)), mask=FLAGS),
        "unroll: mask acts on single batch elements, but carry is float64[2], which does not start with the batch axes"
        " (3,)",
    ),
    "resets of a number": (
        lambda: unroll(users(carry=lambda W, batch_shape: 0.0), resets=FLAGS),
        "unroll: resets acts on single batch elements, but carry is float64[], which does not start with the batch"
        " axes (3,)",
    ),
    "a mask for a shared output": (
        lambda: unroll(users(lambda W, h, x: (h, h.sum(0))), mask=FLAGS),
        f"unroll: mask acts on single batch elements, but the output of {USERS} is float64[2], which does not start"
        " with the batch axes (3,)",
    ),
    # carry
    "carry of another structure": (
        lambda: unroll(LSTM, XS, jnp.zeros((B, H))),
        "unroll: carry has the structure *, but LSTM(hidden_size=2).carry(params, (3,)) has LSTMCarry(h=*, c=*)",
    ),
    "carry of another kind": (
        lambda: unroll(LSTM, XS, (jnp.zeros((B, H)), jnp.zeros((B, H)))),
        "unroll: carry has the structure (*, *), but LSTM(hidden_size=2).carry(params, (3,)) has LSTMCarry(h=*, c=*)",
    ),
    "carry of another batch": (
        lambda: unroll(LSTM, XS, LSTM.carry(params(LSTM), (11,))),
        "unroll: carry.h is float64[11,2], but LSTM(hidden_size=2).carry(params, (3,)) has float64[3,2]",
    ),
    "carry of another dtype": (
        lambda: unroll(ELMAN, XS, jnp.zeros((B, H), jnp.bfloat16)),
        "unroll: carry is bfloat16[3,2], but Elman(hidden_size=2).carry(params, (3,)) has float64[3,2]",
    ),
    "a string for a carry": (lambda: unroll(ELMAN, XS, "zeros"), "unroll: carry is 'zeros', expected an array"),
    # what a step may not do
    "a new dtype": (
        lambda: unroll(changes(n=lambda n: n + 0.5)),
        f"unroll: the carry after a step['n'] is float64[3], but the carry before it, in {STEPS} with x float64[3,5],"
        " has int64[3]",
    ),
    "a new shape": (
        lambda: unroll(changes(h=lambda h: h[:, :1])),
        f"unroll: the carry after a step['h'] is float64[3,1], but the carry before it, in {STEPS} with x float64[3,5],"
        " has float64[3,2]",
    ),
    "a new structure": (
        lambda: unroll(changes(h=lambda h: (h, h))),
        "unroll: the carry after a step has the structure {'h': (*, *), 'n': *}, but the carry before it, in"
        f" {STEPS} with x float64[3,5], has {{'h': *, 'n': *}}",
    ),
    "bfloat16 params for float32 inputs": (
        lambda: rx.unroll(ELMAN, jax.tree.map(jnp.bfloat16, params(ELMAN)), XS.astype(jnp.float32)),
        "unroll: the carry after a step is float32[3,2], but the carry before it, in Elman(hidden_size=2) with x"
        " float32[3,5], has bfloat16[3,2]",
    ),
    "no pair": (
        lambda: unroll(users(lambda W, h, x: h)),
        f"{USERS}: step gave float64[3,2], expected the pair (carry, y)",
    ),
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
    # options
    "method": (
        lambda: unroll(ELMAN, method="fast"),
        "unroll: method is 'fast', expected one of 'auto', 'scan'",
    ),
    "memory": (lambda: unroll(ELMAN, memory="edges"), "unroll: memory is 'edges', expected one of 'auto'"),
    "block": (
        lambda: unroll(ELMAN, block=16),
        "unroll: block is 16, but method='scan' has no blocks of time; expected None",
    ),
    "a seed for a key": (
        lambda: unroll(DEEP, key=0),
        "unroll: key is 0, expected one key, jax.random.key(seed)",
    ),
    "three keys": (
        lambda: unroll(DEEP, key=jax.random.split(KEY, B)),
        "unroll: key is key<fry>[3], expected one key, jax.random.key(seed)",
    ),
    "no cell": (
        lambda: rx.unroll(nn.Dense(H), None, XS),
        "unroll: cell is Dense, which is not a cell (it has no carry, step); wrap feed-forward modules in rx.Lift",
    ),
    "a class": (lambda: rx.unroll(rx.LSTM, None, XS), "unroll: cell is the class LSTM, expected a cell, LSTM(...)"),
    "bind no cell": (
        lambda: rx.bind(jnp.tanh, None),
        "bind: cell is tanh, which is not a cell (it has no init, carry, step); wrap feed-forward modules in rx.Lift",
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

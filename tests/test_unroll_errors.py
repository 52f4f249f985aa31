"""Law 9, arguments of unroll: one clear sentence that names the argument, what came and what was expected."""

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
    # options
    "method": (
        lambda: unroll(ELMAN, method="fast"),
        "unroll: method is 'fast', expected one of 'auto', 'scan', 'fused', 'associative'",
    ),
    "memory": (
        lambda: unroll(ELMAN, memory="least"),
        "unroll: memory is 'least', expected one of 'auto', 'preactivations', 'carries', 'edges'",
    ),
    "blocks of no steps": (lambda: unroll(ELMAN, block=0), "unroll: block is 0, expected a positive integer"),
    "half a block": (lambda: unroll(ELMAN, block=1.5), "unroll: block is 1.5, expected a positive integer"),
    "associative where it does not apply": (
        lambda: unroll(ELMAN, method="associative"),
        "unroll: method is 'associative', which does not apply to Elman(hidden_size=2): dot_general is not affine in"
        " the carry",
    ),
    "associative where it does not apply to a layer": (
        lambda: unroll(rx.Chain(rx.LRU(H), DENSE, GRU, rx.MinGRU(H)), method="associative"),
        "unroll: method is 'associative', which does not apply to GRU(hidden_size=2): ",
    ),
    "associative for a carry that counts": (
        lambda: unroll(changes(n=lambda n: n + 1), method="associative"),
        f"unroll: method is 'associative', which does not apply to {STEPS}: a leaf of its carry is int64[3]",
    ),
    "associative for a carry that changes places": (
        lambda: unroll(
            users(lambda W, h, x: (h[::-1], x), lambda W, batch_shape: (jnp.zeros(batch_shape),) * 2),
            method="associative",
        ),
        f"unroll: method is 'associative', which does not apply to {USERS}: leaves of the carry change places",
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
}


@pytest.mark.parametrize("transform", [lambda call: call, jax.jit], ids=["outside jit", "inside jit"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_sentence(name, transform):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        transform(call)()

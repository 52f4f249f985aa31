"""Random step functions from a small grammar: what users write, and what they might.

A `RandomStep` is plain data, so that a failing one prints, and `rx.Cell` of it is a user's own cell. Its values are
all [*batch, H]; the first four are two leaves of the carry and two functions of x, and each op adds one.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

import rnnjax as rx

D, HEADS, H = 5, 2, 6  # H is HEADS heads of 3
START = ("h", "g", "x @ W_in", "x")  # the values before the first op
SHARED, CLOSED = 2, 2  # the weights of params, which any number of ops share; the index of the closed-over one


@jax.custom_jvp
def straight_through(a: Any) -> Any:
    """Rounded, with a slope of its own: whoever differentiates the definition gets zero."""
    return jnp.round(4 * a) / 4


straight_through.defjvp(lambda a, d_a: (straight_through(a[0]), 0.7 * d_a[0]))


@jax.custom_vjp
def halved_backwards(a: Any) -> Any:
    """A function whose gradient is not its derivative."""
    return jnp.sin(a)


halved_backwards.defvjp(lambda a: (jnp.sin(a), a), lambda a, d: (0.5 * d * jnp.cos(a),))


class Now(NamedTuple):
    """What ops may take beside two values and a weight."""

    count: Any  # int [*batch], of the carry
    flag: Any  # bool [*batch], of the carry
    noise: Any  # [*batch, H], drawn with a key of the carry
    token: Any  # int [*batch], of x


def _heads(a):
    return a.reshape(*a.shape[:-1], HEADS, H // HEADS)


def _joined(a):
    return a.reshape(*a.shape[:-2], H)


def _weight_first(a, b, w, now):
    return jnp.moveaxis(lax.dot_general(w, a, (((1,), (a.ndim - 1,)), ((), ()))), 0, -1) + b


def _by_heads(a, b, w, now):
    return _joined(jnp.einsum("...ni,nij->...nj", _heads(a), w[:3].reshape(HEADS, 3, 3))) + b


def _of_both(a, b, w, now):
    between = jnp.einsum("...ni,...nj->...ij", _heads(jnp.tanh(a)), _heads(jnp.tanh(b)))
    return _joined(jnp.einsum("...ni,...ij->...nj", _heads(a), between))


def _gates(a, b, w, now):
    both = a @ jnp.concatenate([w, w[::-1]], axis=1)
    return jax.nn.sigmoid(both[..., :H]) * jnp.tanh(both[..., H:]) + b


def _two_kernels(a, b, w, now):
    kernel = jnp.concatenate([w, w[::-1]], axis=1)
    gate, candidate = jnp.split(a @ kernel + b @ kernel[:, ::-1] + kernel[0], 2, axis=-1)
    return jax.nn.sigmoid(gate) * jnp.tanh(candidate)


def _one_kernel(a, b, w, now):
    both = jnp.concatenate([a, b[..., :2], a[..., 1:2]], axis=-1) @ jnp.concatenate([w, w[:3] * 0.7])
    return jnp.tanh(both[..., 1:]).sum(-1, keepdims=True) * both[..., :1] + b


def _scanned(a, b, w, now):
    def inner(c, scale):
        return jnp.tanh(c @ w + b) * scale, None

    return lax.scan(inner, a, jnp.array([0.9, 0.8]))[0]


PRODUCTS: dict[str, Callable] = {
    "product": lambda a, b, w, now: a @ w,
    "product in a sum": lambda a, b, w, now: (a @ w + b) + 0.1,
    "weight used twice": lambda a, b, w, now: a @ w + b @ w,
    "both orders": lambda a, b, w, now: a @ w + b @ w.T,
    "weight first": _weight_first,
    "heads": _by_heads,
    "product and elementwise": lambda a, b, w, now: a @ w + b * w[0] + w[1],
    "product used twice": lambda a, b, w, now: (p := a @ w + b) * 0.5 + jnp.tanh(p),
    "wide product and slices": _gates,
    "two kernels": _two_kernels,
    "one kernel": _one_kernel,
    "broadcast weight": lambda a, b, w, now: a @ jnp.broadcast_to(0.4 * w[0], (H, H)) + b,
    "literal weight": lambda a, b, w, now: a @ jnp.full((H, H), 0.2) - b,
    "outer sum": lambda a, b, w, now: (a[..., None, :] @ w)[..., 0, :] + b,
}
KINDS: dict[str, Callable] = PRODUCTS | {
    "product of two values": _of_both,
    "squared weight": lambda a, b, w, now: a @ (w @ w) - b,
    "elementwise": lambda a, b, w, now: a * w[0] - b / (2 + w[1] ** 2),
    "gate": lambda a, b, w, now: jax.nn.sigmoid(a) * jnp.tanh(b),
    "softplus": lambda a, b, w, now: jax.nn.softplus(a) - b,
    "mixture": lambda a, b, w, now: 0.3 * a + 0.7 * b,
    "slices": lambda a, b, w, now: jnp.concatenate([a[..., 2:], b[..., :2]], axis=-1),
    "normalise": lambda a, b, w, now: (a - a.mean(-1, keepdims=True)) / jnp.sqrt(1 + a.var(-1, keepdims=True)),
    "broadcast sum": lambda a, b, w, now: (a @ w)[..., :1] + (b[..., :1] + b),
    "nested jit": lambda a, b, w, now: jax.jit(lambda a, b: jnp.tanh(a @ w + jax.jit(jnp.sin)(b)))(a, b),
    "cond": lambda a, b, w, now: lax.cond(a.sum() > 0, lambda a, b: a @ w, lambda a, b: a - b, a, b),
    "inner scan": _scanned,
    "relu": lambda a, b, w, now: jax.nn.relu(a) - 0.1 * b,
    "custom_jvp": lambda a, b, w, now: straight_through(a) * jnp.cos(b),
    "custom_vjp": lambda a, b, w, now: halved_backwards(a) + b,
    "checkpoint": lambda a, b, w, now: jax.checkpoint(lambda a, b: jnp.tanh(a @ w) * b)(a, b),
    "gradient inside": lambda a, b, w, now: jax.grad(lambda a: (jnp.sin(a @ w) * b).sum())(a),
    "stop_gradient": lambda a, b, w, now: lax.stop_gradient(a) * jnp.tanh(b),
    "integer": lambda a, b, w, now: a * jnp.cos(now.count)[..., None] + w[now.count % H],
    "boolean": lambda a, b, w, now: jnp.where(now.flag[..., None], a, b),
    "noise": lambda a, b, w, now: a + 0.1 * now.noise * b,
    "token": lambda a, b, w, now: w[now.token] + a,
}
OF_CARRY = {"integer", "boolean", "noise"}  # kinds that depend on the carry whatever their operands

UPDATES = ("tanh", "leak", "pass", "constant", "weights", "keep")  # of the carry's second leaf
OUTPUTS = ("value", "carry before", "carry after", "x alone", "params alone", "literal", "count", "twice")


class Op(NamedTuple):
    """One step of a program: `KINDS[kind]` of two values so far and a weight."""

    kind: str
    a: int
    b: int
    weight: int


class RandomStep(NamedTuple):
    """A step: its ops in order, how its carry is updated, and what it gives."""

    ops: tuple[Op, ...]
    h: tuple[int, ...]  # the values whose sum, through tanh, the first leaf of the carry becomes
    update: tuple[str, int]  # how the second one is updated, and from which value
    flag: int  # the value whose sign becomes the boolean
    splits_key: bool
    outputs: tuple[tuple[str, int], ...]
    whole: bool  # every output has the batch axes, as masks ask for

    def cell(self, closed: jax.Array) -> rx.Cell:
        """The step as a user's cell, which closes over an array."""

        def step(params, carry, x):
            return self._step(params, closed, carry, x)

        return rx.Cell(init=init, carry=initial_carry, step=step, input_ndim={"features": 1, "token": 0})

    def random_carry(self, rng: Any, batch_shape: tuple[int, ...]) -> dict:
        """Of all leaves; keys as numbers."""
        numbers = jnp.arange(math.prod(batch_shape)).reshape(batch_shape)
        return {
            "state": (jnp.asarray(rng.normal(size=(*batch_shape, H))), jnp.asarray(rng.normal(size=(*batch_shape, H)))),
            "count": jnp.int32(numbers),
            "flag": numbers == 1,
            "key": jnp.asarray(rng.integers(0, 2**31, (*batch_shape, 2)), jnp.uint32),
        }

    def _step(self, params, closed, carry, x):
        (h, g), count, flag, key = carry["state"], carry["count"], carry["flag"], carry["key"]
        features, batch_shape = x["features"], x["token"].shape
        draw = jax.random.normal
        for _ in batch_shape:
            draw = jax.vmap(draw, (0, None))
        now = Now(count, flag, draw(key, (H,)), x["token"])
        weights = [*params["W"], closed]
        values = [h, g, features @ params["W_in"], jnp.concatenate([features, features[..., :1]], axis=-1)]
        for op in self.ops:
            values.append(KINDS[op.kind](values[op.a], values[op.b], weights[op.weight], now))
        how, index = self.update
        after = {
            "state": (
                jnp.tanh(sum(values[i] for i in self.h)),
                {
                    "tanh": lambda: jnp.tanh(values[index]),
                    "leak": lambda: 0.6 * g + 0.4 * jnp.tanh(values[index]),
                    "pass": lambda: values[index % len(START)],
                    "constant": lambda: jnp.full_like(g, 0.5),
                    "weights": lambda: jnp.broadcast_to(params["W"][0][0], g.shape),
                    "keep": lambda: g,
                }[how](),
            ),
            "count": count + 1 + flag,
            "flag": values[self.flag][..., 0] > 0,
            "key": _split(key) if self.splits_key else key,
        }
        wide = (lambda value: jnp.broadcast_to(value, (*batch_shape, *jnp.shape(value)))) if self.whole else lambda v: v
        outputs = {
            "value": lambda i: values[i],
            "carry before": lambda i: carry["state"],
            "carry after": lambda i: (after["state"], after["flag"]),
            "x alone": lambda i: (features, jnp.sin(values[2])),
            "params alone": lambda i: wide(params["W"][1]),
            "literal": lambda i: wide(1.5),
            "count": lambda i: (after["count"], 0.5 * count),
            "twice": lambda i: (values[i], {"again": values[i]}),
        }
        return after, tuple(outputs[name](index) for name, index in self.outputs)


def _split(keys):
    flat = keys.reshape(-1)
    return jax.vmap(lambda key: jax.random.split(key)[0])(flat).reshape(keys.shape)


def init(key: Any, input_size: Any = None) -> dict:
    """Random params, the same for every step."""
    del input_size
    keys = jax.random.split(key, SHARED + 1)
    shared = tuple(jax.random.normal(k, (H, H), jnp.float64) * 0.4 for k in keys[1:])
    return {"W_in": jax.random.normal(keys[0], (D, H), jnp.float64) * 0.4, "W": shared}


def initial_carry(params: Any, batch_shape: tuple[int, ...]) -> dict:
    """Floats from params, an integer, a boolean and a key for each element of the batch."""
    zeros = jnp.zeros((*batch_shape, H), params["W_in"].dtype)
    return {
        "state": (zeros + params["W"][0][0], zeros),
        "count": jnp.zeros(batch_shape, jnp.int32),
        "flag": jnp.ones(batch_shape, bool),
        "key": jax.random.split(jax.random.key(7), batch_shape),
    }


def random_step(rng: random.Random, whole: bool = True, dealt: Sequence[str] = ()) -> RandomStep:
    """Draw a step of 4 to 8 ops; of what is dealt, ops stand in the loop, and updates and outputs are taken."""
    kinds = [kind for kind in dealt if kind in KINDS]
    kinds += [rng.choice(list(KINDS)) for _ in range(rng.randint(4, 8) - len(kinds))]
    ops: list[Op] = []
    for kind in sorted(kinds, key=lambda _: rng.random()):
        last, carried = len(START) + len(ops) - 1, _carried(ops)
        of_x = sorted(set(range(last + 1)) - carried)
        a = last if ops and rng.random() < 0.5 else rng.randrange(last + 1)
        b = rng.randrange(last + 1)
        if kind in dealt and a not in carried:
            a = rng.randrange(2)
        elif kind not in dealt and rng.random() < 0.25:
            a, b = rng.choice(of_x), rng.choice(of_x)
        ops.append(Op(kind, a, b, rng.randrange(SHARED + 1)))
    count = len(START) + len(ops)
    update = rng.choice([how for how in UPDATES if how in dealt] or UPDATES), rng.randrange(count)
    names = [*(name for name in OUTPUTS if name in dealt), *rng.sample(OUTPUTS, 2)]
    named = [(name, rng.randrange(count)) for name in names]
    step = RandomStep(tuple(ops), (count - 1,), update, rng.randrange(count), rng.random() < 0.7, (), whole)
    astray = {i for i, op in enumerate(ops, len(START)) if op.kind in dealt} - _needed(step)
    step = step._replace(h=(count - 1, *sorted(astray)))
    unused = sorted(set(range(len(START), count)) - _used(step))
    if rng.random() < 0.5:
        return step._replace(h=(*step.h, *unused), outputs=tuple(named))
    return step._replace(outputs=(*(("value", i) for i in unused), *named))


def _used(step):
    """The values that something takes."""
    return {i for op in step.ops for i in (op.a, op.b)} | _into_carry(step)


def _into_carry(step):
    """The values that the next carry is made of."""
    return {*step.h, step.flag} | ({step.update[1]} if step.update[0] in ("tanh", "leak") else set())


def _needed(step):
    """The values that the next carry depends on."""
    needed = _into_carry(step)
    for i, op in reversed(list(enumerate(step.ops, len(START)))):
        if i in needed:
            needed |= {op.a, op.b}
    return needed


def _carried(ops):
    """The values that depend on the carry."""
    carried = {0, 1}
    for i, op in enumerate(ops, len(START)):
        if op.kind in OF_CARRY or carried & {op.a, op.b}:
            carried.add(i)
    return carried


def features(step: RandomStep) -> set[str]:
    """What a step has: each kind of op with the part of the step it stands in, uses of weights, updates, outputs."""
    carried, needed = _carried(step.ops), _needed(step)
    found, weights = set(), {}
    for i, op in enumerate(step.ops, len(START)):
        place = "before" if i not in carried else "loop" if i in needed else "after"
        found |= {f"{op.kind} ({place})"}
        if op.kind == "product of two values" and {op.a, op.b} <= carried and op.a != op.b and place == "loop":
            found.add("product of two carried values")
        if op.kind in PRODUCTS:
            weights.setdefault(op.weight, []).append(place)
            found.add(f"some product {place}")
            found |= {"closed-over weight"} if op.weight == CLOSED and place == "loop" else set()
    for places in weights.values():
        found |= {"weight shared"} if len(places) > 1 else set()
        found |= {"weight on x and on the carry"} if {"before", "loop"} <= set(places) else set()
    found |= {f"carry: {step.update[0]}", "carry: key split" if step.splits_key else "carry: key kept"}
    return found | {f"output: {name}" for name, _ in step.outputs}

"""Random steps that are affine and elementwise in their carry, for `method="associative"`: a second small grammar."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import rnnjax as rx
from tests.laws.random_steps import SHARED, H, init

# What a leaf v of the carry goes through; u is a projection of x, real or complex as v, w a weight, flag of x.
KINDS: dict[str, Callable] = {
    "times a gate": lambda v, u, w, flag: v * jax.nn.sigmoid(u.real),
    "times params": lambda v, u, w, flag: jnp.cos(w[0]) * v,
    "times a hoisted product": lambda v, u, w, flag: v * jnp.tanh(u @ w),
    "plus": lambda v, u, w, flag: v + u,
    "minus": lambda v, u, w, flag: u - v,
    "negated": lambda v, u, w, flag: -v,
    "divided": lambda v, u, w, flag: v / (1.5 + u.real**2),
    "selected": lambda v, u, w, flag: jnp.where(flag[..., None], v, u),
    "used twice": lambda v, u, w, flag: v * jnp.sin(u.real) + v * w[1],
    "literals": lambda v, u, w, flag: 0.9 * v - 0.3,
    "nested jit": lambda v, u, w, flag: jax.jit(lambda v, u: v * jnp.tanh(u) + u)(v, u),
}
OUTPUTS: dict[str, Callable] = {  # of the carry before and after, features and a weight
    "nonlinear": lambda h, after, x, w: jnp.tanh(h["a"] * after["b"]),
    "product": lambda h, after, x, w: after["a"] @ w,
    "complex": lambda h, after, x, w: after["z"] * h["a"],
    "before": lambda h, after, x, w: h["b"],
    "after": lambda h, after, x, w: after,
    "x alone": lambda h, after, x, w: jnp.sin(x),
    "literal": lambda h, after, x, w: jnp.full_like(x, 0.5),
}


class AffineStep(NamedTuple):
    """For each leaf of the carry what it goes through, each with the index of a weight; and what the step gives."""

    leaves: dict[str, tuple[tuple[str, int], ...]]
    outputs: tuple[str, ...]

    def cell(self, closed: jax.Array) -> rx.Cell:
        """The step as a user's cell, which closes over an array."""

        def step(params, carry, x):
            weights = [*params["W"], closed]
            after = {}
            for name, kinds in self.leaves.items():
                v = carry[name]
                for kind, index in kinds:
                    u = x["features"] @ params["W_in"] @ weights[index]
                    v = KINDS[kind](v, u * (1 + 0.5j) if name == "z" else u, weights[index], x["token"] % 2 == 0)
                after[name] = v
            return after, tuple(OUTPUTS[name](carry, after, x["features"], weights[0]) for name in self.outputs)

        return rx.Cell(init=init, carry=_initial_carry, step=step, input_ndim={"features": 1, "token": 0})

    def random_carry(self, rng: Any, batch_shape: tuple[int, ...]) -> Any:
        """Of all leaves, normal."""
        a, b, re, im = (jnp.asarray(rng.normal(size=(*batch_shape, H))) for _ in range(4))
        return {"a": a, "b": b, "z": re + 1j * im}


def _initial_carry(params, batch_shape):
    a = jnp.zeros((*batch_shape, H), params["W_in"].dtype) + params["W"][0][0]
    return {"a": a, "b": 0.5 * a, "z": a * (0.5 - 1j)}


def random_affine_step(rng: random.Random, whole: bool, dealt: list[str]) -> AffineStep:
    """Draw a step; the dealt kinds are among those that its leaves go through. All outputs have the batch axes."""
    del whole
    kinds = [*dealt, *(rng.choice(list(KINDS)) for _ in range(6 - len(dealt)))]
    leaves: dict[str, list] = {"a": [], "b": [], "z": []}
    for kind in kinds:
        leaves[rng.choice("abz")].append((kind, rng.randrange(SHARED + 1)))
    return AffineStep({name: tuple(kinds) for name, kinds in leaves.items()}, tuple(rng.sample(list(OUTPUTS), 3)))


def affine_features(step: AffineStep) -> set[str]:
    """What a step has."""
    kinds = {kind for leaf in step.leaves.values() for kind, _ in leaf}
    complex_kinds = {"complex" for _ in step.leaves["z"]}
    kept = {"a leaf that stays" for leaf in step.leaves.values() if not leaf}
    return kinds | complex_kinds | kept | {f"output: {name}" for name in step.outputs}

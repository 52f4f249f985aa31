"""Random steps, how they are unrolled, and the comparison of a method with "scan"."""

import functools
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax as rx
from rnnjax.recurrence.fused import MEMORY
from tests.laws.compare import assert_same_with_gradients, with_gradients
from tests.laws.events import random_events
from tests.laws.random_steps import D, H, init

NUM_STEPS = (1, 5, 7, 11, 13)
BATCH_SHAPES = ((3,), (3,), (), (2, 3))


class Example(NamedTuple):
    """A random step, and how it is unrolled."""

    step: Any
    num_steps: int
    batch_shape: tuple[int, ...]
    block: int
    memory: str
    masked: bool
    resetting: bool
    reverse: bool

    @classmethod
    def draw(cls, draw_step: Callable, rng: random.Random, dealt: Sequence[str] = (), **settings: Any) -> "Example":
        """With a step of ``draw_step(rng, whole, dealt)``, which has the dealt kinds of ops; settings are drawn too."""
        drawn: dict[str, Any] = {
            "num_steps": rng.choice(NUM_STEPS),
            "batch_shape": rng.choice(BATCH_SHAPES),
            "block": rng.choice([1, 2, 3, 4, 5, 16, 16]),
            "memory": rng.choice(MEMORY),
            "masked": rng.random() < 0.5,
            "resetting": rng.random() < 0.5,
            "reverse": rng.random() < 0.4,
        }
        drawn |= settings
        return cls(draw_step(rng, drawn["masked"], dealt), **drawn)

    @classmethod
    def deal(cls, draw_step: Callable, kinds: Sequence[str], seed: int, seeds: Sequence[int]) -> "Example":
        """That of one of some seeds, the same on every machine; kinds and settings are dealt out among them."""
        return cls.draw(
            draw_step,
            random.Random(seed),
            kinds[seed :: len(seeds)],
            num_steps=NUM_STEPS[seed % len(NUM_STEPS)],
            batch_shape=BATCH_SHAPES[seed % len(BATCH_SHAPES)],
            memory=MEMORY[seed % len(MEMORY)],
            masked=seed % 2 == 0,
            resetting=seed // 2 % 2 == 0,
            reverse=seed % 7 < 3,
        )

    def inputs(self) -> tuple[Any, Any, Any]:
        """Params with the array that is closed over, a carry, xs: all random."""
        rng = np.random.default_rng(0)
        normal = lambda *shape: jnp.asarray(0.8 * rng.normal(size=shape))
        params = {"own": init(jax.random.key(3)), "closed": normal(H, H) * 0.5}
        tokens = jnp.asarray(rng.integers(0, H, (self.num_steps, *self.batch_shape)), jnp.int32)
        xs = {"features": normal(self.num_steps, *self.batch_shape, D), "token": tokens}
        return params, self.step.random_carry(rng, self.batch_shape), xs

    def run(self, method: str, params: Any, carry: Any, xs: Any) -> Any:
        """Keys come in and go out as numbers, which are compared as such."""
        mask, resets = random_events(0, self.num_steps, self.batch_shape)
        carry, ys = rx.unroll(
            self.step.cell(params["closed"]),
            params["own"],
            xs,
            _with_key(carry, jax.random.wrap_key_data),
            mask=mask if self.masked else None,
            resets=resets if self.resetting else None,
            reverse=self.reverse,
            method=method,
            memory=self.memory,
            block=self.block,
        )
        return _with_key(carry, jax.random.key_data), ys

    def runs_by(self, method: str) -> bool:
        """Whether ``method`` did not fall back to scan, which would agree with itself."""
        params, _, xs = jax.eval_shape(self.inputs)
        size = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1 + len(self.batch_shape) :], leaf.dtype), xs)
        cell = self.step.cell(jnp.zeros(params["closed"].shape))
        return rx.explain(cell, size, self.batch_shape, self.num_steps, method=method).method == method

    def features(self) -> set[str]:
        """What is asked for beside the step."""
        return {f"{name} {value}" for name, value in self._asdict().items() if name != "step"}


ALL_SETTINGS = {f"{name} {value}" for name in ("masked", "resetting", "reverse") for value in (True, False)}
ALL_SETTINGS |= {f"num_steps {size}" for size in NUM_STEPS} | {f"batch_shape {shape}" for shape in BATCH_SHAPES}
ALL_SETTINGS |= {f"memory {memory}" for memory in MEMORY}


def _with_key(carry, fn):
    return carry | {"key": fn(carry["key"])} if "key" in carry else carry


def compare(example: Example, method: str) -> None:
    """``method`` against scan, in one program."""

    @jax.jit
    def outcomes(*inputs):
        return [with_gradients(functools.partial(example.run, how))(*inputs) for how in (method, "scan")]

    assert_same_with_gradients(*outcomes(*example.inputs()))

"""Random masks and resets, and inputs that must not matter."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.registry import B, T


def random_events(
    seed: int = 0, num_steps: int = T, batch_shape: tuple[int, ...] = (B,)
) -> tuple[np.ndarray, np.ndarray]:
    """mask and resets, bool [T, *batch]: about two steps in three are valid, one in three resets."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, *batch_shape)
    return rng.random(shape) < 0.67, rng.random(shape) < 0.33


def spoil(xs: Any, where: Any) -> Any:
    """NaN, infinity in every second feature, impossible tokens in the steps or elements where the flags are True."""

    def one(leaf):
        flags = jnp.reshape(where, where.shape + (1,) * (leaf.ndim - where.ndim))
        if leaf.dtype == bool:
            return leaf ^ flags
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return jnp.where(flags, -(10**6), leaf)
        bad = jnp.where(jnp.arange(leaf.shape[-1]) % 2 == 0, jnp.nan, jnp.inf)
        return jnp.where(flags, bad, leaf)

    return jax.tree.map(one, xs)

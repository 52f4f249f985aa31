"""Results with their gradients, and what it means that two are the same."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax as rx
from tests.registry import Entry


@partial(jax.jit, static_argnames="seed")
def weigh(tree: Any, seed: int = 0) -> jax.Array:
    """A random, nonlinear, real function of all floating-point leaves, so that no gradient is zero by symmetry."""
    rng = np.random.default_rng(seed)
    total = jnp.zeros(())
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            weights = rng.normal(size=leaf.shape) + 1j * rng.normal(size=leaf.shape)
            total += (weights * jnp.sin(leaf)).real.sum()
    return total


def with_gradients(run: Callable) -> Callable:
    """`run(params, carry, xs, ...)` and the gradients of a function of its results: three pytrees."""

    def both(params, carry, xs, *rest):
        def scalar(*inputs):
            results = run(*inputs, *rest)
            return weigh(results), results

        gradients, results = jax.grad(scalar, argnums=(0, 1, 2), has_aux=True, allow_int=True)(params, carry, xs)
        return results, floats(gradients)

    return both


def unroll_with_gradients(entry: Entry) -> Callable:
    """`(params, carry, xs, mask, resets, key=None) -> results, gradients` of a cell of the registry."""

    def run(params, carry, xs, mask, resets, key=None):
        return rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets, key=key)

    return with_gradients(run)


def floats(tree: Any) -> Any:
    """The tree with None for leaves that have no gradient: integers, booleans, and their gradients."""
    return jax.tree.map(lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None, tree)


def assert_close(actual: Any, expected: Any, rtol: float = 1e-10) -> None:
    """The same structure, shapes and dtypes; floats as close as rtol of the leaf's largest element, others equal."""
    _assert_alike(actual, expected)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        atol = rtol * np.max(np.abs(b), initial=0.0) if jnp.issubdtype(b.dtype, jnp.inexact) else 0
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, equal_nan=False, err_msg=jax.tree_util.keystr(path))


def assert_same_with_gradients(actual: Any, expected: Any) -> None:
    """Two outcomes of `with_gradients` agree: values to 1e-10, gradients to 1e-9."""
    assert_close(actual[0], expected[0], rtol=1e-10)
    assert_close(actual[1], expected[1], rtol=1e-9)


def assert_identical(actual: Any, expected: Any) -> None:
    """Bit for bit, and finite."""
    _assert_alike(actual, expected)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        assert np.all(np.isfinite(a)), jax.tree_util.keystr(path)
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path), strict=True)


def _assert_alike(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    describe = lambda leaf: (leaf.shape, leaf.dtype)
    assert jax.tree.map(describe, actual) == jax.tree.map(describe, expected)

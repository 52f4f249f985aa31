"""What it means that two implementations agree: the same outputs, and the same gradients for every argument."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

TOLERANCE = 1e-10  # float64


def weights_like(outputs: Any) -> Any:
    """A weight of its own for every output, so that none is lost in the sum that is differentiated."""
    leaves, structure = jax.tree.flatten(outputs)
    return structure.unflatten(
        np.cos(index + np.arange(leaf.size)).reshape(leaf.shape) for index, leaf in enumerate(leaves)
    )


def with_gradients(fn: Callable) -> Callable:
    """``(gradients, outputs)``: of the weighted sum of the outputs, for every argument."""

    def loss(*args):
        outputs = fn(*args)
        return sum(jax.tree.leaves(jax.tree.map(lambda w, y: (w * y).sum(), weights_like(outputs), outputs))), outputs

    return lambda *args: jax.jit(jax.grad(loss, argnums=tuple(range(len(args))), has_aux=True))(*args)


def random_like(tree: Any, seed: int = 0) -> Any:
    """Every array drawn anew, biases too."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.7 * rng.normal(size=leaf.shape), tree)


def assert_same(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """The same structure, and every number within ``tolerance`` of max(1, its size)."""

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

    jax.tree.map(close, found, expected)


def assert_agree(ours: Callable, theirs: Callable, *args: Any) -> None:
    """Two functions of the same arguments."""
    assert_same(with_gradients(ours)(*args), with_gradients(theirs)(*args))

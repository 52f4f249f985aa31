"""Two sides compute the same, or nothing is timed."""

from typing import Any

import jax
import numpy as np

from benchmarks.errors import BenchmarkError

# Of the largest number of each array. float32 holds 6e-8; sums over a thousand steps lose two digits or three.
TOLERANCE = {"forward": 5e-5, "training": 5e-4}


def check_same(what: str, pass_name: str, found: Any, expected: Any) -> None:
    """Raise where a leaf differs, or is not finite; the structures are the same."""
    leaves, structure = jax.tree.flatten(found)
    if structure != jax.tree.structure(expected):
        raise BenchmarkError(f"{what}: gives {structure}, but expected {jax.tree.structure(expected)}")
    for leaf, other in zip(leaves, jax.tree.leaves(expected), strict=True):
        leaf, other = np.asarray(leaf), np.asarray(other)
        scale = max(float(np.abs(other).max()), 1e-30)
        error = float(np.abs(leaf - other).max()) / scale if leaf.shape == other.shape else np.inf
        if not error < TOLERANCE[pass_name]:  # NaN too
            raise BenchmarkError(
                f"{what}: {pass_name} differs by {error:.1e} of the largest number, at most "
                f"{TOLERANCE[pass_name]:.0e} is float32; shapes {leaf.shape} and {other.shape}"
            )

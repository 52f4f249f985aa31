"""Law 7: structure, shapes and dtypes of the carry are stable; bfloat16 stays bfloat16."""

import jax
import jax.numpy as jnp
import pytest

import rnnjax as rx
from tests.conftest import every
from tests.laws.compare import floats
from tests.registry import CELLS, B, T, random_inputs, random_params

COMPLEX = {"bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("entry", every(2, CELLS, 1), ids=repr)
def test_dtypes_are_those_of_params_and_inputs(entry, dtype):
    """The carry keeps structure, shapes and dtypes; params are real; what is complex has at least complex64."""
    params, xs = random_params(entry, dtype=dtype), random_inputs(entry, dtype=dtype)
    flags = jnp.ones((T, B), bool)

    def run(params, xs, key):
        carry = entry.cell.carry(params, (B,))
        return carry, *rx.unroll(entry.cell, params, xs, mask=flags, resets=flags, key=key)

    for key in (None, jax.random.key(0)):
        before, after, ys = jax.eval_shape(run, params, xs, key)
        assert after == before
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(floats((before, ys)))} <= {dtype, COMPLEX[dtype]}
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(floats(params))} <= {dtype}
        assert all(leaf.shape[:2] == (T, B) for leaf in jax.tree.leaves(ys))

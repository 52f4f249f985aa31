"""Law 8: any number of time steps, none too, and any number of batch axes, none too."""

import jax
import pytest

import rnnjax as rx
from tests.conftest import full
from tests.laws.compare import assert_close
from tests.laws.definition import loop
from tests.laws.events import random_events
from tests.registry import CELLS, B, T, random_carry, random_inputs, random_params

GRID = (4, B)  # two batch axes


@pytest.mark.parametrize("num_steps", [2, full(1), full(T)])
@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_any_number_of_steps_and_batch_axes(entry, num_steps, jit):
    params = random_params(entry)
    inputs = (
        random_carry(entry, params, GRID),
        random_inputs(entry, num_steps, GRID),
        *random_events(0, num_steps, GRID),
    )

    def unroll(carry, xs, mask, resets):
        return rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets)

    def change(batch, carry, *sequences):
        """`batch` of the batch axes of carry and sequences."""
        over_time = jax.vmap(lambda element: jax.tree.map(batch, element))
        return jax.tree.map(batch, carry), *over_time(sequences)

    @jit
    def outcomes(*inputs):
        merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
        part = lambda first, end: (inputs[0], *jax.tree.map(lambda leaf: leaf[first:end], inputs[1:]))
        return {
            "grid": change(merge, *unroll(*inputs)),
            "flat": unroll(*change(merge, *inputs)),
            "loop": change(merge, *loop(entry.cell, params, *inputs)),
            "last": change(lambda leaf: leaf[-1, -1], *unroll(*inputs)),
            "alone": unroll(*change(lambda leaf: leaf[-1, -1], *inputs)),
            "one step": unroll(*part(0, 1)),
            "one step by loop": loop(entry.cell, params, *part(0, 1)),
            "no step": unroll(*part(0, 0)),
        }

    got = outcomes(*inputs)
    assert_close(got["grid"], got["loop"])
    assert_close(got["flat"], got["loop"])
    assert_close(got["alone"], got["last"])
    assert_close(got["one step"], got["one step by loop"])
    none = jax.tree.map(lambda leaf: leaf[:0], got["one step"][1])
    assert_close(got["no step"], (inputs[0], none), rtol=0)

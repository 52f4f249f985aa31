"""Law 8: the number of steps and the size of the batch may be symbolic, under jax.export."""

import jax
import jax.export
import jax.numpy as jnp
import pytest

import rnnjax as rx
from tests.conftest import every
from tests.laws.compare import assert_close
from tests.laws.events import random_events
from tests.registry import CELLS, B, T, random_carry, random_inputs, random_params


def test_lengths_and_a_number_of_steps_without_input():
    """Both may be symbolic: the mask of lengths, and ``length=`` of a cell without input."""
    cell = rx.Cell(
        init=lambda key, input_size: jnp.ones(()),
        carry=lambda rate, batch_shape: jnp.zeros(batch_shape, rate.dtype),
        step=lambda rate, carry, x: (carry + rate,) * 2,
    )

    def run(xs, lengths):
        mask = rx.length_mask(lengths, xs.shape[0])
        return rx.unroll(cell, jnp.ones(()), None, mask=mask, length=xs.shape[0])

    t, b = jax.export.symbolic_shape("t, b")
    shapes = jax.ShapeDtypeStruct((t, b), float), jax.ShapeDtypeStruct((b,), int)
    call = jax.export.export(jax.jit(run))(*shapes).call
    lengths = jnp.array([2, 0, 5])
    carry, ys = call(jnp.zeros((5, 3)), lengths)
    assert_close(carry, lengths.astype(float))
    assert_close(ys, jnp.where(jnp.arange(5)[:, None] < lengths, jnp.arange(1.0, 6)[:, None], 0))


@pytest.mark.parametrize("entry", every(9, CELLS, 2), ids=repr)
def test_an_exported_unroll_runs_at_any_length_and_batch_size(entry, unrolled):
    params = random_params(entry)

    def run(params, carry, xs, mask, resets, key):
        return rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets, key=key if entry.draws else None)

    def inputs(num_steps, batch_size):
        batch = (batch_size,)
        xs = random_inputs(entry, num_steps, batch)
        return random_carry(entry, params, batch), xs, *random_events(0, num_steps, batch), jax.random.key(4)

    def symbolic(tree, *axes):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*axes, *leaf.shape[len(axes) :]), leaf.dtype), tree)

    t, b = jax.export.symbolic_shape("t, b")
    carry, *sequences, key = inputs(T, B)
    exported = jax.export.export(jax.jit(run))(params, symbolic(carry, b), *symbolic(sequences, t, b), key)
    call = jax.jit(exported.call)
    *most, key = inputs(T, B)
    assert_close(call(params, *most, key), unrolled(entry)(params, *most, key if entry.draws else None)[0])
    assert_close(call(params, *inputs(2, 1)), jax.jit(run)(params, *inputs(2, 1)))

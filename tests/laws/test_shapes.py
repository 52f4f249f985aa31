"""Law 8: any number of time steps, none too, and any number of batch axes, none too."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import rnnjax as rx
from tests.conftest import every, full
from tests.laws.compare import assert_close
from tests.laws.definition import loop
from tests.laws.events import random_events
from tests.registry import CELLS, B, D, Entry, H, T, random_carry, random_inputs, random_params

GRID = (4, B)  # two batch axes


@pytest.mark.parametrize("num_steps", [2, full(1), full(T)])
@pytest.mark.parametrize("entry", every(4, CELLS, 0), ids=repr)
def test_any_number_of_steps_and_batch_axes(entry, num_steps):
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

    @jax.jit
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


def test_a_cell_without_input_takes_its_length_and_its_batch_from_what_is_given():
    def step(W, h, x):
        assert x is None
        h = jnp.tanh(h @ W)
        return h, h

    W = jnp.linspace(-1.0, 1.0, H * H).reshape(H, H)
    cell = rx.Cell(lambda key, input_size: W, lambda W, batch_shape: jnp.ones((*batch_shape, H)), step)
    carry = jnp.linspace(0.0, 1.0, B * H).reshape(B, H)
    mask, resets = random_events()
    true, false = jnp.ones((T, B), bool), jnp.zeros((T, B), bool)

    assert_close(rx.unroll(cell, W, None, carry, length=T), loop(cell, W, carry, None, true, false))
    assert_close(rx.unroll(cell, W, None, carry, mask=mask), loop(cell, W, carry, None, mask, false))
    for length in (None, T):
        by_resets = rx.unroll(cell, W, None, carry, mask=mask, resets=resets, length=length)
        assert_close(by_resets, loop(cell, W, carry, None, mask, resets))
    assert rx.unroll(cell, W, None, length=T)[1].shape == (T, H)
    assert rx.unroll(cell, W, None, carry, length=0)[1].shape == (0, B, H)


@pytest.mark.parametrize("batch_shape", [(), (B,), GRID], ids=str)
def test_inputs_may_have_any_number_of_axes(batch_shape):
    """Images [height, width, channels], through a convolution and a cell of one's own."""
    image = jax.ShapeDtypeStruct((11, 13, D), jnp.float32)
    pooling = rx.Cell(
        init=lambda key, spec: jnp.ones((spec.shape[-1], H)),
        carry=lambda W, batch_shape: jnp.zeros((*batch_shape, H)),
        step=lambda W, h, x: ((h + x.mean((-3, -2)) @ W) / 2,) * 2,
        input_ndim=3,
    )
    cell = rx.Chain(rx.Lift(nn.Conv(D, (3, 3)), input_ndim=3), pooling)
    entry = Entry("images", cell, image)
    params = random_params(entry)
    carry, xs = random_carry(entry, params, batch_shape), random_inputs(entry, T, batch_shape)
    mask, resets = random_events(0, T, batch_shape)
    unrolled = jax.jit(lambda params, carry, xs: rx.unroll(cell, params, xs, carry, mask=mask, resets=resets))
    looped = jax.jit(lambda params, carry, xs: loop(cell, params, carry, xs, mask, resets))
    assert_close(unrolled(params, carry, xs), looped(params, carry, xs))

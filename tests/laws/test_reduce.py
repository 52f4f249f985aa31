"""From a sequence to one value: the last valid output, masked mean and maximum, against NumPy one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.laws.compare import assert_close, weigh
from tests.laws.events import random_events
from tests.registry import B, H, T

EMPTY = 1  # the sequence without a valid step
REDUCTIONS = {
    "last": (rx.last, lambda ys: ys[-1]),
    "mean": (rx.mean_over_time, lambda ys: ys.mean(0)),
    "max": (rx.max_over_time, lambda ys: ys.max(0)),
}


@pytest.fixture(params=REDUCTIONS)
def reduction(request):
    """The library's function of (ys, mask), and NumPy's of the valid outputs of one sequence."""
    return REDUCTIONS[request.param]


@pytest.fixture
def mask():
    mask, _ = random_events()
    mask[:, EMPTY] = False
    mask[-1, 0] = False
    return mask


def outputs():
    """A pytree of outputs, all below zero in part, so that a masked zero cannot pass for the maximum."""
    rng = np.random.default_rng(0)
    return {"below": -1 - rng.random((T, B, H)), "mixed": rng.normal(size=(T, B))}


def test_reductions_of_the_valid_outputs(reduction, mask):
    reduce, of_one = reduction
    ys = outputs()

    def expect(leaf):
        zero = np.zeros(leaf.shape[2:])
        return np.stack([of_one(leaf[mask[:, b], b]) if mask[:, b].any() else zero for b in range(B)])

    assert_close(reduce(ys, mask), jax.tree.map(jnp.asarray, jax.tree.map(expect, ys)))
    assert_close(jax.jit(reduce)(ys, mask), jax.tree.map(jnp.asarray, jax.tree.map(expect, ys)))


def test_reductions_without_mask(reduction):
    reduce, of_one = reduction
    ys = outputs()
    assert_close(reduce(ys), jax.tree.map(lambda leaf: jnp.asarray(of_one(leaf)), ys))
    assert_close(reduce(ys, np.ones((T, B), bool)), reduce(ys))


def test_what_is_masked_has_no_effect_and_gets_no_gradient(reduction, mask):
    """NaN too; a sequence without a valid step gives zero with zero gradients, not NaN."""
    reduce, _ = reduction
    ys = outputs()
    spoiled = jax.tree.map(lambda leaf: np.where(mask.reshape(T, B, *[1] * (leaf.ndim - 2)), leaf, np.nan), ys)
    loss = lambda ys: weigh(reduce(ys, mask))
    assert_close(reduce(spoiled, mask), reduce(ys, mask), rtol=0)
    gradient = jax.grad(loss)(spoiled)
    assert_close(gradient, jax.grad(loss)(ys), rtol=0)
    for leaf in jax.tree.leaves(gradient):
        assert not np.asarray(leaf)[~mask].any()
        assert np.asarray(leaf)[mask].any()


@pytest.mark.parametrize("masked", [False, True])
def test_no_step_reduces_to_zero(reduction, masked):
    reduce, _ = reduction
    none = jax.tree.map(lambda leaf: leaf[:0], outputs())
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:]), outputs())
    assert_close(reduce(none, np.ones((0, B), bool) if masked else None), zero)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8", "bool", "complex64"])
def test_last_and_max_keep_the_dtype(dtype, mask):
    ys = jnp.asarray(outputs()["mixed"] * 10).astype(dtype)
    assert rx.last(ys, mask).dtype == dtype
    assert rx.last(ys).dtype == dtype
    if dtype != "complex64":
        assert rx.max_over_time(ys, mask).dtype == dtype
        np.testing.assert_array_equal(rx.max_over_time(ys)[0], np.asarray(ys[:, 0]).max())


def test_length_mask():
    lengths = np.array([[T, 0, 3], [1, T, 2]])
    mask = rx.length_mask(lengths, T)
    assert mask.shape == (T, 2, 3)
    for index, length in np.ndenumerate(lengths):
        assert np.asarray(mask)[(slice(None), *index)].tolist() == [True] * length + [False] * (T - length)
    np.testing.assert_array_equal(jax.jit(rx.length_mask, static_argnums=1)(lengths, T), mask)
    assert rx.length_mask([2, 0], 2).tolist() == [[True, False], [True, False]]
    assert rx.length_mask(0, 0).shape == (0,)


@pytest.mark.parametrize("reverse", [False, True])
def test_repeat_last(reverse, mask):
    """Each sequence by itself, in the order of processing; before the first valid step, and without one, zero."""
    ys = outputs()

    def expect(leaf):
        found = np.zeros_like(leaf)
        for b in range(B):
            held = np.zeros_like(leaf[0, b])
            for t in reversed(range(T)) if reverse else range(T):
                held = leaf[t, b] if mask[t, b] else held
                found[t, b] = held
        return jnp.asarray(found)

    repeat = functools.partial(rx.repeat_last, reverse=reverse)
    assert_close(repeat(ys, mask), jax.tree.map(expect, ys))
    assert_close(jax.jit(repeat)(ys, mask), jax.tree.map(expect, ys))
    gradient = jax.grad(lambda ys: weigh(repeat(ys, mask)))(ys)
    assert jax.tree.all(jax.tree.map(lambda leaf: (leaf[~mask] == 0).all(), gradient))


def test_repeat_last_of_no_steps_and_bad_masks():
    assert rx.repeat_last(np.zeros((0, B, H)), np.zeros((0, B), bool)).shape == (0, B, H)
    with pytest.raises(TypeError, match=r"^repeat_last: mask is None, expected bool \[T, \*batch\]"):
        rx.repeat_last(outputs(), None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"^repeat_last: mask is float64\[7,3\], expected bool"):
        rx.repeat_last(outputs(), np.ones((T, B)))
    with pytest.raises(ValueError, match=r"^repeat_last: mask has shape \(3, 7\), but ys has the leading axes"):
        rx.repeat_last(outputs(), np.ones((B, T), bool))

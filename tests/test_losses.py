"""Losses on sequences: against NumPy, under masks, empty, and with bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx

T, B, V = 7, 3, 5
LENGTHS = np.array([7, 4, 0])
MASK = np.arange(T)[:, None] < LENGTHS
rng = np.random.default_rng(0)
predictions, targets = rng.normal(size=(2, T, B, V))
labels = rng.integers(0, V, (T, B))
bits = rng.integers(0, 2, (T, B, V)).astype(float)


def _softmax_nll(logits, labels):
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, labels[..., None], -1)[..., 0]


def _bernoulli_nll(logits, bits):
    rates = 1 / (1 + np.exp(-logits))
    return -(bits * np.log(rates) + (1 - bits) * np.log(1 - rates)).sum(-1)


def _huber(p, t, delta):
    error = np.abs(p - t)
    return np.where(error < delta, 0.5 * error**2, delta * (error - 0.5 * delta)).mean(-1)


CASES = {
    "cross_entropy": (rx.losses.cross_entropy, _softmax_nll, labels),
    "squared_error": (rx.losses.squared_error, lambda p, t: ((p - t) ** 2).mean(-1), targets),
    "absolute_error": (rx.losses.absolute_error, lambda p, t: np.abs(p - t).mean(-1), targets),
    "huber": (lambda p, t, m=None: rx.losses.huber(p, t, m, delta=0.7), lambda p, t: _huber(p, t, 0.7), targets),
    "bernoulli": (rx.losses.bernoulli, _bernoulli_nll, bits),
}
each_loss = pytest.mark.parametrize("name", CASES)


@each_loss
def test_equals_numpy(name: str) -> None:
    loss, oracle, target = CASES[name]
    steps = oracle(predictions, target)
    np.testing.assert_allclose(loss(predictions, target), steps.mean(), rtol=1e-12)
    np.testing.assert_allclose(loss(predictions, target, MASK), steps[MASK].mean(), rtol=1e-12)


@each_loss
def test_masked_steps_may_hold_anything(name: str) -> None:
    """NaN, infinities and labels out of range there change neither the loss nor its gradient, which is zero there."""
    loss, _, target = CASES[name]
    wild = np.where(MASK[..., None], predictions, np.nan)
    wild_target = np.where(
        MASK.reshape(MASK.shape + (1,) * (target.ndim - 2)), target, -1 if target is labels else np.inf
    )
    value, grad = jax.value_and_grad(loss)(jnp.asarray(predictions), target, MASK)
    wild_value, wild_grad = jax.value_and_grad(loss)(jnp.asarray(wild), jnp.asarray(wild_target), MASK)
    assert value == wild_value
    np.testing.assert_array_equal(grad, wild_grad)
    assert not np.asarray(grad)[~MASK].any()
    assert np.asarray(grad)[MASK].any()


@each_loss
def test_nothing_valid_is_zero_with_zero_gradient(name: str) -> None:
    loss, _, target = CASES[name]
    for prediction in (predictions, np.full_like(predictions, np.nan)):
        value, grad = jax.value_and_grad(loss)(jnp.asarray(prediction), target, np.zeros_like(MASK))
        assert value == 0
        assert not np.asarray(grad).any()


@each_loss
def test_half_precision_is_computed_in_float32(name: str) -> None:
    loss, _, target = CASES[name]
    half = jnp.asarray(predictions, jnp.bfloat16)
    value = loss(half, target if target is labels else jnp.asarray(target, jnp.bfloat16), MASK)
    assert value.dtype == jnp.float32
    exact = loss(
        half.astype(float), target if target is labels else jnp.asarray(target, jnp.bfloat16).astype(float), MASK
    )
    np.testing.assert_allclose(value, exact, rtol=1e-5)


@each_loss
def test_bad_masks(name: str) -> None:
    loss, _, target = CASES[name]
    with pytest.raises(TypeError, match=r"mask is int64\[7,3\], expected bool"):
        loss(predictions, target, MASK.astype(int))
    with pytest.raises(ValueError, match=r"mask has shape \(3, 7\), expected \[T, \*batch\] = \(7, 3\)"):
        loss(predictions, target, MASK.T)


def test_bad_shapes() -> None:
    with pytest.raises(
        ValueError, match=r"squared_error: predictions are float64\[7,3,5\], but targets float64\[7,3\]"
    ):
        rx.losses.squared_error(predictions, targets[..., 0])
    with pytest.raises(ValueError, match=r"cross_entropy: logits are float64\[7,3,5\], but labels int64\[3,7\]"):
        rx.losses.cross_entropy(predictions, labels.T)
    with pytest.raises(TypeError, match=r"cross_entropy: labels are float64\[7,3\], expected integers"):
        rx.losses.cross_entropy(predictions, labels.astype(float))


@pytest.mark.parametrize("label", [-1, 5, -9])
def test_labels_out_of_range(label) -> None:
    """Refused where they can be seen, NaN under jit; at masked steps they are no harm."""
    wrong = np.where(np.arange(21).reshape(7, 3) == 4, label, labels)
    with pytest.raises(ValueError, match=rf"cross_entropy: labels hold {label} \(1 of 21\), expected \[0, 5\)"):
        rx.losses.cross_entropy(predictions, wrong)
    assert jnp.isnan(jax.jit(rx.losses.cross_entropy)(predictions, wrong))
    mask = wrong != label
    expected = rx.losses.cross_entropy(predictions, labels, mask)
    np.testing.assert_array_equal(rx.losses.cross_entropy(predictions, wrong, mask), expected)

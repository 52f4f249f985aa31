"""Losses on sequences, with masks, over optax's: each is a mean over the valid steps of what optax gives for one.

Predictions and targets at masked steps may hold anything, NaN too, without effect on values or gradients; a loss
whose mask is all False is 0 with zero gradients. Half precision is computed in float32.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rnnjax import _checks
from rnnjax._checks import describe
from rnnjax._types import Array
from rnnjax.recurrence.timeline import blank


def masked_mean(values: Array, mask: Array | None = None) -> jax.Array:
    """The mean of the values where ``mask`` is True; 0 where there are none.

    Args:
      values: floating-point [T, *batch].
      mask: bool [T, *batch]; None: all are valid.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: the mask is not bool, or of another shape.

    >>> masked_mean(jnp.array([1.0, 2.0, jnp.nan]), jnp.array([True, True, False]))
    Array(1.5, dtype=float32)
    """
    _check_mask("masked_mean", values.shape, mask)
    count = values.size if mask is None else mask.sum()
    return blank(mask, values).sum() / jnp.maximum(count, 1).astype(values.dtype)


def cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> jax.Array:
    """Cross-entropy from integer labels, in nats per valid step.

    Args:
      logits: [T, *batch, V], unnormalised log-probabilities.
      labels: int [T, *batch], in [0, V); anything at masked steps. Others are refused where they can be seen, and
        give NaN under ``jit``.
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or dtypes do not fit, or a label is out of range.

    >>> round(float(cross_entropy(jnp.zeros((7, 3, 4)), jnp.zeros((7, 3), int))), 4)   # ln 4
    1.3863
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"cross_entropy: labels are {describe(labels)}, expected integers")
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"cross_entropy: logits are {describe(logits)}, but labels {describe(labels)}")
    _check_mask("cross_entropy", labels.shape, mask)
    logits, labels = blank(mask, (_precise(logits), labels))
    num_classes = logits.shape[-1]
    wrong = (labels < 0) | (labels >= num_classes)
    if _checks.is_concrete(wrong) and wrong.any():
        first = labels[wrong][0]
        raise ValueError(
            f"cross_entropy: labels hold {first} ({wrong.sum()} of {wrong.size}), expected [0, {num_classes})"
        )
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return masked_mean(jnp.where(wrong, jnp.nan, nats), mask)


def squared_error(predictions: Array, targets: Array, mask: Array | None = None) -> jax.Array:
    """The squared error, a mean over valid steps and over features.

    Args:
      predictions: [T, *batch, ...].
      targets: the same shape.
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or dtypes do not fit.

    >>> float(squared_error(jnp.zeros((7, 3, 2)), jnp.full((7, 3, 2), 2.0)))
    4.0
    """
    return _elementwise("squared_error", optax.squared_error, predictions, targets, mask)


def absolute_error(predictions: Array, targets: Array, mask: Array | None = None) -> jax.Array:
    """The absolute error, a mean over valid steps and over features; arguments as ``squared_error``.

    >>> float(absolute_error(jnp.zeros((7, 3, 2)), jnp.full((7, 3, 2), 2.0)))
    2.0
    """
    return _elementwise("absolute_error", lambda p, t: jnp.abs(p - t), predictions, targets, mask)


def huber(predictions: Array, targets: Array, mask: Array | None = None, *, delta: float = 1.0) -> jax.Array:
    """Huber's error, a mean over valid steps and over features: half the square up to ``delta``, linear beyond.

    Other arguments as ``squared_error``.

    >>> float(huber(jnp.zeros((7, 3, 2)), jnp.full((7, 3, 2), 2.0)))
    1.5

    Source: Huber, Annals of Mathematical Statistics 35 (1964).
    """
    _checks.within("huber", "delta", delta, 0.0, float("inf"), low_included=False)
    return _elementwise("huber", lambda p, t: optax.huber_loss(p, t, delta=delta), predictions, targets, mask)


def bernoulli(logits: Array, targets: Array, mask: Array | None = None) -> jax.Array:
    """The negative log-likelihood of independent bits, summed over features, in nats per valid step.

    Args:
      logits: [T, *batch, ...], log-odds.
      targets: the same shape, in [0, 1].
      mask: bool [T, *batch]; None: every step is valid.

    Returns:
      A scalar.

    Raises:
      ValueError, TypeError: shapes or dtypes do not fit.

    >>> round(float(bernoulli(jnp.zeros((7, 3, 2)), jnp.ones((7, 3, 2)))), 4)        # 2 ln 2
    1.3863

    Differs from: the others here, which are means over features; a piano roll's likelihood is the sum over keys.
    """
    return _elementwise("bernoulli", optax.sigmoid_binary_cross_entropy, logits, targets, mask, jnp.sum)


def _elementwise(
    owner: str,
    loss: Callable[[Any, Any], jax.Array],
    predictions: Array,
    targets: Array,
    mask: Array | None,
    over_features: Callable[..., jax.Array] = jnp.mean,
) -> jax.Array:
    if predictions.shape != targets.shape:
        raise ValueError(f"{owner}: predictions are {describe(predictions)}, but targets {describe(targets)}")
    leading = predictions.shape[:-1] if mask is None else predictions.shape[: mask.ndim]
    _check_mask(owner, leading, mask)
    predictions, targets = blank(mask, (_precise(predictions), _precise(targets)))
    values = loss(predictions, targets)
    return masked_mean(over_features(values, axis=tuple(range(len(leading), values.ndim))), mask)


def _precise(values: Array) -> jax.Array:
    return jnp.asarray(values, jnp.promote_types(values.dtype, jnp.float32))


def _check_mask(owner: str, leading: tuple[int, ...], mask: Any) -> None:
    if mask is None:
        return
    if not hasattr(mask, "dtype") or mask.dtype != bool:
        raise TypeError(f"{owner}: mask is {describe(mask)}, expected bool [T, *batch]")
    if mask.shape != leading:
        raise ValueError(f"{owner}: mask has shape {mask.shape}, expected [T, *batch] = {leading}")

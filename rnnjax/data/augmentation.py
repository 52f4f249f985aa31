"""Sequences changed at random, a batch [T, B, ...] at a time. Without a key they stay as they are.

One key may go to several of these functions: what they draw is independent.
"""

from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import generator


def jitter(xs: np.ndarray, deviation: float, key: Key | None) -> np.ndarray:
    """Normal noise added to every entry.

    Args:
      xs: floating-point [T, B, ...].
      deviation: the noise's standard deviation, at least 0.
      key: None gives ``xs`` back.

    Returns:
      An array like ``xs``.

    Raises:
      ValueError, TypeError: xs are not floating-point, or deviation is out of range.

    >>> jitter(np.zeros((7, 3, 2), np.float32), 0.03, jax.random.key(0)).shape
    (7, 3, 2)

    Source: Um et al., ICMI (2017), "Data augmentation of wearable sensor data".
    """
    _check("jitter", xs, deviation)
    if key is None:
        return xs
    return xs + (deviation * generator("jitter", key).standard_normal(xs.shape)).astype(xs.dtype)


def rescale(xs: np.ndarray, deviation: float, key: Key | None) -> np.ndarray:
    """Each sequence times a number of its own, normal around 1.

    Args:
      xs: floating-point [T, B, ...].
      deviation: the factors' standard deviation, at least 0.
      key: None gives ``xs`` back.

    Returns:
      An array like ``xs``.

    Raises:
      ValueError, TypeError: xs are not floating-point, or deviation is out of range.

    >>> xs = rescale(np.ones((7, 3, 2)), 0.1, jax.random.key(0))
    >>> np.ptp(xs, axis=(0, 2)).tolist()                        # one factor a sequence
    [0.0, 0.0, 0.0]

    Source: Um et al., ICMI (2017).
    """
    _check("rescale", xs, deviation)
    if key is None:
        return xs
    factors = 1 + deviation * generator("rescale", key).standard_normal(xs.shape[1])
    return xs * factors.reshape(-1, *(1,) * (xs.ndim - 2)).astype(xs.dtype)


def crop(tree: Any, mask: np.ndarray, num_steps: int, key: Key | None) -> tuple[Any, np.ndarray]:
    """A piece of each sequence: ``num_steps`` in a row, wherever they fit; all of a sequence that is not longer.

    Args:
      tree: a pytree of arrays [T, B, ...]: inputs, and targets of each step.
      mask: bool [T, B]; a sequence ends with its last True.
      num_steps: of the piece; more than T pads with zeros.
      key: None takes the first ``num_steps``.

    Returns:
      ``(tree, mask)``, the arrays [num_steps, B, ...].

    Raises:
      ValueError, TypeError: the mask is not bool [T, B], or not as long as the arrays, or num_steps is not positive.

    >>> xs, mask = np.arange(7)[:, None], np.ones((7, 1), bool)
    >>> piece, mask = crop(xs, mask, 3, jax.random.key(0))
    >>> piece.shape, np.diff(piece[:, 0]).tolist(), mask.all()
    ((3, 1), [1, 1], np.True_)
    """
    _checks.positive_int("crop", "num_steps", num_steps)
    lengths = _lengths("crop", mask)
    room = np.maximum(lengths - num_steps, 0)
    starts = np.zeros_like(room) if key is None else generator("crop", key).integers(room + 1)
    steps, columns = starts + np.arange(num_steps)[:, None], np.arange(len(lengths))
    within, steps = steps < len(mask), np.minimum(steps, len(mask) - 1)

    def piece(leaf: np.ndarray) -> np.ndarray:
        if leaf.shape[:2] != mask.shape:
            raise ValueError(f"crop: tree holds {_checks.describe(leaf)}, but mask is {_checks.describe(mask)}")
        return np.where(
            within.reshape(*within.shape, *(1,) * (leaf.ndim - 2)), leaf[steps, columns], np.zeros((), leaf.dtype)
        )

    return jax.tree.map(piece, tree), mask[steps, columns] & within


def blank_span(xs: np.ndarray, mask: np.ndarray, longest: int, key: Key | None) -> np.ndarray:
    """Zeros in one span of each sequence, of 0 to ``longest`` steps.

    Args:
      xs: [T, B, ...].
      mask: bool [T, B]; a sequence ends with its last True.
      longest: a positive number of steps.
      key: None gives ``xs`` back.

    Returns:
      An array like ``xs``.

    Raises:
      ValueError, TypeError: the mask is not bool [T, B], or longest is not positive.

    >>> xs = blank_span(np.ones((7, 3)), np.ones((7, 3), bool), 2, jax.random.key(0))
    >>> ((xs == 0).sum(axis=0) <= 2).all()
    np.True_

    Source: Park et al., Interspeech (2019), SpecAugment's masking of time.

    Differs from: their mask is on a spectrogram whose mean is 0; here too zeros are meant as the mean.
    """
    _checks.positive_int("blank_span", "longest", longest)
    lengths = _lengths("blank_span", mask)
    if key is None:
        return xs
    rng = generator("blank_span", key)
    width = rng.integers(np.minimum(longest, lengths) + 1)
    start = rng.integers(lengths - width + 1)
    steps = np.arange(len(mask))[:, None]
    blank = (start <= steps) & (steps < start + width)
    return np.where(blank.reshape(*blank.shape, *(1,) * (xs.ndim - 2)), np.zeros_like(xs), xs)


def drop_tokens(tokens: np.ndarray, rate: float, key: Key | None, unknown: int = 0) -> np.ndarray:
    """Each token becomes the unknown one with a probability.

    Args:
      tokens: int [T, B].
      rate: in [0, 1].
      key: None gives ``tokens`` back.
      unknown: the number of the unknown symbol; 0 is that of ``rx.data.Vocabulary``.

    Returns:
      An array like ``tokens``.

    Raises:
      ValueError, TypeError: rate is out of range.

    >>> drop_tokens(np.array([[1, 2, 3]]), 1.0, jax.random.key(0)).tolist()
    [[0, 0, 0]]

    Source: Iyyer et al., ACL (2015), word dropout; Bowman et al., CoNLL (2016), with the unknown word.
    """
    _checks.within("drop_tokens", "rate", rate, 0.0, 1.0)
    if key is None:
        return tokens
    dropped = generator("drop_tokens", key).random(tokens.shape) < rate
    return np.where(dropped, np.asarray(unknown, tokens.dtype), tokens)


def drop_steps(mask: np.ndarray, rate: float, key: Key | None) -> np.ndarray:
    """Each step is left out with a probability: what ``rx.unroll`` computes is as if it had never been there.

    Args:
      mask: bool [T, B].
      rate: in [0, 1].
      key: None gives ``mask`` back.

    Returns:
      The mask without some steps; that of a sequence that would lose all its steps stays as it is.

    Raises:
      ValueError, TypeError: the mask is not bool [T, B], or rate is out of range.

    >>> mask = drop_steps(np.ones((100, 3), bool), 0.5, jax.random.key(0))
    >>> (mask.sum(axis=0) < 80).all()
    np.True_

    Source: Iyyer et al., ACL (2015), word dropout.
    """
    _lengths("drop_steps", mask)
    _checks.within("drop_steps", "rate", rate, 0.0, 1.0)
    if key is None:
        return mask
    kept = mask & (generator("drop_steps", key).random(mask.shape) >= rate)
    return np.where(kept.any(0), kept, mask)


def _lengths(owner: str, mask: np.ndarray) -> np.ndarray:
    """Steps up to the last valid one, int [B]."""
    if mask.dtype != bool or mask.ndim != 2:
        raise TypeError(f"{owner}: mask is {_checks.describe(mask)}, expected bool [T, B]")
    return np.where(mask.any(0), len(mask) - mask[::-1].argmax(0), 0)


def _check(owner: str, xs: np.ndarray, deviation: float) -> None:
    if not np.issubdtype(xs.dtype, np.floating) or xs.ndim < 2:
        raise TypeError(f"{owner}: xs are {_checks.describe(xs)}, expected floating-point [T, B, ...]")
    _checks.within(owner, "deviation", deviation, 0.0, float("inf"))

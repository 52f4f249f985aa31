"""Looking at data before training: each function gives nothing, or one sentence about the first fault."""

from typing import Any

import jax
import numpy as np

from rnnjax import _checks


def check_finite(arrays: Any) -> None:
    """Refuse NaN and infinities.

    Args:
      arrays: a pytree of arrays; those of integers pass.

    Raises:
      ValueError: naming the first entry that is not finite.
      TypeError: a leaf is not an array.

    >>> check_finite({"xs": np.array([[0.0, np.nan]])})
    Traceback (most recent call last):
    ValueError: check_finite: arrays['xs'][0, 1] is nan, expected finite numbers (1 of 2 are not)
    """
    refuse_nonfinite("check_finite", "arrays", arrays)


def check_labels(labels: Any, num_classes: int, mask: Any = None) -> None:
    """Refuse labels that are not in [0, num_classes): a loss would give NaN, or a wrong number without a word.

    Args:
      labels: int, any shape.
      num_classes: V.
      mask: bool, the same shape; where it is False, labels may be anything.

    Raises:
      ValueError, TypeError: naming the first label that is out of range; labels are not integers; shapes differ.

    >>> check_labels(np.array([0, 4, 1]), num_classes=3)
    Traceback (most recent call last):
    ValueError: check_labels: labels[1] is 4, expected labels in [0, 3) (1 of 3 are not)
    """
    _checks.positive_int("check_labels", "num_classes", num_classes)
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"check_labels: labels are {_checks.describe(labels)}, expected integers")
    wrong = (labels < 0) | (labels >= num_classes)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != labels.shape:
            found = _checks.describe(mask)
            raise ValueError(f"check_labels: mask is {found}, expected bool of the labels' shape {labels.shape}")
        wrong &= mask
    if wrong.any():
        _refuse("check_labels: labels", labels, wrong, f"labels in [0, {num_classes})")


def check_mask(mask: Any) -> None:
    """Refuse a mask that is False everywhere.

    Args:
      mask: bool [T, *batch].

    Raises:
      ValueError, TypeError: it is False everywhere, or not bool.

    >>> check_mask(np.zeros((7, 3), bool))
    Traceback (most recent call last):
    ValueError: check_mask: mask is False everywhere: there is no step to learn from
    """
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"check_mask: mask is {_checks.describe(mask)}, expected bool")
    if not mask.any():
        raise ValueError("check_mask: mask is False everywhere: there is no step to learn from")


def refuse_nonfinite(owner: str, name: str, arrays: Any) -> None:
    """``check_finite`` in the name of another."""
    _checks.are_arrays(owner, name, arrays, "an array")
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        finite = np.isfinite(leaf)
        if not finite.all():
            _refuse(f"{owner}: {name}{jax.tree_util.keystr(path)}", leaf, ~finite, "finite numbers")


def _refuse(name: str, values: Any, wrong: np.ndarray, expected: str) -> None:
    where = tuple(np.argwhere(wrong)[0].tolist())
    index = f"[{', '.join(map(str, where))}]" if where else ""
    raise ValueError(
        f"{name}{index} is {np.asarray(values)[where]}, expected {expected} ({wrong.sum()} of {wrong.size} are not)"
    )

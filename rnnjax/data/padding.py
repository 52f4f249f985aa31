"""Sequences of different lengths as one time-major array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnjax import _checks
from rnnjax.data.ragged import Ragged


def pad(sequences: Sequence[Any], multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of different lengths as one array and its mask.

    Args:
      sequences: B arrays [length, ...], alike but for their lengths.
      multiple: T is the greatest length, rounded up to a multiple of this, so that batches of many lengths come in
        few shapes, each compiled once.

    Returns:
      ``(xs [T, B, ...], mask bool [T, B])``, zeros behind each end.

    Raises:
      ValueError: there are none, they differ in more than length, or ``multiple`` is not positive.

    >>> xs, mask = pad([np.ones((2, 1)), np.ones((3, 1))])
    >>> xs.shape, mask.T.astype(int).tolist()
    ((3, 2, 1), [[1, 1, 0], [1, 1, 1]])
    """
    _checks.positive_int("pad", "multiple", multiple)
    ragged = Ragged("pad", "sequence", sequences)
    num_steps = -(-ragged.lengths.max() // multiple) * multiple
    return ragged.padded(np.arange(len(ragged.arrays)), num_steps)

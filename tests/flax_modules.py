"""What the tests of the Flax modules share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.registry import Entry, H

LENGTHS = jnp.array([7, 4, 0])
LSTM = Entry("lstm", rx.LSTM(H))
GRU = Entry("gru", rx.GRU(H))
ZONEOUT = rx.Zoneout(rx.LSTM(H), 0.3)


def turned(tree: Any) -> Any:
    """[T, B, ...] as [B, T, ...], and back."""
    return jax.tree.map(lambda leaf: None if leaf is None else jnp.swapaxes(leaf, 0, 1), tree)


def assert_equal(found: Any, expected: Any) -> None:
    """Bit for bit."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def refused(error: type[Exception], call: Any) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)

"""What may be wrong with a batch that training cannot go on from, in words."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data.epochs import Position
from rnnjax.train.paths import leaf_paths


def nonfinite_entries(batch: Any) -> str | None:
    """Which leaf of a batch holds entries that are not finite, and how many; None where none does.

    >>> nonfinite_entries({"xs": np.array([1.0, np.nan, np.inf])})
    '2 of the 3 entries of batch/xs are not finite'
    """
    for path, leaf in _named(batch):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and (count := leaf.size - np.isfinite(leaf).sum()):
            return f"{count} of the {leaf.size} entries of {path} are not finite"
    return None


def integer_ranges(batch: Any) -> str:
    """The range of all integers in a batch, such as labels; empty where there are none.

    >>> integer_ranges({"labels": np.array([3, 0])})
    'batch/labels holds integers from 0 to 3'
    """
    integers = [(path, leaf) for path, leaf in _named(batch) if jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.size]
    return ", ".join(f"{path} holds integers from {leaf.min()} to {leaf.max()}" for path, leaf in integers)


class Masked:
    """Looks for epochs that teach nothing, as every mask is False.

    Losses are then 0 with a gradient of 0, whatever the params, and training would go on without a word.

    Args:
      owner: who refuses them.

    >>> masked = Masked("fit")
    >>> masked.see(Position(2, 0), {"mask": np.array([False])})
    >>> masked.refuse(2)
    Traceback (most recent call last):
    ValueError: fit: in epoch 2 every loss and gradient was 0 and batch/mask was False everywhere: there is...
    """

    def __init__(self, owner: str):
        self._owner = owner
        self._leaf: str | None = None  # of the last batch: all False
        self._always = False  # since the epoch began, which must be seen first

    def see(self, position: Position, idle: Any) -> None:
        """Look at the next batch, if its loss and its gradient were 0, else None."""
        if position.taken == 0:
            self.refuse(position.epoch - 1)  # which is over
        self._leaf = None if idle is None else next(_all_false(idle), None)
        self._always = self._leaf is not None and (self._always or position.taken == 0)

    def refuse(self, epoch: int) -> None:
        """Refuse the epoch that is over, if it is one of these."""
        if self._always:
            self._always = False  # said once
            raise ValueError(
                f"{self._owner}: in epoch {epoch} every loss and gradient was 0 and {self._leaf} was False everywhere:"
                " there is nothing to learn from"
            )


def _all_false(batch: Any) -> Iterator[str]:
    return (path for path, leaf in _named(batch) if leaf.dtype == bool and not leaf.any())


def _named(batch: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The leaves of a batch by their paths."""
    return zip(leaf_paths(batch, "batch"), map(np.asarray, jax.tree.leaves(batch)), strict=True)

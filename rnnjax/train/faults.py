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


def suspects(batch: Any) -> str:
    """What else may be to blame: masks that are all False, integers that may be labels out of range.

    >>> suspects({"labels": np.array([3, -1]), "xs": np.ones(2)})
    'the batch is finite, batch/labels holds integers from -1 to 3 (labels of V classes lie in [0, V))'
    """
    found = ["the batch is finite", *(f"{path} is False everywhere" for path in _all_false(batch, False))]
    integers = [(path, leaf) for path, leaf in _named(batch) if jnp.issubdtype(leaf.dtype, jnp.integer) and leaf.size]
    found += [f"{path} holds integers from {leaf.min()} to {leaf.max()}" for path, leaf in integers]
    return ", ".join(found) + (" (labels of V classes lie in [0, V))" if integers else "")


class Masked:
    """Looks for epochs that teach nothing, as every mask is False: training would go on without a word.

    A mask is a leaf whose name ends with "mask"; one of another name, or of none, is taken for one where the loss and
    the gradient are 0 as well.

    Args:
      owner: who refuses them.

    >>> masked = Masked("fit")
    >>> masked.see(Position(2, 0), {"mask": np.array([False])}, idle=True)
    >>> masked.refuse(2)
    Traceback (most recent call last):
    ValueError: fit: in epoch 2 batch/mask was False everywhere: there is nothing to learn from
    """

    def __init__(self, owner: str):
        self._owner = owner
        self._leaf: str | None = None  # all False in every batch of this epoch, which must be seen from its start

    def see(self, position: Position, batch: Any, idle: bool) -> None:
        """Look at the next batch; idle: whether its loss and its gradient were 0."""
        if position.taken == 0:
            self.refuse(position.epoch - 1)  # which is over
        if position.taken == 0 or self._leaf:
            self._leaf = next(_all_false(batch, idle), None)

    def refuse(self, epoch: int) -> None:
        """Refuse the epoch that is over, if it is one of these."""
        if leaf := self._leaf:
            self._leaf = None  # said once
            raise ValueError(
                f"{self._owner}: in epoch {epoch} {leaf} was False everywhere: there is nothing to learn from"
            )


def _all_false(batch: Any, idle: bool) -> Iterator[str]:
    for path, leaf in _named(batch):
        name = path.rpartition("/")[2]
        mask = name.endswith("mask") or (idle and name not in ("resets", "starts"))
        if mask and leaf.dtype == bool and not leaf.any():
            yield path


def _named(batch: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The leaves of a batch by their paths, but PRNG keys."""
    for path, leaf in zip(leaf_paths(batch, "batch"), jax.tree.leaves(batch), strict=True):
        if not jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jax.dtypes.extended):
            yield path, np.asarray(leaf)

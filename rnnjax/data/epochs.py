"""Data as training takes them: batches of one epoch after the other, and a place among them."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

Data = Iterable[Any] | Callable[[int], Iterable[Any]]  # the batches of each epoch; or a function of the epoch


class Position(NamedTuple):
    """A place in the data."""

    epoch: int = 0
    taken: int = 0  # batches of this epoch that have been trained on


START = Position()


def rest_of_epoch(owner: str, data: Data, position: Position) -> Iterator[Any]:
    """The batches of an epoch, past those that were taken.

    Args:
      owner: who asks, for the message.
      data: batches, or a function of the epoch.
      position: where to begin.

    Raises:
      ValueError: there are not even those that were taken.
      TypeError: they cannot be iterated over.

    >>> list(rest_of_epoch("fit", lambda epoch: [10 * epoch, 10 * epoch + 1, 10 * epoch + 2], Position(3, 1)))
    [31, 32]
    """
    epoch, taken = position
    batches = data(epoch) if callable(data) else data
    if not hasattr(batches, "__iter__"):
        raise TypeError(f"{owner}: data gave {batches!r} in epoch {epoch}, expected batches to iterate over")
    if isinstance(batches, Sequence):  # which need not make a batch to pass it
        passed, rest = min(len(batches), taken), iter(batches[taken:])
    else:
        rest = iter(batches)
        passed = sum(1 for _ in itertools.islice(rest, taken))
    if passed < taken:
        raise ValueError(f"{owner}: data gave {passed} batches in epoch {epoch}, where {taken} were taken before")
    return (jax.tree.map(_as_array, batch) for batch in rest)


def _as_array(leaf: Any) -> Any:
    """Another library's array, such as PyTorch's tensor on the CPU, as NumPy's."""
    foreign = hasattr(leaf, "__array__") and not isinstance(leaf, jax.Array | np.ndarray | np.generic)
    return np.asarray(leaf) if foreign else leaf


def kind(batch: Any) -> Any:
    """What a program is compiled for: the structure of a batch, the shapes and dtypes of its leaves.

    >>> kind({"xs": np.ones(3), "rate": 1.0}) == kind({"xs": np.zeros(3), "rate": 2.0}) != kind({"xs": np.ones(2)})
    True
    """
    leaves, structure = jax.tree.flatten(batch)
    return structure, [(np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves]

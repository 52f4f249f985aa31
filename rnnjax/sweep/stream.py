"""The batches that all members see, row by row."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.data.epochs import START, Data, Position, kind, rest_of_epoch


class Row(NamedTuple):
    """K batches."""

    pieces: list[Any]  # as pytrees of arrays [k, ...], K in all
    positions: list[Position]  # of each of them
    after: Position  # of the next one

    def batch(self, number: int) -> Any:
        """One of them."""
        piece, place = (self.pieces[0], number) if len(self.pieces) == 1 else (self.pieces[number], 0)
        return jax.tree.map(lambda leaf: leaf[place], piece)


def check_data(data: Any) -> None:
    """Refuse what is no data, or can be read only once."""
    if callable(data):
        return
    if not hasattr(data, "__iter__"):
        raise TypeError(f"run: data is {data!r}, expected batches to iterate over, or a function of the epoch")
    if iter(data) is data:
        raise TypeError(
            f"run: data is a {type(data).__name__}, which can be read once, but every group of members reads it;"
            " pass a list, or a function of the epoch"
        )


def stream(data: Data, position: Position = START) -> Iterator[tuple[Any, Position]]:
    """Batches without end from a position on, each with its own.

    >>> batches = stream([1.0, 2.0], Position(epoch=0, taken=1))
    >>> next(batches), next(batches)
    ((2.0, Position(epoch=0, taken=1)), (1.0, Position(epoch=1, taken=0)))
    """
    taken = position.taken
    for epoch in itertools.count(position.epoch):
        for batch in rest_of_epoch("run", data, Position(epoch, taken)):
            _checks.are_arrays("run", f"batch {taken} of epoch {epoch}", batch, "an array")
            yield batch, Position(epoch, taken)
            taken += 1
        if not taken:
            raise ValueError(f"run: data gave no batch in epoch {epoch}")
        taken = 0


def rows(data: Data, position: Position, num_steps: int, every: int) -> Iterator[Row]:
    """Batches for so many steps, ``every`` at a time."""
    batches = stream(data, position)
    for begin in range(0, num_steps, every):
        taken = list(itertools.islice(batches, min(every, num_steps - begin)))
        positions = [place for _, place in taken]
        after = positions[-1]._replace(taken=positions[-1].taken + 1)
        yield Row(stacked([batch for batch, _ in taken]), positions, after)


def stacked(batches: list[Any]) -> list[Any]:
    """Batches as one pytree of arrays [K, ...]; where they are not all of one kind, each by itself as [1, ...].

    Few programs are compiled then, whatever the order of kinds is.

    >>> [each.shape for each in stacked([np.ones(3), np.ones(3)])], len(stacked([np.ones(3), np.ones(2)]))
    ([(2, 3)], 2)
    """
    alike = all(kind(batch) == kind(batches[0]) for batch in batches)
    return [jax.tree.map(_stack, *each) for each in ([batches] if alike else [[batch] for batch in batches])]


def _stack(*leaves: Any) -> Any:
    return jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)

"""A cell against the direction of time."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from rnnjax._types import Carry, Key, Params
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence.timeline import Timeline, segment_ends
from rnnjax.recurrence.unroll import unroll_bound


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Backward(Wrapper):
    """A layer from the last step to the first; it looks ahead.

    ::

        carry, ys = unroll(cell, xs, reverse=True)

    Outputs stand at their own times: ``ys[t]`` has seen ``xs[t:]``. The carry after the unroll is that after the first
    step. Resets mark where segments start in time order: the cell starts anew at the last valid step before each.

    Args:
      cell: any cell.

    Raises:
      TypeError: not a cell; ``step``, which cannot look ahead.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Backward(rx.GRU(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)))
    >>> bool((carry == ys[0]).all())
    True
    """

    cell: Any

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Refused: y_t depends on later x."""
        raise TypeError(
            f"{self} looks ahead: its output depends on later inputs, so it cannot be stepped;"
            " unroll it over a whole sequence"
        )

    def unroll(self, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll the cell within, the other way."""
        return unroll_bound(self.cell, params, xs, carry, against_time(timeline))


def against_time(timeline: Timeline) -> Timeline:
    """The timeline of a cell that goes the other way, over the same segments; keys in its order of processing."""
    keys = None if timeline.keys is None else jnp.flip(timeline.keys, axis=0)
    return dataclasses.replace(timeline, reverse=not timeline.reverse, resets=segment_ends(timeline), keys=keys)

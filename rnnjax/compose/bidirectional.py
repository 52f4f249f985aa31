"""A cell in each direction of time."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, Settings
from rnnjax.compose.backward import against_time
from rnnjax.recurrence import protocol
from rnnjax.recurrence.timeline import Timeline, blank
from rnnjax.recurrence.unroll import unroll_bound

_MERGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
}


class Directions(NamedTuple):
    """Params or carries of the two directions."""

    forward: Any  # of the cell that goes forward
    backward: Any  # of the cell that goes backward


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Bidirectional(Settings):
    """One cell from the first step to the last, one from the last to the first; it looks ahead.

    ::

        ys = merge(unroll(forward, xs), unroll(backward, xs, reverse=True))

    Params and carry are ``Directions(forward, backward)``; the carries after the unroll are those after the last
    step and, for the backward cell, after the first. Resets mark where segments start in time order: the backward
    cell starts anew at the last valid step before each. The directions draw from ``fold_in(key, 0)`` and ``1``.

    Args:
      forward: a cell.
      backward: a cell; None: one like ``forward``, with params of its own.
      merge: ``"concat"`` along the last axis, ``"sum"``, ``"mean"``, or a function of the two outputs [T, *batch, H].

    Raises:
      TypeError, ValueError: not a cell; an unknown merge; ``step``, which cannot look ahead.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Bidirectional(rx.GRU(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)))
    >>> ys.shape, carry.backward.shape
    ((7, 3, 4), (3, 2))

    Source: Schuster and Paliwal, IEEE Transactions on Signal Processing 45 (1997).
    """

    forward: Any
    backward: Any = None
    merge: str | Callable[[Any, Any], Any] = "concat"

    def __post_init__(self):
        for name, cell in zip(("forward", "backward"), self._cells, strict=True):
            _checks.is_cell("Bidirectional", name, cell)
        if not callable(self.merge):
            _checks.one_of("Bidirectional", "merge", self.merge, tuple(_MERGES))

    @property
    def _cells(self) -> Directions:
        return Directions(self.forward, self.forward if self.backward is None else self.backward)

    @property
    def input_ndim(self) -> Any:
        """As the forward cell."""
        return protocol.input_ndim(self.forward)

    def input_size(self, params: Params) -> int | None:
        """As the forward cell; both look at their params."""
        if not isinstance(params, Directions):
            raise TypeError(f"{self}: params are a {type(params).__name__}, expected Directions from {self}.init")
        sizes = [protocol.input_size(cell, part) for cell, part in zip(self._cells, params, strict=True)]
        return sizes[0]

    def init(self, key: Key, input_size: InputSize) -> Directions:
        """Draw the params of each direction."""
        return Directions(
            *(cell.init(jax.random.fold_in(key, index), input_size) for index, cell in enumerate(self._cells))
        )

    def bind(self, params: Directions, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Directions:
        """Bind each direction."""
        return Directions(
            *(
                protocol.bound(cell, part, batch_shape, protocol.fold(key, index))
                for index, (cell, part) in enumerate(zip(self._cells, params, strict=True))
            )
        )

    def carry(self, params: Directions, batch_shape: tuple[int, ...] = ()) -> Directions:
        """The initial carry of each direction."""
        return Directions(*(cell.carry(part, batch_shape) for cell, part in zip(self._cells, params, strict=True)))

    def step(self, params: Directions, carry: Carry, x: Any) -> tuple[Carry, Any]:
        """Refused: y_t depends on later x."""
        raise TypeError(
            f"{self} looks ahead: its output depends on later inputs, so it cannot be stepped;"
            " unroll it over a whole sequence"
        )

    def unroll(self, params: Directions, xs: Any, carry: Directions, timeline: Timeline) -> tuple[Directions, Any]:
        """Unroll each direction and merge."""
        ahead, back = timeline.part(0), against_time(timeline.part(1))
        cells = self._cells
        carry_ahead, ys_ahead = unroll_bound(cells.forward, params.forward, xs, carry.forward, ahead)
        carry_back, ys_back = unroll_bound(cells.backward, params.backward, xs, carry.backward, back)
        return Directions(carry_ahead, carry_back), blank(timeline.mask, self._merged(ys_ahead, ys_back))

    def _merged(self, ahead: Any, back: Any) -> Any:
        if callable(self.merge):
            return self.merge(ahead, back)
        alike = slice(None, -1) if self.merge == "concat" else slice(None)
        shapes = [getattr(ys, "shape", ()) for ys in (ahead, back)]
        if not all(shapes) or shapes[0][alike] != shapes[1][alike]:
            shown = [jax.tree.map(_checks.describe, ys) for ys in (ahead, back)]
            raise ValueError(
                f"{self}: outputs {shown[0]} and {shown[1]} cannot be merged by {self.merge!r}; give a function"
            )
        return _MERGES[self.merge](ahead, back)

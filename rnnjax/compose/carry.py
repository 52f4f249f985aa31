"""Wrappers that touch the carry: learned at the start, or shown at every step."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._types import Carry, InputSize, Key, Params
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence import protocol
from rnnjax.recurrence.timeline import Timeline
from rnnjax.recurrence.unroll import unroll_bound


class Complex(NamedTuple):
    """A complex array as two real ones: params hold no complex leaves."""

    re: jax.Array  # [...] real part
    im: jax.Array  # [...] imaginary part


class LearnedCarryParams(NamedTuple):
    """Parameters of ``LearnedCarry``."""

    cell: Any  # of the cell within
    carry: Any  # its initial carry, unbatched, complex leaves as Complex; None for integers, booleans and keys


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class LearnedCarry(Wrapper):
    """Learns the carry that sequences start from; resets go back to it, with gradients.

    Starts as the cell's own initial carry. Integers, booleans and keys in a carry stay as the cell has them.

    Args:
      cell: any cell; a Chain learns the carries of all its layers.

    Raises:
      TypeError: not a cell.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.LearnedCarry(rx.LSTM(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> cell.carry(params, (3,)).h.shape, params.carry.c.shape
    ((3, 2), (2,))
    """

    cell: Any

    def init(self, key: Key, input_size: InputSize) -> LearnedCarryParams:
        """Draw the cell's params, and copy its initial carry."""
        params = self.cell.init(key, input_size)

        def learnable(leaf):
            if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                return Complex(leaf.real, leaf.imag)
            return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else None

        return LearnedCarryParams(params, jax.tree.map(learnable, self.cell.carry(params, ())))

    def input_size(self, params: LearnedCarryParams) -> int | None:
        """As the cell within."""
        if not isinstance(params, LearnedCarryParams):
            raise TypeError(f"{self}: params are a {type(params).__name__}, expected LearnedCarryParams")
        return protocol.input_size(self.cell, params.cell)

    def bind(
        self, params: LearnedCarryParams, batch_shape: tuple[int, ...] = (), key: Key | None = None
    ) -> LearnedCarryParams:
        """Bind the cell within."""
        return params._replace(cell=protocol.bound(self.cell, params.cell, batch_shape, key))

    def carry(self, params: LearnedCarryParams, batch_shape: tuple[int, ...] = ()) -> Carry:
        """The learned carry, for each batch element."""

        def batched(own, learned):
            if learned is None:
                return own
            if isinstance(learned, Complex):
                learned = lax.complex(*(part.astype(own.real.dtype) for part in learned))
            return jnp.broadcast_to(learned.astype(own.dtype), own.shape)

        own = self.cell.carry(params.cell, batch_shape)
        structure = jax.tree.structure(own)
        learned = structure.flatten_up_to(params.carry)
        return structure.unflatten(map(batched, structure.flatten_up_to(own), learned))

    def step(self, params: LearnedCarryParams, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell within."""
        return protocol.step(self.cell, params.cell, carry, x, key)

    def unroll(self, params: LearnedCarryParams, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll the cell within; resets go to ``timeline.start``, which is the learned carry."""
        return unroll_bound(self.cell, params.cell, xs, carry, timeline)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ExposeCarry(Wrapper):
    """Shows the carry after every step: y becomes ``(y, carry)``.

    Args:
      cell: any cell that can be stepped.

    Raises:
      TypeError: not a cell, or one that looks ahead, found when it runs.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.ExposeCarry(rx.LSTM(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> _, (ys, carries) = rx.unroll(cell, params, jnp.ones((7, 3, 5)))
    >>> carries.c.shape
    (7, 3, 2)
    """

    cell: Any

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell and show its carry."""
        carry, y = protocol.step(self.cell, params, carry, x, key)
        return carry, (y, carry)

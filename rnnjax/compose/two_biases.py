"""A second bias beside the hidden state, as PyTorch and cuDNN hold it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._types import Carry, InputSize, Key
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence import protocol
from rnnjax.recurrence.protocol import Bound
from rnnjax.recurrence.timeline import Timeline
from rnnjax.recurrence.unroll import unroll_bound


class TwoBiasesParams(NamedTuple):
    """Parameters of ``TwoBiases``."""

    cell: Any  # of the cell within
    b_h: Any  # like its b, [H] each: what is added to it; None for a gate without a second bias


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TwoBiases(Wrapper):
    """A cell with two biases for each gate: the cell within runs with their sum.

    The same function as with one; but a step of gradient descent moves the sum twice as far, so a model from PyTorch
    goes on training as it did there. Stepping by hand needs ``params = rx.bind(cell, params, batch_shape)`` first.

    Args:
      cell: a cell whose params have a field ``b``: ``Elman``, ``LSTM``, ``GRU`` and their like.

    Raises:
      TypeError: not a cell; its params have no ``b``; ``step`` with params that are not bound.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.TwoBiases(rx.GRU(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)))
    >>> params.b_h.r.shape, params.b_h.n          # the candidate's second bias is the GRU's own b_hn
    ((2,), None)

    Source: PyTorch, ``bias_ih`` and ``bias_hh`` of ``torch.nn.RNNBase``.
    """

    cell: Any

    def init(self, key: Key, input_size: InputSize) -> TwoBiasesParams:
        """Draw the cell's params; the second biases are zero."""
        params = self.cell.init(key, input_size)
        if not hasattr(params, "b"):
            raise TypeError(f"{self}: params of {self.cell} have no field b, expected a cell with biases")
        b_h = jax.tree.map(jnp.zeros_like, params.b)
        return TwoBiasesParams(params, b_h._replace(n=None) if getattr(params, "b_hn", None) is not None else b_h)

    def input_size(self, params: TwoBiasesParams) -> int | None:
        """As the cell within."""
        if isinstance(params, Bound):
            return protocol.input_size(self.cell, params.params)
        if not isinstance(params, TwoBiasesParams):
            raise TypeError(f"{self}: params are a {type(params).__name__}, expected TwoBiasesParams from {self}.init")
        return protocol.input_size(self.cell, params.cell)

    def bind(self, params: Any, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Bound:
        """Add the biases, then bind the cell within."""
        if isinstance(params, Bound):
            return params
        given, b_h = params
        b = jax.tree.map(lambda b, second: b if second is None else b + second, given.b, b_h)
        return Bound(protocol.bound(self.cell, given._replace(b=b), batch_shape, key))

    def carry(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Carry:
        """The initial carry of the cell within."""
        return self.cell.carry(self.bind(params, batch_shape).params, batch_shape)

    def step(self, params: Bound, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell within."""
        return protocol.step(self.cell, Bound.expect(self, params).params, carry, x, key)

    def unroll(self, params: Bound, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll the cell within."""
        return unroll_bound(self.cell, Bound.expect(self, params).params, xs, carry, timeline)

"""A cell whose params are computed from others, once per unroll."""

import dataclasses
from collections.abc import Callable
from typing import Any

from rnnjax import _checks
from rnnjax._types import Carry, Key, Params
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence import protocol
from rnnjax.recurrence.protocol import BIND_WITHIN, DRAW_AT_BIND, Bound
from rnnjax.recurrence.timeline import Timeline
from rnnjax.recurrence.unroll import unroll_bound


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Reparametrize(Wrapper):
    """A cell that runs with ``fn(params)``, computed once per unroll, before the first step.

    Stepping by hand needs ``params = rx.bind(cell, params, batch_shape, key)`` once before the first step.

    Args:
      cell: any cell.
      fn: ``params -> params``, or ``(params, key=None) -> params`` for one that draws random numbers; without a
        key it has to evaluate.

    Raises:
      TypeError: not a cell, fn not a function, or ``step`` with params that are not bound.

    What it is for, one call each (params of ``Elman``; of ``LSTM`` and ``GRU`` map over the gates with
    ``jax.tree.map``):

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Elman(4)
    >>> dropped = rx.Reparametrize(cell, lambda p, key=None: p._replace(U=rx.drop(p.U, 0.5, key)))    # weight drop
    >>> signs = jnp.array([[1.], [1.], [1.], [-1.]])
    >>> dale = rx.Reparametrize(cell, lambda p: p._replace(U=jnp.abs(p.U) * signs))     # Dale: a unit has one sign
    >>> wiring = jax.random.bernoulli(jax.random.key(0), 0.3, (4, 4))
    >>> sparse = rx.Reparametrize(cell, lambda p: p._replace(U=p.U * wiring))
    >>> expm = jax.scipy.linalg.expm
    >>> orthogonal = rx.Reparametrize(cell, lambda p: p._replace(U=expm(p.U - p.U.T)))
    >>> frozen = rx.Reparametrize(cell, jax.lax.stop_gradient)
    >>> half_frozen = rx.Reparametrize(cell, lambda p: p._replace(U=jax.lax.stop_gradient(p.U)))

    >>> params = orthogonal.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(orthogonal, params, jnp.ones((7, 3, 5)))
    >>> U = rx.bind(orthogonal, params).params.U
    >>> bool(jnp.allclose(U @ U.T, jnp.eye(4), atol=1e-5))
    True

    Source: weight drop: Merity et al. (2017), arXiv:1708.02182; Dale's rule: Song et al. (2016), PLOS Comput Biol
    12, e1004792; orthogonal: Lezcano-Casado and Martinez-Rubio (2019), arXiv:1901.08428.
    """

    cell: Any
    fn: Callable[..., Params]

    def __post_init__(self):
        super().__post_init__()
        _checks.are_functions("Reparametrize", fn=self.fn)

    def input_size(self, params: Params) -> int | None:
        """As the cell within, with its params."""
        return protocol.input_size(self.cell, self.bind(params).params)

    def bind(self, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Bound:
        """Apply fn, then bind the cell within."""
        if isinstance(params, Bound):
            return params
        draw = {"key": protocol.fold(key, DRAW_AT_BIND)} if protocol.takes_key(self.fn) else {}
        return Bound(protocol.bound(self.cell, self.fn(params, **draw), batch_shape, protocol.fold(key, BIND_WITHIN)))

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
        """The initial carry of the cell within, with its params."""
        return self.cell.carry(self.bind(params, batch_shape).params, batch_shape)

    def step(self, params: Bound, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell within."""
        return protocol.step(self.cell, Bound.expect(self, params).params, carry, x, key)

    def unroll(self, params: Bound, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll the cell within."""
        return unroll_bound(self.cell, Bound.expect(self, params).params, xs, carry, timeline)

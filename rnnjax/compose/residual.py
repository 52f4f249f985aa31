"""A shortcut around a layer."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax._types import Carry, Key, Params
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence import protocol
from rnnjax.recurrence.timeline import Timeline
from rnnjax.recurrence.unroll import unroll_bound


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Residual(Wrapper):
    """A shortcut around a layer: ``y = x + layer(x)``.

    Args:
      cell: a layer whose y has the shape of x; a Chain, or one that looks ahead, too.

    Raises:
      TypeError: not a cell.
      ValueError: y and x differ in structure or shape; found when it runs.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Residual(rx.GRU(5))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> rx.unroll(cell, params, jnp.ones((7, 3, 5)))[1].shape
    (7, 3, 5)

    Source: He et al. (2016), arXiv:1512.03385, equation 1.
    """

    cell: Any

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the layer and add x."""
        carry, y = protocol.step(self.cell, params, carry, x, key)
        return carry, self._add(x, y)

    def unroll(self, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll the layer and add xs, which is zero at masked steps, as the layer's output is."""
        carry, ys = unroll_bound(self.cell, params, xs, carry, timeline)
        return carry, self._add(xs, ys)

    def _add(self, x: Any, y: Any) -> Any:
        if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
            came, went = jax.tree.map(describe, x), jax.tree.map(describe, y)
            raise ValueError(f"{self}: the layer turns {came} into {went}, but a shortcut needs both alike")
        return jax.tree.map(jnp.add, x, y)

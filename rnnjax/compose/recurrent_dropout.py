"""Dropout inside the recurrence, where the carry enters a product with params and nowhere else."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, input_spec
from rnnjax.compose._wrapper import Wrapper
from rnnjax.compose.regularize import drop
from rnnjax.recurrence import protocol
from rnnjax.recurrence.distribute import distribute
from rnnjax.recurrence.program import SideEffectsError
from rnnjax.recurrence.protocol import BIND_WITHIN, DRAW_AT_BIND, Bound
from rnnjax.recurrence.split import split
from rnnjax.recurrence.taps import find_taps, hidden_product, run_with_operands


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RecurrentDropout(Wrapper):
    """Dropout of the recurrent connections, with one mask for all time steps; off without a key.

    ::

        h_{t-1} @ U   becomes   (m * h_{t-1}) @ U,   m ~ Bernoulli(1 - rate) / (1 - rate), drawn once per sequence

    in every product of the step with params that the carry enters on its way to the next carry, as the library finds
    them in the step itself. What the carry does beside them, such as the leak ``z * h_{t-1}`` of a GRU or the memory
    of an LSTM, is left alone. Masks differ between batch elements; products of the same operand share one.

    Args:
      cell: any cell that can be stepped. For a chain, wrap each of its layers.
      rate: the probability that a unit is dropped for a whole sequence, in [0, 1].
      per_gate: a mask for each product, so for each gate, in place of one for each operand.

    Raises:
      ValueError, TypeError: rate is out of range, where it is concrete; not a cell; or one whose carry meets no
        params in a product, found by ``init`` and by ``step``.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.RecurrentDropout(rx.GRU(2), rate=0.5)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)), key=jax.random.key(1))

    Source: Gal and Ghahramani (2016), arXiv:1512.05287, equation 7 (``per_gate``: equation 6, "untied"), for the
    recurrent state; its inputs and outputs are ``TiedDropout``.

    Differs from: Gal and Ghahramani drop the state wherever it goes; along a leak, masks of all steps would multiply.
    """

    cell: Any
    rate: Any
    per_gate: bool = False

    def __post_init__(self):
        super().__post_init__()
        _checks.within("RecurrentDropout", "rate", self.rate, 0.0, 1.0)
        _checks.is_bool("RecurrentDropout", "per_gate", self.per_gate)

    def init(self, key: Key, input_size: InputSize) -> Params:
        """As the cell within, whose step is looked at for something to drop."""
        params = self.cell.init(key, input_size)
        bound = protocol.bound(self.cell, params, (), None)
        jax.eval_shape(lambda x: self.step(Bound(bound, key), self.cell.carry(bound, ()), x), input_spec(input_size))
        return params

    def input_size(self, params: Params) -> int | None:
        """As the cell within."""
        return protocol.input_size(self.cell, params.params if isinstance(params, Bound) else params)

    def bind(self, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Bound:
        """Bind the cell within and keep the key of the masks."""
        if isinstance(params, Bound):
            return params
        within = protocol.bound(self.cell, params, batch_shape, protocol.fold(key, BIND_WITHIN))
        return Bound(within, protocol.fold(key, DRAW_AT_BIND))

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
        """The initial carry of the cell within."""
        return self.cell.carry(self.bind(params, batch_shape).params, batch_shape)

    def step(self, params: Bound, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell within, with masks on what enters its recurrent products."""
        params, mask_key = Bound.expect(self, params)
        if mask_key is None:
            return protocol.step(self.cell, params, carry, x, key)
        leaves, structure = jax.tree.flatten((carry, x))
        result_tree: Any = None

        def flat(carry_leaves, x_leaves):
            nonlocal result_tree
            carry, x = structure.unflatten([*carry_leaves, *x_leaves])
            after, y = protocol.step(self.cell, params, carry, x, key)
            result_leaves, result_tree = jax.tree.flatten((after, y))
            num_carry = len(jax.tree.leaves(after))
            return result_leaves[:num_carry], result_leaves[num_carry:]

        num_carry = structure.children()[0].num_leaves
        try:
            parts = split(flat, leaves[:num_carry], leaves[num_carry:], distribute)
        except SideEffectsError as error:
            raise ValueError(f"RecurrentDropout: nothing can be dropped inside {self.cell}: {error}") from None
        taps = find_taps(parts)
        hidden = hidden_product(parts)
        if hidden is not None:
            raise ValueError(
                f"RecurrentDropout: the carry of {self.cell} enters a product inside {hidden}, where nothing can be"
                " dropped; expected products that the step writes itself"
            )
        if not taps:
            raise ValueError(
                f"RecurrentDropout: the carry of {self.cell} enters no product with params, so there is nothing to drop"
            )
        operands = list(dict.fromkeys(tap.operand for tap in taps))

        def mask(index, tap, operand):
            draw = index if self.per_gate else operands.index(tap.operand)
            return operand * drop(jnp.ones_like(operand), self.rate, protocol.fold(mask_key, draw))

        return result_tree.unflatten(run_with_operands(parts, leaves, mask))

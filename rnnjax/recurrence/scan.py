"""``method="scan"``: the definition that every other method has to equal."""

from typing import Any

import jax
from jax import lax

from rnnjax import _checks
from rnnjax._types import Carry, Params
from rnnjax.recurrence.protocol import step
from rnnjax.recurrence.timeline import Timeline, blank, select


def scan(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
    """Step through time with ``lax.scan``, with masks, resets and keys."""

    def body(carry, inputs):
        x, valid, reset, key = inputs
        before = carry if reset is None else select(reset, timeline.start, carry)
        after, y = step(cell, params, before, x, key)
        _checks.same_tree("unroll", "the carry after a step", after, before, f"the carry before it, in {cell},")
        if valid is not None:
            after = select(valid, after, carry)
        return after, blank(valid, y)

    inputs = (xs, timeline.mask, timeline.resets, timeline.keys)
    length = None if jax.tree.leaves(inputs) else timeline.num_steps  # which lax.scan takes from inputs if symbolic
    return lax.scan(body, carry, inputs, length=length, reverse=timeline.reverse)


def at_all_times(cell: Any, params: Params, xs: Any, timeline: Timeline) -> Any:
    """The outputs of a cell without carry: its steps are independent, so all are taken at once."""
    ys = jax.vmap(lambda x, key: step(cell, params, (), x, key)[1])(xs, timeline.keys)
    return blank(timeline.mask, ys)

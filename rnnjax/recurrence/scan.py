"""A cell over time as the arguments of ``lax.scan``: the definition that every method has to equal."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax

from rnnjax import _checks
from rnnjax._types import Carry, Params
from rnnjax.recurrence.devices import vary, varying_axes
from rnnjax.recurrence.protocol import step
from rnnjax.recurrence.sequence import check_batched
from rnnjax.recurrence.settings import take_arrays
from rnnjax.recurrence.timeline import Timeline, blank, select


class Recurrence(NamedTuple):
    """What ``lax.scan`` takes: masks, resets and keys are a part of ``body`` and of ``inputs``."""

    body: Callable[[Any, Any], tuple[Any, Any]]  # (carry, inputs at t) -> (carry, y)
    carry: Carry
    inputs: Any  # (xs, mask, resets, keys), leaves [T, ...]
    num_steps: Any  # T; an int, or symbolic under jax.export
    reverse: bool

    @property
    def mask(self) -> Any:
        """Bool [T, *batch]: where False nothing happens; or None."""
        return self.inputs[1]


def recurrence(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> Recurrence:
    """What a cell does over a timeline. Params are bound, the timeline is checked."""

    def body(carry, inputs):
        x, valid, reset, key = inputs
        before = carry if reset is None else select(reset, timeline.start, carry)
        after, y = step(cell, params, before, x, key)
        _checks.same_tree(
            "unroll",
            "the carry after a step",
            after,
            before,
            f"the carry before it, in {cell} with x {_checks.describe_tree(x)},",
        )
        if valid is not None:
            check_batched("mask", f"the output of {cell}", y, timeline.batch_shape)
            after = select(valid, after, carry)
        return vary(after, axes), blank(valid, y)

    inputs = (xs, timeline.mask, timeline.resets, timeline.keys)
    axes = varying_axes((take_arrays(cell)[1], params, inputs, carry, timeline.start))
    return Recurrence(body, vary(carry, axes), inputs, timeline.num_steps, timeline.reverse)


def scan(r: Recurrence) -> tuple[Carry, Any]:
    """``method="scan"``: one step after the other."""
    length = None if jax.tree.leaves(r.inputs) else r.num_steps  # which lax.scan takes from inputs if symbolic
    return lax.scan(r.body, r.carry, r.inputs, length=length, reverse=r.reverse)


def at_all_times(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> Any:
    """The outputs of a cell whose carry is empty: its steps are independent, so all are taken at once."""
    ys = jax.vmap(lambda x, key: step(cell, params, carry, x, key)[1])(xs, timeline.keys)
    return blank(timeline.mask, ys)

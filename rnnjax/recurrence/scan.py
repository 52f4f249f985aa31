"""``method="scan"``: the definition that every other method has to equal."""

from typing import Any

import jax
from jax import lax

from rnnjax import _checks
from rnnjax._types import Carry, Params
from rnnjax.recurrence.protocol import step
from rnnjax.recurrence.sequence import check_batched
from rnnjax.recurrence.settings import take_arrays
from rnnjax.recurrence.timeline import Timeline, blank, select


def scan(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
    """Step through time with ``lax.scan``, with masks, resets and keys."""

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
        return _vary(after, axes), blank(valid, y)

    inputs = (xs, timeline.mask, timeline.resets, timeline.keys)
    axes = _varying_axes((take_arrays(cell)[1], params, inputs, carry, timeline.start))
    length = None if jax.tree.leaves(inputs) else timeline.num_steps  # which lax.scan takes from inputs if symbolic
    return lax.scan(body, _vary(carry, axes), inputs, length=length, reverse=timeline.reverse)


def at_all_times(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> Any:
    """The outputs of a cell whose carry is empty: its steps are independent, so all are taken at once."""
    ys = jax.vmap(lambda x, key: step(cell, params, carry, x, key)[1])(xs, timeline.keys)
    return blank(timeline.mask, ys)


def _varying_axes(tree: Any) -> frozenset[str]:
    """Inside ``shard_map``: the mesh axes along which any part of what a step sees differs."""
    return frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(tree)))


def _vary(carry: Carry, axes: frozenset[str]) -> Carry:
    """Let the carry differ along ``axes``: lax.scan asks that its type, which says so, stays the same."""

    def one(leaf):
        more = axes - jax.typeof(leaf).manual_axis_type.varying
        return lax.pcast(leaf, tuple(more), to="varying") if more else leaf

    return jax.tree.map(one, carry)

"""``rx.unroll``: a cell over a whole sequence."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Array, Carry, CellLike, Key, Params
from rnnjax.recurrence import sequence
from rnnjax.recurrence.choose import METHODS, Choice, Plan, run
from rnnjax.recurrence.fused import MEMORY
from rnnjax.recurrence.protocol import bound, fold, input_size
from rnnjax.recurrence.scan import at_all_times, recurrence
from rnnjax.recurrence.settings import insert_arrays, take_arrays
from rnnjax.recurrence.timeline import Timeline, blank


def unroll(
    cell: CellLike,
    params: Params,
    xs: Any,
    carry: Carry | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reverse: bool = False,
    key: Key | None = None,
    method: str = "auto",
    memory: str = "auto",
    block: int | None = None,
    length: int | None = None,
) -> tuple[Carry, Any]:
    """Step a cell through a sequence.

    The definition, which every method equals in values and gradients::

        params = rx.bind(cell, params, batch_shape, key)
        for t in range(T):                                    # mask, resets and key where given
            h = where(resets[t], cell.carry(params, batch_shape), carry)
            h, y = cell.step(params, h, xs[t], key=fold_in(key, t))
            carry, ys[t] = where(mask[t], (h, y), (carry, 0))

    Args:
      cell: any cell.
      params: from ``cell.init``.
      xs: inputs [T, *batch, ...], time first; any number of batch axes, none too. None for a cell without input.
      carry: the carry to start from, as ``cell.carry(params, batch_shape)`` has it; None starts from that one.
      mask: bool [T, *batch]. Where False nothing happens: the carry stays bit for bit, y is zero, a reset is
        ignored, and xs may hold anything, NaN too, without effect on values or gradients: the step is given zeros,
        and must have a derivative there.
      resets: bool [T, *batch]. Where True the step starts from ``cell.carry(params, batch_shape)``, whatever came
        before; no gradient crosses, except to a learned initial carry.
      reverse: go from the last step to the first: equals flip, unroll, flip of xs, mask, resets and ys.
      key: for random cells. Step t draws from ``fold_in(key, t)`` (t counts in the order of processing), a
        chain's layer i from ``fold_in(.., i)`` of that. None evaluates: nothing is drawn.
      method: how, with the same numbers. ``"scan"``: one ``lax.scan``. ``"fused"``: the step is taken apart, and
        what does not need the step before it is done for many steps at once, weight gradients too; a step that
        cannot be taken apart (it has side effects) is scanned. ``"associative"``: for steps affine and elementwise in
        the carry, many times at once; others are refused by name. ``"auto"`` chooses; ``rx.explain`` says what and
        why. In a chain it applies to each layer with a carry. Forward mode (``jax.jvp`` itself, ``jax.jacfwd``) asks
        for "scan"; ``jax.grad``, ``jax.hessian`` and so on take any.
      memory: what all methods but "scan" keep for the backward pass: ``"preactivations"`` (the products in the loop and
        the carries: fastest), ``"carries"``, ``"edges"`` (the carry every ``block`` steps: least); ``"auto"`` is the
        first of them that keeps at most 2 GiB.
      block: steps per block of time; None is about 16 for "fused" (all of few small ones), and what stays in cache for
        "associative".
      length: T, for a cell without input.

    Returns:
      ``(carry, ys)``: the carry after the last step, and the outputs [T, *batch, ...].

    Raises:
      ValueError, TypeError: an argument's shape, dtype or structure does not fit; always checked. Nothing here
        depends on the values of arrays.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.LSTM(hidden_size=2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> xs = jnp.ones((7, 3, 5))                               # T=7, B=3, D=5
    >>> mask = rx.length_mask(jnp.array([7, 4, 0]), num_steps=7)
    >>> carry, ys = rx.unroll(cell, params, xs, mask=mask)
    >>> carry.h.shape, ys.shape, bool((ys[4:, 1] == 0).all())
    ((3, 2), (7, 3, 2), True)
    """
    _checks.is_cell("unroll", "cell", cell)
    _checks.one_of("unroll", "method", method, METHODS)
    _checks.one_of("unroll", "memory", memory, ("auto", *MEMORY))
    if block is not None:
        _checks.positive_int("unroll", "block", block)
        block = operator.index(block)
    _checks.is_bool("unroll", "reverse", reverse)
    sequence.check_arrays(params, xs, carry, mask, resets, key)
    length = None if length is None else _checks.num_steps("unroll", "length", length)
    call = Call(bool(reverse), length, Plan(method, memory, block))
    skeleton, arrays = take_arrays(cell)
    try:
        hash(skeleton)
    except TypeError:  # a setting that cannot be a key of the cache, such as an object that changes
        return unroll_checked(cell, call, params, xs, carry, mask, resets, key)
    try:
        return _compiled(skeleton, call, arrays, params, xs, carry, mask, resets, key)
    except TypeError as error:
        if "forward-mode" not in str(error) or "custom_vjp" not in str(error):
            raise
        raise TypeError(
            f"unroll: method is {method!r}, whose derivative is defined in reverse mode (jax.grad, jax.hessian);"
            " for forward mode (jax.jvp, jax.jacfwd) use method='scan'"
        ) from None


class Call(NamedTuple):
    """What an unroll is told beside arrays."""

    reverse: bool
    length: int | None
    plan: Plan
    record: Callable | None = None  # told how each recurrent layer runs


@partial(jax.jit, static_argnums=(0, 1))
def _compiled(skeleton, call, arrays, *args):
    """``unroll_checked`` under a cache: a second call outside jit neither traces nor compiles (law 7)."""
    return unroll_checked(insert_arrays(skeleton, arrays), call, *args)


def unroll_checked(cell, call, params, xs, carry, mask, resets, key):
    """``unroll`` of arrays that were looked at one by one."""
    num_steps, batch_shape = sequence.check(cell, params, xs, carry, mask, resets, call.length)
    params = bound(cell, params, batch_shape, key)
    start = jax.tree.map(jnp.asarray, cell.carry(params, batch_shape))
    if carry is None:
        carry = start
    else:
        carry = jax.tree.map(jnp.asarray, carry)
        _checks.same_tree("unroll", "carry", carry, start, f"{cell}.carry(params, {batch_shape})")
    if resets is not None:
        resets = jnp.asarray(resets) if mask is None else resets & mask
        sequence.check_batched("resets", "carry", start, batch_shape)
    if mask is not None:
        mask = jnp.asarray(mask)
        sequence.check_batched("mask", "carry", start, batch_shape)
        xs = blank(mask, jax.tree.map(jnp.asarray, xs))
    keys = _step_keys(key, num_steps, call.reverse)
    timeline = Timeline(
        num_steps, batch_shape, mask, resets, start, keys, call.reverse, plan=call.plan, record=call.record
    )
    return unroll_bound(cell, params, xs, carry, timeline)


def _step_keys(key, num_steps, reverse):
    if key is None:
        return None
    times = jnp.arange(num_steps)
    return jax.vmap(lambda t: fold(key, t))(num_steps - 1 - times if reverse else times)


def unroll_bound(cell: Any, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
    """Unroll one layer, by its own ``unroll`` where it has one. Params are bound, the timeline is checked."""
    if hasattr(cell, "unroll"):
        return cell.unroll(params, xs, carry, timeline)
    sequence.check_features(cell, xs, input_size(cell, params), timeline)
    if not jax.tree.leaves(carry) and jax.tree.leaves(xs):
        if timeline.record is not None:
            timeline.record(
                cell, Choice("at once", "it has no carry, so all its steps are independent", timeline.num_steps)
            )
        return carry, at_all_times(cell, params, xs, carry, timeline)
    return run(cell, recurrence(cell, params, xs, carry, timeline), timeline.plan, timeline.record)


def output_spec(cell: Any, params: Params, spec: Any) -> Any:
    """What one unbatched step gives, as ``jax.ShapeDtypeStruct``s, for an input of ``spec``."""

    def one_step(params, x):
        _, ys = unroll(cell, params, jax.tree.map(lambda leaf: leaf[None], x), length=1)
        return jax.tree.map(lambda leaf: leaf[0], ys)

    return jax.eval_shape(one_step, params, spec)

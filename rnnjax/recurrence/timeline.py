"""What happens when: all that an unroll knows beside params, carry and inputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._types import Array, Carry
from rnnjax.recurrence.protocol import fold


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The events of one unroll, checked. T time steps, ``*batch`` any number of batch axes."""

    num_steps: Any  # T; an int, or symbolic under jax.export
    batch_shape: tuple[Any, ...]
    mask: jax.Array | None = None  # bool [T, *batch]; False: nothing happens
    resets: jax.Array | None = None  # bool [T, *batch]; True: the step starts from `start`; never where mask is False
    start: Carry = None  # the initial carry
    keys: jax.Array | None = None  # [T] keys, in the order of processing reversed again if `reverse`
    reverse: bool = False
    plan: Any = None  # rnnjax.recurrence.choose.Plan: how to run what is unrolled
    record: Callable | None = None  # told of each recurrent layer and how it runs

    def part(self, index: int) -> "Timeline":
        """The timeline of the ``index``-th of several parts, whose carries are a tuple in that order."""
        keys = None if self.keys is None else jax.vmap(lambda key: fold(key, index))(self.keys)
        return dataclasses.replace(self, keys=keys, start=self.start[index])


def select(flags: Array, on_true: Any, on_false: Any) -> Any:
    """``where`` over pytrees; ``flags`` has the leading axes of every leaf."""

    def one(a, b):
        shape = flags.shape + (1,) * (jnp.ndim(a) - flags.ndim)
        return jnp.where(flags.reshape(shape), a, b)

    return jax.tree.map(one, on_true, on_false)


def blank(flags: Array | None, tree: Any) -> Any:
    """Zero (False for booleans) where ``flags`` is False: what a masked step gives."""
    return tree if flags is None else select(flags, tree, jax.tree.map(jnp.zeros_like, tree))


def segment_ends(timeline: Timeline) -> jax.Array | None:
    """Where segments end in the order of processing: the resets of a cell that goes the other way.

    Step t ends its segment if the next valid step resets.
    """
    if timeline.resets is None:
        return None
    if timeline.mask is None:
        resets, last = timeline.resets, jnp.zeros_like(timeline.resets[:1])
        return jnp.concatenate([last, resets[:-1]] if timeline.reverse else [resets[1:], last])
    num_steps = timeline.num_steps
    times = jnp.arange(num_steps).reshape((-1,) + (1,) * len(timeline.batch_shape))
    if timeline.reverse:
        seen = lax.cummax(jnp.where(timeline.mask, times, -1))
        following = jnp.concatenate([jnp.full_like(seen[:1], -1), seen[:-1]])
    else:
        seen = lax.cummin(jnp.where(timeline.mask, times, num_steps), reverse=True)
        following = jnp.concatenate([seen[1:], jnp.full_like(seen[:1], num_steps)])
    inside = (following >= 0) & (following < num_steps)
    found = jnp.take_along_axis(timeline.resets, jnp.clip(following, 0, num_steps - 1), axis=0)
    return found & inside

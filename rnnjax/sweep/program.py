"""The compiled programs: members are an axis of every array, split over devices; on each they run by vmap or map.

The functions are jitted here once for all sweeps, so a second sweep with the same step compiles nothing.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rnnjax import _checks

Devices = tuple[Any, ...]  # of jax.Device, which type checkers do not take for a type
WAYS = ("map", "vmap")
_MEMBERS = PartitionSpec("members")
_ALL = PartitionSpec()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where members run, and how those of one device do: at once (vmap), or one after the other (map)."""

    way: str
    devices: Devices

    @property
    def mesh(self) -> Mesh:
        """The devices in a row."""
        return jax.make_mesh((len(self.devices),), ("members",), (AxisType.Auto,), devices=self.devices)

    def split(self, tree: Any) -> Any:
        """Arrays [members, ...], an equal part of them on each device."""
        return jax.device_put(tree, NamedSharding(self.mesh, _MEMBERS))

    def copy(self, tree: Any) -> Any:
        """Arrays that all members see, whole on each device."""
        return jax.device_put(tree, NamedSharding(self.mesh, _ALL))

    def spec(self, tree: Any, num_members: int) -> Any:
        """Of arrays [...] of one member, those of many, for compiling."""
        sharding = NamedSharding(self.mesh, _MEMBERS)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype, sharding=sharding), tree
        )

    def each(self, fn: Callable[[Any, Any], Any], states: Any, shared: Any) -> Any:
        """``fn(state, shared)`` of every member."""
        if self.way == "vmap":
            members = jax.vmap(fn, in_axes=(0, None))
        else:
            members = lambda states, shared: jax.lax.map(lambda state: fn(state, shared), states)
        # check_vma=False: members do not speak to each other, and a user's step need not know of the mesh
        spread = jax.shard_map(members, mesh=self.mesh, in_specs=(_MEMBERS, _ALL), out_specs=_MEMBERS, check_vma=False)
        return spread(states, shared)

    def __str__(self) -> str:
        count = len(self.devices)
        return f"{self.way} on {count} {self.devices[0].platform} device{'s' if count > 1 else ''}"


@partial(jax.jit, static_argnames=("init", "static"))
def start(traced: Any, keys: jax.Array, *, init: Callable, static: tuple[tuple[str, Any], ...]) -> Any:
    """The states that ``init`` gives, one after the other: each is what it is without the others."""

    def one(member: tuple[Any, jax.Array]) -> Any:
        traced, key = member
        return strong(init({**dict(static), **traced}, key))

    return jax.lax.map(one, (traced, keys))


@partial(jax.jit, static_argnames=("step", "place"), donate_argnames=("states",))
def advance(states: Any, batches: Any, *, step: Callable, place: Place) -> tuple[Any, dict[str, jax.Array]]:
    """K steps of every member, over batches [K, ...]: the states after, and the metrics [members, K]."""
    return place.each(partial(jax.lax.scan, step), states, batches)


@partial(jax.jit, static_argnames=("evaluate", "place"))
def examine(states: Any, *, evaluate: Callable, place: Place) -> dict[str, jax.Array]:
    """What ``evaluate`` gives for every member: the metrics [members]."""
    return place.each(lambda state, _: evaluate(state), states, ())


def strong(tree: Any) -> Any:
    """Arrays in place of Python's numbers, none weakly typed: a step gives back what it got."""
    _checks.are_arrays("run", "the state that init gives", tree, "an array; rx.sweep.Static holds all else")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)

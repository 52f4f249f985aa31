"""Types of values inside ``shard_map``: along which mesh axes they may differ."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def varying_axes(tree: Any) -> frozenset[str]:
    """Inside ``shard_map``: the mesh axes along which any leaf differs."""
    return frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(tree)))


def vary(tree: Any, axes: frozenset[str]) -> Any:
    """Let all leaves differ along ``axes``: lax.scan asks that the type of its carry, which says so, stays the same."""

    def one(leaf):
        more = axes - jax.typeof(leaf).manual_axis_type.varying
        return lax.pcast(leaf, tuple(more), to="varying") if more else leaf

    return jax.tree.map(one, tree)


def zeros(shape: tuple[int, ...], dtype: Any, like: Any) -> jax.Array:
    """Zeros that lie and differ along mesh axes as values of type ``like`` do, which are not split."""
    mesh = like.sharding.mesh
    whole = NamedSharding(mesh, PartitionSpec()) if AxisType.Explicit in mesh.axis_types else None
    return vary(jnp.zeros(shape, dtype, out_sharding=whole), like.manual_axis_type.varying)

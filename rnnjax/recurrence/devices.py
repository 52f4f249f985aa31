"""Types of values inside ``shard_map``: along which mesh axes they may differ."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard


def varying_axes(tree: Any) -> frozenset[str]:
    """Inside ``shard_map``: the mesh axes along which any leaf differs."""
    return frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(tree)))


def vary(tree: Any, axes: frozenset[str]) -> Any:
    """Let all leaves differ along ``axes``: lax.scan asks that the type of its carry, which says so, stays the same."""

    def one(leaf):
        more = axes - jax.typeof(leaf).manual_axis_type.varying
        return lax.pcast(leaf, tuple(more), to="varying") if more else leaf

    return jax.tree.map(one, tree)


def explicit_mesh(tree: Any) -> Any:
    """The mesh with Explicit axes on which any leaf lies, unsplit; None if there is none."""
    meshes = (jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(tree))
    return next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)


def zeros(shape: tuple[int, ...], dtype: Any, like: Any, mesh: Any) -> jax.Array:
    """Zeros that differ along mesh axes as values of type ``like`` do, on all of ``mesh`` if given."""
    empty = jnp.zeros(shape, dtype)
    if mesh is not None:
        empty = reshard(empty, NamedSharding(mesh, PartitionSpec(*(None for _ in shape))))
    return vary(empty, like.manual_axis_type.varying)

"""Types of values inside ``shard_map``: along which mesh axes they may differ."""

from typing import Any

import jax
from jax import lax


def varying_axes(tree: Any) -> frozenset[str]:
    """Inside ``shard_map``: the mesh axes along which any leaf differs."""
    return frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(tree)))


def vary(tree: Any, axes: frozenset[str]) -> Any:
    """Let all leaves differ along ``axes``: lax.scan asks that the type of its carry, which says so, stays the same."""

    def one(leaf):
        more = axes - jax.typeof(leaf).manual_axis_type.varying
        return lax.pcast(leaf, tuple(more), to="varying") if more else leaf

    return jax.tree.map(one, tree)

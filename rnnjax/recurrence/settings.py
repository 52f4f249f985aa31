"""A cell's array-valued settings, taken out and put back, so that what is left can key a cache."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rnnjax._types import Array


@dataclasses.dataclass(frozen=True)
class _Hole:
    """Where an array was."""

    index: int


@dataclasses.dataclass(frozen=True)
class _Number:
    """A number and its type: 1, 1.0 and True are equal, but make different programs."""

    kind: type
    value: Any


@dataclasses.dataclass(frozen=True)
class _Node:
    """A pytree among the settings, a dict too, in a form that can be hashed."""

    structure: Any  # jax.tree_util.PyTreeDef
    children: tuple[Any, ...]


def take_arrays(cell: Any) -> tuple[Any, list[Array]]:
    """The cell with holes for arrays (traced ones too), and the arrays: they count as params, never as constants."""
    arrays: list[Array] = []

    def take(value):
        if _is_cell(value):
            return _map_settings(take, value)
        if isinstance(value, jax.Array | np.ndarray):
            arrays.append(value)
            return _Hole(len(arrays) - 1)
        if isinstance(value, int | float | complex | np.generic):
            return _Number(type(value), value)
        children, structure = jax.tree.flatten(value, is_leaf=lambda node: node is not value)
        is_leaf = jax.tree_util.treedef_is_leaf(structure)
        return value if is_leaf else _Node(structure, tuple(map(take, children)))

    return take(cell), arrays


def insert_arrays(skeleton: Any, arrays: list[Array]) -> Any:
    """The inverse of ``take_arrays``."""

    def insert(value):
        if isinstance(value, _Hole):
            return arrays[value.index]
        if isinstance(value, _Number):
            return value.value
        if isinstance(value, _Node):
            return value.structure.unflatten(map(insert, value.children))
        return _map_settings(insert, value) if _is_cell(value) else value

    return insert(skeleton)


def _is_cell(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and hasattr(value, "step")


def _map_settings(fn: Callable[[Any], Any], cell: Any) -> Any:
    """The cell with ``fn`` of each setting; the same object where none changes."""
    before = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    after = {name: fn(value) for name, value in before.items()}
    if all(after[name] is value for name, value in before.items()):
        return cell
    changed = copy.copy(cell)  # dataclasses.replace would call __init__, which need not take the fields
    for name, value in after.items():
        object.__setattr__(changed, name, value)
    return changed

"""A cell's array-valued settings, taken out and put back, so that what is left can key a cache."""

import copy
import dataclasses
from typing import Any

import jax
import numpy as np

from rnnjax._types import Array


@dataclasses.dataclass(frozen=True)
class _Hole:
    index: int


def take_arrays(cell: Any) -> tuple[Any, list[Array]]:
    """The cell with holes for arrays (traced ones too), and the arrays: they count as params, never as constants."""
    arrays: list[Array] = []

    def take(value):
        if isinstance(value, jax.Array | np.ndarray):
            arrays.append(value)
            return _Hole(len(arrays) - 1)
        return value

    return _map_settings(take, cell), arrays


def insert_arrays(skeleton: Any, arrays: list[Array]) -> Any:
    """The inverse of ``take_arrays``."""
    return _map_settings(lambda value: arrays[value.index] if isinstance(value, _Hole) else value, skeleton)


def _map_settings(fn, value):
    """``fn`` over the leaves of all settings, through cells within cells; unchanged cells stay the same object."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type | _Hole) and hasattr(value, "step"):
        return _replace(value, {name: _map_settings(fn, getattr(value, name)) for name in _names(value)})
    if isinstance(value, tuple | list | dict):
        return jax.tree.map(lambda leaf: _map_settings(fn, leaf), value, is_leaf=lambda node: node is not value)
    return fn(value)


def _names(cell):
    return [field.name for field in dataclasses.fields(cell)]


def _replace(cell, settings):
    if all(getattr(cell, name) is value for name, value in settings.items()):
        return cell
    changed = copy.copy(cell)  # dataclasses.replace would call __init__, which need not take the fields
    for name, value in settings.items():
        object.__setattr__(changed, name, value)
    return changed

"""A pytree's structure as JSON and back, its leaves named by readable paths."""

import sys
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax.recurrence.protocol import Bound


def outline(tree: Any, name: str = "") -> tuple[Any, dict[str, jax.Array]]:
    """``(structure, tensors)``: a NamedTuple is named by its class, a leaf by its path, such as ``1.W.f``."""
    tensors: dict[str, jax.Array] = {}

    def walk(node: Any, path: str) -> Any:
        def inner(entry: Any) -> str:
            return f"{path}.{entry}" if path else str(entry)

        if isinstance(node, Bound):
            raise TypeError("save: params are bound (rx.bind); save the params that cell.init made")
        if node is None:
            return None
        if isinstance(node, tuple) and hasattr(node, "_fields"):
            fields = {field: walk(getattr(node, field), inner(field)) for field in node._fields}  # pyright: ignore
            return {"namedtuple": f"{type(node).__module__}:{type(node).__qualname__}", "fields": fields}
        if isinstance(node, tuple | list):
            return {type(node).__name__: [walk(entry, inner(index)) for index, entry in enumerate(node)]}
        if isinstance(node, dict):
            if not all(isinstance(key, str) for key in node):
                raise TypeError(f"save: params{'.' + path if path else ''} is a dict whose keys are not all strings")
            return {"dict": {key: walk(entry, inner(key)) for key, entry in node.items()}}
        if not hasattr(node, "dtype") or jnp.issubdtype(node.dtype, jax.dtypes.extended):
            raise TypeError(
                f"save: params.{path} is a {type(node).__name__}; a file holds arrays in tuples, lists, dicts and"
                " NamedTuples"
            )
        if not _checks.is_concrete(node):
            raise TypeError(f"save: params.{path} is traced; call save outside jit")
        leaf = path or "params"
        if leaf in tensors:
            raise ValueError(f"save: two leaves of params have the path {leaf}")
        tensors[leaf] = node
        return {"tensor": leaf}

    return walk(tree, name), tensors


def refill(structure: Any, tensors: dict[str, Any], modules: Iterable[str]) -> Any:
    """The pytree of ``outline``; a user's NamedTuples are looked for in ``modules`` and where they were."""
    match structure:
        case {"tensor": name}:
            return tensors[name]
        case {"namedtuple": name, "fields": fields}:
            entries = {field: refill(entry, tensors, modules) for field, entry in fields.items()}
            return _namedtuple(name, fields, modules)(**entries)
        case {"tuple": entries}:
            return tuple(refill(entry, tensors, modules) for entry in entries)
        case {"list": entries}:
            return [refill(entry, tensors, modules) for entry in entries]
        case {"dict": entries}:
            return {key: refill(entry, tensors, modules) for key, entry in entries.items()}
        case _:
            return None


def _namedtuple(name: str, fields: dict, modules: Iterable[str]) -> Any:
    """The class ``module:qualname`` among modules that are already imported: a file makes nothing run."""
    module, _, path = name.partition(":")
    for candidate in (module, *modules):
        found: Any = sys.modules.get(candidate)
        for attribute in path.split("."):
            found = getattr(found, attribute, None)
        if isinstance(found, type) and issubclass(found, tuple) and getattr(found, "_fields", None) == tuple(fields):
            return found
    raise ValueError(f"load: params hold the NamedTuple {path} of {module}; import that module before loading")

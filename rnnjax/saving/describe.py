"""A cell as JSON and back: every setting and part, so that a file says what it is."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Where a function may be named from: none of these modules holds one that a file should not be able to name.
_NAMESPACES = (
    "jax.nn",
    "jax.numpy",
    "jax.lax",
    "jax.nn.initializers",
    "rnnjax.initializers",
    "rnnjax.cells.mingru",
    "rnnjax.compose.bidirectional",
    "rnnjax.interop.parametrizations",
    "rnnjax.interop.keras.activations",
)


def describe(value: Any) -> Any:
    """A setting as JSON; ``{"given": ...}`` stands for a part that JSON cannot hold, such as a user's function.

    >>> import rnnjax as rx
    >>> describe(rx.TiedDropout(0.5))
    {'cell': 'TiedDropout', 'settings': {'rate': 0.5}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, jax.Array | np.ndarray) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"array": np.asarray(value).tolist(), "dtype": str(value.dtype)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"namedtuple": type(value).__name__, "entries": [describe(entry) for entry in value]}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [describe(entry) for entry in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: describe(entry) for name, entry in value.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _describe_dataclass(value)
    return _describe_function(value)


def rebuild(description: Any) -> Any:
    """The setting that ``describe`` described; no part of it may be given."""
    match description:
        case {"array": entries, "dtype": dtype}:
            return np.asarray(entries, jnp.dtype(dtype))
        case {"namedtuple": name, "entries": entries}:
            return _public(name)(*map(rebuild, entries))
        case {"tuple": entries}:
            return tuple(map(rebuild, entries))
        case {"list": entries}:
            return list(map(rebuild, entries))
        case {"dict": entries}:
            return {name: rebuild(entry) for name, entry in entries.items()}
        case {"cell": "Chain", "settings": {"layers": {"tuple": layers}}}:
            return _public("Chain")(*map(rebuild, layers))
        case {"cell": name, "settings": settings}:
            return _public(name)(**{field: rebuild(entry) for field, entry in settings.items()})
        case {"activation": name, "settings": settings}:
            return getattr(_activations(), name)(**{field: rebuild(entry) for field, entry in settings.items()})
        case {"linen": name, "settings": settings}:
            return getattr(_linen(), name)(**{field: rebuild(entry) for field, entry in settings.items()})
        case {"initializer": name, "arguments": arguments}:
            return getattr(jax.nn.initializers, name)(**arguments)
        case {"function": name}:
            module, _, function = name.rpartition(".")
            if module not in _NAMESPACES:
                raise ValueError(f"load: the file names the function {name!r}, which is not one a file may name")
            return getattr(_namespace(module), function)
        case _:
            return description


def given_parts(description: Any, where: str = "cell") -> list[str]:
    """The parts that a description does not hold, as ``cell.layers.1.fn (my_function)``."""
    if not isinstance(description, dict | list):
        return []
    if isinstance(description, dict) and "given" in description:
        return [f"{where} ({description['given']})"]
    entries = enumerate(description) if isinstance(description, list) else description.items()
    return [part for name, entry in entries for part in given_parts(entry, _within(where, name))]


def first_difference(saved: Any, own: Any, where: str = "cell") -> str | None:
    """Where two descriptions differ first, as a sentence; None where they agree. Given parts are not compared."""
    if isinstance(saved, dict) and isinstance(own, dict) and saved.keys() == own.keys() and _kind(saved) == _kind(own):
        names = [name for name in saved if name != "given"]
        return _first(first_difference(saved[name], own[name], _within(where, name)) for name in names)
    if isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own):
        pairs = enumerate(zip(saved, own, strict=True))
        return _first(first_difference(a, b, _within(where, index)) for index, (a, b) in pairs)
    if isinstance(saved, list) and isinstance(own, list):
        return f"{where} has {len(saved)} entries in the file, but {len(own)} in cell"
    return None if saved == own else f"{where} is {_short(saved)} in the file, but {_short(own)} in cell"


def _first(sentences: Any) -> str | None:
    return next((sentence for sentence in sentences if sentence), None)


# What a description is of, by name.
_KINDS = ("cell", "activation", "linen", "function", "initializer", "namedtuple", "given")
_BRACKETS = ("settings", "tuple", "list", "dict", "entries", "arguments")  # what it holds, under these


def _within(where: str, name: Any) -> str:
    return where if name in _BRACKETS else f"{where}.{name}"


def _kind(description: Any, kinds: tuple[str, ...] = _KINDS[:-1]) -> str | None:
    """The name of the class or function that is described; a given one is not compared by name."""
    found = [description.get(kind) for kind in kinds] if isinstance(description, dict) else []
    return next((name for name in found if isinstance(name, str)), None)


def _short(description: Any) -> str:
    return _kind(description, _KINDS) or repr(description)


def _describe_dataclass(value: Any) -> dict:
    settings = {
        field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init or field.repr
    }
    name = type(value).__name__
    if getattr(importlib.import_module("rnnjax"), name, None) is type(value):
        return {"cell": name, "settings": {field: describe(entry) for field, entry in settings.items()}}
    if getattr(_activations(), name, None) is type(value):
        return {"activation": name, "settings": {field: describe(entry) for field, entry in settings.items()}}
    if type(value).__module__.startswith("flax.linen") and getattr(_linen(), name, None) is type(value):
        return {"linen": name, "settings": {f: describe(e) for f, e in _changed(value, settings).items()}}
    return {"given": name, "settings": {field: describe(entry) for field, entry in settings.items()}}


def _changed(module: Any, settings: dict) -> dict:
    """A linen module's settings that are not its defaults, so that files outlive new settings of Flax."""
    defaults = {field.name: field.default for field in dataclasses.fields(module)}
    return {
        name: value
        for name, value in settings.items()
        if name not in ("parent", "name") and not (value is defaults[name] or value == defaults[name])
    }


def _describe_function(fn: Any) -> dict:
    name = getattr(fn, "__name__", None)
    for module in _NAMESPACES if name else ():
        for candidate in vars(_namespace(module)):
            if vars(_namespace(module))[candidate] is fn:
                return {"function": f"{module}.{candidate}"}
    return _describe_initializer(fn) or {"given": name or type(fn).__name__}


def _describe_initializer(fn: Any) -> dict | None:
    """What ``jax.nn.initializers.normal(0.02)`` and its like were called with."""
    name = getattr(fn, "__qualname__", "").partition(".")[0]
    make = getattr(jax.nn.initializers, name, None)
    if make is None or not inspect.isfunction(fn) or not fn.__module__.startswith("jax."):
        return None
    held = inspect.getclosurevars(fn).nonlocals
    arguments = {n: v for n, v in held.items() if n in inspect.signature(make).parameters and n != "dtype"}
    arguments = {n: list(v) if isinstance(v, tuple) else v for n, v in arguments.items()}  # as JSON gives it back
    plain = all(isinstance(v, bool | int | float | str | list) for v in arguments.values())
    return {"initializer": name, "arguments": arguments} if plain else None


def _namespace(module: str) -> Any:
    if module == "rnnjax.initializers":
        module = "rnnjax.cells.initializers"
    return importlib.import_module(module)


def _public(name: str) -> Callable:
    found = getattr(importlib.import_module("rnnjax"), name, None)
    if not isinstance(found, type):
        raise ValueError(f"load: the file holds a {name}, which this version of rnnjax does not know")
    return found


def _activations() -> Any:
    """Those with numbers of their own."""
    return importlib.import_module("rnnjax.interop.onnx.activations")


def _linen() -> Any:
    return importlib.import_module("flax.linen")

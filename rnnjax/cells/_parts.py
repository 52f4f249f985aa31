"""What the cells share: drawing one array per gate, and telling the size of x from the params."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from rnnjax import _checks
from rnnjax._types import Key, Params

Initializer = Callable[..., jax.Array]
Activation = Callable[[jax.Array], jax.Array]


def per_gate(gates: type, init: Initializer, key: Key, shape: tuple[int, ...]) -> Any:
    """A NamedTuple of independent arrays of one shape, one for each gate."""
    fields = gates._fields  # pyright: ignore[reportAttributeAccessIssue] (a NamedTuple class)
    return gates(*(init(gate_key, shape) for gate_key in jax.random.split(key, len(fields))))


def check_functions(cell: Any) -> None:
    """Refuse an activation or initialiser that is not a function, such as its name."""
    functions = [field for field in dataclasses.fields(cell) if field.name.endswith(("activation", "_init"))]
    given = {field.name: getattr(cell, field.name) for field in functions}
    optional = {field.name for field in functions if field.default is None}
    _checks.are_functions(
        type(cell).__name__, **{name: fn for name, fn in given.items() if not (fn is None and name in optional)}
    )


def expect_params(cell: Any, params: Params, kind: type, units: Callable[[Any], jax.Array]) -> Any:
    """``params`` if ``cell.init`` can have made them: of its NamedTuple, ``units(params)`` of its hidden size."""
    if not isinstance(params, kind):
        raise TypeError(f"{cell}: params are a {type(params).__name__}, expected {kind.__name__} from {cell}.init")
    size = units(params).shape[-1]
    if size != cell.hidden_size:
        raise ValueError(f"{cell}: params have {size} units, expected hidden_size={cell.hidden_size}")
    return params

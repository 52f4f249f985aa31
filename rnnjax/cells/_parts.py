"""What the cells share: drawing one array per gate, and telling the size of x from the params."""

from collections.abc import Callable
from typing import Any

import jax

from rnnjax._types import Key, Params

Initializer = Callable[..., jax.Array]
Activation = Callable[[jax.Array], jax.Array]


def per_gate(gates: type, init: Initializer, key: Key, shape: tuple[int, ...]) -> Any:
    """A NamedTuple of independent arrays of one shape, one for each gate."""
    fields = gates._fields  # pyright: ignore[reportAttributeAccessIssue] (a NamedTuple class)
    return gates(*(init(gate_key, shape) for gate_key in jax.random.split(key, len(fields))))


def expect_params(cell: Any, params: Params, kind: type) -> Any:
    """``params`` if they are of the NamedTuple that ``cell.init`` makes."""
    if not isinstance(params, kind):
        raise TypeError(f"{cell}: params are a {type(params).__name__}, expected {kind.__name__} from {cell}.init")
    return params

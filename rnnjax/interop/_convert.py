"""What the libraries share: arrays in and out, gates side by side taken apart and put together."""

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.recurrence import protocol


def library(owner: str, module: str, package: str) -> ModuleType:
    """The library, or a sentence that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{owner} needs {module}: pip install {package} ({error})") from error


def to_jax(owner: str, name: str, array: Any, shape: tuple[int | None, ...] | None = None) -> jax.Array:
    """An array of weights as it is, bit for bit and in its own dtype; None in ``shape`` stands for any size."""
    array = array if isinstance(array, jax.Array) else np.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        shown = array.item() if array.dtype == object and not array.shape else _checks.describe(array)
        raise TypeError(f"{owner}: {name} is {shown}, expected floating-point weights")
    fits = shape is None or (
        len(shape) == array.ndim and all(want in (None, size) for want, size in zip(shape, array.shape, strict=True))
    )
    if shape is not None and not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{owner}: {name} has shape {array.shape}, expected ({expected})")
    if array.dtype == np.float64 and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise TypeError(
            f"{owner}: {name} is float64, which JAX would round to float32; cast it first,"
            " or jax.config.update('jax_enable_x64', True)"
        )
    return jnp.asarray(array)


def split_gates(gates: type, order: str, array: Any, axis: int = -1) -> Any:
    """Gates that lie side by side in a library's ``order``, such as "ifgo", as our NamedTuple of them."""
    parts = jnp.split(jnp.asarray(array), len(order), axis=axis)
    return gates(**dict(zip(order, parts, strict=True)))


def join_gates(gates: Any, order: str, axis: int = -1) -> np.ndarray:
    """Our NamedTuple of gates side by side in a library's ``order``."""
    return np.concatenate([np.asarray(getattr(gates, gate)) for gate in order], axis=axis)


def expect_keys(owner: str, name: str, given: Iterable[str], expected: Iterable[str]) -> None:
    """Refuse a dict of weights with a key too few or too many, naming them."""
    given, expected = set(given), set(expected)
    problems = [
        f"{what} {', '.join(sorted(keys))}"
        for what, keys in (("lacks", expected - given), ("has also", given - expected))
        if keys
    ]
    if problems:
        raise ValueError(f"{owner}: {name} {' and '.join(problems)}; expected {', '.join(sorted(expected))}")


def refuse(owner: str, what: Any, reason: str) -> ValueError:
    """The error for what the target cannot hold exactly."""
    return ValueError(f"{owner}: {what} cannot be represented exactly: {reason}")


def one_dtype(owner: str, params: Any) -> Any:
    """``params``, if they have one dtype."""
    dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
    if len(dtypes) > 1:
        raise ValueError(f"{owner}: weights are {' and '.join(dtypes)}, expected one dtype; cast them first")
    return params


def expect_params(owner: str, cell: Any, params: Any) -> None:
    """Refuse params that ``cell.init`` cannot have made, but for their dtype, naming the first leaf that differs."""
    _checks.is_cell(owner, "cell", cell)
    size = protocol.input_size(cell, params)  # a cell that knows its own params refuses others
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            where = f"params{jax.tree_util.keystr(path)}"
            raise TypeError(f"{owner}: {where} is {_checks.describe(leaf)}, expected floating-point weights")
    if size is None and protocol.input_ndim(cell) == 0:
        size = jax.ShapeDtypeStruct((), jnp.int32)
    if size is not None:
        expected = jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
        if jax.tree.structure(params) == jax.tree.structure(expected):
            expected = jax.tree.map(lambda leaf, own: jax.ShapeDtypeStruct(leaf.shape, own.dtype), expected, params)
        _checks.same_tree(owner, "params", params, expected, f"{cell}.init")
    one_dtype(owner, params)

"""The few argument checks. Each message names the argument, what came and what was expected."""

import operator
from typing import Any

import jax
import jax.core
import jax.export
import jax.numpy as jnp
import numpy as np

from rnnjax._types import InputSize


def is_concrete(value: Any) -> bool:
    """Whether ``value`` can be looked at: false for what is traced under ``jit``, ``vmap`` or ``grad``."""
    return not isinstance(value, jax.core.Tracer)


def positive_int(owner: str, name: str, value: Any) -> None:
    """Refuse a size that is not a positive integer."""
    try:
        good = operator.index(value) > 0 and not isinstance(value, bool)
    except TypeError:
        good = False
    if not good:
        raise ValueError(f"{owner}: {name} is {value!r}, expected a positive integer")


def is_bool(owner: str, name: str, value: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{owner}: {name} is {describe(value)}, expected True or False")


def within(owner: str, name: str, value: Any, low: float, high: float, low_included: bool = True) -> None:
    """Refuse a concrete setting (a number, an array, a pytree of them) outside [low, high], or (low, high]."""
    interval = f"{'[' if low_included else '('}{low}, {high}]"
    for leaf in jax.tree.leaves(value, is_leaf=lambda node: node is None):
        if isinstance(leaf, str | bool) or not (isinstance(leaf, int | float) or hasattr(leaf, "dtype")):
            raise TypeError(f"{owner}: {name} is {leaf!r}, expected a number in {interval}")
        if is_concrete(leaf):
            concrete = np.asarray(leaf)
            above = concrete >= low if low_included else concrete > low
            if not np.all(above & (concrete <= high)):
                raise ValueError(f"{owner}: {name} is {leaf}, expected to lie in {interval}")


def are_functions(owner: str, **values: Any) -> None:
    """Refuse settings that cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{owner}: {name} is {value!r}, expected a function")


def is_cell(owner: str, name: str, value: Any) -> None:
    """Refuse what does not have the three members of a cell."""
    if isinstance(value, type):
        raise TypeError(f"{owner}: {name} is the class {value.__name__}, expected a cell, {value.__name__}(...)")
    missing = [member for member in ("init", "carry", "step") if not callable(getattr(value, member, None))]
    if missing:
        advice = "wrap feed-forward modules in rx.Lift" if callable(value) else "see rx.Cell"
        shown = getattr(value, "__name__", None) or type(value).__name__ if callable(value) else repr(value)
        raise TypeError(f"{owner}: {name} is {shown}, which is not a cell (it has no {', '.join(missing)}); {advice}")


def one_of(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a name that is not among ``choices``."""
    if value not in choices:
        raise ValueError(f"{owner}: {name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def batch_shape(owner: str, name: str, value: Any) -> None:
    """Refuse what is not a tuple of sizes."""
    try:
        good = isinstance(value, tuple | list) and all(operator.index(size) >= 0 for size in value)
    except TypeError:
        good = False
    if not good:
        raise TypeError(f"{owner}: {name} is {value!r}, expected a tuple of sizes, such as () or (32,)")


def input_size(owner: str, value: Any) -> None:
    """Refuse what describes no input."""
    for leaf in jax.tree.leaves(value):
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            try:
                positive_int(owner, "input_size", leaf)
            except ValueError as error:
                raise type(error)(f"{error}, None, or a pytree of jax.ShapeDtypeStruct") from None


def num_features(owner: str, input_size: InputSize) -> int:
    """The D of an ``input_size`` that must be a vector of D floating-point features."""
    if isinstance(input_size, jax.ShapeDtypeStruct):
        if len(input_size.shape) != 1 or not jnp.issubdtype(input_size.dtype, jnp.inexact):
            raise ValueError(
                f"{owner}.init: input_size is {describe(input_size)}, expected a vector of floating-point features;"
                " put rx.Lift(nn.Embed(...)) before it for tokens, or flatten the axes"
            )
        return input_size.shape[0]
    positive_int(f"{owner}.init", "input_size", input_size)
    return int(input_size)


def num_steps(owner: str, name: str, value: Any) -> Any:
    """A number of time steps: an int of at least 0, or symbolic under jax.export."""
    if isinstance(value, bool):
        raise TypeError(f"{owner}: {name} is {value}, expected an integer")
    if jax.export.is_symbolic_dim(value):
        return value
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} is {describe(value)}, expected an integer") from None
    if value < 0:
        raise ValueError(f"{owner}: {name} is {value}, expected at least 0")
    return value


def are_arrays(owner: str, name: str, tree: Any, expected: str, numbers: bool = True) -> None:
    """Refuse a pytree with a leaf that is neither an array nor, if ``numbers`` will do, a number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = hasattr(leaf, "dtype") and getattr(leaf.dtype, "kind", None) not in ("O", "U", "S")
        if not (array or (numbers and isinstance(leaf, int | float | complex))):
            raise TypeError(f"{owner}: {name}{jax.tree_util.keystr(path)} is {leaf!r}, expected {expected}")


def is_key(owner: str, key: Any) -> None:
    """Refuse what is not one PRNG key, of the new kind or the old."""
    dtype = getattr(key, "dtype", None)
    new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and not key.shape
    old = dtype == jnp.uint32 and key.shape in ((2,), (4,))  # of threefry or rbg
    if not new and not old:
        raise TypeError(f"{owner}: key is {describe(key)}, expected one key, jax.random.key(seed)")


def describe(leaf: Any) -> str:
    """An array as ``float32[3,2]``.

    >>> describe(np.zeros((3, 2), np.float32))
    'float32[3,2]'
    """
    if not hasattr(leaf, "dtype"):
        return repr(leaf)
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def describe_tree(tree: Any) -> Any:
    """A pytree of arrays with each as ``describe`` has it."""
    return jax.tree.map(describe, tree)


def same_tree(owner: str, name: str, tree: Any, expected: Any, source: str) -> None:
    """Refuse a pytree whose structure, shapes or dtypes are not those of ``expected``, naming the first leaf."""
    if jax.tree.structure(tree) != jax.tree.structure(expected):
        raise ValueError(f"{owner}: {name} has the structure {outline(tree)}, but {source} has {outline(expected)}")
    wanted = jax.tree.leaves(expected)
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(tree), wanted, strict=True):
        if np.shape(leaf) != want.shape or jnp.result_type(leaf) != want.dtype:
            where = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{owner}: {where} is {describe(leaf)}, but {source} has {describe(want)}")


def broadcast(owner: str, name: str, prefix: Any, tree: Any, source: str) -> list[Any]:
    """One entry of ``prefix``, a pytree that may end early, for each leaf of ``tree``."""
    try:
        return jax.tree.leaves(jax.tree.broadcast(prefix, tree))
    except ValueError:
        raise ValueError(
            f"{owner}: {name} has the structure {outline(prefix)}, but {source} has {outline(tree)}"
        ) from None


class _Leaf:
    def __repr__(self):
        return "*"


def outline(tree: Any) -> str:
    """A pytree with * for its leaves.

    >>> outline({"h": 1.0, "c": (2, 3)})
    "{'c': (*, *), 'h': *}"
    """
    return repr(jax.tree.map(lambda _: _Leaf(), tree))

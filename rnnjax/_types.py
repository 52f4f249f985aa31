"""The currency of the library: what a cell is, and the names of what passes through it."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Params = Any  # a pytree of real arrays
Carry = Any  # a pytree of arrays, each [*batch, ...]
Key = jax.Array  # a PRNG key, jax.random.key(seed)
InputSize = Any  # an int (features), or a pytree of jax.ShapeDtypeStruct of one unbatched x


@runtime_checkable
class CellLike(Protocol):
    """A recurrent cell: three pure functions. ``rx.Cell`` makes one of any three functions.

    A cell is frozen: it holds settings (numbers, functions, other cells) and no parameters.

    Optional members, each with a default that leaves a three-function cell whole:

    * ``input_ndim`` (1): the number of axes of one unbatched x; a pytree of them where x is a pytree.
    * ``input_size(params)`` (unknown): the number of features of x, or None; lets ``unroll`` check ``xs``.
    * ``bind(params, batch_shape, key=None) -> params`` (identity): done once per unroll, before the first step.
    * ``step(params, carry, x, key=None)``: a random cell; without a key it evaluates.
    * ``unroll(params, xs, carry, timeline) -> (carry, ys)``: for layers that cannot be stepped, or that are
      unrolled part by part; see ``rnnjax.recurrence.timeline.Timeline``.
    """

    def init(self, key: Key, input_size: InputSize, /) -> Params:
        """Draw parameters for inputs of ``input_size``."""
        ...

    def carry(self, params: Params, batch_shape: tuple[int, ...], /) -> Carry:
        """The initial carry; its sizes and dtypes come from ``params``."""
        ...

    def step(self, params: Params, carry: Carry, x: Any, /) -> tuple[Carry, Any]:
        """One step of the recurrence, ``(carry, y)``: a ``lax.scan`` body once params are bound."""
        ...


class Settings:
    """Base of the library's frozen dataclasses: prints as the call that makes it, defaults left out.

    Compares and hashes by its settings, arrays by their values.
    """

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={_show(getattr(self, field.name))}"
            for field in _fields(self)
            if not _is_default(field, getattr(self, field.name))
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in _fields(self))

    def __hash__(self) -> int:
        return hash((type(self), *(_hashable(getattr(self, field.name)) for field in _fields(self))))


def _fields(settings: Settings) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(settings)  # pyright: ignore[reportArgumentType] (subclasses are dataclasses)


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray)


def _same(one: Any, other: Any) -> bool:
    if not _is_array(one) or not _is_array(other):
        return _is_array(one) == _is_array(other) and bool(one == other)
    if isinstance(one, jax.core.Tracer) or isinstance(other, jax.core.Tracer):
        return one is other
    return one.dtype == other.dtype and np.array_equal(one, other)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset(value)
    return (value.shape, str(value.dtype)) if _is_array(value) else value


def _show(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value) if callable(value) else repr(value)


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    return type(value) is type(field.default) and _same(value, field.default)


def input_spec(input_size: InputSize) -> Any:
    """``input_size`` as a pytree of ``jax.ShapeDtypeStruct`` of one unbatched x.

    >>> input_spec(3)
    ShapeDtypeStruct(shape=(3,), dtype=float32)
    """
    return jax.ShapeDtypeStruct((input_size,), jnp.result_type(float)) if isinstance(input_size, int) else input_size


def input_size_of(spec: Any) -> InputSize:
    """The inverse of ``input_spec``: a vector of floats as its number of features; else the spec itself."""
    is_vector = isinstance(spec, jax.ShapeDtypeStruct) and len(spec.shape) == 1
    return spec.shape[0] if is_vector and jnp.issubdtype(spec.dtype, jnp.floating) else spec

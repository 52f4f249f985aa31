"""A step's metrics as one array of bytes: fetching ten scalars from a device costs ten times what one array does."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packed:
    """Scalars on the device.

    >>> packed = pack({"loss": jnp.float32(0.5), "count": jnp.int32(3)})
    >>> packed.layout, unpack([packed, packed])
    ((('loss', '<f4'), ('count', '<i4')), [{'loss': 0.5, 'count': 3}, {'loss': 0.5, 'count': 3}])
    """

    data: jax.Array  # uint8 []
    layout: tuple[tuple[str, str], ...] = dataclasses.field(metadata={"static": True})  # names and NumPy dtypes


def pack(metrics: Mapping[str, Any]) -> Packed:
    """Metrics, real scalars all, as bytes."""
    arrays = [_plain(jnp.asarray(value)) for value in metrics.values()]
    data = [jax.lax.bitcast_convert_type(array, jnp.uint8).ravel() for array in arrays]
    layout = tuple((name, array.dtype.str) for name, array in zip(metrics, arrays, strict=True))
    return Packed(jnp.concatenate([jnp.zeros(0, jnp.uint8), *data]), layout)


def _plain(scalar: jax.Array) -> jax.Array:
    """In a dtype that NumPy has too; bool as an integer, as a curve has no True."""
    if jnp.issubdtype(scalar.dtype, jnp.floating):
        return scalar.astype(jnp.promote_types(scalar.dtype, jnp.float32))
    return scalar.astype(jnp.int32) if scalar.dtype == bool else scalar


def unpack(steps: Sequence[Packed]) -> list[dict[str, float]]:
    """The metrics of many steps, fetched together."""
    fetched = jax.device_get([step.data for step in steps])
    return [_named(step.layout, data) for step, data in zip(steps, fetched, strict=True)]


def _named(layout: tuple[tuple[str, str], ...], data: np.ndarray) -> dict[str, float]:
    if not layout:
        return {}
    [values] = data.view(np.dtype(list(layout))).tolist()
    return {name: value for (name, _), value in zip(layout, values, strict=True)}

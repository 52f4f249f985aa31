"""Outputs of a model over a whole data set."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Params
from rnnjax.train.paths import leaf_paths


def predict(apply: Callable[[Params, Any], Any], params: Params, data: Iterable[Any], axis: int = 1) -> Any:
    """The outputs for each batch, side by side.

    Args:
      apply: ``apply(params, batch) -> outputs``, pure; a pytree of arrays. It is jitted.
      params: of the model.
      data: batches.
      axis: the outputs' batch axis, along which they are joined: 1 for [T, B, ...], 0 for one output a sequence.

    Returns:
      The pytree of outputs for all of the data, NumPy arrays.

    Raises:
      ValueError: there are no batches, or outputs that do not fit side by side: give the mask as an output as well,
        and pad all batches to one number of steps.
      TypeError: ``apply`` is not a function, or ``data`` cannot be iterated over.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.GRU(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> batches = [jnp.ones((7, 3, 5)), jnp.ones((7, 4, 5))]
    >>> predict(lambda params, xs: rx.unroll(cell, params, xs)[1], params, batches).shape
    (7, 7, 2)
    """
    _checks.are_functions("predict", apply=apply)
    if not hasattr(data, "__iter__"):
        raise TypeError(f"predict: data is {data!r}, expected batches to iterate over")
    program = jax.jit(apply)
    outputs: list[Any] = []
    waiting: list[Any] = []  # the newest: the device is at it while the one before is fetched
    for batch in data:
        waiting.append(program(params, batch))
        outputs += jax.device_get(waiting[:-1])
        del waiting[:-1]
    outputs += jax.device_get(waiting)
    if not outputs:
        raise ValueError("predict: data gave no batch")
    return _join(outputs, axis)


def _join(outputs: list[Any], axis: int) -> Any:
    for number, output in enumerate(outputs):
        for path, leaf, first in zip(
            leaf_paths(output, "output"), *map(jax.tree.leaves, (output, outputs[0])), strict=True
        ):
            if leaf.ndim <= axis or _others(leaf.shape, axis) != _others(first.shape, axis):
                raise ValueError(
                    f"predict: {path} of batch {number} is {_checks.describe(leaf)}, which cannot be joined along axis"
                    f" {axis} with the first, {_checks.describe(first)}"
                )
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *outputs)


def _others(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]

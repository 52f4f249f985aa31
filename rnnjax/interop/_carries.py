"""Carries as named inputs and outputs of an exported model."""

from typing import Any

import jax
import numpy as np


def carry_names(way: str, carry: Any) -> Any:
    """The names that an exported model has for the leaves of a carry: ``way``, then where the leaf stands."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: ".".join(filter(None, (way, jax.tree_util.keystr(path, simple=True, separator=".")))), carry
    )


def carry_inputs(carry: Any) -> dict[str, np.ndarray]:
    """A carry as inputs of an exported model (``carries=True``): ``carry_in``, then where each leaf stands.

    Args:
      carry: of the exported model, such as ``model.carry(params, (batch_size,))``.

    Returns:
      Arrays by name.

    >>> import jax, rnnjax as rx
    >>> from rnnjax.interop import onnx
    >>> model = rx.Chain(rx.LSTM(2), rx.GRU(3))
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> sorted(onnx.carry_inputs(model.carry(params, (7,))))
    ['carry_in.0.c', 'carry_in.0.h', 'carry_in.1']
    """
    names = jax.tree.leaves(carry_names("carry_in", carry))
    return dict(zip(names, map(np.asarray, jax.tree.leaves(carry)), strict=True))

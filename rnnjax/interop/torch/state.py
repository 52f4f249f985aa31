"""PyTorch's states, [layers * directions, B, H], and our carries."""

from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.interop._convert import expect_params, to_jax
from rnnjax.interop.torch.tensors import to_numpy


def carry_from_torch(cell: Any, params: Any, state: Any) -> Any:
    """The carry that is PyTorch's ``h_0``, or ``(h_0, c_0)`` of an LSTM.

    Args:
      cell: from ``from_torch``.
      params: of the cell.
      state: an array [layers * directions, B, H], or a pair of them, as PyTorch has them.

    Returns:
      The carry, as ``cell.carry(params, (B,))`` has it.

    Raises:
      ValueError: another number of states, layers or directions, or other sizes.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.interop.torch import carry_from_torch
    >>> cell = rx.Chain(rx.LSTM(2), rx.LSTM(2))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry = carry_from_torch(cell, params, (jnp.zeros((2, 3, 2)), jnp.ones((2, 3, 2))))
    >>> carry[1].c.shape
    (3, 2)
    """
    owner = "carry_from_torch"
    parts = state if isinstance(state, tuple | list) else (state,)
    states = [to_jax(owner, "state", to_numpy(owner, "state", part)) for part in parts]
    expect_params(owner, cell, params)
    own = jax.eval_shape(lambda: cell.carry(params, states[0].shape[1:-1]))
    layers, structure = jax.tree.flatten(own, is_leaf=_is_lstm)
    names = ("h", "c") if any(map(_is_lstm, layers)) else ("h",)
    if len(states) != len(names) or any(not part.ndim or len(part) != len(layers) for part in states):
        shown = " and ".join(str(part.shape) for part in states)
        axes = f"{' and '.join(names)} of [{len(layers)}, *batch, H]"
        hint = "; the states of PyTorch's *Cell modules lack the first axis"
        raise ValueError(f"{owner}: state has the shapes {shown}, but {cell} has {axes}{hint}")
    carries = [LSTMCarry(*layer) if _is_lstm(own) else layer[0] for own, *layer in zip(layers, *states, strict=True)]
    carry = structure.unflatten(carries)
    own = jax.tree.map(lambda leaf, given: jax.ShapeDtypeStruct(leaf.shape, given.dtype), own, carry)
    _checks.same_tree(owner, "the carry of state", carry, own, f"{cell}.carry")
    return carry


def carry_to_torch(carry: Any) -> Any:
    """PyTorch's state of a carry: ``h`` [layers * directions, B, H], or ``(h, c)`` of an LSTM, as NumPy arrays.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.interop.torch import carry_to_torch
    >>> h, c = carry_to_torch(rx.LSTMCarry(h=jnp.zeros((3, 2)), c=jnp.ones((3, 2))))
    >>> c.shape
    (1, 3, 2)
    """
    layers = jax.tree.leaves(carry, is_leaf=_is_lstm)
    shapes = {tuple(map(np.shape, layer)) if _is_lstm(layer) else np.shape(layer) for layer in layers}
    if len(shapes) != 1 or shapes == {()}:
        shown = _checks.describe_tree(carry)
        raise ValueError(f"carry_to_torch: carry is {shown}, expected that of layers of one kind and size")
    if any(map(_is_lstm, layers)):
        return np.stack([layer.h for layer in layers]), np.stack([layer.c for layer in layers])
    return np.stack(layers)


def _is_lstm(node: Any) -> bool:
    return isinstance(node, LSTMCarry)

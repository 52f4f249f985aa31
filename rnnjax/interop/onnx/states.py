"""Carries as the states of ONNX's recurrent operators, and as the inputs of an exported model."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.compose.bidirectional import Directions


def carry_from_onnx(initial_h: Any, initial_c: Any = None) -> Any:
    """The states of one RNN, LSTM or GRU operator as the carry of the cell that ``from_onnx`` makes of it.

    Args:
      initial_h: [num_directions, B, H]; with layout=1, [B, num_directions, H], swap the first two axes.
      initial_c: the same of an LSTM's memory; an LSTM has both, zeros where its node has none.

    Returns:
      [B, H], for an LSTM ``LSTMCarry(h, c)``; ``Directions`` of two of these for two directions.

    Raises:
      ValueError: not three axes, or neither one direction nor two, or shapes that disagree.

    >>> import jax.numpy as jnp
    >>> from rnnjax.interop import onnx
    >>> carry = onnx.carry_from_onnx(jnp.zeros((2, 3, 5)), jnp.ones((2, 3, 5)))
    >>> carry.backward.c.shape
    (3, 5)
    """
    h, c = jnp.asarray(initial_h), None if initial_c is None else jnp.asarray(initial_c)
    if h.ndim != 3 or len(h) not in (1, 2):
        raise ValueError(f"carry_from_onnx: initial_h is {_checks.describe(h)}, expected [1 or 2 directions, B, H]")
    if c is not None and c.shape != h.shape:
        raise ValueError(f"carry_from_onnx: initial_c is {_checks.describe(c)}, but initial_h {_checks.describe(h)}")
    carries = [h[d] if c is None else LSTMCarry(h[d], c[d]) for d in range(len(h))]
    return Directions(*carries) if len(carries) == 2 else carries[0]


def carry_to_onnx(carry: Any) -> tuple[np.ndarray, ...]:
    """The inverse of ``carry_from_onnx``.

    Args:
      carry: of the cell that ``from_onnx`` made.

    Returns:
      ``(h,)``, or ``(h, c)`` of an LSTM, each [num_directions, B, H].

    Raises:
      ValueError: the carry is not that of such a cell.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.interop import onnx
    >>> h, c = onnx.carry_to_onnx(rx.LSTMCarry(h=jnp.zeros((3, 5)), c=jnp.ones((3, 5))))
    >>> c.shape
    (1, 3, 5)
    """
    carries = carry if isinstance(carry, Directions) else (carry,)
    states = [part if isinstance(part, LSTMCarry) else (part,) for part in carries]
    if any(getattr(state, "ndim", 0) != 2 for part in states for state in part) or len(set(map(len, states))) != 1:
        shown = _checks.describe_tree(carry)
        raise ValueError(f"carry_to_onnx: carry is {shown}, expected [B, H] or LSTMCarry(h, c) for each direction")
    return tuple(np.stack(parts) for parts in zip(*states, strict=True))

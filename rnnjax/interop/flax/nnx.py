"""NNX's cells: kernels of all gates side by side, but for ``LSTMCell``, which has linen's names."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.interop._convert import library, refuse, to_jax
from rnnjax.interop.flax.cells import GATES, Weights, expect_dtype, expect_zero_carry, kind, to_ours, to_theirs


def from_nnx(module: Any) -> tuple[Any, Any]:
    """The cell and params of an NNX cell.

    Args:
      module: ``nnx.SimpleCell``, ``nnx.LSTMCell``, ``nnx.OptimizedLSTMCell`` or ``nnx.GRUCell``.

    Returns:
      ``(cell, params)``: ``Elman``, ``LSTM`` or ``GRU``, with the module's activations. NNX's GRU has no bias
      inside the reset; ``b_hn`` is zero. ``SimpleCell(residual=True)`` is
      ``rx.Reparametrize(rx.Elman(H), add_identity)``.

    Raises:
      TypeError: another module.
      ValueError: a ``dtype`` other than that of the weights; a ``carry_init`` that is not zeros.

    >>> import flax.nnx as nnx
    >>> from rnnjax.interop.flax import from_nnx
    >>> cell, params = from_nnx(nnx.OptimizedLSTMCell(5, 2, rngs=nnx.Rngs(0)))
    >>> cell, params.U.f.shape
    (LSTM(hidden_size=2), (2, 2))

    Source: ``flax.nnx``, flax 0.12.

    Differs from: NNX's LSTM carries ``(c, h)``, ours ``LSTMCarry(h, c)``.
    """
    owner = "from_nnx"
    nnx = library(owner, "flax.nnx", "flax")
    name = kind(owner, module, (nnx.SimpleCell, nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell))
    expect_zero_carry(owner, module)
    gates, D, H = GATES[name], module.in_features, module.hidden_features

    def array(part: str, entry: str, *shape: int) -> jax.Array:
        variable = getattr(getattr(module, part), entry, None)
        return to_jax(owner, f"{part}.{entry}", None if variable is None else variable[...], shape)

    if isinstance(module, nnx.LSTMCell):
        of = {gate: "if_" if gate == "f" else f"i{gate}" for gate in gates}
        W = {gate: array(of[gate], "kernel", D, H) for gate in gates}
        U = {gate: array(f"h{gate}", "kernel", H, H) for gate in gates}
        b = {gate: array(f"h{gate}", "bias", H) for gate in gates}
    else:
        split = lambda joined: dict(zip(gates, jnp.split(joined, len(gates), axis=-1), strict=True))
        wide = len(gates) * H
        W, U = split(array("dense_i", "kernel", D, wide)), split(array("dense_h", "kernel", H, wide))
        b = split(array("dense_h" if name == "LSTMCell" else "dense_i", "bias", wide))
    b_hn = jnp.zeros_like(b["n"]) if name == "GRUCell" else None
    weights = Weights(W, U, b, b_hn)
    expect_dtype(owner, module, weights)
    return to_ours(name, module, weights)


def to_nnx(cell: Any, params: Any) -> Any:
    """The NNX cell that computes what a cell computes.

    Args:
      cell: ``Elman``, ``LSTM``, ``GRU(reset_after=True)`` with ``b_hn`` zero, or
        ``rx.Reparametrize(rx.Elman(H), add_identity)``.
      params: of the cell.

    Returns:
      ``nnx.SimpleCell``, ``nnx.OptimizedLSTMCell`` or ``nnx.GRUCell``, in the dtype of params.

    Raises:
      ValueError: NNX has no cell that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell.

    >>> import jax, rnnjax as rx
    >>> from rnnjax.interop.flax import to_nnx
    >>> cell = rx.LSTM(2)
    >>> to_nnx(cell, cell.init(jax.random.key(0), 5)).dense_h.kernel.shape
    (2, 8)
    """
    owner = "to_nnx"
    nnx = library(owner, "flax.nnx", "flax")
    name, settings, (W, U, b, b_hn) = to_theirs(owner, cell, params)
    if name == "MGUCell":
        raise refuse(owner, cell, "NNX has no MGU; linen has")
    if b_hn is not None and np.any(b_hn):
        raise refuse(owner, cell, "NNX's GRU cannot hold a hidden candidate bias, and b_hn is not zero")
    D, H = W[GATES[name][0]].shape
    dtype = W[GATES[name][0]].dtype
    make = getattr(nnx, "OptimizedLSTMCell" if name == "LSTMCell" else name)
    drawn = dict.fromkeys(("kernel_init", "recurrent_kernel_init"), nnx.initializers.zeros)  # and then replaced
    module = make(D, H, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0), **drawn, **settings)
    joined = [jnp.concatenate([part[gate] for gate in GATES[name]], axis=-1) for part in (W, U, b)]
    biased = module.dense_h if name == "LSTMCell" else module.dense_i
    variables = (module.dense_i.kernel, module.dense_h.kernel, biased.bias)
    for variable, array in zip(variables, joined, strict=True):
        variable[...] = array
    return module

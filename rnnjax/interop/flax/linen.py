"""Linen's cells: a dict of kernels and biases by gate."""

from collections.abc import Mapping
from typing import Any

from rnnjax import _checks
from rnnjax.interop._convert import expect_keys, library, to_jax
from rnnjax.interop.flax.cells import GATES, Weights, expect_dtype, expect_zero_carry, kind, to_ours, to_theirs


def from_linen(module: Any, params: Mapping[str, Any]) -> tuple[Any, Any]:
    """The cell and params of a linen cell.

    Args:
      module: ``nn.SimpleCell``, ``nn.LSTMCell``, ``nn.OptimizedLSTMCell``, ``nn.GRUCell`` or ``nn.MGUCell``.
      params: the cell's own dict, such as ``variables["params"]["cell"]`` of ``nn.RNN(cell)``.

    Returns:
      ``(cell, params)``: ``Elman``, ``LSTM``, ``GRU`` or ``FlaxMGU``, with the module's activations.
      ``SimpleCell(residual=True)`` is ``rx.Reparametrize(rx.Elman(H), add_identity)``.

    Raises:
      TypeError: another module, or arrays that are not floating-point weights.
      ValueError: names or shapes of another module; a ``dtype`` other than that of params; a ``carry_init`` that is
        not zeros.

    >>> import jax, jax.numpy as jnp, flax.linen as nn
    >>> from rnnjax.interop.flax import from_linen
    >>> module = nn.RNN(nn.GRUCell(2))
    >>> variables = module.init(jax.random.key(0), jnp.ones((3, 7, 5)))
    >>> cell, params = from_linen(module.cell, variables["params"]["cell"])
    >>> cell, params.W.r.shape
    (GRU(hidden_size=2), (5, 2))

    Source: ``flax.linen``, flax 0.12.

    Differs from: linen's LSTM carries ``(c, h)``, ours ``LSTMCarry(h, c)``.
    """
    owner = "from_linen"
    nn = library(owner, "flax.linen", "flax")
    name = kind(owner, module, (nn.SimpleCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell))
    expect_zero_carry(owner, module)
    flat = _flat(owner, nn.meta.unbox(params))
    names = _names(name, getattr(module, "reset_gate", True))
    expect_keys(owner, "params", flat, [entry for part in names for entry in part.values()])
    H, (W, U, b, b_hn) = module.features, names
    first = W[GATES[name][0]]
    D = to_jax(owner, f"params {first}", flat[first], (None, H)).shape[0]

    def arrays(part: Mapping[str, str], *shape: int) -> dict[str, Any]:
        return {gate: to_jax(owner, f"params {entry}", flat[entry], shape) for gate, entry in part.items()}

    weights = Weights(arrays(W, D, H), arrays(U, H, H), arrays(b, H), arrays(b_hn, H).get("n"))
    expect_dtype(owner, module, weights)
    return to_ours(name, module, weights)


def to_linen(cell: Any, params: Any) -> tuple[Any, dict[str, Any]]:
    """The linen cell that computes what a cell computes, and its params.

    Args:
      cell: ``Elman``, ``LSTM``, ``GRU(reset_after=True)``, ``FlaxMGU``, or
        ``rx.Reparametrize(rx.Elman(H), add_identity)``.
      params: of the cell.

    Returns:
      ``(module, params)``: ``nn.SimpleCell``, ``nn.OptimizedLSTMCell``, ``nn.GRUCell`` or ``nn.MGUCell``, and its own
      dict: the ``"params"`` of ``module.apply``, or those of ``nn.RNN(module)`` under ``"cell"``.

    Raises:
      ValueError: Flax has no cell that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell.

    >>> import jax, rnnjax as rx
    >>> from rnnjax.interop.flax import to_linen
    >>> cell = rx.LSTM(2)
    >>> module, params = to_linen(cell, cell.init(jax.random.key(0), 5))
    >>> params["hf"]["bias"]
    Array([1., 1.], dtype=float32)
    """
    owner = "to_linen"
    nn = library(owner, "flax.linen", "flax")
    name, settings, weights = to_theirs(owner, cell, params)
    reset = weights.b_hn is not None or name != "MGUCell"
    made: dict[str, dict[str, Any]] = {}
    arrays = (weights.W, weights.U, weights.b, {"n": weights.b_hn})
    for entries, part in zip(_names(name, reset), arrays, strict=True):
        for gate, entry in entries.items():
            module_name, _, kind_name = entry.partition(".")
            made.setdefault(module_name, {})[kind_name] = part[gate]
    first = next(iter(weights.b.values()))
    make = nn.OptimizedLSTMCell if name == "LSTMCell" else getattr(nn, name)
    return make(features=first.shape[-1], param_dtype=first.dtype, **settings), made


def _names(kind: str, reset_gate: bool) -> tuple[dict[str, str], ...]:
    """Linen's names, ``"ir.kernel"``, of W, U, b and b_hn by gate. The LSTM has its biases on the side of h."""
    gates = GATES[kind]
    side = "h" if kind == "LSTMCell" else "i"
    hidden = {"n": "hn.bias"} if kind == "GRUCell" or (kind == "MGUCell" and reset_gate) else {}
    return (
        {gate: f"i{gate}.kernel" for gate in gates},
        {gate: f"h{gate}.kernel" for gate in gates},
        {gate: f"{side}{gate}.bias" for gate in gates},
        hidden,
    )


def _flat(owner: str, params: Any) -> dict[str, Any]:
    if not isinstance(params, Mapping) or not all(isinstance(part, Mapping) for part in params.values()):
        raise TypeError(f"{owner}: params is {_checks.outline(params)}, expected the cell's own dict of kernels")
    return {f"{name}.{entry}": array for name, part in params.items() for entry, array in part.items()}

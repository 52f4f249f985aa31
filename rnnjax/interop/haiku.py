"""Weights from and to Haiku: VanillaRNN, LSTM, GRU. Only dicts of arrays pass, so Haiku itself is not needed."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.compose.reparametrize import Reparametrize
from rnnjax.compose.two_biases import TwoBiases, TwoBiasesParams
from rnnjax.interop._convert import expect_keys, expect_params, join_gates, one_dtype, refuse, split_gates, to_jax
from rnnjax.interop.parametrizations import add_forget_bias

_KINDS = ("VanillaRNN", "LSTM", "GRU")


def from_haiku(
    kind: str, params: Mapping[str, Mapping[str, Any]], *, prefix: str = "", two_biases: bool = False
) -> tuple[Any, Any]:
    """The cell and params of a Haiku core's params.

    Args:
      kind: ``"VanillaRNN"``, ``"LSTM"`` or ``"GRU"``.
      params: Haiku's dict of dicts, ``{"lstm/linear": {"w": ..., "b": ...}}``.
      prefix: the name of this core within a larger model, such as ``"agent/lstm"``; others are left alone.
      two_biases: keep the two biases of ``VanillaRNN`` apart, in ``rx.TwoBiases``; else their sum is the one bias.

    Returns:
      ``(cell, params)``: ``Elman`` with ReLU; ``rx.Reparametrize(rx.LSTM(H), add_forget_bias)``, as Haiku adds 1 to the
      forget gate at run time; ``GRU(reset_after=False)``.

    Raises:
      ValueError: an unknown kind; names that are missing or too many; shapes of another core.
      TypeError: not a dict of dicts of floating-point weights.

    >>> import numpy as np
    >>> from rnnjax.interop.haiku import from_haiku
    >>> cell, params = from_haiku("LSTM", {"lstm/linear": {"w": np.ones((7, 8), "f"), "b": np.ones(8, "f")}})
    >>> cell, params.W.f.shape
    (Reparametrize(cell=LSTM(hidden_size=2), fn=add_forget_bias), (5, 2))

    Source: ``haiku.LSTM``, ``haiku.GRU``, ``haiku.VanillaRNN``, dm-haiku 0.0.17.

    Differs from: Haiku's GRU lets the new in where z is 1, ours keeps the old: z's weights change their sign.
    """
    owner = "from_haiku"
    _checks.one_of(owner, "kind", kind, _KINDS)
    _checks.is_bool(owner, "two_biases", two_biases)
    flat = _flat(owner, kind, params, prefix)

    def array(name: str, *shape: int | None) -> jax.Array:
        return to_jax(f"{owner}: kind {kind}", name, flat[name], shape)

    if kind == "GRU":
        expect_keys(owner, "params", flat, ["w_i", "w_h", "b"])
        H = array("w_h", None, None).shape[0]
        W, U, b = (
            _negate_z(split_gates(GRUGates, "zrn", array(name, *shape)))
            for name, shape in {"w_i": (None, 3 * H), "w_h": (H, 3 * H), "b": (3 * H,)}.items()
        )
        return GRU(H, reset_after=False), one_dtype(owner, GRUParams(W, U, b, None))
    if kind == "LSTM":
        expect_keys(owner, "params", flat, ["linear.w", "linear.b"])
        H = array("linear.b", None).shape[0] // 4
        joined = array("linear.w", None, 4 * H)
        b = array("linear.b", 4 * H)
        if joined.shape[0] <= H:
            raise ValueError(f"{owner}: linear.w has shape {joined.shape}, expected rows for x beside those {H} for h")
        split = lambda part: split_gates(LSTMGates, "igfo", part)
        converted = LSTMParams(split(joined[:-H]), split(joined[-H:]), split(b))
        return Reparametrize(LSTM(H), add_forget_bias), one_dtype(owner, converted)
    second = ["linear_1.b"] if "linear_1.b" in flat else []
    expect_keys(owner, "params", flat, ["linear.w", "linear.b", "linear_1.w", *second])
    H = array("linear_1.w", None, None).shape[0]
    W, U, b = array("linear.w", None, H), array("linear_1.w", H, H), array("linear.b", H)
    cell = TwoBiases(Elman(H, activation=jax.nn.relu))
    both = TwoBiasesParams(ElmanParams(W, U, b), array("linear_1.b", H) if second else jnp.zeros_like(b))
    one_dtype(owner, both)
    return (cell, both) if two_biases else (cell.cell, cell.bind(both).params)


def to_haiku(
    cell: Any, params: Any, *, name: str | None = None, double_bias: bool = True
) -> tuple[str, dict[str, dict[str, np.ndarray]]]:
    """Haiku's kind of core and its params.

    Args:
      cell: ``Elman`` with ReLU, alone or in ``TwoBiases``; ``LSTM``, alone or as ``from_haiku`` gives it;
        ``GRU(reset_after=False)``.
      params: of the cell.
      name: of the core, as ``hk.LSTM(2, name=...)``; None is Haiku's own, such as ``"lstm"``.
      double_bias: as of ``hk.VanillaRNN``; False leaves out the second bias, which has to be zero.

    Returns:
      ``(kind, params)``: for ``hk.VanillaRNN``, ``hk.LSTM`` or ``hk.GRU``. The forget bias of a plain ``LSTM`` is given
      less the 1 that Haiku adds, and refused where this rounds.

    Raises:
      ValueError: Haiku has no core that computes this exactly; the message says why.
      TypeError, ValueError: params are not of the cell.

    >>> import jax, rnnjax as rx
    >>> from rnnjax.interop.haiku import to_haiku
    >>> cell = rx.GRU(2, reset_after=False)
    >>> kind, params = to_haiku(cell, cell.init(jax.random.key(0), 5))
    >>> kind, params["gru"]["w_i"].shape
    ('GRU', (5, 6))
    """
    owner = "to_haiku"
    expect_params(owner, cell, params)
    _checks.is_bool(owner, "double_bias", double_bias)
    if isinstance(cell, Reparametrize) and cell.fn is add_forget_bias and isinstance(cell.cell, LSTM):
        cell = cell.cell
    elif isinstance(cell, LSTM):
        f = params.b.f - 1
        if np.any(f + 1 != params.b.f):
            reason = "Haiku adds 1 to the forget bias at run time, and b.f - 1 is not that of any number in this dtype"
            raise refuse(owner, cell, f"{reason}; rx.Reparametrize(cell, add_forget_bias) holds what Haiku holds")
        params = params._replace(b=params.b._replace(f=f))
    b_h = None
    if isinstance(cell, TwoBiases):
        cell, (params, b_h) = cell.cell, params
    match cell:
        case Elman() if cell.activation is jax.nn.relu:
            name = "vanilla_rnn" if name is None else name
            W, U, b = map(np.asarray, params)
            second = np.zeros_like(b) if b_h is None else np.asarray(b_h)
            if not double_bias and second.any():
                raise refuse(owner, cell, "double_bias is False, but the second bias is not zero")
            hidden = {"w": U, "b": second} if double_bias else {"w": U}
            return "VanillaRNN", {f"{name}/linear": {"w": W, "b": b}, f"{name}/linear_1": hidden}
        case Elman():
            raise refuse(owner, cell, "Haiku's VanillaRNN has ReLU")
        case LSTM() if b_h is None and _standard(cell) and cell.output_activation in (None, jnp.tanh):
            W, U, b = (join_gates(part, "igfo") for part in params)
            return "LSTM", {f"{'lstm' if name is None else name}/linear": {"w": np.concatenate([W, U]), "b": b}}
        case GRU(reset_after=False) if b_h is None and _standard(cell):
            W, U, b = (join_gates(_negate_z(part), "zrn") for part in params[:3])
            return "GRU", {"gru" if name is None else name: {"w_i": W, "w_h": U, "b": b}}
        case GRU(reset_after=True):
            raise refuse(owner, cell, "Haiku's GRU resets before the recurrent product")
    raise refuse(owner, cell, "Haiku has no such core")


def _standard(cell: Any) -> bool:
    return (cell.activation, cell.gate_activation) == (jnp.tanh, jax.nn.sigmoid)


def _negate_z(gates: GRUGates) -> GRUGates:
    return gates._replace(z=-gates.z)


def _flat(owner: str, kind: str, params: Any, prefix: str) -> dict[str, Any]:
    """Arrays by the last name of their module; of the one module of a GRU by their own names."""
    if not isinstance(params, Mapping) or not all(isinstance(part, Mapping) for part in params.values()):
        raise TypeError(f"{owner}: params is {_checks.outline(params)}, expected Haiku's dict of dicts of arrays")
    if not isinstance(prefix, str):
        raise TypeError(f"{owner}: prefix is {prefix!r}, expected the name of a core, such as 'agent/lstm'")
    core = prefix.rstrip("/")
    own = {module: part for module, part in params.items() if not core or f"{module}/".startswith(f"{core}/")}
    if not own:
        raise ValueError(
            f"{owner}: no module of params is {prefix!r}; they are {', '.join(map(str, params)) or 'none'}"
        )
    flat = {}
    for module, part in own.items():
        last = module.rsplit("/", 1)[-1]
        for name, array in part.items():
            key = name if kind == "GRU" else f"{last}.{name}"
            if key in flat:
                raise ValueError(f"{owner}: params hold several cores, {', '.join(own)}; give prefix")
            flat[key] = array
    return flat

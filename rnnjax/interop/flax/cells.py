"""What linen and NNX share: which of our cells is which of Flax's, gate by gate."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax.cells.elman import Elman, ElmanParams
from rnnjax.cells.gru import GRU, GRUGates, GRUParams
from rnnjax.cells.lstm import LSTM, LSTMGates, LSTMParams
from rnnjax.cells.mgu import FlaxMGU, FlaxMGUParams, MGUGates
from rnnjax.compose.reparametrize import Reparametrize
from rnnjax.interop._convert import expect_params, one_dtype, refuse
from rnnjax.interop.parametrizations import add_identity


class Weights(NamedTuple):
    """The arrays of a cell, by gate; an Elman network has one, named ""."""

    W: Mapping[str, Any]  # of [D, H]
    U: Mapping[str, Any]  # of [H, H]
    b: Mapping[str, Any]  # of [H]
    b_hn: Any = None  # [H] bias of the candidate's recurrent product, where there is one


GATES = {"SimpleCell": ("",), "LSTMCell": LSTMGates._fields, "GRUCell": GRUGates._fields, "MGUCell": MGUGates._fields}


def kind(owner: str, module: Any, classes: tuple[type, ...]) -> str:
    """The name of a cell's class, a key of GATES; refuses what is none of ``classes``."""
    if type(module) not in classes:
        given = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
        advice = "; give the cell within" if hasattr(module, "cell") else ""
        expected = ", ".join(cls.__name__ for cls in classes)
        raise TypeError(f"{owner}: module is {given}, expected one of {expected}, not a subclass{advice}")
    return type(module).__name__.removeprefix("Optimized")


def to_ours(kind: str, module: Any, weights: Weights) -> tuple[Any, Any]:
    """Our cell and params of Flax's, with the module's settings."""
    W, U, b, b_hn = weights
    if kind == "SimpleCell":
        params = ElmanParams(W[""], U[""], b[""])
        cell = Elman(len(params.b), activation=module.activation_fn)
        return (Reparametrize(cell, add_identity) if module.residual else cell), params
    functions = {"activation": module.activation_fn, "gate_activation": module.gate_fn}
    if kind == "LSTMCell":
        params = LSTMParams(LSTMGates(**W), LSTMGates(**U), LSTMGates(**b))
        return LSTM(len(params.b.i), **functions), params
    if kind == "GRUCell":
        params = GRUParams(GRUGates(**W), GRUGates(**U), GRUGates(**b), b_hn)
        return GRU(len(params.b.r), **functions), params
    params = FlaxMGUParams(MGUGates(**W), MGUGates(**U), MGUGates(**b), b_hn)
    return FlaxMGU(len(params.b.f), reset_gate=module.reset_gate, **functions), params


def to_theirs(owner: str, cell: Any, params: Any) -> tuple[str, dict[str, Any], Weights]:
    """Flax's kind of cell, its settings and its weights; refuses what Flax does not have."""
    _checks.is_cell(owner, "cell", cell)
    residual = isinstance(cell, Reparametrize) and cell.fn is add_identity and isinstance(cell.cell, Elman)
    settings: dict[str, Any] = {"residual": True} if residual else {}
    cell = cell.cell if residual else cell
    if not isinstance(cell, Elman | LSTM | GRU | FlaxMGU):
        raise refuse(owner, cell, "Flax has no such cell")
    if isinstance(cell, GRU) and not cell.reset_after:
        raise refuse(owner, cell, "Flax's GRU resets after the recurrent product")
    if isinstance(cell, LSTM) and cell.output_activation not in (None, cell.activation):
        raise refuse(owner, cell, "Flax's LSTM has one activation for candidate and output")
    expect_params(owner, cell, params)
    settings["activation_fn"] = cell.activation
    if isinstance(cell, Elman):
        W, U, b = params
        return "SimpleCell", settings, Weights({"": W}, {"": U}, {"": b})
    settings["gate_fn"] = cell.gate_activation
    W, U, b = (part._asdict() for part in params[:3])
    weights = Weights(W, U, b, getattr(params, "b_hn", None))
    if isinstance(cell, FlaxMGU):
        return "MGUCell", settings | {"reset_gate": cell.reset_gate}, weights
    return "LSTMCell" if isinstance(cell, LSTM) else "GRUCell", settings, weights


def expect_dtype(owner: str, module: Any, params: Any) -> None:
    """Refuse a module that computes in another dtype than its params have, which our cells do not."""
    one_dtype(owner, params)
    own = jax.tree.leaves(params)[0].dtype
    if module.dtype is not None and jnp.dtype(module.dtype) != own:
        given = f"dtype={jnp.dtype(module.dtype)} of the module"
        raise refuse(owner, given, f"our cells compute in that of params, {own}")


def expect_zero_carry(owner: str, module: Any) -> None:
    """Refuse a module that starts from another carry than zeros."""
    if module.carry_init not in (None, jax.nn.initializers.zeros):
        reason = "our cells start from zeros; give unroll the carry, or use rx.LearnedCarry"
        raise refuse(owner, "carry_init of the module", reason)

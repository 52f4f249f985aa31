"""The minimal gated unit: one gate. The paper's, and the one that Flax has."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params, per_gate


class MGUGates(NamedTuple):
    """One array for each gate of an MGU."""

    f: Any  # forget gate
    n: Any  # candidate


class MGUParams(NamedTuple):
    """Parameters of ``MGU``."""

    W: MGUGates  # of [D, H] input kernels
    U: MGUGates  # of [H, H] recurrent kernels
    b: MGUGates  # of [H]    biases


class FlaxMGUParams(NamedTuple):
    """Parameters of ``FlaxMGU``."""

    W: MGUGates  # of [D, H] input kernels
    U: MGUGates  # of [H, H] recurrent kernels
    b: MGUGates  # of [H]    biases
    b_hn: jax.Array | None  # [H] bias of the candidate's recurrent product; None without the reset gate


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class MGU(Settings):
    """The minimal gated unit: a GRU whose one gate both resets and updates.

    ::

        f_t = sigmoid(x_t W.f + h_{t-1} U.f + b.f)
        n_t = tanh(x_t W.n + (f_t * h_{t-1}) U.n + b.n)
        h_t = (1 - f_t) * h_{t-1} + f_t * n_t

    Shapes: x [*batch, D], carry and y = h_t [*batch, H].

    Args:
      hidden_size: H.
      activation: of n; tanh as printed above.
      gate_activation: of f; sigmoid as printed above.
      kernel_init, recurrent_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or an activation or initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.MGU(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> y.shape
    (3, 2)

    Source: Zhou et al., Minimal gated unit for recurrent neural networks (2016), arXiv:1603.09420, equations 11.

    Differs from: Flax's MGUCell, see ``FlaxMGU``.
    """

    hidden_size: int
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("MGU", "hidden_size", self.hidden_size)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> MGUParams:
        """Draw the kernels and biases of the gate and the candidate."""
        return MGUParams(*_draw(self, key, _checks.num_features("MGU", input_size)))

    def carry(self, params: MGUParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.f.shape), params.b.f.dtype)

    def step(self, params: MGUParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, U, b), h_tm1 = params, carry
        f = self.gate_activation(x @ W.f + h_tm1 @ U.f + b.f)
        n = self.activation(x @ W.n + (f * h_tm1) @ U.n + b.n)
        h = (1 - f) * h_tm1 + f * n
        return h, h

    def input_size(self, params: MGUParams) -> int:
        """D."""
        return expect_params(self, params, MGUParams, lambda p: p.b.f).W.f.shape[0]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class FlaxMGU(Settings):
    """The minimal gated unit as Flax has it: another recurrence than the paper's.

    ::

        f_t = sigmoid(x_t W.f + h_{t-1} U.f + b.f)
        n_t = tanh(x_t W.n + b.n + f_t * (h_{t-1} U.n + b_hn))      reset_gate=True
        n_t = tanh(x_t W.n + b.n + h_{t-1} U.n)                     reset_gate=False
        h_t = (1 - f_t) * n_t + f_t * h_{t-1}

    Shapes: x [*batch, D], carry and y = h_t [*batch, H].

    Args:
      hidden_size: H.
      reset_gate: whether f also resets.
      forget_bias: added to the initial ``b.f`` and stored there, so that the net starts by remembering.
      activation: of n; tanh as printed above.
      gate_activation: of f; sigmoid as printed above.
      kernel_init, recurrent_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, reset_gate not a bool, or an activation or
        initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.FlaxMGU(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> y.shape, params.b.f
    ((3, 2), Array([1., 1.], dtype=float32))

    Source: ``flax.linen.MGUCell``, flax 0.12.

    Differs from: Zhou et al. (2016), ``MGU``: there f lets the new in, here it keeps the old, while in both it
    resets; so no change of sign makes one the other. The paper resets before the product.
    """

    hidden_size: int
    reset_gate: bool = True
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("FlaxMGU", "hidden_size", self.hidden_size)
        _checks.is_bool("FlaxMGU", "reset_gate", self.reset_gate)
        _checks.within("FlaxMGU", "forget_bias", self.forget_bias, -float("inf"), float("inf"))
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> FlaxMGUParams:
        """Draw the kernels and biases of the gate and the candidate."""
        key, b_hn_key = jax.random.split(key)
        W, U, b = _draw(self, key, _checks.num_features("FlaxMGU", input_size))
        b_hn = self.bias_init(b_hn_key, (self.hidden_size,)) if self.reset_gate else None
        return FlaxMGUParams(W, U, b._replace(f=b.f + self.forget_bias), b_hn)

    def carry(self, params: FlaxMGUParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.f.shape), params.b.f.dtype)

    def step(self, params: FlaxMGUParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, U, b, b_hn), h_tm1 = params, carry
        f = self.gate_activation(x @ W.f + h_tm1 @ U.f + b.f)
        if self.reset_gate:
            n = self.activation(x @ W.n + b.n + f * (h_tm1 @ U.n + b_hn))
        else:
            n = self.activation(x @ W.n + h_tm1 @ U.n + b.n)
        h = (1 - f) * n + f * h_tm1
        return h, h

    def input_size(self, params: FlaxMGUParams) -> int:
        """D."""
        params = expect_params(self, params, FlaxMGUParams, lambda p: p.b.f)
        if (params.b_hn is not None) != self.reset_gate:
            raise ValueError(f"{self}: params are of the FlaxMGU with reset_gate={params.b_hn is not None}")
        return params.W.f.shape[0]


def _draw(cell: Any, key: Key, D: int) -> tuple[MGUGates, MGUGates, MGUGates]:
    W_key, U_key, b_key = jax.random.split(key, 3)
    H = cell.hidden_size
    return (
        per_gate(MGUGates, cell.kernel_init, W_key, (D, H)),
        per_gate(MGUGates, cell.recurrent_init, U_key, (H, H)),
        per_gate(MGUGates, cell.bias_init, b_key, (H,)),
    )

"""The long short-term memory."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params, per_gate


class LSTMGates(NamedTuple):
    """One array for each gate of an LSTM."""

    i: Any  # input gate
    f: Any  # forget gate
    g: Any  # candidate
    o: Any  # output gate


class LSTMParams(NamedTuple):
    """Parameters of ``LSTM``."""

    W: LSTMGates  # of [D, H] input kernels
    U: LSTMGates  # of [H, H] recurrent kernels
    b: LSTMGates  # of [H]    biases


class LSTMCarry(NamedTuple):
    """State of ``LSTM``."""

    h: Any  # [*batch, H] output
    c: Any  # [*batch, H] memory


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class LSTM(Settings):
    """The long short-term memory with forget gate.

    ::

        i_t = sigmoid(x_t W.i + h_{t-1} U.i + b.i)
        f_t = sigmoid(x_t W.f + h_{t-1} U.f + b.f)
        g_t =    tanh(x_t W.g + h_{t-1} U.g + b.g)
        o_t = sigmoid(x_t W.o + h_{t-1} U.o + b.o)
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = o_t * tanh(c_t)

    Shapes: x [*batch, D], carry ``LSTMCarry(h, c)`` of [*batch, H], y = h_t [*batch, H].

    Args:
      hidden_size: H.
      forget_bias: added to the initial ``b.f`` and stored there, so that the net starts by remembering.
      activation: of g, and of c where h is made; tanh as printed above.
      gate_activation: of i, f and o; sigmoid as printed above.
      output_activation: of c where h is made, if it is not ``activation``.
      kernel_init, recurrent_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or an activation or initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.LSTM(hidden_size=2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> carry.c.shape, params.b.f
    ((3, 2), Array([1., 1.], dtype=float32))

    Source: Hochreiter and Schmidhuber, Neural Computation 9 (1997); forget gate: Gers, Schmidhuber, Cummins,
    Neural Computation 12 (2000).

    Differs from: Hochreiter and Schmidhuber (1997) have no forget gate; Gers et al. squash with 2 tanh and
    peepholes in later work; PyTorch holds two biases, added together here, and no forget bias; Haiku and TF1
    add the 1 at run time instead of storing it.
    """

    hidden_size: int
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    output_activation: Activation | None = None
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("LSTM", "hidden_size", self.hidden_size)
        _checks.within("LSTM", "forget_bias", self.forget_bias, -math.inf, math.inf)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> LSTMParams:
        """Draw the kernels and biases of each gate."""
        W_key, U_key, b_key = jax.random.split(key, 3)
        D, H = _checks.num_features("LSTM", input_size), self.hidden_size
        b = per_gate(LSTMGates, self.bias_init, b_key, (H,))
        return LSTMParams(
            W=per_gate(LSTMGates, self.kernel_init, W_key, (D, H)),
            U=per_gate(LSTMGates, self.recurrent_init, U_key, (H, H)),
            b=b._replace(f=b.f + self.forget_bias),
        )

    def carry(self, params: LSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        """Zeros [*batch, H] for h and c."""
        b = params.b.i
        return LSTMCarry(*(jnp.zeros((*batch_shape, *b.shape), b.dtype) for _ in "hc"))  # two buffers: can be donated

    def step(self, params: LSTMParams, carry: LSTMCarry, x: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        """One step, ``(LSTMCarry(h_t, c_t), h_t)``."""
        (W, U, b), (h_tm1, c_tm1) = params, carry
        gate, phi, phi_c = self.gate_activation, self.activation, self.output_activation or self.activation
        i = gate(x @ W.i + h_tm1 @ U.i + b.i)
        f = gate(x @ W.f + h_tm1 @ U.f + b.f)
        g = phi(x @ W.g + h_tm1 @ U.g + b.g)
        o = gate(x @ W.o + h_tm1 @ U.o + b.o)
        c = f * c_tm1 + i * g
        h = o * phi_c(c)
        return LSTMCarry(h, c), h

    def input_size(self, params: LSTMParams) -> int:
        """D."""
        return expect_params(self, params, LSTMParams, lambda p: p.b.i).W.i.shape[0]

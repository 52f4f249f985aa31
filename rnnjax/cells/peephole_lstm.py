"""The long short-term memory whose gates see the memory itself."""

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
from rnnjax.cells.lstm import LSTMCarry, LSTMGates


class Peepholes(NamedTuple):
    """What each gate of a ``PeepholeLSTM`` sees of the memory."""

    i: Any  # input gate
    f: Any  # forget gate
    o: Any  # output gate


class PeepholeLSTMParams(NamedTuple):
    """Parameters of ``PeepholeLSTM``."""

    W: LSTMGates  # of [D, H] input kernels
    U: LSTMGates  # of [H, H] recurrent kernels
    p: Peepholes  # of [H]    peephole weights
    b: LSTMGates  # of [H]    biases


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PeepholeLSTM(Settings):
    """The long short-term memory with peepholes: gates see the memory, each unit its own.

    ::

        i_t = sigmoid(x_t W.i + h_{t-1} U.i + p.i * c_{t-1} + b.i)
        f_t = sigmoid(x_t W.f + h_{t-1} U.f + p.f * c_{t-1} + b.f)
        g_t =    tanh(x_t W.g + h_{t-1} U.g + b.g)
        c_t = f_t * c_{t-1} + i_t * g_t
        o_t = sigmoid(x_t W.o + h_{t-1} U.o + p.o * c_t + b.o)
        h_t = o_t * tanh(c_t)

    Shapes: x [*batch, D], carry ``LSTMCarry(h, c)`` of [*batch, H], y = h_t [*batch, H].

    Args:
      hidden_size: H.
      forget_bias: added to the initial ``b.f`` and stored there.
      activation, gate_activation, output_activation: as of ``LSTM``.
      kernel_init, recurrent_init, peephole_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or an activation or initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.PeepholeLSTM(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> y.shape, params.p.o.shape
    ((3, 2), (2,))

    Source: Gers, Schraudolph, Schmidhuber, Learning precise timing with LSTM recurrent networks, JMLR 3 (2002),
    section 3.

    Differs from: Gers et al. scale the squashing functions to other ranges and give the gates what all cells of a
    block hold; here, as in ONNX and TensorFlow, each unit has one gate of each kind.
    """

    hidden_size: int
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    output_activation: Activation | None = None
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    peephole_init: Initializer = initializers.zeros
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("PeepholeLSTM", "hidden_size", self.hidden_size)
        _checks.within("PeepholeLSTM", "forget_bias", self.forget_bias, -math.inf, math.inf)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> PeepholeLSTMParams:
        """Draw the kernels, peepholes and biases of each gate."""
        W_key, U_key, p_key, b_key = jax.random.split(key, 4)
        D, H = _checks.num_features("PeepholeLSTM", input_size), self.hidden_size
        b = per_gate(LSTMGates, self.bias_init, b_key, (H,))
        return PeepholeLSTMParams(
            W=per_gate(LSTMGates, self.kernel_init, W_key, (D, H)),
            U=per_gate(LSTMGates, self.recurrent_init, U_key, (H, H)),
            p=per_gate(Peepholes, self.peephole_init, p_key, (H,)),
            b=b._replace(f=b.f + self.forget_bias),
        )

    def carry(self, params: PeepholeLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        """Zeros [*batch, H] for h and c."""
        b = params.b.i
        return LSTMCarry(*(jnp.zeros((*batch_shape, *b.shape), b.dtype) for _ in "hc"))  # two buffers: can be donated

    def step(self, params: PeepholeLSTMParams, carry: LSTMCarry, x: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        """One step, ``(LSTMCarry(h_t, c_t), h_t)``."""
        (W, U, p, b), (h_tm1, c_tm1) = params, carry
        gate, phi, phi_c = self.gate_activation, self.activation, self.output_activation or self.activation
        i = gate(x @ W.i + h_tm1 @ U.i + p.i * c_tm1 + b.i)
        f = gate(x @ W.f + h_tm1 @ U.f + p.f * c_tm1 + b.f)
        g = phi(x @ W.g + h_tm1 @ U.g + b.g)
        c = f * c_tm1 + i * g
        o = gate(x @ W.o + h_tm1 @ U.o + p.o * c + b.o)
        h = o * phi_c(c)
        return LSTMCarry(h, c), h

    def input_size(self, params: PeepholeLSTMParams) -> int:
        """D."""
        return expect_params(self, params, PeepholeLSTMParams, lambda p: p.b.i).W.i.shape[0]

"""The long short-term memory whose input and forget gates are one."""

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
from rnnjax.cells.lstm import LSTMCarry


class CoupledGates(NamedTuple):
    """One array for each gate of a ``CoupledLSTM``."""

    i: Any  # input gate; what it lets in is forgotten
    g: Any  # candidate
    o: Any  # output gate


class CoupledPeepholes(NamedTuple):
    """What each gate of a ``CoupledLSTM`` sees of the memory."""

    i: Any  # input gate
    o: Any  # output gate


class CoupledLSTMParams(NamedTuple):
    """Parameters of ``CoupledLSTM``."""

    W: CoupledGates  # of [D, H] input kernels
    U: CoupledGates  # of [H, H] recurrent kernels
    p: CoupledPeepholes | None  # of [H] peephole weights; None without peepholes
    b: CoupledGates  # of [H] biases


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class CoupledLSTM(Settings):
    """The long short-term memory with coupled input and forget gate (CIFG): it forgets as much as it lets in.

    ::

        i_t = sigmoid(x_t W.i + h_{t-1} U.i + p.i * c_{t-1} + b.i)      p: with peepholes only
        g_t =    tanh(x_t W.g + h_{t-1} U.g + b.g)
        c_t = (1 - i_t) * c_{t-1} + i_t * g_t
        o_t = sigmoid(x_t W.o + h_{t-1} U.o + p.o * c_t + b.o)
        h_t = o_t * tanh(c_t)

    Shapes: x [*batch, D], carry ``LSTMCarry(h, c)`` of [*batch, H], y = h_t [*batch, H].

    Args:
      hidden_size: H.
      peephole: whether the gates see the memory, as in the paper; else ``params.p`` is None.
      forget_bias: taken from the initial ``b.i`` and stored there, so that the net starts by remembering.
      activation, gate_activation, output_activation: as of ``LSTM``.
      kernel_init, recurrent_init, peephole_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, peephole not a bool, or an activation or
        initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.CoupledLSTM(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> y.shape, params.b.i
    ((3, 2), Array([-1., -1.], dtype=float32))

    Source: Greff et al., LSTM: a search space odyssey (2017), arXiv:1503.04069, appendix A, CIFG.

    Differs from: TensorFlow 1 keeps the forget gate and takes i = 1 - f; the same function, since
    1 - sigmoid(a) = sigmoid(-a).
    """

    hidden_size: int
    peephole: bool = False
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    output_activation: Activation | None = None
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    peephole_init: Initializer = initializers.zeros
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("CoupledLSTM", "hidden_size", self.hidden_size)
        _checks.is_bool("CoupledLSTM", "peephole", self.peephole)
        _checks.within("CoupledLSTM", "forget_bias", self.forget_bias, -math.inf, math.inf)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> CoupledLSTMParams:
        """Draw the kernels, peepholes and biases of each gate."""
        W_key, U_key, p_key, b_key = jax.random.split(key, 4)
        D, H = _checks.num_features("CoupledLSTM", input_size), self.hidden_size
        b = per_gate(CoupledGates, self.bias_init, b_key, (H,))
        return CoupledLSTMParams(
            W=per_gate(CoupledGates, self.kernel_init, W_key, (D, H)),
            U=per_gate(CoupledGates, self.recurrent_init, U_key, (H, H)),
            p=per_gate(CoupledPeepholes, self.peephole_init, p_key, (H,)) if self.peephole else None,
            b=b._replace(i=b.i - self.forget_bias),
        )

    def carry(self, params: CoupledLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        """Zeros [*batch, H] for h and c."""
        b = params.b.i
        return LSTMCarry(*(jnp.zeros((*batch_shape, *b.shape), b.dtype) for _ in "hc"))  # two buffers: can be donated

    def step(self, params: CoupledLSTMParams, carry: LSTMCarry, x: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        """One step, ``(LSTMCarry(h_t, c_t), h_t)``."""
        (W, U, p, b), (h_tm1, c_tm1) = params, carry
        gate, phi, phi_c = self.gate_activation, self.activation, self.output_activation or self.activation
        a_i = x @ W.i + h_tm1 @ U.i + b.i
        i = gate(a_i if p is None else a_i + p.i * c_tm1)
        g = phi(x @ W.g + h_tm1 @ U.g + b.g)
        c = (1 - i) * c_tm1 + i * g
        a_o = x @ W.o + h_tm1 @ U.o + b.o
        o = gate(a_o if p is None else a_o + p.o * c)
        h = o * phi_c(c)
        return LSTMCarry(h, c), h

    def input_size(self, params: CoupledLSTMParams) -> int:
        """D."""
        params = expect_params(self, params, CoupledLSTMParams, lambda p: p.b.i)
        if (params.p is not None) != self.peephole:
            raise ValueError(f"{self}: params are of the CoupledLSTM with peephole={params.p is not None}")
        return params.W.i.shape[0]

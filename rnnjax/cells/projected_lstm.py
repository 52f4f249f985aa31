"""The long short-term memory whose output is projected to fewer features."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Initializer, check_functions, expect_params, per_gate
from rnnjax.cells.lstm import LSTMCarry, LSTMGates


class ProjectedLSTMParams(NamedTuple):
    """Parameters of ``ProjectedLSTM``."""

    W: LSTMGates  # of [D, H] input kernels
    U: LSTMGates  # of [O, H] recurrent kernels
    P: jax.Array  # [H, O]    projection
    b: LSTMGates  # of [H]    biases


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ProjectedLSTM(Settings):
    """The long short-term memory with a projection (LSTMP): a wide memory behind a narrow output.

    ::

        i_t = sigmoid(x_t W.i + h_{t-1} U.i + b.i)
        f_t = sigmoid(x_t W.f + h_{t-1} U.f + b.f)
        g_t =    tanh(x_t W.g + h_{t-1} U.g + b.g)
        o_t = sigmoid(x_t W.o + h_{t-1} U.o + b.o)
        c_t = f_t * c_{t-1} + i_t * g_t
        h_t = (o_t * tanh(c_t)) P

    Shapes: x [*batch, D], carry ``LSTMCarry(h, c)`` of h [*batch, O] and c [*batch, H], y = h_t [*batch, O].

    Args:
      hidden_size: H.
      output_size: O, PyTorch's ``proj_size``.
      forget_bias: added to the initial ``b.f`` and stored there.
      kernel_init: for each gate's input kernel, and the projection; see ``rnnjax.initializers``.
      recurrent_init, bias_init: for each gate's array.

    Raises:
      ValueError, TypeError: a size is not a positive integer, or an initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.ProjectedLSTM(hidden_size=7, output_size=2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> y.shape, carry.c.shape
    ((3, 2), (3, 7))

    Source: Sak, Senior, Beaufays (2014), arXiv:1402.1128, section 2.1.

    Differs from: Sak et al. have peepholes and a second, non-recurrent projection; PyTorch, as here, has neither.
    """

    hidden_size: int
    output_size: int
    forget_bias: float = 1.0
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("ProjectedLSTM", "hidden_size", self.hidden_size)
        _checks.positive_int("ProjectedLSTM", "output_size", self.output_size)
        _checks.within("ProjectedLSTM", "forget_bias", self.forget_bias, -math.inf, math.inf)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> ProjectedLSTMParams:
        """Draw the kernels and biases of each gate, and the projection."""
        W_key, U_key, P_key, b_key = jax.random.split(key, 4)
        D, H, O = _checks.num_features("ProjectedLSTM", input_size), self.hidden_size, self.output_size  # noqa: E741
        b = per_gate(LSTMGates, self.bias_init, b_key, (H,))
        return ProjectedLSTMParams(
            W=per_gate(LSTMGates, self.kernel_init, W_key, (D, H)),
            U=per_gate(LSTMGates, self.recurrent_init, U_key, (O, H)),
            P=self.kernel_init(P_key, (H, O)),
            b=b._replace(f=b.f + self.forget_bias),
        )

    def carry(self, params: ProjectedLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        """Zeros, h [*batch, O] and c [*batch, H]."""
        H, O = params.P.shape  # noqa: E741
        return LSTMCarry(*(jnp.zeros((*batch_shape, size), params.P.dtype) for size in (O, H)))

    def step(self, params: ProjectedLSTMParams, carry: LSTMCarry, x: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        """One step, ``(LSTMCarry(h_t, c_t), h_t)``."""
        (W, U, P, b), (h_tm1, c_tm1) = params, carry
        i = sigmoid(x @ W.i + h_tm1 @ U.i + b.i)
        f = sigmoid(x @ W.f + h_tm1 @ U.f + b.f)
        g = jnp.tanh(x @ W.g + h_tm1 @ U.g + b.g)
        o = sigmoid(x @ W.o + h_tm1 @ U.o + b.o)
        c = f * c_tm1 + i * g
        h = (o * jnp.tanh(c)) @ P
        return LSTMCarry(h, c), h

    def input_size(self, params: ProjectedLSTMParams) -> int:
        """D."""
        params = expect_params(self, params, ProjectedLSTMParams, lambda p: p.b.i)
        if params.P.shape[-1] != self.output_size:
            raise ValueError(
                f"{self}: params have {params.P.shape[-1]} outputs, expected output_size={self.output_size}"
            )
        return params.W.i.shape[0]

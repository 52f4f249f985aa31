"""The gated recurrent unit, reset after or before the recurrent product."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params, per_gate


class GRUGates(NamedTuple):
    """One array for each gate of a GRU."""

    r: Any  # reset gate
    z: Any  # update gate
    n: Any  # candidate


class GRUParams(NamedTuple):
    """Parameters of ``GRU``."""

    W: GRUGates  # of [D, H] input kernels
    U: GRUGates  # of [H, H] recurrent kernels
    b: GRUGates  # of [H]    biases
    b_hn: jax.Array | None  # [H] bias of the candidate's recurrent product; None where the reset comes before


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class GRU(Settings):
    """The gated recurrent unit: two different recurrences, by where the reset gate acts.

    ::

        r_t = sigmoid(x_t W.r + h_{t-1} U.r + b.r)
        z_t = sigmoid(x_t W.z + h_{t-1} U.z + b.z)
        n_t = tanh(x_t W.n + b.n + r_t * (h_{t-1} U.n + b_hn))      reset_after=True
        n_t = tanh(x_t W.n + b.n + (r_t * h_{t-1}) U.n)             reset_after=False
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Shapes: x [*batch, D], carry and y = h_t [*batch, H].

    Args:
      hidden_size: H.
      reset_after: True: reset after the product (cuDNN, PyTorch, Keras, Flax); False: before it (Cho et al.,
        Haiku, ONNX's default).
      activation: of n; tanh as printed above.
      gate_activation: of r and z; sigmoid as printed above.
      kernel_init, recurrent_init, bias_init: for each gate's array; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or an activation or initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.GRU(2, reset_after=False)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, y = cell.step(params, cell.carry(params, (3,)), jnp.ones((3, 5)))
    >>> h.shape, params.b_hn is None
    ((3, 2), True)

    Source: Cho et al. (2014), arXiv:1406.1078, equations 5 to 8; reset after: the cuDNN manual's GRU.

    Differs from: Cho et al. and Haiku name ``1 - z`` what is ``z`` in PyTorch, Keras and here; PyTorch holds two
    biases for each gate, of which only the candidate's two are different parameters.
    """

    hidden_size: int
    reset_after: bool = True
    activation: Activation = jnp.tanh
    gate_activation: Activation = sigmoid
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("GRU", "hidden_size", self.hidden_size)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> GRUParams:
        """Draw the kernels and biases of each gate."""
        W_key, U_key, b_key, b_hn_key = jax.random.split(key, 4)
        D, H = _checks.num_features("GRU", input_size), self.hidden_size
        return GRUParams(
            W=per_gate(GRUGates, self.kernel_init, W_key, (D, H)),
            U=per_gate(GRUGates, self.recurrent_init, U_key, (H, H)),
            b=per_gate(GRUGates, self.bias_init, b_key, (H,)),
            b_hn=self.bias_init(b_hn_key, (H,)) if self.reset_after else None,
        )

    def carry(self, params: GRUParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.r.shape), params.b.r.dtype)

    def step(self, params: GRUParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, U, b, b_hn), h_tm1 = params, carry
        gate, phi = self.gate_activation, self.activation
        r = gate(x @ W.r + h_tm1 @ U.r + b.r)
        z = gate(x @ W.z + h_tm1 @ U.z + b.z)
        if self.reset_after:
            n = phi(x @ W.n + b.n + r * (h_tm1 @ U.n + b_hn))
        else:
            n = phi(x @ W.n + b.n + (r * h_tm1) @ U.n)
        h = (1 - z) * n + z * h_tm1
        return h, h

    def input_size(self, params: GRUParams) -> int:
        """D."""
        W, _, _, b_hn = expect_params(self, params, GRUParams, lambda p: p.b.r)
        if (b_hn is not None) != self.reset_after:
            raise ValueError(f"{self}: params are of the GRU with reset_after={b_hn is not None}")
        return W.r.shape[0]

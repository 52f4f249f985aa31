"""The minimal GRU that is linear in its state."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params, per_gate


class MinGRUGates(NamedTuple):
    """One array for each part of a MinGRU."""

    z: Any  # update gate
    n: Any  # candidate


class MinGRUParams(NamedTuple):
    """Parameters of ``MinGRU``."""

    W: MinGRUGates  # of [D, H] input kernels
    b: MinGRUGates  # of [H]    biases


def positive(x: jax.Array) -> jax.Array:
    """``x + 0.5`` where x >= 0, else ``sigmoid(x)``: the paper's candidate that can be scanned in logs.

    >>> positive(jnp.array([-1.0, 0.0, 2.0]))
    Array([0.26894143, 0.5       , 2.5       ], dtype=float32)
    """
    return jnp.where(x >= 0, x + 0.5, sigmoid(x))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class MinGRU(Settings):
    """The minimal GRU: gate and candidate see x only, so the state is linear in the state before it.

    ::

        z_t = sigmoid(x_t W.z + b.z)
        n_t = activation(x_t W.n + b.n)
        h_t = (1 - z_t) * h_{t-1} + z_t * n_t

    Shapes: x [*batch, D], carry and y [*batch, H].

    Args:
      hidden_size: H.
      activation: the candidate's; ``positive`` as in the paper's trained models, or ``lambda a: a`` as in its
        section 3.1.
      kernel_init, bias_init: for z and n; see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or activation or an initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.MinGRU(2)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> rx.unroll(cell, params, jnp.ones((7, 3, 5)))[1].shape
    (7, 3, 2)

    Source: Feng et al. (2024), arXiv:2410.01201, section 3.1 and appendix B.

    Differs from: the paper's code sums in logs and may start from a state above zero; the state starts at zero here.
    """

    hidden_size: int
    activation: Activation = positive
    kernel_init: Initializer = initializers.glorot
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("MinGRU", "hidden_size", self.hidden_size)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> MinGRUParams:
        """Draw the kernels and biases of z and n."""
        W_key, b_key = jax.random.split(key)
        D, H = _checks.num_features("MinGRU", input_size), self.hidden_size
        return MinGRUParams(
            W=per_gate(MinGRUGates, self.kernel_init, W_key, (D, H)),
            b=per_gate(MinGRUGates, self.bias_init, b_key, (H,)),
        )

    def carry(self, params: MinGRUParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.z.shape), params.b.z.dtype)

    def step(self, params: MinGRUParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, b), h_tm1 = params, carry
        z = sigmoid(x @ W.z + b.z)
        n = self.activation(x @ W.n + b.n)
        h = (1 - z) * h_tm1 + z * n
        return h, h

    def input_size(self, params: MinGRUParams) -> int:
        """D."""
        return expect_params(self, params, MinGRUParams, lambda p: p.b.z).W.z.shape[0]

"""The simple recurrent network."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params


class ElmanParams(NamedTuple):
    """Parameters of ``Elman`` and ``Leaky``."""

    W: jax.Array  # [D, H] input kernel
    U: jax.Array  # [H, H] recurrent kernel
    b: jax.Array  # [H]    bias


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Elman(Settings):
    """The simple recurrent network, any activation: the state is the output.

    ::

        h_t = activation(x_t W + h_{t-1} U + b)

    Shapes: x [*batch, D], carry and y [*batch, H].

    Args:
      hidden_size: H.
      activation: ``jnp.tanh``, ``jax.nn.relu``, ``jax.nn.sigmoid``, ``jax.nn.leaky_relu``, ``jax.nn.elu``,
        ``jax.nn.softmax`` (over H), or any function of an array [*batch, H].
      kernel_init, recurrent_init, bias_init: see ``rnnjax.initializers``; for ReLU
        ``recurrent_init=rx.initializers.identity``.

    Raises:
      ValueError, TypeError: hidden_size is not a positive integer, or activation or an initialiser not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Elman(2, activation=jax.nn.relu, recurrent_init=rx.initializers.identity)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, y = cell.step(params, cell.carry(params), jnp.ones(5))
    >>> h.shape, cell
    ((2,), Elman(hidden_size=2, activation=relu, recurrent_init=identity))

    Source: Elman, Finding structure in time, Cognitive Science 14 (1990), section 2.

    Differs from: PyTorch and cuDNN hold two biases, added together here; Haiku's VanillaRNN uses ReLU.
    """

    hidden_size: int
    activation: Activation = jnp.tanh
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("Elman", "hidden_size", self.hidden_size)
        check_functions(self)

    def init(self, key: Key, input_size: InputSize) -> ElmanParams:
        """Draw W, U and b."""
        W_key, U_key, b_key = jax.random.split(key, 3)
        D, H = _checks.num_features("Elman", input_size), self.hidden_size
        return ElmanParams(
            W=self.kernel_init(W_key, (D, H)), U=self.recurrent_init(U_key, (H, H)), b=self.bias_init(b_key, (H,))
        )

    def carry(self, params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.shape), params.b.dtype)

    def step(self, params: ElmanParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, U, b), h_tm1 = params, carry
        h = self.activation(x @ W + h_tm1 @ U + b)
        return h, h

    def input_size(self, params: ElmanParams) -> int:
        """D."""
        return expect_params(self, params, ElmanParams, lambda p: p.b).W.shape[0]

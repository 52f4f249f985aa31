"""The leaky, continuous-time recurrent network of neuroscience."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells import initializers
from rnnjax.cells._parts import Activation, Initializer, check_functions, expect_params
from rnnjax.cells.elman import Elman, ElmanParams


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Leaky(Settings):
    """The leaky recurrent network: firing rates of time constant tau, in Euler steps of dt, leak = dt / tau.

    ::

        h_t = (1 - leak) * h_{t-1} + leak * activation(x_t W + h_{t-1} U + b + noise * sqrt(2 / leak) * xi_t)

    xi_t is standard normal, drawn only where a key is given. Shapes: x [*batch, D], carry and y [*batch, H].

    Args:
      hidden_size: H.
      leak: in (0, 1]; a number, or one for each unit [H]. Traced values can be vmapped and differentiated.
        ``Leaky.continuous(hidden_size, tau, dt)`` takes the time constant instead.
      activation: a function of an array [*batch, H].
      noise: standard deviation of the input noise, at least 0; traced values can be vmapped.
      kernel_init, recurrent_init, bias_init: see ``rnnjax.initializers``.

    Raises:
      ValueError, TypeError: a setting out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Leaky.continuous(2, tau=100.0, dt=20.0, activation=jax.nn.relu, noise=0.05)
    >>> cell
    Leaky(hidden_size=2, leak=0.2, activation=relu, noise=0.05)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)), key=jax.random.key(1))
    >>> ys.shape
    (7, 3, 2)

    Source: Yang et al., Nature Neuroscience 22 (2019), equations 1 and 2.

    Differs from: Song, Yang and Wang (2016, PLOS Comput Biol 12) leak currents instead of rates and have the
    activation on what enters the recurrent product; their noise stands outside of it.
    """

    hidden_size: int
    leak: Any = 0.1
    activation: Activation = jnp.tanh
    noise: Any = 0.0
    kernel_init: Initializer = initializers.glorot
    recurrent_init: Initializer = initializers.orthogonal
    bias_init: Initializer = initializers.zeros

    def __post_init__(self):
        _checks.positive_int("Leaky", "hidden_size", self.hidden_size)
        check_functions(self)
        _checks.within("Leaky", "leak", self.leak, 0.0, 1.0, low_included=False)
        _checks.within("Leaky", "noise", self.noise, 0.0, float("inf"))

    @classmethod
    def continuous(cls, hidden_size: int, tau: Any, dt: Any = 1.0, **settings: Any) -> "Leaky":
        """With time constant ``tau`` and step ``dt``, both in the same unit of time: leak = dt / tau."""
        _checks.within("Leaky.continuous", "tau", tau, 0.0, float("inf"), low_included=False)
        _checks.within("Leaky.continuous", "dt", dt, 0.0, float("inf"), low_included=False)
        return cls(hidden_size, leak=dt / tau, **settings)

    def init(self, key: Key, input_size: InputSize) -> ElmanParams:
        """Draw W, U and b."""
        kernels = Elman(self.hidden_size, self.activation, self.kernel_init, self.recurrent_init, self.bias_init)
        return kernels.init(key, input_size)

    def carry(self, params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.b.shape), params.b.dtype)

    def step(
        self, params: ElmanParams, carry: jax.Array, x: jax.Array, key: Key | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, h_t)``."""
        (W, U, b), h_tm1 = params, carry
        leak, noise = jnp.asarray(self.leak, b.dtype), jnp.asarray(self.noise, b.dtype)
        current = x @ W + h_tm1 @ U + b
        if key is not None:
            xi = jax.random.normal(key, current.shape, b.dtype)
            current += noise * jnp.sqrt(2 / leak) * xi
        h = (1 - leak) * h_tm1 + leak * self.activation(current)
        return h, h

    def input_size(self, params: ElmanParams) -> int:
        """D."""
        return expect_params(self, params, ElmanParams, lambda p: p.b).W.shape[0]

"""The linear recurrent unit."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax import _checks
from rnnjax._types import InputSize, Key, Settings
from rnnjax.cells._parts import expect_params


class LRUParams(NamedTuple):
    """Parameters of ``LRU``; complex matrices are held as two real ones."""

    nu: jax.Array  # [H] log of minus the log of an eigenvalue's modulus
    theta: jax.Array  # [H] log of an eigenvalue's phase
    gamma: jax.Array  # [H] log of the input's normalisation
    B_re: jax.Array  # [D, H] input kernel, real part
    B_im: jax.Array  # [D, H] input kernel, imaginary part
    C_re: jax.Array  # [H, D] output kernel, real part
    C_im: jax.Array  # [H, D] output kernel, imaginary part
    d: jax.Array  # [D] from x to y


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class LRU(Settings):
    """The linear recurrent unit: a complex diagonal linear recurrence that starts near the unit circle.

    ::

        lam = exp(-exp(nu) + i exp(theta))
        h_t = lam * h_{t-1} + exp(gamma) * (x_t B)
        y_t = Re(h_t C) + d * x_t

    Shapes: x and y [*batch, D]; carry complex [*batch, H], complex64 for bfloat16 params too. The paper stacks it
    with nonlinear layers: ``rx.Residual(rx.Chain(rx.Lift(nn.LayerNorm()), rx.LRU(H), rx.Lift(mlp)))``.

    Args:
      hidden_size: H, the number of complex states.
      r_min, r_max: the ring of the eigenvalues' moduli at the start.
      max_phase: their largest phase at the start, in radians; small for long memories.

    Raises:
      ValueError: a setting out of range.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.LRU(hidden_size=2, r_min=0.9, r_max=0.999)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> h, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)))
    >>> h.dtype, ys.shape
    (dtype('complex64'), (7, 3, 5))

    Source: Orvieto et al. (2023), arXiv:2303.06349, section 3 and appendix A.

    Differs from: the paper multiplies from the left; B and C are transposed here.
    """

    hidden_size: int
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 2 * math.pi

    def __post_init__(self):
        _checks.positive_int("LRU", "hidden_size", self.hidden_size)
        _checks.within("LRU", "r_max", self.r_max, 0.0, 1.0)
        _checks.within("LRU", "r_min", self.r_min, 0.0, self.r_max)
        _checks.within("LRU", "max_phase", self.max_phase, 0.0, 2 * math.pi)

    def init(self, key: Key, input_size: InputSize) -> LRUParams:
        """Draw eigenvalues uniformly on the ring, kernels from scaled normals."""
        keys = jax.random.split(key, 7)
        D, H = _checks.num_features("LRU", input_size), self.hidden_size
        u1, u2 = (jax.random.uniform(k, (H,), minval=1e-6, maxval=1.0) for k in keys[:2])
        modulus_squared = u1 * (self.r_max**2 - self.r_min**2) + self.r_min**2
        modulus_squared = jnp.clip(modulus_squared, 1e-12, 1 - 1e-6)  # both logs below stay finite
        B_re, B_im = (jax.random.normal(k, (D, H)) / math.sqrt(2 * D) for k in keys[2:4])
        C_re, C_im = (jax.random.normal(k, (H, D)) / math.sqrt(H) for k in keys[4:6])
        return LRUParams(
            nu=jnp.log(-0.5 * jnp.log(modulus_squared)),
            theta=jnp.log(jnp.maximum(self.max_phase * u2, 1e-12)),
            gamma=0.5 * jnp.log1p(-modulus_squared),
            B_re=B_re,
            B_im=B_im,
            C_re=C_re,
            C_im=C_im,
            d=jax.random.normal(keys[6], (D,)),
        )

    def carry(self, params: LRUParams, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        """Zeros, complex [*batch, H]."""
        return jnp.zeros((*batch_shape, *params.nu.shape), jnp.result_type(params.nu.dtype, jnp.complex64))

    def step(self, params: LRUParams, carry: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step, ``(h_t, y_t)``."""
        nu, theta, gamma, B_re, B_im, C_re, C_im, d = params
        real = carry.real.dtype  # float32 for bfloat16 params
        lam = jnp.exp(lax.complex(-jnp.exp(nu.astype(real)), jnp.exp(theta.astype(real))))
        scale = jnp.exp(gamma.astype(real))
        h = lam * carry + lax.complex(scale * (x @ B_re).astype(real), scale * (x @ B_im).astype(real))
        y = h.real @ C_re.astype(real) - h.imag @ C_im.astype(real)
        return h, y.astype(jnp.result_type(d, x)) + d * x

    def input_size(self, params: LRUParams) -> int:
        """D."""
        return expect_params(self, params, LRUParams, lambda p: p.nu).d.shape[0]

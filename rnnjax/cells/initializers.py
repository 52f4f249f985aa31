"""Initialisers by name, each a ``jax.nn.initializers`` function ``(key, shape, dtype) -> array``.

Cells keep one array per gate, ``W [D, H]``, ``U [H, H]``, ``b [H]``, so what a paper or library does per gate
is what happens here. Any ``jax.nn.initializers`` function will do in their place.

| default of | kernel_init | recurrent_init | bias_init |
|---|---|---|---|
| rnnjax, Keras | ``glorot`` | ``orthogonal`` (Keras: of the gates together) | ``zeros`` |
| PyTorch, Equinox | ``uniform_sqrt`` | ``uniform_sqrt`` | ``uniform_sqrt`` |
| Flax linen | ``lecun_normal`` | ``orthogonal`` | ``zeros`` |
| ReLU nets of Le, Jaitly, Hinton (2015) | ``small_normal`` | ``identity`` | ``zeros`` |
"""

import jax
import jax.numpy as jnp
from jax.nn import initializers as jinit

glorot = jinit.glorot_uniform()
lecun_normal = jinit.lecun_normal()
orthogonal = jinit.orthogonal()
zeros = jinit.zeros
small_normal = jinit.normal(0.001)


def identity(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype | type = float) -> jax.Array:
    """The identity matrix: a ReLU net that starts by remembering (Le, Jaitly, Hinton 2015, arXiv:1504.00941).

    >>> identity(jax.random.key(0), (2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    del key
    return jnp.eye(*shape, dtype=jax.dtypes.canonicalize_dtype(dtype))


def uniform_sqrt(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype | type = float) -> jax.Array:
    """Uniform in ±1/√H with H the last axis, as PyTorch and Equinox start every weight and bias.

    >>> bool((abs(uniform_sqrt(jax.random.key(0), (3, 100))) <= 0.1).all())
    True
    """
    bound = shape[-1] ** -0.5
    return jax.random.uniform(key, shape, jax.dtypes.canonicalize_dtype(dtype), -bound, bound)

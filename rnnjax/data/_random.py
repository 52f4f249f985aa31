"""NumPy's random numbers from JAX's keys. All is drawn on the host, so that no loader waits for an accelerator."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks


def host_key(owner: str, key: Any) -> np.ndarray:
    """The words of a key in NumPy, uint32 [2] (or [4]): again a key, of JAX's raw kind."""
    _checks.is_key(owner, key)
    if not _checks.is_concrete(key):
        raise TypeError(f"{owner}: key is traced, but data are made outside jit")
    return np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)


def optional_key(owner: str, key: Any) -> Any:
    """``host_key``, None for None."""
    return None if key is None else host_key(owner, key)


def generator(owner: str, key: Any, *numbers: int) -> np.random.Generator:
    """The generator of one call of the function ``owner``.

    The name is part of the seed: one key may go to several functions, and what they draw is independent.
    """
    return np.random.default_rng(_seed(host_key(owner, key), *owner.encode(), *numbers))


def fold(key: np.ndarray, *numbers: int) -> np.ndarray:
    """Another key, as ``jax.random.fold_in`` makes one, on the host."""
    return _seed(key, *numbers).generate_state(len(key))


def _seed(words: np.ndarray, *numbers: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(words.tolist(), spawn_key=numbers)

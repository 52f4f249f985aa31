"""A step as the one compiled program that ``fit`` runs."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.train.devices import DataParallel
from rnnjax.train.fitting.packed import Packed, pack
from rnnjax.train.step import StepFn, TrainState


@functools.lru_cache(maxsize=8)
def compiled(step: StepFn, parallel: DataParallel | None) -> Callable[..., tuple[TrainState, Packed]]:
    """``advance(state, batch, key)``: the step with its own key, the state donated to it.

    Structure, shapes, dtypes and placement of the state stay what they are, so there is one program for each kind of
    batch. The programs of the last few steps are kept: to train another seed compiles nothing.
    """

    def advance(state: TrainState, batch: Any, key: Key | None) -> tuple[TrainState, Packed]:
        after, metrics = _take(step, state, batch, key)
        _checks.same_tree("fit", "the state after a step", after, state, "the state before it")
        check_scalars("step", metrics)
        after = jax.tree.map(_strong, after)
        if parallel:
            after = jax.lax.with_sharding_constraint(after, parallel.shardings(after))
        return after, pack(metrics)

    return jax.jit(advance, donate_argnums=0)


def _take(step: StepFn, state: TrainState, batch: Any, key: Key | None) -> tuple[TrainState, Any]:
    if key is not None:
        return step(state, batch, jax.random.fold_in(key, state.num_steps))
    try:
        return step(state, batch)
    except TypeError as error:
        if "PRNG" in str(error):  # JAX was given None for a key
            raise TypeError("fit: step draws at random, but key is None: pass key=jax.random.key(seed)") from error
        raise


def program(
    step: StepFn, key: Key | None, parallel: DataParallel | None
) -> Callable[[TrainState, Any], tuple[TrainState, Packed]]:
    """``compiled`` with a key and devices."""
    advance = compiled(step, parallel)
    if parallel is None:
        return lambda state, batch: advance(state, batch, key)
    return lambda state, batch: advance(state, parallel.batch(batch), key)


def own(state: TrainState) -> TrainState:
    """A copy of a state that may be donated: the caller's stays, and no two leaves share memory."""
    return jax.tree.map(lambda leaf: _strong(jnp.copy(jnp.asarray(leaf))), state)


def _strong(leaf: jax.Array) -> jax.Array:
    """An array of the same dtype for good; 1.0 has a weak one, and with another kind of dtype comes another program."""
    weak = getattr(jax.typeof(leaf), "weak_type", False)
    return jax.lax.convert_element_type(leaf, leaf.dtype) if weak else leaf


def check_scalars(source: str, metrics: Any) -> None:
    """Refuse metrics that are not a dict of scalars."""
    if not isinstance(metrics, Mapping):
        raise TypeError(f"fit: {source} gave metrics of type {type(metrics).__name__}, expected a dict")
    for name, value in metrics.items():
        if name in ("step", "epoch"):
            raise ValueError(
                f"fit: {source} gave a metric {name!r}, which is the name of a column of its own; rename it"
            )
        if not _is_real_scalar(value):
            raise TypeError(f"fit: {source} gave {name!r} as {_checks.describe(value)}, expected a real scalar")


def _is_real_scalar(value: Any) -> bool:
    if isinstance(value, int | float):
        return True
    dtype = getattr(value, "dtype", np.dtype(object))
    return np.shape(value) == () and any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, bool))

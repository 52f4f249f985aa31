"""Layers and wrappers that regularise: each draws only where a key is given, and is off without one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, Settings
from rnnjax.compose._wrapper import Wrapper
from rnnjax.recurrence import protocol
from rnnjax.recurrence.protocol import DRAW_AT_BIND, Bound


def drop(tree: Any, rate: Any, key: Key | None) -> Any:
    """Set each element to zero with probability ``rate`` and scale the others by ``1 / (1 - rate)``.

    Args:
      tree: a pytree of floating-point arrays: activations, or weights.
      rate: in [0, 1]; 1 drops all. A traced value can be vmapped.
      key: draws the mask, each leaf its own; None gives the tree back as it is.

    Returns:
      A pytree like ``tree``.

    Raises:
      ValueError, TypeError: rate is out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> sorted(set(rx.drop(jnp.ones(100), 0.75, jax.random.key(0)).tolist()))
    [0.0, 4.0]

    Source: Srivastava et al., JMLR 15 (2014), with the scaling moved from test to training.
    """
    _checks.within("drop", "rate", rate, 0.0, 1.0)
    if key is None:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    keys = [key] if len(leaves) == 1 else [jax.random.fold_in(key, index) for index in range(len(leaves))]

    def one(leaf, leaf_key):
        kept = 1.0 - jnp.asarray(rate, leaf.dtype)
        keep = jax.random.bernoulli(leaf_key, kept, leaf.shape)
        return jnp.where(keep, leaf / jnp.where(kept > 0, kept, 1), 0).astype(leaf.dtype)

    return structure.unflatten(map(one, leaves, keys))


class _Pointwise(Settings):
    """Base of layers without params and carry, for any number of feature axes."""

    input_ndim = 1

    def init(self, key: Key, input_size: InputSize) -> tuple[()]:
        """No params."""
        del key, input_size
        return ()

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> tuple[()]:
        """No carry."""
        del params, batch_shape
        return ()


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Dropout(_Pointwise):
    """Dropout between layers, a new mask at every step; off without a key.

    Args:
      rate: the probability that an element is dropped, in [0, 1].

    Raises:
      ValueError, TypeError: rate is out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> model = rx.Chain(rx.GRU(2), rx.Dropout(0.5), rx.GRU(2))
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(model, params, jnp.ones((7, 3, 5)), key=jax.random.key(1))

    Source: Zaremba, Sutskever, Vinyals (2014), arXiv:1409.2329, section 3.1.
    """

    rate: Any

    def __post_init__(self):
        _checks.within("Dropout", "rate", self.rate, 0.0, 1.0)

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Drop elements of x."""
        return carry, drop(x, self.rate, key)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TiedDropout(_Pointwise):
    """Dropout with one mask for all time steps: before a layer on its inputs, after it on its outputs.

    The mask is drawn for each batch element, from the key given at binding (``unroll`` binds by itself).

    Args:
      rate: the probability that a feature is dropped for a whole sequence, in [0, 1].

    Raises:
      ValueError, TypeError: rate is out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> layer = rx.TiedDropout(0.5)
    >>> _, ys = rx.unroll(layer, layer.init(jax.random.key(0), 5), jnp.ones((7, 3, 5)), key=jax.random.key(1))
    >>> bool((ys == ys[0]).all())
    True

    Source: Gal and Ghahramani (2016), arXiv:1512.05287, section 4, for inputs and outputs.

    Differs from: Gal and Ghahramani drop the recurrent state too.
    """

    rate: Any

    def __post_init__(self):
        _checks.within("TiedDropout", "rate", self.rate, 0.0, 1.0)

    def bind(self, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Bound:
        """Keep the key of the mask."""
        del batch_shape
        return params if isinstance(params, Bound) else Bound(params, protocol.fold(key, DRAW_AT_BIND))

    def step(self, params: Bound, carry: Carry, x: Any) -> tuple[Carry, Any]:
        """Drop elements of x, the same at every step."""
        return carry, drop(x, self.rate, Bound.expect(self, params).extra)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class GaussianNoise(_Pointwise):
    """Adds normal noise to activations, new at every step; off without a key.

    Args:
      stddev: its standard deviation, at least 0.

    Raises:
      ValueError, TypeError: stddev is out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> model = rx.Chain(rx.GaussianNoise(0.1), rx.GRU(2))
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(model, params, jnp.ones((7, 3, 5)), key=jax.random.key(1))

    Source: Jim, Giles, Horne, IEEE Transactions on Neural Networks 7 (1996), additive noise per time step.
    """

    stddev: Any

    def __post_init__(self):
        _checks.within("GaussianNoise", "stddev", self.stddev, 0.0, float("inf"))

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Add noise to x."""
        if key is None:
            return carry, x
        leaves, structure = jax.tree.flatten(x)
        noise = [
            jnp.asarray(self.stddev, leaf.dtype)
            * jax.random.normal(jax.random.fold_in(key, index), leaf.shape, leaf.dtype)
            for index, leaf in enumerate(leaves)
        ]
        return carry, structure.unflatten(leaf + xi for leaf, xi in zip(leaves, noise, strict=True))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Zoneout(Wrapper):
    """Zoneout: each unit of the carry keeps its old value with probability ``rate``.

    ::

        carry_t = d * carry_{t-1} + (1 - d) * step(carry_{t-1}, x_t),   d ~ Bernoulli(rate)

    Without a key d is its expectation, ``rate``. An output that is itself a part of the new carry, as h is in the
    cells here, is given as it is carried on. Integers, booleans and keys in the carry take their new values.

    Args:
      cell: any cell that can be stepped.
      rate: in [0, 1]; one number, or a pytree like the carry with one for each part, ``LSTMCarry(h=0.05, c=0.5)``.

    Raises:
      ValueError, TypeError: not a cell, or a rate out of range, where it is concrete.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> cell = rx.Zoneout(rx.LSTM(2), rate=rx.LSTMCarry(h=0.05, c=0.5))
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> carry, ys = rx.unroll(cell, params, jnp.ones((7, 3, 5)), key=jax.random.key(1))

    Source: Krueger et al. (2016), arXiv:1606.01305, equations 4 and 5.
    """

    cell: Any
    rate: Any

    def __post_init__(self):
        super().__post_init__()
        _checks.within("Zoneout", "rate", self.rate, 0.0, 1.0)

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step the cell, then keep some of its old carry."""
        after, y = protocol.step(self.cell, params, carry, x, protocol.fold(key, 0))
        old, structure = jax.tree.flatten(carry)
        new = structure.flatten_up_to(after)
        rates = _checks.broadcast("Zoneout", "rate", self.rate, carry, f"the carry of {self.cell}")
        keys = (protocol.fold(protocol.fold(key, 1), index) for index in range(len(old)))
        kept = list(map(_keep, old, new, rates, keys))
        shown = {id(now): kept_now for now, kept_now in zip(new, kept, strict=True)}
        return structure.unflatten(kept), jax.tree.map(lambda leaf: shown.get(id(leaf), leaf), y)


def _keep(before: jax.Array, now: jax.Array, rate: Any, key: Key | None) -> jax.Array:
    if not jnp.issubdtype(now.dtype, jnp.inexact):
        return now
    rate = jnp.asarray(rate, now.real.dtype)
    if key is None:
        return rate * before + (1 - rate) * now
    return jnp.where(jax.random.bernoulli(key, rate, now.shape), before, now)

"""The definition of `unroll`: Python loops over `step`, written without the library's own unroll."""

from typing import Any

import jax
import jax.numpy as jnp

import rnnjax as rx
from rnnjax._types import Array
from rnnjax.recurrence.protocol import takes_key


def where(flags: Array, on_true: Any, on_false: Any) -> Any:
    """Choose between pytrees whose leaves start with the axes of flags."""
    return jax.tree.map(
        lambda a, b: jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b), on_true, on_false
    )


def zeros_like(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


def loop(cell: Any, params: Any, carry: Any, xs: Any, mask: Array, resets: Array, key: Any = None) -> Any:
    """`(carry, ys)` by stepping from the first step to the last; mask and resets bool [T, *batch]."""
    num_steps, *batch_shape = mask.shape
    bound = rx.bind(cell, params, tuple(batch_shape), key)
    start = cell.carry(bound, tuple(batch_shape))
    keys = [None if key is None else jax.random.fold_in(key, t) for t in range(num_steps)]
    return _loop(cell, bound, start, carry, xs, mask, resets, keys)


def _loop(cell, params, start, carry, xs, mask, resets, keys):
    match cell:
        case rx.Bidirectional():
            return _both_ways(cell, params, start, carry, xs, mask, resets, keys)
        case rx.Backward(cell=layer):
            ends = flip(_ends(mask, resets))
            carry, ys = _loop(layer, params, start, carry, flip(xs), flip(mask), ends, keys)
            return carry, flip(ys)
        case rx.Residual(cell=layer):
            carry, ys = _loop(layer, params, start, carry, xs, mask, resets, keys)
            return carry, where(mask, jax.tree.map(jnp.add, xs, ys), zeros_like(ys))
        case rx.Chain(layers=layers) if any(isinstance(layer, rx.Bidirectional) for layer in layers):
            after = []
            for i, layer in enumerate(layers):
                layer_carry, xs = _loop(layer, params[i], start[i], carry[i], xs, mask, resets, _fold(keys, i))
                after.append(layer_carry)
            return tuple(after), xs
    ys = []
    for t, key in enumerate(keys):
        x = jax.tree.map(lambda leaf, t=t: leaf[t], xs)
        before = where(resets[t] & mask[t], start, carry)
        random = {"key": key} if takes_key(cell.step) else {}
        after, y = cell.step(params, before, x, **random)
        carry = where(mask[t], after, carry)
        ys.append(where(mask[t], y, zeros_like(y)))
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)


def _both_ways(cell, params, start, carry, xs, mask, resets, keys):
    """Forward, and backward over everything flipped, where a segment's last valid step is its first."""
    backward_cell = cell.forward if cell.backward is None else cell.backward
    merge = {
        "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
        "sum": lambda a, b: a + b,
        "mean": lambda a, b: (a + b) / 2,
    }[cell.merge]
    ahead, ys_ahead = _loop(
        cell.forward, params.forward, start.forward, carry.forward, xs, mask, resets, _fold(keys, 0)
    )
    back, ys_back = _loop(
        backward_cell,
        params.backward,
        start.backward,
        carry.backward,
        flip(xs),
        flip(mask),
        flip(_ends(mask, resets)),
        _fold(keys, 1),
    )
    return rx.Directions(ahead, back), where(mask, merge(ys_ahead, flip(ys_back)), zeros_like(merge(ys_ahead, ys_back)))


def flip(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.flip(leaf, axis=0), tree)


def _fold(keys, index):
    return [None if key is None else jax.random.fold_in(key, index) for key in keys]


def _ends(mask, resets):
    """Where the next valid step resets."""
    following, ends = jnp.zeros_like(resets[0]), []
    for t in reversed(range(len(mask))):
        ends.append(following)
        following = jnp.where(mask[t], resets[t], following)
    return flip(jnp.stack(ends))

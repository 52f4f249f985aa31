"""Training a part of a model while the rest stays as it is."""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from rnnjax.train.paths import leaf_paths, paths

TRAINED, FROZEN = "trained", "frozen"


def only(
    optimizer: optax.GradientTransformation, where: str | Callable[[str], bool]
) -> optax.GradientTransformationExtraArgs:
    """An optimiser for some leaves of params; the others are frozen, bit for bit, and have no optimiser state.

    ``optax.partition`` with two parts; use it with ``rx.train.paths`` for more of them, each with a rate of its own.

    Args:
      optimizer: any optax transformation; a norm that it clips by is that of the trained leaves.
      where: which leaves are trained: a regular expression, searched for in each leaf's path (``"^1/"``: all of a
        chain's layer 1; ``"/U"``: recurrent kernels), or a function of the path.

    Returns:
      An optax transformation.

    Raises:
      ValueError: at ``init``, where ``where`` holds for no leaf.
      TypeError: ``where`` is neither.
      re.error: not a regular expression.

    >>> import jax, optax, rnnjax as rx
    >>> params = rx.Chain(rx.GRU(2), rx.Elman(1)).init(jax.random.key(0), input_size=3)
    >>> state = rx.train.init_state(params, rx.train.only(optax.adam(1e-3), "^1/"))   # the GRU is frozen
    """
    if not (callable(where) or isinstance(where, str)):
        raise TypeError(f"only: where is {where!r}, expected a regular expression or a function of a path")
    chosen = where if callable(where) else re.compile(where).search

    def labels(params: Any) -> Any:
        labelled = jax.tree.map(lambda path: TRAINED if chosen(path) else FROZEN, paths(params))
        if TRAINED not in jax.tree.leaves(labelled):
            raise ValueError(f"only: where={where!r} holds for no leaf of params, which are {_some(params)}")
        return labelled

    return optax.partition({TRAINED: optimizer, FROZEN: optax.set_to_zero()}, labels)


def _some(params: Any) -> str:
    names = leaf_paths(params)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

"""Steps that training must not go on from, as they are not finite."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax.train.faults import nonfinite_entries, suspects
from rnnjax.train.fitting.waiting import Taken
from rnnjax.train.skip import SKIPPED
from rnnjax.train.step import NONFINITE_LEAF


class NotFiniteError(FloatingPointError):
    """Training met a loss, a gradient, an update or params that are not finite.

    Attributes:
      step: the number of the step, from 1.
      leaf: the path of the leaf that is not finite; None where it is the loss or the update as a whole.
      checkpoint: the newest checkpoint, all of it finite; None where there is none.

    >>> import jax.numpy as jnp, optax, rnnjax as rx
    >>> def loss_fn(params, carry, batch, key):
    ...     return jnp.square(params - batch), (carry, {})
    >>> state = rx.train.init_state(jnp.array(1.0), optax.sgd(0.1))
    >>> try:
    ...     rx.train.fit(rx.train.make_step(loss_fn, optax.sgd(0.1)), state, [jnp.array(jnp.inf)], num_steps=9)
    ... except rx.train.NotFiniteError as error:
    ...     print(error.step, error.checkpoint)
    1 None
    """

    def __init__(self, step: int, what: str, leaf: str | None, checkpoint: Path | None):
        saved = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written before"
        super().__init__(f"fit: at step {step} {what}; {saved}")
        self.step, self.leaf, self.checkpoint = step, leaf, checkpoint


def refuse_nonfinite(taken: Taken, params: Sequence[str], checkpoint: Path | None) -> None:
    """Refuse a step whose loss, gradient or update is not finite, unless it was skipped.

    Args:
      taken: the step, fetched.
      params: the paths of the leaves of params.
      checkpoint: the newest one.
    """
    metrics = taken.metrics
    number = metrics.get(NONFINITE_LEAF, -1)
    loss, update = metrics.get("loss", 0.0), metrics.get("update_norm", 0.0)
    if metrics.get(SKIPPED) or (number < 0 and math.isfinite(loss) and math.isfinite(update)):
        return
    leaf = None if number < 0 else params[int(number)]
    if leaf:
        what = f"the loss is {loss:.6g} and the gradient of {leaf} is not finite"
    else:
        what = f"the loss is {loss}" if not math.isfinite(loss) else "the update is not finite, but the gradient is"
    place = f"batch {taken.position.taken} of epoch {taken.position.epoch}"
    raise NotFiniteError(
        taken.number, f"({place}) {what}; {nonfinite_entries(taken.batch) or suspects(taken.batch)}", leaf, checkpoint
    )


def refuse_nonfinite_params(number: int, params: Any, paths: Sequence[str], checkpoint: Path | None) -> None:
    """Refuse params that are not finite, though everything that the step measured is."""
    for path, leaf in zip(paths, jax.tree.leaves(params), strict=True):
        if not np.isfinite(np.asarray(leaf)).all():
            raise NotFiniteError(number, f"{path} is not finite", path, checkpoint)

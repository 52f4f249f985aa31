"""Going on past a step that is not finite."""

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.train.step import NONFINITE_LEAF, StepFn, TrainState

SKIPPED = "skipped"  # among the metrics of a step


def skip_nonfinite(step: StepFn) -> StepFn:
    """A step that changes nothing where it would not be finite: params, optimiser state and carry all stay.

    Without it ``fit`` stops at the first such step.

    Args:
      step: from ``make_step``.

    Returns:
      The same step with one more metric, ``skipped``: 1 where the loss, the gradient or anything in the new state
      is not finite (and was finite before), else 0. ``num_steps`` goes on in any case.

    >>> import jax, jax.numpy as jnp, optax, rnnjax as rx
    >>> def loss_fn(params, carry, batch, key):
    ...     return jnp.log(batch) * params, (carry, {})
    >>> step = rx.train.skip_nonfinite(rx.train.make_step(loss_fn, optax.sgd(1.0)))
    >>> state, metrics = step(rx.train.init_state(jnp.array(1.0), optax.sgd(1.0)), jnp.array(0.0))
    >>> float(state.params), int(metrics["skipped"])
    (1.0, 1)

    Differs from: ``optax.apply_if_finite``, which looks at the updates alone, lets the carry through, and after some
    number of bad steps in a row the updates too.
    """
    _checks.are_functions("skip_nonfinite", step=step)

    def skipping(state: TrainState, batch: Any, key: Key | None = None) -> tuple[TrainState, dict]:
        after, metrics = step(state, batch, key)
        good = jnp.isfinite(metrics["loss"]) & (metrics[NONFINITE_LEAF] < 0) & _stays_finite(state, after)
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), after, state)
        return kept._replace(num_steps=after.num_steps), {**metrics, SKIPPED: (~good).astype(jnp.int32)}

    return skipping


def _stays_finite(before: Any, after: Any) -> jax.Array:
    """Whether every entry that was finite is so still; optimisers start from infinities here and there."""
    stays = [
        (jnp.isfinite(new) | ~jnp.isfinite(old)).all()
        for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True)
        if jnp.issubdtype(new.dtype, jnp.inexact)
    ]
    return jnp.stack([*stays, jnp.array(True)]).all()

"""One training step, as a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax import _checks
from rnnjax._types import Carry, Key, Params

NONFINITE_LEAF = "nonfinite_leaf"  # among the metrics of a step; not one to log


class TrainState(NamedTuple):
    """All that a training step changes."""

    params: Params  # of the model
    opt_state: Any  # of the optax optimiser
    carry: Carry  # the state carried across chunks of a stream; () where nothing is
    num_steps: jax.Array  # int [] steps taken


def init_state(params: Params, optimizer: optax.GradientTransformation, carry: Carry = ()) -> TrainState:
    """The state before the first step.

    Args:
      params: of the model.
      optimizer: any optax transformation.
      carry: of the first chunk of a stream.

    Raises:
      TypeError: optimizer is not an optax transformation.

    >>> import jax, optax
    >>> init_state({"w": jax.numpy.ones(2)}, optax.sgd(0.1)).num_steps
    Array(0, dtype=int32)
    """
    _check_optimizer("init_state", optimizer)
    return TrainState(params, optimizer.init(params), carry, jnp.zeros((), jnp.int32))


LossFn = Callable[[Params, Carry, Any, Key | None], tuple[jax.Array, tuple[Carry, dict]]]
StepFn = Callable[..., tuple[TrainState, dict]]  # (state, batch, key=None) -> (state, metrics)


def make_step(loss_fn: LossFn, optimizer: optax.GradientTransformation) -> StepFn:
    """A pure training step; the caller jits it.

    Truncated back-propagation through time is a loss that unrolls from ``carry`` and gives the new one back: it
    goes on into the next chunk, no gradient does. Pass ``resets`` to ``unroll`` where a new document starts.
    Clipping, schedules and decay are the optimiser's:
    ``optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))``.

    Args:
      loss_fn: ``(params, carry, batch, key) -> (loss, (carry, metrics))``, pure; carry is () where nothing is carried.
      optimizer: any optax transformation.

    Returns:
      ``step(state, batch, key=None) -> (state, metrics)``; metrics are the loss's own and ``loss``, ``grad_norm``
      (before the optimiser clips) and ``update_norm``, global norms; ``nonfinite_leaf`` is the number of the first
      leaf of the gradient that is not finite, -1 where all are.

    Raises:
      TypeError: ``optimizer`` is not an optax transformation, or ``loss_fn`` no function, or one that gives something
        else, when the step is called.

    >>> import jax, jax.numpy as jnp, optax, rnnjax as rx
    >>> cell = rx.Chain(rx.GRU(2), rx.Elman(1))
    >>> params = cell.init(jax.random.key(0), input_size=1)
    >>> def loss_fn(params, carry, batch, key):
    ...     carry, ys = rx.unroll(cell, params, batch, carry)
    ...     return rx.losses.squared_error(ys, batch), (carry, {})
    >>> optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    >>> state = rx.train.init_state(params, optimizer, carry=cell.carry(params, (3,)))
    >>> step = jax.jit(rx.train.make_step(loss_fn, optimizer))
    >>> for chunk in jnp.ones((4, 7, 3, 1)):                   # 4 chunks of one long sequence
    ...     state, metrics = step(state, chunk)
    >>> sorted(metrics)
    ['grad_norm', 'loss', 'nonfinite_leaf', 'update_norm']

    Source: Williams and Peng, Neural Computation 2 (1990), BPTT(h; h).
    """
    _checks.are_functions("make_step", loss_fn=loss_fn)
    _check_optimizer("make_step", optimizer)

    def checked(params: Params, carry: Carry, batch: Any, key: Key | None) -> tuple[jax.Array, tuple[Carry, dict]]:
        given = loss_fn(params, carry, batch, key)
        match given:
            case (loss, (_, dict())) if jnp.shape(loss) == ():
                return given
        raise TypeError(
            f"make_step: loss_fn gave {_outline(given)}, expected (loss, (carry, metrics)), the loss a scalar"
        )

    def step(state: TrainState, batch: Any, key: Key | None = None) -> tuple[TrainState, dict]:
        grad_fn = jax.value_and_grad(checked, has_aux=True)
        (loss, (carry, metrics)), grads = grad_fn(state.params, state.carry, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        seen = {"grad_norm": optax.tree.norm(grads), "update_norm": optax.tree.norm(updates)}
        after = TrainState(optax.apply_updates(state.params, updates), opt_state, carry, state.num_steps + 1)
        return after, {**metrics, "loss": loss, **seen, NONFINITE_LEAF: _first_nonfinite(grads)}

    return step


def _check_optimizer(owner: str, optimizer: Any) -> None:
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        shown = getattr(optimizer, "__name__", repr(optimizer))
        raise TypeError(f"{owner}: optimizer is {shown}, expected an optax transformation, such as optax.adam(1e-3)")


def _outline(given: Any) -> str:
    return str(jax.tree.map(lambda leaf: _checks.describe(jnp.asarray(leaf)), given)).replace("'", "")


def _first_nonfinite(tree: Any) -> jax.Array:
    """The number of the first leaf with an entry that is not finite; -1 where there is none."""
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    first = jnp.argmin(jnp.stack([*finite, jnp.array(False)])).astype(jnp.int32)
    return jnp.where(first == len(finite), -1, first)

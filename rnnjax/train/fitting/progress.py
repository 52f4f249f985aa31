"""Where a run is: all that it needs to go on, to a checkpoint and back."""

from typing import NamedTuple

import jax
import numpy as np

from rnnjax._types import Key
from rnnjax.data.epochs import Position
from rnnjax.train.checkpoints import Checkpoints, Record
from rnnjax.train.fitting.best import Found
from rnnjax.train.step import TrainState


class Progress(NamedTuple):
    """Where a run is."""

    state: TrainState
    position: Position
    key: Key | None
    found: Found | None  # the best state so far; None where none is kept
    due: bool = False  # whether the state is to be evaluated before anything else


class _Arrays(NamedTuple):
    """What of it is arrays."""

    state: TrainState
    key: Key | None
    best: TrainState | None


def save(store: Checkpoints, progress: Progress) -> None:
    """Write a checkpoint.

    Args:
      store: where to.
      progress: what.

    Raises:
      OSError: it cannot be written.
    """
    state, position, key, found, due = progress
    best = {"best": found and list(found[1:]), "best_state": bool(found and found.state)}
    record = {"position": list(position), "due": due, **best}
    store.save(int(state.num_steps), _Arrays(state, key, found and found.state), record)


def restore(store: Checkpoints, start: Progress) -> Progress:
    """The newest checkpoint that can be read, ``start`` where there is none.

    Args:
      store: where from.
      start: the start of the same run.

    Raises:
      ValueError: the checkpoint is of another run.
    """

    def like(record: Record) -> _Arrays:
        return _Arrays(start.state, start.key, start.state if record["best_state"] else None)

    loaded = store.load(like)
    if loaded is None:
        return start
    (state, key, best), record = loaded
    if start.key is not None and not np.array_equal(_numbers(start.key), _numbers(key)):
        raise ValueError(f"fit: key is not the one that the run in {store.folder.parent} was started with")
    found = Found(best, *record["best"]) if start.found and record["best"] else start.found
    return Progress(state, Position(*record["position"]), key, found, record["due"])


def _numbers(key: Key) -> np.ndarray:
    new = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if new else key)

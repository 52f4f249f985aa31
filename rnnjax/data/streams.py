"""Streams for truncated back-propagation through time: lanes side by side, cut into chunks."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import optional_key
from rnnjax.data.lazy import Batches, LazySequence
from rnnjax.data.order import permutation
from rnnjax.data.ragged import Ragged


class Chunk(NamedTuple):
    """A piece of a stream: B lanes, T steps of each, and what is to be predicted at each."""

    inputs: np.ndarray  # [T, B, ...] tokens, int [T, B], or features
    targets: np.ndarray  # [T, B, ...] the next of them, or what was given
    resets: np.ndarray  # bool [T, B] a document (or the lane) starts here
    mask: np.ndarray  # bool [T, B] False where there is no target


def chunks(tokens: np.ndarray, starts: np.ndarray, batch_size: int, num_steps: int) -> LazySequence:
    """One pass over a long text for truncated back-propagation through time.

    The text is cut into B lanes of equal length; chunk k holds steps kT to kT + T of every lane, so that the carry
    after one chunk is the carry before the next. Every token but the last is an input once.

    Args:
      tokens: int [N], or features [N, ...].
      starts: bool [N], True where a document starts; its carry is not the last document's.
      batch_size: B.
      num_steps: T.

    Returns:
      A lazy sequence of ``Chunk``s, all of one shape; the last is padded by its mask.

    Raises:
      ValueError, TypeError: shapes differ, starts are not bool, sizes are not positive, or the text has fewer than
        B + 1 tokens.

    >>> chunk = chunks(np.arange(9), np.arange(9) % 5 == 0, batch_size=2, num_steps=4)[0]
    >>> chunk.inputs.T.tolist(), chunk.targets.T.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    >>> chunk.resets.T.astype(int).tolist(), chunk.mask.T.astype(int).tolist()
    ([[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 1], [0, 1, 1, 1]])
    """
    if not np.shape(tokens) or np.shape(starts) != np.shape(tokens)[:1]:
        raise ValueError(
            f"chunks: tokens have shape {np.shape(tokens)}, starts {np.shape(starts)}, expected [N, ...] and [N]"
        )
    _check_sizes("chunks", batch_size, num_steps)
    if len(tokens) <= batch_size:
        raise ValueError(f"chunks: the text has {len(tokens)} tokens, expected more than batch_size={batch_size}")
    tokens, starts = np.asarray(tokens), np.asarray(starts)
    if starts.dtype != bool:
        raise TypeError(f"chunks: starts are {_checks.describe(starts)}, expected bool")
    lanes = _Lanes(len(tokens) - 1, batch_size, num_steps)

    def make(k: int) -> Chunk:
        here, valid, first = lanes.piece(k)
        return Chunk(tokens[here], tokens[here + 1], starts[here] | first, valid & ~starts[here + 1])

    return LazySequence(make, range(lanes.num_chunks))


def document_chunks(
    documents: Sequence[Any],
    batch_size: int,
    num_steps: int,
    *,
    targets: Sequence[Any] | None = None,
    key: Key | None = None,
) -> Batches:
    """Passes over many documents for truncated back-propagation through time.

    The documents, one after the other, are cut into B lanes of equal length; chunk k holds steps kT to kT + T of every
    lane, so that the carry after one chunk is the carry before the next. At most B - 1 documents are cut where a lane
    starts: there too the carry starts anew.

    Args:
      documents: arrays [length, ...], tokens or features, alike but for their lengths; read when a chunk needs them.
      batch_size: B.
      num_steps: T.
      targets: for each document an array [length, ...]; None: the target of a step is the document's next step, and
        its last step has none.
      key: shuffles the documents, differently in each epoch; None leaves their order.

    Returns:
      ``batches(epoch=0)``: a lazy sequence of ``Chunk``s, all of one shape; the last is padded by its mask. Chunk k
      is made without those before it.

    Raises:
      ValueError, TypeError: there are fewer than B steps with a target, documents differ in more than length, targets
        disagree with them, or sizes are not positive.

    >>> batches = document_chunks([np.array([1, 2, 3]), np.array([4, 5, 6, 7])], batch_size=1, num_steps=3)
    >>> for chunk in batches(epoch=0):
    ...     print(chunk.inputs[:, 0], chunk.targets[:, 0], chunk.resets[:, 0].astype(int), chunk.mask[:, 0].astype(int))
    [1 2 4] [2 3 5] [1 0 1] [1 1 1]
    [5 6 6] [6 7 7] [0 0 0] [1 1 0]
    """
    _check_sizes("document_chunks", batch_size, num_steps)
    inputs = Ragged("document_chunks", "document", documents)
    if targets is None:
        following, ahead, lengths = inputs, 1, np.maximum(inputs.lengths - 1, 0)
    else:
        following = Ragged.beside("document_chunks", targets, inputs, "document")
        ahead, lengths = 0, inputs.lengths
    if (total := lengths.sum()) < batch_size:
        raise ValueError(
            f"document_chunks: the documents hold {total} steps with a target, expected at least"
            f" batch_size={batch_size}"
        )
    lanes = _Lanes(total, batch_size, num_steps)
    key = optional_key("document_chunks", key)

    def of_epoch(epoch: int) -> LazySequence:
        order = permutation(len(lengths), key, epoch)
        ends = np.cumsum(lengths[order])

        def make(k: int) -> Chunk:
            here, valid, first = lanes.piece(k)
            place = np.searchsorted(ends, here, side="right")
            rows, steps = order[place], here - (ends - lengths[order])[place]
            next_steps = following.gather(rows, steps + ahead)
            return Chunk(inputs.gather(rows, steps), next_steps, (steps == 0) | first, valid)

        return LazySequence(make, range(lanes.num_chunks))

    return Batches(of_epoch, num_shapes=1)


@dataclasses.dataclass(frozen=True)
class _Lanes:
    """A stream cut into B lanes, each cut into pieces of T steps."""

    length: int  # of the stream
    batch_size: int  # B
    num_steps: int  # T

    @property
    def lane(self) -> int:
        """The length of a lane."""
        return -(-self.length // self.batch_size)

    @property
    def num_chunks(self) -> int:
        return -(-self.lane // self.num_steps)

    def piece(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Chunk k: positions int [T, B], which of them there are bool [T, B], whether lanes start bool [T, 1]."""
        steps = np.arange(k * self.num_steps, (k + 1) * self.num_steps)[:, None]
        positions = steps + self.lane * np.arange(self.batch_size)
        valid = (steps < self.lane) & (positions < self.length)
        return np.minimum(positions, self.length - 1), valid, steps == 0


def _check_sizes(owner: str, batch_size: int, num_steps: int) -> None:
    _checks.positive_int(owner, "batch_size", batch_size)
    _checks.positive_int(owner, "num_steps", num_steps)

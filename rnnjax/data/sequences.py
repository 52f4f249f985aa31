"""From NumPy to time-major arrays: padding, and streams of chunks from one long text."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnjax import _checks


def pad(sequences: Sequence[Any], multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of different lengths as one array and its mask.

    Args:
      sequences: B arrays [length, ...], alike but for their lengths.
      multiple: T is the greatest length, rounded up to a multiple of this, so that batches of many lengths come in
        few shapes, each compiled once.

    Returns:
      ``(xs [T, B, ...], mask bool [T, B])``, zeros behind each end.

    Raises:
      ValueError: there are none, they differ in more than length, or ``multiple`` is not positive.

    >>> xs, mask = pad([np.ones((2, 1)), np.ones((3, 1))])
    >>> xs.shape, mask.T.astype(int).tolist()
    ((3, 2, 1), [[1, 1, 0], [1, 1, 1]])
    """
    _checks.positive_int("pad", "multiple", multiple)
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("pad: sequences are empty, expected at least one")
    for index, array in enumerate(arrays):
        if array.ndim == 0 or array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"pad: sequence {index} has shape {array.shape}, but sequence 0 {arrays[0].shape}")
    lengths = np.array([len(array) for array in arrays])
    num_steps = -(-lengths.max() // multiple) * multiple
    xs = np.zeros((num_steps, len(arrays), *arrays[0].shape[1:]), np.result_type(*arrays))
    for index, array in enumerate(arrays):
        xs[: len(array), index] = array
    return xs, np.arange(num_steps)[:, None] < lengths


class Chunk(NamedTuple):
    """A piece of a stream: B lanes, T tokens of each, and the token after each."""

    inputs: np.ndarray  # int [T, B]
    targets: np.ndarray  # int [T, B] the next token
    resets: np.ndarray  # bool [T, B] a document (or the lane) starts here
    mask: np.ndarray  # bool [T, B] False where there is no next token in the same document


def chunks(tokens: np.ndarray, starts: np.ndarray, batch_size: int, num_steps: int) -> Iterator[Chunk]:
    """One pass over a long text for truncated back-propagation through time.

    The text is cut into B lanes of equal length; chunk k holds steps kT to kT + T of every lane, so that the carry
    after one chunk is the carry before the next. Every token but the last is an input once.

    Args:
      tokens: int [N].
      starts: bool [N], True where a document starts; its carry is not the last document's.
      batch_size: B.
      num_steps: T.

    Yields:
      ``Chunk``s, all of one shape; the last is padded by its mask.

    Raises:
      ValueError: shapes differ, sizes are not positive, or the text has fewer than B + 1 tokens.

    >>> chunk = next(chunks(np.arange(9), np.arange(9) % 5 == 0, batch_size=2, num_steps=4))
    >>> chunk.inputs.T.tolist(), chunk.targets.T.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    >>> chunk.resets.T.astype(int).tolist(), chunk.mask.T.astype(int).tolist()
    ([[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 1], [0, 1, 1, 1]])
    """
    tokens, starts = np.asarray(tokens), np.asarray(starts)
    if tokens.ndim != 1 or starts.shape != tokens.shape:
        raise ValueError(f"chunks: tokens have shape {tokens.shape}, starts {starts.shape}, expected [N] for both")
    _checks.positive_int("chunks", "batch_size", batch_size)
    _checks.positive_int("chunks", "num_steps", num_steps)
    if len(tokens) <= batch_size:
        raise ValueError(f"chunks: the text has {len(tokens)} tokens, expected more than batch_size={batch_size}")
    num_pairs = len(tokens) - 1
    lane = -(-num_pairs // batch_size)
    num_chunks = -(-lane // num_steps)
    positions = np.arange(num_chunks * num_steps)[:, None] + lane * np.arange(batch_size)  # [steps, B]
    within = (np.arange(num_chunks * num_steps)[:, None] < lane) & (positions < num_pairs)
    positions = np.minimum(positions, num_pairs - 1)
    whole = Chunk(
        inputs=tokens[positions],
        targets=tokens[positions + 1],
        resets=starts[positions] | (np.arange(num_chunks * num_steps) == 0)[:, None],
        mask=within & ~starts[positions + 1],
    )
    for k in range(num_chunks):
        yield Chunk(*(array[k * num_steps : (k + 1) * num_steps] for array in whole))

"""In which order, and in batches of what."""

import numpy as np

from rnnjax import _checks
from rnnjax._types import Key
from rnnjax.data._random import generator


def permutation(num: int, key: Key | None = None, epoch: int = 0) -> np.ndarray:
    """The order in which an epoch takes ``num`` elements: it depends on nothing but the arguments.

    Args:
      num: N, how many there are.
      key: shuffles them, differently in each epoch; None leaves them in order.
      epoch: at least 0.

    Returns:
      int [N], each of 0 ... N - 1 once.

    Raises:
      ValueError, TypeError: an argument of another kind.

    >>> import jax
    >>> permutation(3).tolist()
    [0, 1, 2]
    >>> sorted(permutation(5, jax.random.key(0), epoch=2).tolist())
    [0, 1, 2, 3, 4]
    """
    num = _checks.num_steps("permutation", "num", num)
    epoch = _checks.num_steps("permutation", "epoch", epoch)
    return np.arange(num) if key is None else generator("permutation", key, epoch).permutation(num)


def count_batches(owner: str, num: int, batch_size: int, drop_last: bool) -> int:
    """How many batches ``num`` elements make."""
    _checks.positive_int(owner, "batch_size", batch_size)
    _checks.is_bool(owner, "drop_last", drop_last)
    if num == 0:
        raise ValueError(f"{owner}: the data set is empty")
    if drop_last and num < batch_size:
        raise ValueError(f"{owner}: {num} elements do not fill a batch of {batch_size}, and drop_last leaves it out")
    return num // batch_size if drop_last else -(-num // batch_size)

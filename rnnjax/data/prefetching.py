"""The next batches, made while the current one is computed with."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from rnnjax import _checks

_END = object()


def prefetch(items: Iterable[Any], size: int = 2, device: Any = None) -> Generator[Any, None, None]:
    """The same items, made by a background thread that stays up to ``size`` of them ahead.

    What the loader raises is raised here, with its traceback, after the items before it. The thread ends with the
    items, or when the iterator is closed or forgotten: a loop may be left at any time.

    Args:
      items: any iterable of batches; it is iterated in the thread.
      size: how many are kept ready.
      device: a ``jax.Device`` or sharding that the thread puts them on; None leaves them as they are.

    Returns:
      An iterator, with ``close()``.

    Raises:
      ValueError, TypeError: ``size`` is not positive, or items cannot be iterated.

    >>> import numpy as np, rnnjax as rx
    >>> batches = rx.data.minibatches(np.arange(5), 2)
    >>> def data(epoch):                                        # for rx.train
    ...     return prefetch(batches(epoch))
    >>> list(data(epoch=0))
    [array([0, 1]), array([2, 3]), array([4])]
    """
    _checks.positive_int("prefetch", "size", size)
    if not isinstance(items, Iterable):
        raise TypeError(f"prefetch: items are {items!r}, expected an iterable, such as batches(epoch)")
    return _prefetched(iter(items), size, device)


def _prefetched(items: Iterator[Any], size: int, device: Any) -> Generator[Any, None, None]:
    def load() -> Any:
        item = next(items, _END)
        return item if item is _END or device is None else jax.device_put(item, device)

    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rnnjax-prefetch")
    try:
        ready = deque(thread.submit(load) for _ in range(size))
        while (item := ready.popleft().result()) is not _END:
            ready.append(thread.submit(load))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)

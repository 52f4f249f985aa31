"""Windows of a table: some steps to look at, and those that follow to forecast."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rnnjax import _checks


class Windows(NamedTuple):
    """Windows side by side, time-major: views of a table, N of them without N copies."""

    inputs: np.ndarray  # [input_length, N, C]
    targets: np.ndarray  # [horizon, N, C'], the steps after them


def windows(table: np.ndarray, input_length: int, horizon: int, stride: int = 1, targets: Any = None) -> Windows:
    """All windows of a table, for forecasting.

    They are views: batches of them are copied by ``rx.data.minibatches(windows, batch_size, axis=1)``, never all.

    Args:
      table: [num_rows, C], a row a step.
      input_length: how many steps are looked at.
      horizon: how many steps after them are forecast.
      stride: steps from one window to the next; window n begins at row n * stride.
      targets: the columns that are forecast, an int or several; None: all.

    Returns:
      ``Windows``.

    Raises:
      ValueError, TypeError: the table is shorter than a window, has other axes or no such column, or sizes are not
        positive.

    >>> table = np.arange(5)[:, None] + np.array([0, 10])       # 5 rows, 2 columns
    >>> inputs, targets = windows(table, input_length=2, horizon=1, targets=1)
    >>> inputs[:, 2].tolist(), targets[:, 2].tolist()
    ([[2, 12], [3, 13]], [[14]])

    With standardisation, and months of 30 days for training, validation and test:

    >>> import jax, rnnjax as rx
    >>> table = np.random.default_rng(0).normal(size=(17420, 7))
    >>> parts = split_by_time(table, [12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24], overlap=96)
    >>> scale = rx.data.Standardizer.fit(parts[0])
    >>> train, valid, test = (windows(scale(part), input_length=96, horizon=96) for part in parts)
    >>> batches = rx.data.minibatches(train, 32, key=jax.random.key(0), axis=1)
    >>> [part.inputs.shape for part in (train, valid, test, batches(epoch=0)[0])]
    [(96, 8449, 7), (96, 2785, 7), (96, 2785, 7), (96, 32, 7)]
    """
    for name, size in (("input_length", input_length), ("horizon", horizon), ("stride", stride)):
        _checks.positive_int("windows", name, size)
    table = np.asarray(table)
    if table.ndim != 2:
        raise ValueError(f"windows: table is {_checks.describe(table)}, expected [num_rows, C]")
    if len(table) < input_length + horizon:
        raise ValueError(
            f"windows: the table has {len(table)} rows, but a window takes input_length + horizon ="
            f" {input_length} + {horizon} = {input_length + horizon}"
        )
    forecast = table if targets is None else table[:, _columns(targets, table.shape[1])]
    inputs = sliding_window_view(table[:-horizon], input_length, axis=0)[::stride]  # [N, C, input_length]
    following = sliding_window_view(forecast[input_length:], horizon, axis=0)[::stride]
    return Windows(inputs.transpose(2, 0, 1), following.transpose(2, 0, 1))


def split_by_time(table: np.ndarray, sizes: Sequence[int], overlap: int = 0) -> list[np.ndarray]:
    """A table in parts, one after the other: for training, validation and test.

    Args:
      table: [num_rows, ...].
      sizes: the rows of each part; rows after the last are left out.
      overlap: how many rows of the part before it a part begins with. With the ``input_length`` of the windows, the
        first window forecasts the part's own first steps; every step that is forecast is its own in any case.

    Returns:
      Views of the table, as many as sizes.

    Raises:
      ValueError: the table has too few rows, or a size is not positive.

    >>> [part.tolist() for part in split_by_time(np.arange(7), [4, 2], overlap=1)]
    [[0, 1, 2, 3], [3, 4, 5]]
    """
    for size in sizes:
        _checks.positive_int("split_by_time", "a size", size)
    overlap = _checks.num_steps("split_by_time", "overlap", overlap)
    ends = list(accumulate(sizes))
    if not ends:
        raise ValueError("split_by_time: there are no sizes, expected one for each part")
    if ends[-1] > len(table):
        raise ValueError(f"split_by_time: sizes {list(sizes)} take {sum(sizes)} rows, but the table has {len(table)}")
    return [table[max(end - size - overlap, 0) : end] for end, size in zip(ends, sizes, strict=True)]


def _columns(targets: Any, num_columns: int) -> np.ndarray:
    columns = np.atleast_1d(targets)
    if columns.dtype.kind not in "iu" or columns.min() < 0 or columns.max() >= num_columns:
        raise ValueError(f"windows: targets are {targets!r}, expected columns in [0, {num_columns})")
    return columns

"""Many arrays that differ in length, read when they are needed."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Ragged:
    """N arrays [length, ...], alike but for their lengths. Lists become arrays; arrays mapped from files stay there."""

    def __init__(self, owner: str, name: str, sequences: Sequence[Any]):
        if not hasattr(sequences, "__iter__"):
            raise TypeError(f"{owner}: {name}s are {sequences!r}, expected arrays [length, ...]")
        self.arrays = [value if hasattr(value, "dtype") else np.asarray(value) for value in sequences]
        if not self.arrays:
            raise ValueError(f"{owner}: {name}s are empty, expected at least one")
        shape = self.arrays[0].shape
        for index, array in enumerate(self.arrays):
            if not array.shape or array.dtype.kind in "OUS":
                raise TypeError(f"{owner}: {name} {index} is {array!r}, expected an array [length, ...] of numbers")
            if array.shape[1:] != shape[1:]:
                raise ValueError(f"{owner}: {name} {index} has shape {array.shape}, but {name} 0 {shape}")
        self.lengths = np.array([len(array) for array in self.arrays])  # int [N]
        self.step_shape = shape[1:]
        # That of all, whichever stand together; an empty list, which is float64 to NumPy, has no say.
        dtypes = {array.dtype for array in self.arrays if len(array)} or {self.arrays[0].dtype}
        self.dtype = np.result_type(*dtypes)

    @classmethod
    def beside(cls, owner: str, targets: Sequence[Any], sequences: "Ragged", name: str) -> "Ragged":
        """Targets, one for each step of each sequence."""
        if len(targets) != len(sequences.arrays):
            raise ValueError(f"{owner}: there are {len(targets)} targets for {len(sequences.arrays)} {name}s")
        found = cls(owner, "target", targets)
        for index in np.flatnonzero(found.lengths != sequences.lengths)[:1]:
            raise ValueError(
                f"{owner}: target {index} has {found.lengths[index]} steps,"
                f" but {name} {index} has {sequences.lengths[index]}"
            )
        return found

    def padded(self, rows: Sequence[int] | np.ndarray, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Some of them side by side: ``(xs [num_steps, B, ...], mask [num_steps, B])``, zeros behind each end."""
        xs = np.zeros((num_steps, len(rows), *self.step_shape), self.dtype)
        for column, row in enumerate(rows):
            xs[: self.lengths[row], column] = self.arrays[row]
        return xs, np.arange(num_steps)[:, None] < self.lengths[rows]

    def gather(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """One step of one of them for each entry of two arrays."""
        gathered = np.empty((rows.size, *self.step_shape), self.dtype)
        by_row = np.argsort(rows, axis=None)
        for here in np.split(by_row, 1 + np.flatnonzero(np.diff(rows.flat[by_row]))):
            gathered[here] = self.arrays[rows.flat[here[0]]][steps.flat[here]]
        return gathered.reshape(*rows.shape, *self.step_shape)

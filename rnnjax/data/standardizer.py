"""Features with mean 0 and standard deviation 1."""

from typing import NamedTuple

import numpy as np

from rnnjax import _checks
from rnnjax.data.checks import refuse_nonfinite

_BLOCK = 65_536  # rows in float64 at a time: values mapped from a file need not fit into memory


class Standardizer(NamedTuple):
    """Takes the mean of each feature away and divides by its standard deviation; made by ``Standardizer.fit``.

    A pytree of two arrays: it prints, goes into checkpoints beside the params, or into a file of its own by
    ``np.savez(path, **scale._asdict())`` and ``Standardizer(**np.load(path))``.

    >>> scale = Standardizer.fit(np.array([[0.0, 5.0], [4.0, 5.0]]))    # of the training part alone
    >>> scale
    Standardizer(mean=array([2., 5.]), deviation=array([2., 1.]))
    >>> scale(np.array([6.0, 7.0])), scale.inverse(np.array([2.0, 2.0]))
    (array([2., 2.]), array([6., 7.]))
    """

    mean: np.ndarray  # [C]
    deviation: np.ndarray  # [C] 1 where a feature is constant

    @classmethod
    def fit(cls, values: np.ndarray) -> "Standardizer":
        """The mean and standard deviation of each feature, computed in float64.

        Args:
          values: [..., C], of the training part only; ``xs[mask]`` for padded sequences.

        Raises:
          ValueError: there are none, or one is not finite; the message says which.
        """
        values = np.asarray(values)
        if values.ndim < 2 or not values.size:
            raise ValueError(f"Standardizer.fit: values are {_checks.describe(values)}, expected [..., C], not empty")
        refuse_nonfinite("Standardizer.fit", "values", values)
        rows = values.reshape(-1, values.shape[-1])
        blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]  # views
        mean = np.sum([block.sum(0, dtype=np.float64) for block in blocks], axis=0) / len(rows)
        variance = np.sum([np.square(block - mean).sum(0) for block in blocks], axis=0) / len(rows)
        constant = np.all([(block == rows[0]).all(0) for block in blocks], axis=0)
        dtype = np.result_type(values.dtype, np.float32)
        return cls(mean.astype(dtype), np.where(constant, 1.0, np.sqrt(variance)).astype(dtype))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Standardised, [..., C]."""
        self._check("values", values)
        return (values - self.mean) / self.deviation

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """In the units of the data again, [..., C]."""
        self._check("inverse: values", values)
        return values * self.deviation + self.mean

    def columns(self, columns: int | list[int]) -> "Standardizer":
        """That of some features: ``scale.columns(targets).inverse(predictions)``."""
        return Standardizer(np.atleast_1d(self.mean[columns]), np.atleast_1d(self.deviation[columns]))

    def _check(self, name: str, values: np.ndarray) -> None:
        if np.shape(values)[-1:] != self.mean.shape:
            raise ValueError(
                f"Standardizer: {name} are {_checks.describe(values)}, but it was fitted to"
                f" {len(self.mean)} features on the last axis"
            )

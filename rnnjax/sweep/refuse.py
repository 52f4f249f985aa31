"""Batches that a sweep must not go on from."""

import numpy as np

from rnnjax.sweep.part import Metrics, Part
from rnnjax.sweep.stream import Row
from rnnjax.train.faults import Masked, nonfinite_entries


def refuse_batches(row: Row, part: Part, steps: Metrics, masked: Masked) -> None:
    """Refuse a batch that made every member diverge, and an epoch that none of them learns from.

    Args:
      row: K batches.
      part: S members after them.
      steps: their metrics [S, K].
      masked: looks at the epochs of this part.

    Raises:
      ValueError: there is such a batch, with entries that are not finite, or such an epoch.
    """
    first = part.num_steps - len(row.positions) + 1
    spoiled = int(part.diverged[0]) - first if (part.diverged == part.diverged[0]).all() else -1
    seen = [steps[name] for name in ("loss", "grad_norm") if name in steps]
    idle = (np.array(seen) == 0).all((0, 1)) if seen else [False] * len(row.positions)
    for number, position in enumerate(row.positions):
        if number == spoiled and (fault := nonfinite_entries(row.batch(number))):
            place = f"batch {position.taken} of epoch {position.epoch}"
            raise ValueError(f"run: at step {first + number} ({place}) all members diverged: {fault}")
        masked.see(position, row.batch(number), bool(idle[number]))

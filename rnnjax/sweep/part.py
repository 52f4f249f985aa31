"""Members that run together: their states, and what was measured of them so far."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data.epochs import START, Position
from rnnjax.train.step import NONFINITE_LEAF

Metrics = dict[str, np.ndarray]  # by name


@dataclasses.dataclass
class Part:
    """S members after some steps."""

    states: Any  # a pytree of arrays [S, ...]
    diverged: np.ndarray  # int [S] the first step with a metric that was not finite; 0: none
    position: Position = START  # of the next batch
    steps: list[int] = dataclasses.field(default_factory=list)  # after which each row was kept
    rows: list[Metrics] = dataclasses.field(default_factory=list)  # float [S] each

    @classmethod
    def new(cls, states: Any) -> "Part":
        """Before the first step."""
        return cls(states, np.zeros(len(jax.tree.leaves(states)[0]), int))

    @property
    def num_steps(self) -> int:
        """Steps whose metrics are known."""
        return self.steps[-1] if self.steps else 0

    def add(self, steps: Metrics, examined: Metrics) -> None:
        """Take in a row: metrics [S, K] of K steps, of which the means are kept, and [S] of an evaluation."""
        after = {name: values.astype(float) for name, values in examined.items()}
        bad = ~np.all([np.isfinite(values) for values in steps.values()], axis=0)  # [S, K]
        for values in after.values():
            bad[:, -1] |= ~np.isfinite(values)
        step = np.where(bad.any(1), self.num_steps + 1 + bad.argmax(1), 0)
        self.diverged = np.where(self.diverged > 0, self.diverged, step)
        with np.errstate(invalid="ignore"):  # inf - inf
            self.rows.append({name: values.mean(1) for name, values in steps.items()} | after)
        self.steps.append(self.num_steps + bad.shape[1])

    def fetched(self, count: int) -> "Part":
        """The first ``count`` members, off the devices."""
        states = jax.tree.map(lambda leaf: to_host(leaf)[:count], self.states)
        rows = [{name: values[:count] for name, values in row.items()} for row in self.rows]
        return dataclasses.replace(self, states=states, diverged=self.diverged[:count], rows=rows)


def joined(pieces: Sequence[Metrics]) -> Metrics:
    """Metrics [S, k] of several pieces, as float [S, K]."""
    names = [name for name in pieces[0] if name != NONFINITE_LEAF]
    return {name: np.concatenate([piece[name] for piece in pieces], 1, dtype=float) for name in names}


def to_host(leaf: Any) -> Any:
    """As NumPy's array; PRNG keys, which it does not have, as they are."""
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)

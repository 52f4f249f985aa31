"""What a sweep gives: a row of metrics and a trained state for each member."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnjax.sweep.groups import Member
from rnnjax.sweep.part import Part
from rnnjax.sweep.planning import Plan
from rnnjax.sweep.settings import Settings


class Trained(NamedTuple):
    """A member after its last step."""

    hparams: Settings  # its settings
    seed: int  # its key was jax.random.key(seed)
    metrics: dict[str, float]  # of the last row
    diverged: int | None  # the first step with a metric that was not finite
    state: Any  # NumPy arrays


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """The members of a sweep, M of them, and their R rows of metrics.

    >>> import jax.numpy as jnp, rnnjax as rx
    >>> def step(w, batch):
    ...     return w - 0.1 * (w - batch), {"loss": (w - batch) ** 2}
    >>> init = lambda hparams, key: jnp.array(hparams["w"])
    >>> results = rx.sweep.run(init, step, rx.sweep.grid(w=[0.0, 2.0]), [3.0], num_steps=20)
    >>> results.best("loss").hparams, [sorted(row) for row in results.rows()][0]
    ({'w': 2.0}, ['diverged', 'loss', 'loss_max', 'loss_min', 'seed', 'w'])
    """

    members: list[Member]
    steps: np.ndarray  # int [R] after which each row was
    curves: dict[str, np.ndarray]  # float [R, M] for each metric; NaN where a member has no such metric
    diverged: np.ndarray  # int [M] the first step with a metric that was not finite; 0: none
    plans: list[Plan]  # how each group ran, one for each combination of static settings
    stacks: list[tuple[Any, int]] = dataclasses.field(repr=False)  # of each member: states [S, ...] and its place there

    @classmethod
    def of(
        cls, members: list[Member], names: Sequence[str], parts: Sequence[tuple[list[int], Part]], plans: list[Plan]
    ) -> "Results":
        """Of the parts, each with the numbers of its members."""
        steps = np.array(parts[0][1].steps)
        curves = {name: np.full((len(steps), len(members)), np.nan) for name in names}
        diverged, stacks = np.zeros(len(members), int), [(None, 0)] * len(members)
        for numbers, part in parts:
            diverged[numbers] = part.diverged
            for name in part.rows[0]:
                curves[name][:, numbers] = [row[name] for row in part.rows]
            for place, number in enumerate(numbers):
                stacks[number] = part.states, place
        return cls(members, steps, curves, diverged, plans, stacks)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, number: int) -> Trained:
        """A member with its state."""
        member, (states, place) = self.members[number], self.stacks[number]
        metrics = {name: float(curve[-1, number]) for name, curve in self.curves.items()}
        state = jax.tree.map(lambda leaf: leaf[place, ...], states)
        return Trained(member.hparams, member.seed, metrics, int(self.diverged[number]) or None, state)

    def best(self, metric: str, largest: bool = False) -> Trained:
        """The member whose last row has the smallest metric, or the largest; none that diverged.

        Raises:
          ValueError: there is no such metric, or all members diverged.
        """
        values = np.where(self.diverged > 0, np.nan, self.curve(metric)[-1])
        if np.isnan(values).all():
            raise ValueError(f"Results.best: all {len(self)} members diverged")
        return self[int(np.nanargmax(values) if largest else np.nanargmin(values))]

    def curve(self, metric: str) -> np.ndarray:
        """A metric [R, M]; a name that is none is refused."""
        if metric not in self.curves:
            raise ValueError(f"Results: there is no metric {metric!r}; there are {', '.join(self.curves)}")
        return self.curves[metric]

    @property
    def settings(self) -> list[str]:
        """The names of the settings, the seed being the last."""
        return [*self.members[0].hparams, "seed"]

    def setting(self, name: str) -> list[Any]:
        """The values [M] of a setting, or of the seed; a name that is none is refused."""
        if name not in self.settings:
            raise ValueError(f"Results: there is no setting {name!r}; there are {', '.join(self.settings)}")
        return [member.seed if name == "seed" else member.hparams[name] for member in self.members]

    def rows(self) -> list[dict[str, Any]]:
        """A dict for each member: its settings, its seed, its metrics, and when it diverged.

        ``loss`` is the last value, ``loss_min`` and ``loss_max`` are the extremes of all rows; ``diverged`` is the
        step or None.
        """
        return [
            {**member.hparams, "seed": member.seed, **self._summary(number), "diverged": int(step) or None}
            for number, (member, step) in enumerate(zip(self.members, self.diverged, strict=True))
        ]

    def _summary(self, number: int) -> dict[str, float]:
        found = {}
        for name, curve in self.curves.items():
            values = curve[:, number]
            found |= {name: values[-1], f"{name}_min": np.fmin.reduce(values), f"{name}_max": np.fmax.reduce(values)}
        return {name: float(value) for name, value in found.items()}

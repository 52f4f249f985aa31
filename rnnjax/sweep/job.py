"""What a group of members does, looked at before anything is compiled."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax.sweep.groups import Group
from rnnjax.sweep.program import Place, advance, examine, start, strong
from rnnjax.sweep.watched import Watched
from rnnjax.train.step import NONFINITE_LEAF

OWN_COLUMNS, EXTREMES = ("seed", "diverged"), ("min", "max")  # of the results; of the columns of a metric


@dataclasses.dataclass(frozen=True)
class Job:
    """The members of a group, their functions, and the shapes of the state of one of them."""

    group: Group
    init: Callable[[Any, Any], Any]
    step: Callable[[Any, Any], Any]
    evaluate: Callable[[Any], Any] | None
    state: Any  # a pytree of jax.ShapeDtypeStruct
    unread: frozenset[str]  # settings that init did not look at

    @classmethod
    def of(cls, group: Group, init: Callable, step: Callable, evaluate: Callable | None) -> "Job":
        """Refuse settings that ``init`` does not take as traced."""
        traced, keys = jax.eval_shape(lambda: group.inputs([0]))
        names = list(group.members[0].hparams)
        unread = names.copy()

        def first(traced: Any, keys: Any) -> Any:
            hparams = {**dict(group.static), **{name: values[0] for name, values in traced.items()}}
            return strong(init(Watched(hparams, unread), keys[0]))

        try:
            state = jax.eval_shape(first, traced, keys)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise TypeError(
                "run: init needs the value of a setting that is a float or an array; these are traced, so that one"
                " program serves all of them; pass what is a part of the program as an int or a string"
            ) from error
        if not jax.tree.leaves(state):
            raise ValueError("run: the state that init gives holds no array, expected at least one")
        return cls(group, init, step, evaluate, state, frozenset(unread))

    def start(self, numbers: Sequence[int]) -> Any:
        """The first states [n, ...] of some of the members."""
        traced, keys = self.group.inputs(numbers)
        return start(traced, keys, init=self.init, static=self.group.static)

    def advance(self, states: Any, batches: Any, place: Place) -> tuple[Any, dict[str, jax.Array]]:
        """Steps over batches [K, ...]: the states after, and the metrics [members, K]; the states are donated."""
        return advance(states, batches, step=self.step, place=place)

    def examine(self, states: Any, place: Place) -> dict[str, jax.Array]:
        """The metrics [members] of ``evaluate``, if there is one."""
        return examine(states, evaluate=self.evaluate, place=place) if self.evaluate else {}

    def num_bytes(self, batches: Any, place: Place, num_members: int) -> int:
        """Of the compiled programs, by XLA's own account: states, batches and all in between, on all devices."""
        states = place.spec(self.state, num_members)
        programs = [advance.lower(states, batches, step=self.step, place=place)]
        if self.evaluate:
            programs.append(examine.lower(states, evaluate=self.evaluate, place=place))
        return len(place.devices) * max(_num_bytes(program.compile().memory_analysis()) for program in programs)

    def metric_names(self, batch: Any) -> list[str]:
        """Those of ``step`` and of ``evaluate``; refuses what is not metrics, and a state that changes its shape."""
        given = jax.eval_shape(self.step, self.state, batch)
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(f"run: step gave {_checks.outline(given)}, expected (state, metrics)")
        after, metrics = given
        _checks.same_tree("run", "the state that step gives", after, self.state, "the state that init gives")
        examined = jax.eval_shape(self.evaluate, self.state) if self.evaluate else {}
        for owner, found in (("step", metrics), ("evaluate", examined)):
            _check_metrics(owner, found)
        names = [name for name in (*metrics, *examined) if name != NONFINITE_LEAF]
        taken = {*self.group.members[0].hparams, *OWN_COLUMNS}
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"run: step and evaluate both have a metric {name!r}; rename one")
            for column in (name, *(f"{name}_{end}" for end in EXTREMES)):
                if column in taken:
                    raise ValueError(f"run: the metric {name!r} has a column {column!r} that is taken; rename it")
        return names


def _check_metrics(owner: str, metrics: Any) -> None:
    if not isinstance(metrics, dict):
        raise TypeError(f"run: the metrics of {owner} are a {type(metrics).__name__}, expected a dict of numbers")
    if owner == "step" and not metrics:
        raise ValueError("run: step gives no metrics, expected at least one, such as its loss")
    for name, value in metrics.items():
        if value.shape or not jnp.isdtype(value.dtype, ("real floating", "integral", "bool")):
            raise TypeError(f"run: the metric {name!r} of {owner} is {_checks.describe(value)}, expected a number")


def _num_bytes(analysis: Any) -> int:
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )

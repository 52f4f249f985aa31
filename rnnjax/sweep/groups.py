"""Members that one compiled program can run: those that differ only in numbers that are traced."""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import _checks
from rnnjax.sweep.settings import Settings, identity, is_array


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Static:
    """A part of a member's state that is no array: a cell, a size, a function. The program is compiled for it.

    ``step`` sees only state and batch; what else it has to know, such as a cell of so many units, goes into the
    state in this. Two of them are the same where their values are.

    Args:
      value: anything that compares and hashes.

    Raises:
      TypeError: it holds a traced array.

    >>> import jax, rnnjax as rx
    >>> state = (rx.sweep.Static(rx.LSTM(2)), jax.numpy.ones(3))
    >>> jax.tree.map(lambda leaf: 2 * leaf, state)[0].value
    LSTM(hidden_size=2)
    """

    value: Any

    def __post_init__(self):
        if _holds_tracer(self.value):
            raise TypeError(
                f"Static: value is a {type(self.value).__name__} with a traced setting in it: leave that in the state,"
                " and build what needs it in step"
            )


def _holds_tracer(value: Any) -> bool:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    return any(map(_holds_tracer, value)) if isinstance(value, list | tuple) else not _checks.is_concrete(value)


class Member(NamedTuple):
    """One run."""

    number: int  # its place among all members
    hparams: Settings  # its settings
    seed: int  # its key is jax.random.key(seed)


@dataclasses.dataclass(frozen=True)
class Group:
    """Members with the same static settings, N of them."""

    members: tuple[Member, ...]
    static: tuple[tuple[str, Any], ...]  # names and values that all share

    def __len__(self) -> int:
        return len(self.members)

    def inputs(self, numbers: Sequence[int]) -> tuple[dict[str, jax.Array], jax.Array]:
        """The traced settings, each [n, ...], and the keys [n] of some of the members."""
        chosen = [self.members[number] for number in numbers]
        static = dict(self.static)
        names = [name for name in chosen[0].hparams if name not in static]
        traced = {name: jnp.asarray(np.stack([member.hparams[name] for member in chosen])) for name in names}
        return traced, jnp.stack([jax.random.key(member.seed) for member in chosen])

    def __str__(self) -> str:
        return f"{len(self)} members" + (f" with {shown(dict(self.static))}" if self.static else "")


def make_members(settings: Sequence[Settings], seeds: Any) -> list[Member]:
    """Every setting with every seed; the seeds of one setting are neighbours."""
    try:
        listed = [operator.index(seed) for seed in seeds]
    except TypeError:
        raise TypeError(f"run: seeds is {seeds!r}, expected a list of integers, such as range(8)") from None
    if not listed:
        raise ValueError("run: seeds is empty, expected at least one integer")
    if len(set(listed)) < len(listed):
        raise ValueError(f"run: seeds is {seeds!r}, expected no seed twice")
    pairs = ((hparams, seed) for hparams in settings for seed in listed)
    return [Member(number, hparams, seed) for number, (hparams, seed) in enumerate(pairs)]


def make_groups(members: Sequence[Member]) -> list[Group]:
    """Members by their static settings, and by the shapes of those that are arrays."""
    found: dict[Any, list[Member]] = {}
    for member in members:
        found.setdefault(tuple(_kind(name, value) for name, value in member.hparams.items()), []).append(member)
    return [
        Group(tuple(group), tuple((name, value) for name, value in group[0].hparams.items() if not is_traced(value)))
        for group in found.values()
    ]


def is_traced(value: Any) -> bool:
    """Whether a setting is a value in the program, not a part of it."""
    return isinstance(value, float) or is_array(value)


def shown(hparams: Settings) -> str:
    """Settings as a person reads them.

    >>> shown({"lr": 0.1, "activation": jax.numpy.tanh})
    'lr=0.1, activation=tanh'
    """
    return ", ".join(f"{name}={label(value)}" for name, value in hparams.items())


def label(value: Any) -> str:
    """A value of a setting as a person reads it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, functools.partial):
        arguments = [*map(label, value.args), *(f"{name}={label(given)}" for name, given in value.keywords.items())]
        return f"{label(value.func)}({', '.join(arguments)})"
    return getattr(value, "__name__", None) or repr(value)


def _kind(name: str, value: Any) -> Any:
    if is_array(value):
        return name, np.shape(value), str(value.dtype)
    return (name, float) if isinstance(value, float) else (name, identity(name, value))

"""Which settings to try: lists of dicts, each the ``hparams`` of a member."""

import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from rnnjax import _checks
from rnnjax._types import Key

Settings = dict[str, Any]


def grid(**values: Iterable[Any]) -> list[Settings]:
    """All combinations of some values.

    Args:
      **values: for each name the values to try.

    Returns:
      The settings; those of the last name change fastest.

    Raises:
      TypeError, ValueError: values that are no list, or none at all.

    >>> grid(lr=[0.1, 0.01], units=[8, 16])[:3]
    [{'lr': 0.1, 'units': 8}, {'lr': 0.1, 'units': 16}, {'lr': 0.01, 'units': 8}]
    """
    lists = {name: _listed(name, choices) for name, choices in values.items()}
    return [dict(zip(lists, combination, strict=True)) for combination in itertools.product(*lists.values())]


def random(key: Key, num: int, /, **distributions: Any) -> list[Settings]:
    """Settings drawn at random. More of them begin with the same ones, and a name added last leaves the others alone.

    Args:
      key: one PRNG key.
      num: how many.
      **distributions: for each name ``log_uniform(low, high)``, ``uniform(low, high)``, ``choice(*values)``, any other
        function of a key, or a value that all share (a function or a class by ``choice`` of it alone).

    Returns:
      The settings.

    Raises:
      TypeError, ValueError: not a key, or not a positive number of settings.

    >>> import jax
    >>> drawn = random(jax.random.key(0), 3, lr=log_uniform(1e-4, 1e-1), units=choice(8, 16), leak=0.5)
    >>> len(drawn), sorted(drawn[0])
    (3, ['leak', 'lr', 'units'])

    Source: Bergstra and Bengio, Journal of Machine Learning Research 13 (2012).
    """
    _checks.is_key("random", key)
    _checks.positive_int("random", "num", num)

    def draw(number: int) -> Settings:
        keys = (jax.random.fold_in(jax.random.fold_in(key, number), place) for place in itertools.count())
        return {name: _drawn(name, of, k) for (name, of), k in zip(distributions.items(), keys, strict=False)}

    return [draw(number) for number in range(num)]


def _drawn(name: str, of: Any, key: Key) -> Any:
    if not callable(of):
        return of
    try:
        if not isinstance(of, type):
            return of(key)
    except TypeError:
        pass
    shown = getattr(of, "__name__", repr(of))
    raise TypeError(f"random: {name} is {shown}, which takes no key; to share it give choice({shown})")


def uniform(low: float, high: float) -> Callable[[Key], float]:
    """A number between ``low`` and ``high``, each as likely as any other; for ``random``.

    >>> import jax
    >>> 2.0 <= uniform(2.0, 3.0)(jax.random.key(0)) <= 3.0
    True
    """
    _ordered("uniform", low, high)
    return lambda key: min(low + (high - low) * float(jax.random.uniform(key)), high)


def log_uniform(low: float, high: float) -> Callable[[Key], float]:
    """A number between ``low`` and ``high`` whose logarithm is uniform: learning rates, decays; for ``random``.

    >>> import jax
    >>> 1e-4 <= log_uniform(1e-4, 1e-1)(jax.random.key(0)) <= 1e-1
    True
    """
    _ordered("log_uniform", low, high)
    if not low > 0:
        raise ValueError(f"log_uniform: low is {low}, expected above 0")
    exponent = uniform(0.0, 1.0)
    return lambda key: min(max(low * math.pow(high / low, exponent(key)), low), high)


def choice(*values: Any) -> Callable[[Key], Any]:
    """One of some values, each as likely as any other; for ``random``.

    >>> import jax
    >>> choice(8, 16)(jax.random.key(0)) in (8, 16)
    True
    """
    if not values:
        raise ValueError("choice: got no values, expected at least one")
    return lambda key: values[int(jax.random.randint(key, (), 0, len(values)))]


def checked(settings: Any) -> list[Settings]:
    """Settings as ``run`` takes them: alike in their names, no two the same, numbers as Python's own.

    A name that has a float among its values has floats only, so that 0 beside 0.1 is not a program of its own.
    """
    if not isinstance(settings, Sequence) or isinstance(settings, str):
        raise TypeError(f"run: settings is a {type(settings).__name__}, expected a list of dicts, such as grid(...)")
    if not settings:
        raise ValueError("run: settings is empty, expected at least one dict")
    for number, each in enumerate(settings):
        if not isinstance(each, dict) or not all(isinstance(name, str) for name in each):
            raise TypeError(f"run: settings[{number}] is {each!r}, expected a dict with names for keys")
        if own := sorted({"seed", "diverged"} & each.keys()):
            raise ValueError(
                f"run: settings[{number}] has a setting {own[0]!r}, which results have of themselves; rename it"
            )
        if different := sorted(each.keys() ^ settings[0].keys()):
            lacking, having = (0, number) if different[0] in each else (number, 0)
            raise ValueError(f"run: settings[{lacking}] has no {different[0]!r}, but settings[{having}] has one")
    plain = [{name: _plain(each[name]) for name in settings[0]} for each in settings]
    floats = {name for each in plain for name, value in each.items() if isinstance(value, float)}
    plain = [{n: float(v) if n in floats and type(v) is int else v for n, v in each.items()} for each in plain]
    _no_two_the_same(plain)
    return plain


def _no_two_the_same(settings: Sequence[Settings]) -> None:
    seen: dict[Any, int] = {}
    for number, each in enumerate(settings):
        first = seen.setdefault(tuple(identity(name, value) for name, value in each.items()), number)
        if first != number:
            raise ValueError(f"run: settings[{first}] and settings[{number}] are the same, {each}; repeat with seeds=")


def identity(name: str, value: Any) -> Any:
    """What tells a value from others: 1, 1.0 and True are equal, but make different programs."""
    if is_array(value):
        return np.shape(value), str(value.dtype), np.asarray(value).tobytes()
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"run: the setting {name} is {value!r}, which cannot be hashed; give a tuple, or an array to be traced"
        ) from None
    return type(value), value


def is_array(value: Any) -> bool:
    """Whether a setting is an array."""
    return isinstance(value, np.ndarray | jax.Array)


def _listed(name: str, choices: Any) -> list[Any]:
    if isinstance(choices, str | dict) or not isinstance(choices, Iterable):
        raise TypeError(f"grid: {name} is {choices!r}, expected a list of values")
    if not (listed := [_plain(value) for value in choices]):
        raise ValueError(f"grid: {name} is empty, expected at least one value")
    return listed


def _plain(value: Any) -> Any:
    """NumPy's and JAX's numbers as Python's."""
    is_number = isinstance(value, np.generic) or (is_array(value) and not value.shape)
    return value.item() if is_number else value


def _ordered(owner: str, low: float, high: float) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise TypeError(f"{owner}: {name} is {value!r}, expected a number")
    if not low <= high:
        raise ValueError(f"{owner}: low is {low}, above high={high}")

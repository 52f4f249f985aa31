"""The activation functions of ONNX's recurrent operators, by name; those with numbers of their own are dataclasses."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import Settings
from rnnjax.interop._convert import refuse

Activation = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Affine(Settings):
    """``alpha * x + beta``."""

    alpha: float
    beta: float

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.alpha * x + self.beta


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class LeakyRelu(Settings):
    """``x`` where it is positive, else ``alpha * x``."""

    alpha: float = 0.01

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.leaky_relu(x, self.alpha)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ThresholdedRelu(Settings):
    """``x`` where it is greater than ``alpha``, else zero.

    Differs from: the text of ONNX's recurrent operators lets x = alpha pass; its ThresholdedRelu and onnxruntime stop
    it.
    """

    alpha: float

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > self.alpha, x, 0)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ScaledTanh(Settings):
    """``alpha * tanh(beta * x)``."""

    alpha: float
    beta: float

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.alpha * jnp.tanh(self.beta * x)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class HardSigmoid(Settings):
    """``alpha * x + beta``, kept between 0 and 1."""

    alpha: float = 0.2
    beta: float = 0.5

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip(self.alpha * x + self.beta, 0, 1)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Elu(Settings):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``."""

    alpha: float = 1.0

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.elu(x, self.alpha)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Clipped(Settings):
    """An activation of x kept between ``-limit`` and ``limit``: the ``clip`` of ONNX's recurrent operators.

    Args:
      fn: the activation.
      limit: greater than 0.

    Raises:
      TypeError, ValueError: fn is not a function, limit not a positive number.

    >>> import jax.numpy as jnp
    >>> from rnnjax.interop import onnx
    >>> onnx.Clipped(onnx.Affine(2.0, 1.0), 3.0)(jnp.array([-9.0, 1.0, 9.0]))
    Array([-5.,  3.,  7.], dtype=float32)
    """

    fn: Activation
    limit: float

    def __post_init__(self):
        _checks.are_functions("Clipped", fn=self.fn)
        _checks.within("Clipped", "limit", self.limit, 0.0, math.inf, low_included=False)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fn(jnp.clip(x, -self.limit, self.limit))


_PLAIN = {
    "Relu": jax.nn.relu,
    "Tanh": jnp.tanh,
    "Sigmoid": jax.nn.sigmoid,
    "Softsign": jax.nn.soft_sign,
    "Softplus": jax.nn.softplus,
}
_WITH_NUMBERS = {kind.__name__: kind for kind in (Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu)}
_EQUALS = ((jax.nn.leaky_relu, LeakyRelu()), (jax.nn.elu, Elu()), (jax.nn.hard_sigmoid, HardSigmoid(1 / 6, 0.5)))


def read_activations(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> tuple[Activation, ...]:
    """The functions of these names, capitals or not; numbers go, in order, to those that take one."""
    numbers = {"alpha": list(alphas), "beta": list(betas)}
    found = tuple(_read(name, numbers) for name in names)
    for kind, left in numbers.items():
        if left:
            raise ValueError(
                f"from_onnx: activation_{kind} has {len(left)} values more than the activations {', '.join(names)} take"
            )
    return found


def _read(name: str, numbers: dict[str, list[float]]) -> Activation:
    own = next((own for own in (*_PLAIN, *_WITH_NUMBERS) if own.lower() == name.lower()), None)
    if own is None:
        raise ValueError(f"from_onnx: activation {name!r} is not one of {', '.join(_PLAIN | _WITH_NUMBERS)}")
    if own in _PLAIN:
        return _PLAIN[own]
    given = {}
    for field in dataclasses.fields(_WITH_NUMBERS[own]):
        if numbers[field.name]:
            given[field.name] = numbers[field.name].pop(0)
        elif field.default is dataclasses.MISSING:
            raise ValueError(
                f"from_onnx: activation {name} lacks its activation_{field.name}, for which the specification and"
                " onnxruntime have no common default"
            )
    return _WITH_NUMBERS[own](**given)


def write_activation(owner: Any, fn: Any) -> tuple[str, dict[str, float]]:
    """The name of ``fn`` in ONNX, and the numbers that go with it, for a message about ``owner``."""
    for name, plain in _PLAIN.items():
        if fn is plain:
            return name, {}
    fn = next((equal for own, equal in _EQUALS if fn is own), fn)
    if type(fn) in _WITH_NUMBERS.values():
        return type(fn).__name__, dataclasses.asdict(fn)
    shown = getattr(fn, "__name__", None) or repr(fn)
    raise refuse("to_onnx", owner, f"ONNX has no activation {shown}, only {', '.join(_PLAIN | _WITH_NUMBERS)}")

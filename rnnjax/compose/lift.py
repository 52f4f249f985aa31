"""Feed-forward Flax modules as layers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax._types import Carry, InputSize, Key, Params, Settings, input_spec


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Lift(Settings):
    """A feed-forward Flax module as a layer without carry, applied to every step alike.

    Args:
      module: a ``flax.linen`` module, or a function ``rngs -> nnx.Module``. Params are the module's own: the
        ``"params"`` collection of linen, a nested dict of the ``nnx.Param`` values.
      input_ndim: the axes of one unbatched x; None: 0 (tokens) for ``Embed``, 1 (features) for others.

    Raises:
      TypeError: an NNX instance, which holds arrays already; or neither of the two.
      ValueError: at ``init``: the module has state other than parameters (such as BatchNorm's statistics), or does
        not take the input; at ``step``: it does not take input or params, or draws random numbers without a key.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> import flax.linen as nn
    >>> from flax import nnx
    >>> head = rx.Lift(nn.Dense(2))
    >>> params = head.init(jax.random.key(0), input_size=5)
    >>> rx.unroll(head, params, jnp.ones((7, 3, 5)))[1].shape
    (7, 3, 2)
    >>> head = rx.Lift(lambda rngs: nnx.Linear(5, 2, rngs=rngs))
    >>> jax.tree.map(jnp.shape, head.init(jax.random.key(0), input_size=5))
    {'bias': (2,), 'kernel': (5, 2)}
    """

    module: Any
    input_ndim: Any = None

    def __post_init__(self):
        adapter = _adapter(self.module)
        if self.input_ndim is None:
            object.__setattr__(self, "input_ndim", 0 if adapter.is_embedding(self.module) else 1)

    def __repr__(self) -> str:
        return f"Lift({_name(self.module)})"

    def __hash__(self) -> int:
        """By name, as a module with a list among its settings, such as Sequential, has no hash of its own."""
        return hash((type(self), _name(self.module)))

    def init(self, key: Key, input_size: InputSize) -> Params:
        """Draw the module's params."""
        spec = input_spec(input_size)
        try:
            params, state = _adapter(self.module).init(self.module, key, jax.tree.map(_zeros, spec))
        except (TypeError, ValueError) as error:
            shown = jax.tree.map(describe, spec)
            hint = "; tokens are input_size=jax.ShapeDtypeStruct((), jnp.int32)" if self.input_ndim == 0 else ""
            raise ValueError(
                f"Lift.init: {_name(self.module)} does not take an input of {shown}{hint}: {error}"
            ) from error
        if state:
            raise ValueError(
                f"Lift.init: {_name(self.module)} has state other than parameters ({', '.join(state)}), which a layer"
                " cannot hold; use modules without it (LayerNorm for BatchNorm, rx.Dropout for nnx.Dropout)"
            )
        return params

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> tuple[()]:
        """No carry."""
        del params, batch_shape
        return ()

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Apply the module."""
        from flax.errors import FlaxError, InvalidRngError

        try:
            return carry, _adapter(self.module).apply(self.module, params, x, key)
        except InvalidRngError as error:
            raise ValueError(
                f"{self}: the module draws random numbers, but there is no key; give unroll a key, or use rx.Dropout,"
                " which is off without one"
            ) from error
        except (FlaxError, TypeError, ValueError) as error:
            given = jax.tree.map(describe, x), jax.tree.map(describe, params)
            raise ValueError(
                f"{self}: the module does not take x {given[0]} with params {given[1]}: {error}"
            ) from error


def _zeros(spec: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros(spec.shape, spec.dtype)


def _name(module: Any) -> str:
    """A module as the call that makes it, sizes only: ``Dense(features=2)``."""
    if not dataclasses.is_dataclass(module):
        return getattr(module, "__name__", None) or type(module).__name__
    fields = [field for field in dataclasses.fields(module) if field.default is dataclasses.MISSING]
    return f"{type(module).__name__}({', '.join(f'{f.name}={_show(getattr(module, f.name))}' for f in fields)})"


def _show(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_show, value))}]"
    return _name(value) if callable(value) else repr(value)


class _Linen:
    """How a linen module is initialised and applied."""

    @staticmethod
    def is_embedding(module) -> bool:
        from flax import linen

        return isinstance(module, linen.Embed)

    @staticmethod
    def init(module, key, x):
        rngs = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        variables = dict(module.init(rngs, x))
        return variables.pop("params", {}), sorted(variables)

    @staticmethod
    def apply(module, params, x, key):
        return module.apply({"params": params}, x, rngs=None if key is None else {"dropout": key})


class _NNX:
    """How a function ``rngs -> nnx.Module`` is initialised and applied."""

    @staticmethod
    def is_embedding(make) -> bool:
        from flax import nnx

        return isinstance(nnx.eval_shape(lambda: _made(make)), nnx.Embed)

    @staticmethod
    def init(make, key, x):
        from flax import nnx

        graph, params, rest = nnx.split(_made(make, key), nnx.Param, ...)
        state = sorted({type(variable).__name__ for _, variable in nnx.to_flat_state(rest)})
        if not state:
            jax.eval_shape(lambda: nnx.merge(graph, params)(x))
        return nnx.to_pure_dict(params), state

    @staticmethod
    def apply(make, params, x, key):
        del key
        from flax import nnx

        graph, state = nnx.split(nnx.eval_shape(lambda: _made(make)))
        own = jax.tree.map(jnp.shape, nnx.to_pure_dict(state))
        if jax.tree.map(jnp.shape, params) != own:
            raise ValueError(f"its own have the shapes {own}")
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x)


def _made(make: Any, key: Any = 0) -> Any:
    """The module of a function ``rngs -> nnx.Module``."""
    from flax import nnx

    try:
        module = make(nnx.Rngs(key))
    except (TypeError, ValueError) as error:
        raise TypeError(f"Lift: {_name(make)}(rngs) fails, expected it to make an nnx.Module: {error}") from error
    if not isinstance(module, nnx.Module):
        raise TypeError(f"Lift: {_name(make)}(rngs) gives a {type(module).__name__}, expected an nnx.Module")
    return module


def _adapter(module: Any) -> type[_Linen] | type[_NNX]:
    from flax import linen, nnx

    if isinstance(module, linen.Module):
        return _Linen
    if isinstance(module, nnx.Module):
        name = type(module).__name__
        raise TypeError(
            f"Lift: module is an instance of nnx.{name}, which already holds arrays; give the function that makes"
            f" it: rx.Lift(lambda rngs: nnx.{name}(..., rngs=rngs))"
        )
    if isinstance(module, type) or not callable(module):
        raise TypeError(f"Lift: module is {module!r}, expected a flax.linen module or a function rngs -> nnx.Module")
    return _NNX

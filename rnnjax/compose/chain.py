"""Layers one after the other."""

import dataclasses
from typing import Any

import jax

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, Settings, input_size_of, input_spec
from rnnjax.recurrence import protocol
from rnnjax.recurrence.timeline import Timeline
from rnnjax.recurrence.unroll import output_spec, unroll_bound


@dataclasses.dataclass(frozen=True, repr=False, eq=False, init=False)
class Chain(Settings):
    """Layers one after the other: a deep recurrent network, again a cell.

    ::

        y^0 = x;  (carry_i, y^{i+1}) = layer_i.step(params_i, carry_i, y^i);  y = y^n

    Params and carry are tuples, one entry a layer. Unrolled layer by layer, stepped step by step, with the same
    numbers; a layer that looks ahead makes the chain look ahead. Layer i draws from ``fold_in(key, i)``.

    Args:
      *layers: cells, at least one.

    Raises:
      TypeError: an argument is not a cell; the message says which.
      ValueError: there is none.

    >>> import jax, jax.numpy as jnp, flax.linen as nn, rnnjax as rx
    >>> model = rx.Chain(rx.Lift(nn.Embed(11, 3)), rx.LSTM(2), rx.Dropout(0.5), rx.Lift(nn.Dense(11)))
    >>> params = model.init(jax.random.key(0), jax.ShapeDtypeStruct((), jnp.int32))
    >>> tokens = jnp.zeros((7, 3), jnp.int32)                  # T=7, B=3
    >>> carry, logits = rx.unroll(model, params, tokens, key=jax.random.key(1))
    >>> logits.shape
    (7, 3, 11)
    """

    layers: tuple[Any, ...]

    def __init__(self, *layers: Any):
        if not layers:
            raise ValueError("Chain: got no layers, expected at least one cell")
        for index, layer in enumerate(layers):
            _checks.is_cell("Chain", f"layer {index}", layer)
        object.__setattr__(self, "layers", layers)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.layers))})"

    @property
    def input_ndim(self) -> Any:
        """As the first layer."""
        return protocol.input_ndim(self.layers[0])

    def input_size(self, params: Params) -> int | None:
        """As the first layer; every layer looks at its params."""
        self._check_count("params", params)
        sizes = [protocol.input_size(layer, part) for layer, part in zip(self.layers, params, strict=True)]
        return sizes[0]

    def init(self, key: Key, input_size: InputSize) -> Params:
        """Draw the params of each layer for what the layer before it gives."""
        all_params = []
        for index, layer in enumerate(self.layers):
            params = layer.init(jax.random.fold_in(key, index), input_size)
            all_params.append(params)
            if index + 1 < len(self.layers):
                input_size = input_size_of(output_spec(layer, params, input_spec(input_size)))
        return tuple(all_params)

    def bind(self, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Params:
        """Bind each layer."""
        return tuple(
            protocol.bound(layer, part, batch_shape, protocol.fold(key, index))
            for index, (layer, part) in enumerate(zip(self.layers, params, strict=True))
        )

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
        """The initial carry of each layer."""
        return tuple(layer.carry(part, batch_shape) for layer, part in zip(self.layers, params, strict=True))

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """Step each layer in turn."""
        after = []
        for index, layer in enumerate(self.layers):
            layer_carry, x = protocol.step(layer, params[index], carry[index], x, protocol.fold(key, index))
            after.append(layer_carry)
        return tuple(after), x

    def unroll(self, params: Params, xs: Any, carry: Carry, timeline: Timeline) -> tuple[Carry, Any]:
        """Unroll each layer in turn."""
        after = []
        for index, layer in enumerate(self.layers):
            layer_carry, xs = unroll_bound(layer, params[index], xs, carry[index], timeline.part(index))
            after.append(layer_carry)
        return tuple(after), xs

    def _check_count(self, name: str, parts: Any) -> None:
        if not isinstance(parts, tuple) or len(parts) != len(self.layers):
            found = f"{len(parts)} entries" if isinstance(parts, tuple) else f"a {type(parts).__name__}"
            raise ValueError(f"{self}: {name} are {found}, expected a tuple of {len(self.layers)}, one for each layer")

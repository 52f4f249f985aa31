"""Whole models as StableHLO, by ``jax.export``: they run wherever JAX or another StableHLO runtime does."""

from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from rnnjax import _checks
from rnnjax._types import InputSize, Params
from rnnjax.interop._carries import carry_names
from rnnjax.recurrence import protocol
from rnnjax.recurrence.reduce import length_mask
from rnnjax.recurrence.unroll import unroll

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def to_stablehlo(
    model: Any,
    params: Params,
    *,
    input_size: InputSize | None = None,
    lengths: bool = False,
    carries: bool = False,
    platforms: tuple[str, ...] = ("cpu",),
) -> jax.export.Exported:
    """A model in evaluation, with its params, as one StableHLO function for any batch and any number of steps.

    It takes and gives dicts of arrays, of the same names as the inputs and outputs of ``to_onnx``::

        call({"xs": ..., "lengths": ..., "carry_in.h": ..., ...}) -> {"ys": ..., "carry_out.h": ..., ...}

    A process that has JAX, but not rnnjax, runs it::

        Path("model.stablehlo").write_bytes(to_stablehlo(model, params).serialize())
        call = jax.export.deserialize(Path("model.stablehlo").read_bytes()).call

    Args:
      model: any cell.
      params: its params.
      input_size: as of ``cell.init``, where params do not tell it; tokens and features need none.
      lengths: whether the function takes int32 [B], the valid steps of each sequence; 0 too.
      carries: whether it takes and gives carries; else sequences start from the model's own initial carry.
      platforms: what it is to run on: "cpu", "cuda", "rocm", "tpu".

    Returns:
      The exported function. T and B are symbolic, at least 1; ``xs`` [T, B, ...].

    Raises:
      TypeError, ValueError: not a cell; params of another; lengths or carries not a bool; an unknown input size.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, rnnjax as rx
    >>> from rnnjax.interop.stablehlo import to_stablehlo
    >>> model = rx.Chain(rx.Lift(nn.Embed(11, 5)), rx.LSTM(2))
    >>> params = model.init(jax.random.key(0), jax.ShapeDtypeStruct((), jnp.int32))
    >>> call = jax.export.deserialize(to_stablehlo(model, params, lengths=True).serialize()).call
    >>> call({"xs": jnp.zeros((7, 3), jnp.int32), "lengths": jnp.array([7, 4, 0], jnp.int32)})["ys"].shape
    (7, 3, 2)
    """
    owner = "to_stablehlo"
    _checks.is_cell(owner, "model", model)
    if isinstance(platforms, str) or not platforms or not set(platforms) <= set(_PLATFORMS):
        raise ValueError(f"{owner}: platforms is {platforms!r}, expected a tuple of {', '.join(map(repr, _PLATFORMS))}")
    _checks.is_bool(owner, "lengths", lengths)
    _checks.is_bool(owner, "carries", carries)
    T, B = jax.export.symbolic_shape("T, B")
    own_carry = jax.eval_shape(lambda: model.carry(protocol.bind(model, params), ()))
    names_in, names_out = (jax.tree.leaves(carry_names(way, own_carry)) for way in ("carry_in", "carry_out"))
    structure = jax.tree.structure(own_carry)

    def run(inputs):
        xs = inputs["xs"]
        mask = length_mask(inputs["lengths"], jax.tree.leaves(xs)[0].shape[0]) if lengths else None
        carry = structure.unflatten(inputs[name] for name in names_in) if carries else None
        carry, ys = unroll(model, params, xs, carry, mask=mask)
        return {"ys": ys} | (dict(zip(names_out, jax.tree.leaves(carry), strict=True)) if carries else {})

    x = _one_input(owner, model, params, input_size)
    batched = lambda leaf, *axes: jax.ShapeDtypeStruct((*axes, *leaf.shape), leaf.dtype)
    inputs = {"xs": jax.tree.map(lambda leaf: batched(leaf, T, B), x)}
    if lengths:
        inputs["lengths"] = jax.ShapeDtypeStruct((B,), jnp.int32)
    if carries:
        inputs |= {name: batched(leaf, B) for name, leaf in zip(names_in, jax.tree.leaves(own_carry), strict=True)}
    return jax.export.export(jax.jit(run), platforms=platforms)(inputs)


def _one_input(owner: str, model: Any, params: Params, input_size: InputSize | None) -> Any:
    """One unbatched x."""
    if input_size is None and protocol.input_ndim(model) == 0:
        return jax.ShapeDtypeStruct((), jnp.int32)
    if input_size is None:
        input_size = protocol.input_size(model, params)
    if input_size is None:
        raise ValueError(f"{owner}: params of {model} do not tell the size of its input; give input_size")
    _checks.input_size(owner, input_size)
    if isinstance(input_size, int):
        return jax.ShapeDtypeStruct((input_size,), jnp.result_type(*jax.tree.leaves(params)))
    return input_size

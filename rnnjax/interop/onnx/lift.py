"""Feed-forward Flax modules, linen and NNX, as ONNX operators."""

from typing import Any

import jax
import numpy as np

from rnnjax.interop._convert import expect_keys, refuse
from rnnjax.interop.onnx.activations import write_activation
from rnnjax.interop.onnx.graph import Graph


def write_module(g: Graph, module: Any, params: Any, x: str) -> str:
    """The output of ``Lift(module)``."""
    from flax import linen, nnx

    if not isinstance(module, linen.Module):  # a function rngs -> nnx.Module
        module = nnx.eval_shape(lambda: module(nnx.Rngs(0)))
    return _write(g, module, params, x)


def _write(g: Graph, module: Any, params: Any, x: str) -> str:
    """The output of a module, or of a function inside a Sequential."""
    from flax import linen, nnx

    kinds = {
        linen.Dense: _dense,
        nnx.Linear: _dense,
        linen.Embed: _embed,
        nnx.Embed: _embed,
        linen.LayerNorm: _layer_norm,
        nnx.LayerNorm: _layer_norm,
        linen.Sequential: _sequential,
        nnx.Sequential: _sequential,
    }
    if not isinstance(module, linen.Module | nnx.Module):
        return _function(g, module, x)
    name = type(module).__name__
    if type(module) not in kinds:
        raise refuse(
            "to_onnx",
            f"Lift of {name}",
            "of Flax modules only Dense, Linear, Embed, LayerNorm and Sequential are written as ONNX operators",
        )
    _check_settings(g, module)
    return kinds[type(module)](g, module, params, x)


def _check_settings(g: Graph, module: Any) -> None:
    """Refuse settings with which a module computes something else than its operator."""
    from flax.linen import dtypes as linen_dtypes
    from flax.nnx.nn import dtypes as nnx_dtypes

    usual = {
        "dtype": (None, g.dtype),
        "promote_dtype": (linen_dtypes.promote_dtype, nnx_dtypes.promote_dtype),
        "dot_general": (None, jax.lax.dot_general),
        "dot_general_cls": (None,),
        "preferred_element_type": (None,),
        "reduction_axes": (-1,),
        "feature_axes": (-1,),
        "axis_name": (None,),
    }
    for name, values in usual.items():
        value = getattr(module, name, values[0])
        if value not in values:
            shown, expected = (getattr(each, "__name__", each) for each in (value, values[-1]))
            lifted_module = f"Lift of {type(module).__name__} with {name}={shown}"
            raise refuse("to_onnx", lifted_module, f"its operator has {name}={expected}")


def _weights(g: Graph, module: Any, params: Any, *names: str) -> list[str]:
    """The module's params, which have these names."""
    expect_keys("to_onnx", f"params of Lift of {type(module).__name__}", params, names)
    return [g.constant(params[name]) for name in names]


def _dense(g: Graph, module: Any, params: Any, x: str) -> str:
    kernel, *bias = _weights(g, module, params, "kernel", *["bias"] * module.use_bias)
    y = g.op("MatMul", x, kernel)
    return g.op("Add", y, *bias) if bias else y


def _embed(g: Graph, module: Any, params: Any, x: str) -> str:
    return g.op("Gather", *_weights(g, module, params, "embedding"), x)


def _layer_norm(g: Graph, module: Any, params: Any, x: str) -> str:
    weights = _weights(g, module, params, *["scale"] * module.use_scale, *["bias"] * module.use_bias)
    scale = [] if module.use_scale else [g.constant(np.ones(1, g.dtype))]
    return g.op("LayerNormalization", x, *scale, *weights, axis=-1, epsilon=module.epsilon)


def _sequential(g: Graph, module: Any, params: Any, x: str) -> str:
    own = params.get("layers", params)  # NNX has them under "layers" by number, linen by name
    for index, layer in enumerate(module.layers):
        x = _write(g, layer, own.get(index, own.get(f"layers_{index}", {})), x)
    return x


def _function(g: Graph, fn: Any, x: str) -> str:
    if fn is jax.nn.silu:
        return g.op("Mul", x, g.op("Sigmoid", x))
    if fn is jax.nn.gelu:  # by default the approximation
        return g.op("Gelu", x, approximate="tanh")
    if fn in (jax.nn.softmax, jax.nn.log_softmax):
        return g.op("Softmax" if fn is jax.nn.softmax else "LogSoftmax", x, axis=-1)
    name, numbers = write_activation("Lift of Sequential", fn)
    if name in ("Affine", "ScaledTanh"):
        raise refuse("to_onnx", "Lift of Sequential", f"ONNX has {name} in recurrent operators only")
    return g.op(name, x, **numbers)

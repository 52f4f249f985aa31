"""A peer written in JAX."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.timing import Contender, compiled_within_memory


def same(params: Any) -> Any:
    """The conversion of what needs none."""
    return params


@dataclasses.dataclass(frozen=True)
class JaxPeer:
    """A layer as a function of its weights."""

    apply: Callable[[Any, jax.Array], jax.Array]  # (weights, xs) -> ys
    convert: Callable[[Any], Any] = same  # rnnjax's params to the layer's weights; affine, and so are its gradients'
    reference: Callable[[Any, jax.Array], jax.Array] | None = None
    batch_major: bool = False  # apply takes [B, T, I] and gives [B, T, H]: then it is given that, outside the timing

    def contender(self, variant: str, pass_name: str, params: Any, xs: jax.Array) -> Contender:
        """Compile one pass."""
        turn = (lambda a: jnp.swapaxes(a, 0, 1)) if self.batch_major else same
        weights = jax.jit(self.convert)(params)
        fn = self.apply if pass_name == "forward" else training(self.apply)
        contender = compiled_within_memory(variant, fn, weights, turn(xs))
        if pass_name == "forward":
            contender.result = turn(contender.result)
        else:
            gradients, of_xs = contender.result
            contender.result = pull_back(self.convert, params, gradients), turn(of_xs)
        return contender


def training(apply: Callable[[Any, jax.Array], jax.Array]) -> Callable:
    """The gradient of the sum of squares of the outputs, for weights and inputs."""
    return jax.grad(lambda weights, xs: jnp.square(apply(weights, xs)).sum(), argnums=(0, 1))


def pull_back(convert: Callable, params: Any, gradients: Any) -> Any:
    """Gradients for ``convert(params)`` as gradients for ``params``."""
    return jax.jit(lambda params, gradients: jax.vjp(convert, params)[1](gradients)[0])(params, gradients)

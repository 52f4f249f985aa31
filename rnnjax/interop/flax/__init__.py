"""Weights from and to Flax's cells, linen and NNX."""

from rnnjax.interop.flax.linen import from_linen, to_linen
from rnnjax.interop.flax.nnx import from_nnx, to_nnx

__all__ = ["from_linen", "from_nnx", "to_linen", "to_nnx"]

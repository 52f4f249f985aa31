"""Modules for Flax users, in the place of Flax's own: ``rnnjax.flax.nnx`` and ``rnnjax.flax.linen``."""

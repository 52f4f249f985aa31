"""What is measured: cells, sizes, passes, and the random numbers they are measured on."""

from typing import Any, NamedTuple

import jax
import numpy as np

import rnnjax as rx
from rnnjax._types import CellLike


class Size(NamedTuple("Size", [("T", int), ("B", int), ("I", int), ("H", int)])):
    """One sequence batch: xs [T, B, I], hidden size H."""

    def __str__(self) -> str:
        return ",".join(map(str, self))


# Small and bound by dispatch; two ordinary ones; wide; long; narrow and long.
SIZES = (
    Size(100, 1, 32, 32),
    Size(100, 32, 64, 128),
    Size(128, 32, 256, 256),
    Size(64, 64, 512, 512),
    Size(1000, 16, 64, 64),
    Size(512, 8, 1, 128),
)
LENGTHS = (1_000, 10_000, 100_000)
POPULATIONS = (16, 64, 500)
CELLS = {"LSTM": rx.LSTM, "GRU": rx.GRU, "Elman": rx.Elman}
PASSES = ("forward", "training")


def draw(cell: CellLike, size: Size, *leading: int) -> tuple[Any, jax.Array]:
    """``(params, xs)``, float32; ``leading`` axes come first, for many models.

    Every parameter, biases too, is uniform within 1/sqrt(H), so that no recurrence grows without bound and no
    swapped gate goes unseen.
    """
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda key: cell.init(key, size.I), jax.random.key(0))
    bound = size.H**-0.5

    def uniform(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.device_put(rng.uniform(-bound, bound, (*leading, *leaf.shape)).astype(np.float32))

    xs = rng.normal(size=(*leading, size.T, size.B, size.I)).astype(np.float32)
    return jax.tree.map(uniform, shapes), jax.device_put(xs)

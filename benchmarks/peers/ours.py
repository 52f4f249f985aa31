"""rnnjax itself, by any method, as a peer."""

from typing import Any

import rnnjax as rx
from benchmarks.peers.jax_peer import JaxPeer
from rnnjax._types import CellLike


def unrolled(cell: CellLike, **settings: Any) -> JaxPeer:
    """``rx.unroll`` of a cell; ``settings`` are its keywords."""
    return JaxPeer(lambda params, xs: rx.unroll(cell, params, xs, **settings)[1])

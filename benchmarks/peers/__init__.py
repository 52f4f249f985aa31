"""The implementations that are compared: one file a library, imported only when it is asked for.

Each file has ``make(cell_name, size)``, which gives a ``Peer``, or None where the library has no such cell.
"""

import importlib
from typing import Any, Protocol

from benchmarks.errors import BenchmarkError
from benchmarks.sizes import Size
from benchmarks.timing import Contender

DEFAULT = ("linen", "torch")
ALL = (*DEFAULT, "nnx", "haiku", "equinox", "keras")


class Peer(Protocol):
    """One library's layer of one cell and size."""

    @property
    def reference(self) -> Any:
        """``(params, xs) -> ys`` that it equals, in rnnjax's params; None for the cell of that name as it stands."""
        ...

    def contender(self, variant: str, pass_name: str, params: Any, xs: Any) -> Contender:
        """Load ``params`` (rnnjax's) and be ready to run on ``xs`` [T, B, I]; results in rnnjax's layout."""
        ...


def make(name: str, cell_name: str, size: Size) -> Peer | None:
    """A library's layer; None where it has no such cell.

    Raises:
      BenchmarkError: the library is not installed.
    """
    try:
        library = importlib.import_module(f"benchmarks.peers.{name}")
    except ModuleNotFoundError as error:
        advice = 'pip install "rnnjax[peers]", or choose other --peers'
        raise BenchmarkError(f"peer {name} needs {error.name}, which is not installed: {advice}") from error
    return library.make(cell_name, size)

"""A cell around a cell."""

from typing import Any

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, Settings
from rnnjax.recurrence import protocol


class Wrapper(Settings):
    """Base of wrappers with one cell within, ``self.cell``: hands on every member, for subclasses to change one."""

    cell: Any

    def __post_init__(self):
        _checks.is_cell(type(self).__name__, "cell", self.cell)

    @property
    def input_ndim(self) -> Any:
        """As the cell within."""
        return protocol.input_ndim(self.cell)

    def input_size(self, params: Params) -> int | None:
        """As the cell within."""
        return protocol.input_size(self.cell, params)

    def init(self, key: Key, input_size: InputSize) -> Params:
        """As the cell within."""
        return self.cell.init(key, input_size)

    def bind(self, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Params:
        """As the cell within."""
        return protocol.bound(self.cell, params, batch_shape, key)

    def carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
        """As the cell within."""
        return self.cell.carry(params, batch_shape)

    def step(self, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
        """As the cell within."""
        return protocol.step(self.cell, params, carry, x, key)

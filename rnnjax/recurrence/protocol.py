"""A cell's members as the library calls them: optional ones take their defaults here."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from rnnjax import _checks
from rnnjax._types import Carry, InputSize, Key, Params, Settings


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Cell(Settings):
    """A cell of your own, from three pure functions; complete as it stands.

    Args:
      init: ``(key, input_size) -> params``.
      carry: ``(params, batch_shape) -> carry``, the initial carry, every leaf ``[*batch, ...]``.
      step: ``(params, carry, x) -> (carry, y)``, or with a further ``key=None`` for a cell that draws random
        numbers (no key means evaluation).
      bind: optional ``(params, batch_shape, key) -> params``, done once per unroll.
      input_ndim: the number of axes of one unbatched x.

    Raises:
      TypeError: a member is not a function.

    >>> import jax, jax.numpy as jnp, rnnjax as rx
    >>> ema = rx.Cell(
    ...     init=lambda key, input_size: jnp.full((input_size,), 0.5),
    ...     carry=lambda rate, batch_shape: jnp.zeros((*batch_shape, *rate.shape)),
    ...     step=lambda rate, h, x: (h + rate * (x - h),) * 2,
    ... )
    >>> rate = ema.init(jax.random.key(0), 1)
    >>> h, ys = rx.unroll(ema, rate, jnp.ones((3, 1)))
    >>> ys[:, 0]
    Array([0.5  , 0.75 , 0.875], dtype=float32)
    """

    init: Callable[[Key, InputSize], Params]
    carry: Callable[..., Carry]
    step: Callable[..., tuple[Carry, Any]]
    bind: Callable[..., Params] | None = None
    input_ndim: Any = 1

    def __post_init__(self):
        _checks.are_functions("Cell", init=self.init, carry=self.carry, step=self.step)
        if self.bind is not None:
            _checks.are_functions("Cell", bind=self.bind)


class Bound(NamedTuple):
    """Params after ``bind``, for cells whose raw params must not be stepped with."""

    params: Any  # the bound params of the cell within
    extra: Any = None  # what else was made at binding, such as a key

    @classmethod
    def expect(cls, owner: Any, params: Params) -> "Bound":
        """``params`` if they are bound, else an error that says how to bind them."""
        if not isinstance(params, cls):
            raise TypeError(
                f"{type(owner).__name__}.step: params are not bound; call params = rx.bind(cell, params, batch_shape)"
                " once before the first step"
            )
        return params


def input_ndim(cell: Any) -> Any:
    """The number of axes of one unbatched x."""
    return getattr(cell, "input_ndim", 1)


def input_size(cell: Any, params: Params) -> int | None:
    """The number of features of x as the params tell it, None where they do not."""
    find = getattr(cell, "input_size", None)
    return None if find is None else find(params)


def bind(cell: Any, params: Params, batch_shape: tuple[int, ...] = (), key: Key | None = None) -> Params:
    """Params ready for ``cell.step``: what is done once per sequence, before its first step.

    ``unroll`` does this itself; call it once before stepping by hand. Binding bound params changes nothing, so
    ``unroll`` may be given them, to keep one draw (a mask tied over time, dropped weights) over several pieces.

    Args:
      cell: any cell.
      params: from ``cell.init``.
      batch_shape: the axes between time and one x, as ``unroll`` will meet them.
      key: for cells that draw once per sequence; None evaluates.

    Returns:
      The bound params.

    >>> import jax, rnnjax as rx
    >>> cell = rx.Reparametrize(rx.Elman(2), lambda params: jax.tree.map(jax.numpy.zeros_like, params))
    >>> params = cell.init(jax.random.key(0), 3)
    >>> bound = rx.bind(cell, params, batch_shape=(4,))
    >>> carry, y = cell.step(bound, cell.carry(bound, (4,)), jax.numpy.ones((4, 3)))
    >>> float(abs(y).max())
    0.0
    """
    _checks.is_cell("bind", "cell", cell)
    input_size(cell, params)  # a cell that knows its own params refuses others
    return bound(cell, params, batch_shape, key)


def bound(cell: Any, params: Params, batch_shape: tuple[int, ...], key: Key | None) -> Params:
    """``bind`` of params that were looked at."""
    binding = getattr(cell, "bind", None)
    return params if binding is None else binding(params, batch_shape, key)


def step(cell: Any, params: Params, carry: Carry, x: Any, key: Key | None = None) -> tuple[Carry, Any]:
    """One step, the key given to those that take one."""
    key_if_taken = {"key": key} if key is not None and takes_key(cell.step) else {}
    result = cell.step(params, carry, x, **key_if_taken)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"{cell}: step gave {jax.tree.map(_checks.describe, result)}, expected the pair (carry, y)")
    return result[0], result[1]


def takes_key(fn: Callable) -> bool:
    """Whether a function has a parameter named ``key``."""
    try:
        return "key" in inspect.signature(fn).parameters
    except ValueError:  # a builtin without a signature
        return False


def fold(key: Key | None, index: Any) -> Key | None:
    """The key of the ``index``-th part (a time step, a layer); no key stays no key."""
    return None if key is None else jax.random.fold_in(key, index)


# What a wrapper draws itself at binding, and what it hands to the cell within: two indices that no time step and
# no layer has, so that neither meets the keys of the steps.
DRAW_AT_BIND = 2**32 - 1
BIND_WITHIN = 2**32 - 2

"""``rx.explain``: what was found in a cell's step, and how it will run."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import jax
from jax import lax

from rnnjax import _checks
from rnnjax._types import CellLike, InputSize, input_spec
from rnnjax.recurrence.choose import METHODS, Choice, Plan, kept_bytes
from rnnjax.recurrence.fused import MEMORY
from rnnjax.recurrence.program import Part
from rnnjax.recurrence.taps import find_taps
from rnnjax.recurrence.unroll import Call, unroll_checked


@dataclasses.dataclass(frozen=True)
class LayerExplanation:
    """One layer: how it runs and why, what its step consists of. Prints as text for a person.

    >>> import rnnjax as rx
    >>> (layer,) = rx.explain(rx.LRU(64), input_size=64, num_steps=10_000).layers
    >>> layer.method, layer.loop, layer.taps
    ('associative', ('mul', 'add'), ())
    """

    cell: Any
    num_steps: int
    batch_shape: tuple[int, ...]
    method: str  # "scan", "fused", "associative", or "at once" for a layer without a carry
    reason: str
    memory: str | None  # what is kept for the backward pass, None for a scan
    block: int | None  # steps per block of time, None for a scan
    invariant: tuple[str, ...] = ()  # the products and other operations done once,
    before: tuple[str, ...] = ()  # for many steps at once, before the loop,
    loop: tuple[str, ...] = ()  # one step after the other,
    after: tuple[str, ...] = ()  # for many steps at once, after it
    taps: tuple[str, ...] = ()  # the products in the loop through which the carry meets params
    obstacles: dict[str, str] = dataclasses.field(default_factory=dict)  # by method that does not apply: why
    memory_bytes: dict[str, int] = dataclasses.field(
        default_factory=dict
    )  # by setting: what it keeps for the backward pass

    def __str__(self) -> str:
        lines = [f"{self.cell}: {self.num_steps} steps, batch {self.batch_shape}"]
        if self.loop or self.before or self.after:
            lines += [
                _line("invariant", "from params alone, once", self.invariant),
                _line("before", "from x, many steps at once", self.before),
                _line("loop", "one step after the other", self.loop),
                _line("after", "only for y, many steps at once", self.after),
                _line("taps", "where the carry meets params", self.taps),
                f"  methods    {', '.join(m for m in METHODS[1:] if m not in self.obstacles)}",
            ]
        lines += [f"             not {method}: {why}" for method, why in self.obstacles.items()]
        blocks = f", in blocks of {self.block} steps" if self.block else ""
        lines.append(f"  chosen     {self.method}{blocks}: {self.reason}")
        for setting, size in self.memory_bytes.items():
            mark = "  (chosen)" if setting == self.memory else ""
            lines.append(f"  memory     {setting:<15} keeps {size / 1e6:,.2f} MB for the backward pass{mark}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """How a cell will run, layer by layer in the order of their run. Prints as text for a person.

    ``method``, ``reason`` and ``memory`` are those of the layers that have a carry, joined by "; " where they differ.

    >>> import rnnjax as rx
    >>> found = rx.explain(rx.Chain(rx.LSTM(64), rx.LRU(64)), input_size=64, num_steps=10_000)
    >>> found.method, len(found.layers)
    ('fused; associative', 2)
    """

    layers: tuple[LayerExplanation, ...]

    @property
    def method(self) -> str:
        """How: "scan", "fused", "associative"; "at once" where no layer has a carry."""
        return self._joined(layer.method for layer in self._recurrent)

    @property
    def reason(self) -> str:
        """Why this method."""
        return self._joined(layer.reason for layer in self._recurrent)

    @property
    def memory(self) -> str | None:
        """What is kept for the backward pass; None where all layers are scanned."""
        return self._joined(layer.memory for layer in self._recurrent if layer.memory) or None

    @property
    def _recurrent(self) -> tuple[LayerExplanation, ...]:
        return tuple(layer for layer in self.layers if layer.method != "at once") or self.layers

    def _joined(self, values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))


def explain(
    cell: CellLike,
    input_size: InputSize,
    batch_shape: tuple[int, ...] = (),
    num_steps: int = 100,
    *,
    method: str = "auto",
    memory: str = "auto",
    block: int | None = None,
) -> Explanation:
    """What the library finds in a cell's step, and how ``unroll`` will run it.

    Args:
      cell: any cell.
      input_size: as for ``cell.init``; None for a cell without input.
      batch_shape: the axes between time and one x.
      num_steps: T.
      method: as for ``unroll``.
      memory: as for ``unroll``.
      block: as for ``unroll``.

    Returns:
      An object with ``.method``, ``.reason``, ``.memory`` and ``.layers``, each with its parts; it prints as text.

    Raises:
      ValueError, TypeError: as ``unroll``.

    >>> import rnnjax as rx
    >>> print(rx.explain(rx.Elman(128), input_size=64, batch_shape=(32,), num_steps=100))
    Elman(hidden_size=128): 100 steps, batch (32,)
      invariant  from params alone, once: nothing
      before     from x, many steps at once: float32[32,64] @ float32[64,128]
      loop       one step after the other: float32[32,128] @ float32[128,128], add (2), tanh
      after      only for y, many steps at once: nothing
      taps       where the carry meets params: float32[32,128] @ float32[128,128]
      methods    scan, fused
                 not associative: dot_general is not affine in the carry
      chosen     fused, in blocks of 100 steps: products leave the loop, and so do weight gradients
      memory     preactivations  keeps 3.29 MB for the backward pass  (chosen)
      memory     carries         keeps 1.65 MB for the backward pass
      memory     edges           keeps 0.02 MB for the backward pass
    """
    _checks.is_cell("explain", "cell", cell)
    _checks.one_of("explain", "method", method, METHODS)
    _checks.one_of("explain", "memory", memory, ("auto", *MEMORY))
    if block is not None:
        _checks.positive_int("explain", "block", block)
    num_steps = _checks.num_steps("explain", "num_steps", num_steps)
    _checks.batch_shape("explain", "batch_shape", batch_shape)
    _checks.input_size("explain", input_size)
    batch_shape = tuple(batch_shape)
    layers: list[LayerExplanation] = []

    def record(layer: Any, choice: Choice) -> None:
        layers.append(_explain(layer, choice, batch_shape))

    def run(key, xs):
        params = cell.init(key, input_size)
        length = None if jax.tree.leaves(xs) else num_steps
        call = Call(False, length, Plan(method, memory, block), record)
        return unroll_checked(cell, call, params, xs, cell.carry(params, batch_shape), None, None, None)

    def over_time(x):
        return jax.ShapeDtypeStruct((num_steps, *batch_shape, *x.shape), x.dtype)

    jax.eval_shape(run, jax.random.key(0), jax.tree.map(over_time, input_spec(input_size)))
    return Explanation(tuple(layers))


def _explain(cell: Any, choice: Choice, batch_shape: tuple[int, ...]) -> LayerExplanation:
    parts = choice.split
    start = LayerExplanation(
        cell, choice.num_steps, batch_shape, choice.method, choice.reason, choice.memory, choice.block
    )
    if parts is None:
        return start
    block = choice.block or choice.num_steps
    return dataclasses.replace(
        start,
        invariant=_operations(parts.invariant),
        before=_operations(parts.before),
        loop=_operations(parts.loop),
        after=_operations(parts.after),
        taps=_counted(_product(tap.equation) for tap in find_taps(parts)),
        obstacles={} if choice.obstacle is None else {"associative": choice.obstacle},
        memory_bytes={m: kept_bytes(parts, choice.num_steps, m, block) for m in MEMORY} if choice.memory else {},
    )


def _operations(part: Part) -> tuple[str, ...]:
    """What a part does: its products with their shapes, then other operations by name."""
    products = [_product(e) for e in part.equations if e.primitive is lax.dot_general_p]
    others = [
        e.primitive.name for e in part.equations if e.primitive not in (lax.dot_general_p, lax.broadcast_in_dim_p)
    ]
    return _counted(products) + _counted(others)


def _product(equation: Any) -> str:
    return " @ ".join(_checks.describe(v.aval) for v in equation.invars)


def _counted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name if times == 1 else f"{name} ({times})" for name, times in Counter(names).items())


def _line(name: str, when: str, what: tuple[str, ...]) -> str:
    return f"  {name:<10} {when}: {', '.join(what) or 'nothing'}"

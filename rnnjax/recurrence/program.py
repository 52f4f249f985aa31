"""A function as a flat list of equations, and parts of it as functions again.

Calls of jitted and rematerialised functions are written out: what is kept is for ``memory=`` to say.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.extend.core as jex
from jax.extend.core import primitives

Variable = Any  # jax.extend.core.Var; where a value is read also Literal, a number
Equation = Any  # jax.extend.core.JaxprEqn

_CALLS = {primitives.jit_p, primitives.closed_call_p, primitives.call_p, primitives.remat_p}


@dataclasses.dataclass(frozen=True)
class Program:
    """The equations of a function whose calls of jitted functions are written out.

    A variable is an object of JAX's; each is defined once. ``constants`` are what the function closes over.
    """

    constants: dict[Variable, Any]
    inputs: list[Variable]
    equations: list[Equation]
    outputs: list[Variable]

    def part(self, inputs: Iterable[Variable], outputs: Iterable[Variable]) -> "Part":
        """What is needed to compute ``outputs`` where ``inputs`` are known."""
        known, outputs = set(inputs), list(outputs)
        needed = {v for v in outputs if is_var(v)} - known
        equations = []
        for equation in reversed(self.equations):
            if needed.isdisjoint(equation.outvars):
                continue
            equations.append(equation)
            needed.update(v for v in equation.invars if is_var(v) and v not in known)
        used = {v for equation in equations for v in equation.invars if is_var(v)} | {v for v in outputs if is_var(v)}
        return Part([v for v in inputs if v in used], equations[::-1], outputs)


@dataclasses.dataclass(frozen=True)
class Part:
    """Equations that can be run on their own."""

    inputs: list[Variable]
    equations: list[Equation]
    outputs: list[Variable]

    @classmethod
    def of(cls, equations: list[Equation], wanted: Container[Variable] | None = None) -> "Part":
        """Some equations in order, giving ``wanted`` of what they define, or all."""
        defined = {v: None for equation in equations for v in equation.outvars}
        used = {v: None for equation in equations for v in equation.invars if is_var(v) and v not in defined}
        return cls(list(used), equations, [v for v in defined if wanted is None or v in wanted])

    @classmethod
    def joined(cls, parts: Iterable["Part"]) -> "Part":
        """Parts that ask nothing of each other, side by side."""
        parts = list(parts)
        inputs = dict.fromkeys(v for part in parts for v in part.inputs)
        equations = [equation for part in parts for equation in part.equations]
        return cls(list(inputs), equations, [v for part in parts for v in part.outputs])

    def __call__(self, *values: Any) -> list[Any]:
        jaxpr = _nothing().replace(invars=self.inputs, outvars=self.outputs, eqns=self.equations)
        return jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, ()))(*values)


@functools.cache
def _nothing() -> jex.Jaxpr:
    """A jaxpr to put equations into."""
    return jax.make_jaxpr(lambda: ())().jaxpr


class SideEffectsError(ValueError):
    """A step that does more than compute: it prints, or calls back to the host in order."""


def trace(fn: Callable[..., Sequence[Any]], *arguments: Any) -> Program:
    """The program of ``fn``, which takes and gives arrays; of ``arguments`` only shapes and dtypes matter.

    Raises:
      SideEffectsError: it has side effects, whose order would be lost.
    """
    closed = jax.make_jaxpr(fn)(*arguments)
    if closed.effects:
        raise SideEffectsError(f"its step has side effects ({', '.join(map(str, closed.effects))})")
    constants: dict[Variable, Any] = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    names: dict[Variable, Any] = {}
    equations = list(_written_out(closed.jaxpr.eqns, names, constants, top=True))
    outputs = [_renamed(v, names) for v in closed.jaxpr.outvars]
    return Program(constants, list(closed.jaxpr.invars), equations, outputs)


def equations_of(fn: Callable[..., Sequence[Any]], inputs: list[Variable], outputs: list[Variable]) -> list[Equation]:
    """The equations that compute ``outputs`` as ``fn`` of ``inputs``."""
    program = trace(fn, *(v.aval for v in inputs))
    names = dict(zip(program.inputs, inputs, strict=True)) | dict(zip(program.outputs, outputs, strict=True))
    return [
        e.replace(invars=[_renamed(v, names) for v in e.invars], outvars=[names.get(v, v) for v in e.outvars])
        for e in program.equations
    ]


def new_variable(like: Any, shape: tuple[int, ...]) -> Variable:
    """A variable of another shape."""
    return jex.Var(like.update(shape=shape))


def _written_out(equations, names, constants, top=False):
    """The equations with calls replaced by what they call; each time its variables are new ones."""
    for equation in equations:
        inputs = [_renamed(v, names) for v in equation.invars]
        if equation.primitive in _CALLS:
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            jaxpr, values = (inner.jaxpr, inner.consts) if isinstance(inner, jex.ClosedJaxpr) else (inner, ())
            inner_names = dict(zip(jaxpr.invars, inputs, strict=True))
            for v, value in zip(jaxpr.constvars, values, strict=True):
                inner_names[v] = jex.Var(v.aval)
                constants[inner_names[v]] = value
            yield from _written_out(jaxpr.eqns, inner_names, constants)
            for v, result in zip(equation.outvars, jaxpr.outvars, strict=True):
                names[v] = _renamed(result, inner_names)
        else:
            outputs = list(equation.outvars)
            if not top:
                outputs = [jex.Var(v.aval) for v in outputs]
                names.update(zip(equation.outvars, outputs, strict=True))
            yield equation.replace(invars=inputs, outvars=outputs)


def all_within(equations: Iterable[Equation]) -> Iterator[Equation]:
    """Equations, and those of the functions in their params."""
    for equation in equations:
        yield equation
        for inner in inner_jaxprs(equation):
            yield from all_within(inner.eqns)


def inner_jaxprs(equation: Equation) -> list[jex.Jaxpr]:
    """The functions that an equation calls: branches, bodies of loops, what is rematerialised."""
    params = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda p: isinstance(p, jex.ClosedJaxpr | jex.Jaxpr)
    )
    found = [p.jaxpr if isinstance(p, jex.ClosedJaxpr) else p for p in params]
    return [p for p in found if isinstance(p, jex.Jaxpr)]


def _renamed(v, names):
    return names.get(v, v) if is_var(v) else v


def num_numbers(variables: Iterable[Variable]) -> int:
    """How many numbers they hold; a symbolic batch axis counts once."""
    return sum(math.prod(axis for axis in v.aval.shape if isinstance(axis, int)) for v in variables)


def is_var(v: Any) -> bool:
    """A variable, not a literal number."""
    return not isinstance(v, jex.Literal)

"""Which steps are run one after the other all the same."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import primitives

from rnnjax.recurrence.levels import INVARIANT
from rnnjax.recurrence.program import all_within, is_var, num_numbers
from rnnjax.recurrence.reverse import find_stages, is_float
from rnnjax.recurrence.split import Split

FEW = 2**12  # numbers: a gradient of so many costs little at every step


def hindrance(parts: Split) -> str | None:
    """Why a step cannot be taken at many times at once with the same results; None if it can.

    What depends on constants alone, such as a mask drawn once, is computed once by every method.
    """
    changing = [*parts.before.equations, *parts.loop.equations, *parts.after.equations]
    for equation in all_within(changing):
        if equation.primitive.name == "pure_callback":
            return "its step calls back to the host"
        if equation.primitive is primitives.rng_bit_generator_p or any(map(_is_key_of_batches, equation.invars)):
            return "its step draws with keys (rbg) whose numbers depend on how many are drawn at once"
    return None


def drawback(parts: Split) -> str | None:
    """Why a step is faster one after the other, gradients too; None if it is not."""
    if any(equation.primitive in (lax.cond_p, lax.while_p) for equation in parts.program.equations):
        return "its step branches, and at many times at once every branch would be taken"
    stages = find_stages(parts)
    read = [v for smooth in stages.smooth for v in smooth.inputs]
    read += [v for s in itertools.chain(*stages.sums) for v in s.terms]
    per_step = num_numbers([*parts.carry_in, *parts.x, *filter(is_var, parts.y)])
    for v in read:
        if parts.level[v] == INVARIANT and is_float(v) and num_numbers([v]) > max(4 * per_step, FEW):
            return f"the gradient of {v.aval.str_short()} is not that of a product, and would be formed at every step"
    return None


def _is_key_of_batches(v: Any) -> bool:
    """A key whose numbers differ under vmap: of any implementation but threefry."""
    return jnp.issubdtype(v.aval.dtype, jax.dtypes.prng_key) and "fry" not in v.aval.dtype.name

"""bfloat16 params: weight gradients are summed over time in float32, and only their result is rounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.cells.elman import ElmanParams
from rnnjax.recurrence import fused, gradients
from rnnjax.recurrence.fused import MEMORY
from tests.registry import B, D, Entry, H, random_params

STEPS = 512
ROUNDING = 2.0**-8  # of bfloat16, relative: half the distance between neighbours
RNG = np.random.default_rng(0)


def positive(*shape):
    """Numbers of bfloat16 whose sums grow, so that late summands fall below the rounding of an early sum."""
    return jnp.asarray(RNG.uniform(0.5, 1.5, shape), jnp.bfloat16)


def loss(cell, params, xs, weights, **options):
    return (weights * rx.unroll(cell, params, xs, **options)[1]).sum(dtype=jnp.float32)


def relative_error(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return np.max(np.abs(actual - expected) / np.abs(expected))


def errors_of_sums(ways):
    """By way and field, of a linear cell whose cotangents are exact: each gradient is one sum over steps and batch."""
    cell = rx.Elman(H, activation=lambda a: a)
    xs, weights = positive(STEPS, B, D), positive(STEPS, B, H)
    params = ElmanParams(W=positive(D, H), U=jnp.zeros((H, H), jnp.bfloat16), b=positive(H))

    @jax.jit
    def outcomes(params):
        slopes = {name: jax.grad(lambda p, how=how: loss(cell, p, xs, weights, **how))(params) for name, how in ways}
        return slopes, rx.unroll(cell, params, xs)[1]

    slopes, hs = outcomes(params)
    assert {leaf.dtype for leaf in jax.tree.leaves((slopes, hs))} == {jnp.dtype(jnp.bfloat16)}
    x, weight, h = (np.asarray(array, np.float64) for array in (xs, weights, hs))
    expected = ElmanParams(
        W=np.einsum("tbd,tbh->dh", x, weight),
        U=np.einsum("tbi,tbh->ih", h[:-1], weight[1:]),
        b=weight.sum((0, 1)),
    )
    return {name: jax.tree.map(relative_error, slopes[name], expected) for name in slopes}


FUSED = [(memory, {"method": "fused", "memory": memory, "block": 8}) for memory in MEMORY]


def test_weight_gradients_are_exact_but_for_the_rounding_of_the_result():
    """Scan, which adds up in bfloat16, loses a part of each sum."""
    errors = errors_of_sums([*FUSED, ("scan", {"method": "scan"})])
    scanned = errors.pop("scan")
    assert min(scanned) > 0.1
    assert max(max(error) for error in errors.values()) < ROUNDING


def test_sums_in_bfloat16_would_be_found(monkeypatch):
    """The test above measures what it says."""
    for module in (fused, gradients):
        monkeypatch.setattr(module, "accumulator", lambda dtype: dtype)
    assert min(errors_of_sums(FUSED[:1])["preactivations"]) > ROUNDING


@pytest.mark.parametrize("cell", [rx.LSTM(H), rx.GRU(H, reset_after=False)], ids=repr)
def test_gradients_of_gated_cells_are_closer_to_those_in_float32(cell):
    """Those of the same numbers; what is left is the rounding of activations, which both share."""
    entry = Entry("", cell)
    params = jax.tree.map(jnp.bfloat16, random_params(entry))
    xs, weights = positive(STEPS, B, D), positive(STEPS, B, H)

    @jax.jit
    def outcomes(params, xs, weights):
        wide = jax.tree.map(jnp.float32, (params, xs, weights))
        slope = lambda method, *inputs: jax.grad(lambda p: loss(cell, p, *inputs[1:], method=method))(inputs[0])
        return slope("fused", params, xs, weights), slope("scan", params, xs, weights), slope("scan", *wide)

    by_fused, scanned, expected = outcomes(params, xs, weights)
    assert {leaf.dtype for leaf in jax.tree.leaves(by_fused)} == {jnp.dtype(jnp.bfloat16)}
    flat = lambda tree: np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])
    error = lambda tree: np.linalg.norm(flat(tree) - flat(expected)) / np.linalg.norm(flat(expected))
    assert error(by_fused) < 0.02
    assert error(by_fused) < 0.2 * error(scanned)

"""Every built-in cell against the oracle in tests/reference.py: values and gradients, all params random."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.cells.mingru import positive
from tests import reference
from tests.registry import B, Entry, H, T, random_carry, random_inputs, random_params

assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)

TAU = np.linspace(2.0, 5.0, H)  # per unit
MASK = np.arange(T)[:, None] < [7, 4, 0]  # one full sequence, a short one, an empty one
MASK[2, 0] = False
RESETS = np.zeros((T, B), bool)
RESETS[[0, 3, 2, 3, 5, 5], [1, 1, 0, 0, 0, 2]] = True  # at a start, inside, where masked, after that, ...
WHEN = {"mask": MASK, "resets": RESETS}


class Case(NamedTuple):
    name: str
    cell: Any
    step: Any  # the oracle's

    def __repr__(self) -> str:
        return self.name


CASES = [
    Case("elman_tanh", rx.Elman(H), reference.elman(np.tanh)),
    Case("elman_relu", rx.Elman(H, jax.nn.relu), reference.elman(reference.relu)),
    Case("elman_sigmoid", rx.Elman(H, jax.nn.sigmoid), reference.elman(reference.sigmoid)),
    Case("elman_leaky_relu", rx.Elman(H, jax.nn.leaky_relu), reference.elman(reference.leaky_relu)),
    Case("elman_elu", rx.Elman(H, jax.nn.elu), reference.elman(reference.elu)),
    Case("elman_softmax", rx.Elman(H, jax.nn.softmax), reference.elman(reference.softmax)),
    Case("lstm", rx.LSTM(H), reference.lstm),
    Case("gru_after", rx.GRU(H), reference.gru_after),
    Case("gru_before", rx.GRU(H, reset_after=False), reference.gru_before),
    Case("peephole_lstm", rx.PeepholeLSTM(H), reference.peephole_lstm),
    Case("coupled_lstm", rx.CoupledLSTM(H), reference.coupled_lstm),
    Case("coupled_peephole_lstm", rx.CoupledLSTM(H, peephole=True), reference.coupled_lstm),
    Case("projected_lstm", rx.ProjectedLSTM(3, H), reference.projected_lstm),
    Case("mgu", rx.MGU(H), reference.mgu),
    Case("flax_mgu", rx.FlaxMGU(H), reference.flax_mgu),
    Case("flax_mgu_without_reset", rx.FlaxMGU(H, reset_gate=False), reference.flax_mgu),
    Case("two_biases", rx.TwoBiases(rx.GRU(H)), reference.two_biases(reference.gru_after)),
    Case("leaky", rx.Leaky(H, leak=0.3), reference.leaky(np.tanh, 0.3)),
    Case(
        "leaky_relu",
        rx.Leaky.continuous(H, TAU, activation=jax.nn.relu),
        reference.leaky(reference.relu, 1 / TAU),
    ),
    Case("lru", rx.LRU(H), reference.lru),
    Case("mingru", rx.MinGRU(H, positive), reference.mingru(reference.positive)),
    Case("mingru_linear", rx.MinGRU(H, lambda a: a), reference.mingru(lambda a: a)),
    Case(
        "zoneout_lstm",
        rx.Zoneout(rx.LSTM(H), rx.LSTMCarry(0.2, 0.6)),
        reference.zoneout(reference.lstm, 0.2, 0.6),
    ),
    Case("zoneout_gru", rx.Zoneout(rx.GRU(H), 0.3), reference.zoneout(reference.gru_after, 0.3)),
    Case("zoneout_lru", rx.Zoneout(rx.LRU(H), 0.3), reference.zoneout(reference.lru, 0.3, 0.3)),
]
cases = pytest.mark.parametrize("case", CASES, ids=repr)


def given(cell: Any) -> tuple[Any, Any, Any]:
    """Random params, inputs and start carry of a cell, in NumPy, the carry as the oracle has it."""
    entry = Entry("", cell)
    params = random_params(entry)
    return jax.tree.map(np.asarray, (params, random_inputs(entry), as_parts(random_carry(entry, params))))


def as_parts(carry: Any) -> tuple:
    """A library's carry as the oracle's: a tuple of real arrays, complex ones as two."""
    leaves = jax.tree.leaves(carry)
    return tuple(part for leaf in leaves for part in ((leaf.real, leaf.imag) if jnp.iscomplexobj(leaf) else (leaf,)))


def from_parts(cell: Any, params: Any, parts: tuple) -> Any:
    """The inverse of ``as_parts``."""
    remaining = iter(parts)
    return jax.tree.map(
        lambda own: jax.lax.complex(next(remaining), next(remaining)) if jnp.iscomplexobj(own) else next(remaining),
        cell.carry(params, (B,)),
    )


def library(cell: Any, **when: Any) -> Any:
    """``(params, xs, parts) -> (parts, ys)`` by ``rx.unroll``."""

    def run(params, xs, parts):
        carry, ys = rx.unroll(cell, params, xs, from_parts(cell, params, parts), **when)
        return as_parts(carry), ys

    return run


def total(outputs: Any) -> Any:
    """A number that every output enters with a weight of its own."""
    leaves = jax.tree.leaves(outputs)
    weights = [np.cos(index + np.arange(leaf.size)).reshape(leaf.shape) for index, leaf in enumerate(leaves)]
    return sum((weight * leaf).sum() for weight, leaf in zip(weights, leaves, strict=True))


def complex_step(fn: Any, *args: Any) -> Any:
    """The gradient of an analytic function of pytrees, exact to rounding: Im f(x + ih) / h."""
    leaves, structure = jax.tree.flatten(args)
    gradients = []
    for index, leaf in enumerate(leaves):
        gradient = np.empty_like(leaf)
        for at in np.ndindex(leaf.shape):
            moved = leaf.astype(complex)
            moved[at] += 1e-30j
            gradient[at] = fn(*structure.unflatten([*leaves[:index], moved, *leaves[index + 1 :]])).imag / 1e-30
        gradients.append(gradient)
    return structure.unflatten(gradients)


def check(run: Any, oracle: Any, *args: Any) -> None:
    """``run`` and ``oracle`` give the same values."""
    jax.tree.map(assert_close, run(*args), oracle(*args))


def check_gradients(run: Any, oracle: Any, *args: Any) -> None:
    """The same values, and the same gradients for all of ``args``."""

    def loss(*args):
        outputs = run(*args)
        return total(outputs), outputs

    gradients, outputs = jax.jit(jax.grad(loss, argnums=tuple(range(len(args))), has_aux=True))(*args)
    jax.tree.map(assert_close, outputs, oracle(*args))
    jax.tree.map(assert_close, gradients, complex_step(lambda *args: total(oracle(*args)), *args))


@cases
def test_values(case):
    """Forward without masks and resets, and in reverse with them: every step, and the carry after the last."""
    ways = {}, {**WHEN, "reverse": True}
    run = jax.jit(lambda *args: [library(case.cell, **way)(*args) for way in ways])
    check(run, lambda *args: [reference.unroll(case.step, *args, **way) for way in ways], *given(case.cell))


@cases
def test_gradients_with_mask_and_resets(case):
    """Values, and gradients for params, inputs and start carry; NaN at masked steps enters neither."""
    params, xs, carry = given(case.cell)
    xs = np.where(MASK[..., None], xs, np.nan)

    def oracle(params, xs, carry):
        return reference.unroll(case.step, params, np.nan_to_num(xs), carry, **WHEN)

    check_gradients(library(case.cell, **WHEN), oracle, params, xs, carry)


def test_noise_of_leaky():
    """With a key: the equation with the draws of each step's key."""
    key, leak, noise = jax.random.key(5), 0.3, 0.7
    xi = jnp.stack([jax.random.normal(jax.random.fold_in(key, t), (B, H)) for t in range(T)])
    oracle = functools.partial(reference.unroll, reference.leaky(np.tanh, leak, noise), noise=xi)
    cell = rx.Leaky(H, leak=leak, noise=noise)
    check(library(cell, key=key), oracle, *given(cell))


def test_resets_to_a_learned_carry():
    """Resets, and sequences given no carry, start from the learned one."""
    cell = rx.LearnedCarry(rx.LSTM(H))
    params, xs, carry = given(cell)
    params = params._replace(carry=rx.LSTMCarry(np.array([0.3, -0.8]), np.array([1.1, 0.4])))
    found = library(cell, **WHEN)(params, xs, carry)
    initial = tuple(params.carry)
    jax.tree.map(assert_close, found, reference.unroll(reference.lstm, params.cell, xs, carry, initial=initial, **WHEN))
    start = tuple(np.broadcast_to(part, (B, H)) for part in initial)
    after, ys = rx.unroll(cell, params, xs)
    jax.tree.map(assert_close, (tuple(after), ys), reference.unroll(reference.lstm, params.cell, xs, start))


def test_several_layers():
    """A chain of different cells, with mask and resets, in values and gradients."""
    layers = rx.Elman(H), rx.GRU(3), rx.LSTM(H)
    steps = reference.elman(np.tanh), reference.gru_after, reference.lstm
    cell = rx.Chain(*layers)

    def oracle(params, xs, parts):
        after, ys = reference.stack(steps, params, xs, [parts[:1], parts[1:2], parts[2:]], **WHEN)
        return sum(after, ()), ys

    check_gradients(library(cell, **WHEN), oracle, *given(cell))


MERGES = {
    "concat": lambda forward, backward: np.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
}


@pytest.mark.parametrize("merge", MERGES)
def test_merges(merge):
    """What becomes of the outputs of both directions."""
    steps = reference.elman(np.tanh), reference.gru_after
    cell = rx.Bidirectional(rx.Elman(H), rx.GRU(H), merge=merge)

    def oracle(params, xs, parts):
        after, ys = reference.bidirectional(steps, params, xs, (parts[:1], parts[1:]), **WHEN)
        return sum(after, ()), MERGES[merge](*ys)

    check(library(cell, **WHEN), oracle, *given(cell))


def test_several_layers_in_both_directions():
    """Two layers, their directions different cells; resets cut the backward cells' sequences too."""
    steps = reference.gru_before, reference.lstm
    layer = rx.Bidirectional(rx.GRU(H, reset_after=False), rx.LSTM(H))
    cell = rx.Chain(layer, layer)

    def oracle(params, xs, parts):
        after = ()
        for layer_params, (gru, *lstm) in zip(params, (parts[:3], parts[3:]), strict=True):
            carries, ys = reference.bidirectional(steps, layer_params, xs, ((gru,), tuple(lstm)), **WHEN)
            after += sum(carries, ())
            xs = MERGES["concat"](*ys)
        return after, xs

    check_gradients(library(cell, **WHEN), oracle, *given(cell))


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["no_mask", "mask"])
def test_resets_in_both_directions(mask, reverse):
    """They mark where segments start; reverse=True is flip, unroll, flip, of mask and resets too."""
    steps = reference.gru_after, reference.elman(np.tanh)
    cell = rx.Bidirectional(rx.GRU(H), rx.Elman(H))
    flip = slice(None, None, -1 if reverse else 1)
    when = {"mask": np.ones((T, B), bool) if mask is None else mask[flip], "resets": RESETS[flip]}

    def oracle(params, xs, parts):
        after, ys = reference.bidirectional(steps, params, xs[flip], (parts[:1], parts[1:]), **when)
        return sum(after, ()), MERGES["concat"](*ys)[flip]

    check(library(cell, mask=mask, resets=RESETS, reverse=reverse), oracle, *given(cell))

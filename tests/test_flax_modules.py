"""The Flax modules, NNX and linen alike: ``rx.unroll``'s numbers, in the order of Flax's own."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors, nnx, traverse_util

import rnnjax as rx
import rnnjax.flax.linen as ours_linen
import rnnjax.flax.nnx as ours_nnx
from rnnjax.interop.flax import from_linen, from_nnx
from tests.conftest import every, full
from tests.flax_modules import GRU, LENGTHS, LSTM, assert_equal, refused, turned
from tests.laws.compare import assert_close
from tests.peers.agree import assert_agree, random_like
from tests.registry import CELLS, B, D, Entry, H, T, random_carry, random_inputs, random_params

KINDS = ("nnx", "linen")


def module(kind: str, entry: Entry, params: Any, **settings: Any) -> Any:
    """``call(inputs, **options)`` of a module with these params."""
    if kind == "nnx":
        return ours_nnx.RNN(entry.cell, params=params, **settings)
    variables = {"params": ours_linen.from_cell_params(params)}
    rnn = ours_linen.RNN(entry.cell, **settings)
    return lambda inputs, **options: rnn.apply(variables, inputs, **options)


def random_flags(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((T, B)) < 0.7)


def weighed(outputs: Any) -> jax.Array:
    """A scalar of all floating-point outputs."""
    leaves = jax.tree.leaves(outputs)
    return jnp.stack([(jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) * leaf).real.sum() for leaf in leaves]).sum()


# What rx.unroll gives.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", every(2, CELLS, 0), ids=repr)
def test_any_cell_bit_for_bit(entry, kind):
    """Batch-major, from a given carry, with a mask and resets."""
    params, xs = random_params(entry), random_inputs(entry)
    start, mask, resets = random_carry(entry, params), random_flags(1), random_flags(2)
    carry, ys = rx.unroll(entry.cell, params, xs, start, mask=mask, resets=resets)
    found = module(kind, entry, params, return_carry=True)(
        turned(xs), initial_carry=start, mask=turned(mask), resets=turned(resets)
    )
    assert_equal(found, (carry, turned(ys)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_shape", [(), (B,), (B, 2)])
def test_time_major_and_any_batch_axes(kind, batch_shape):
    params, xs = random_params(GRU), random_inputs(GRU, batch_shape=batch_shape)
    expected = rx.unroll(GRU.cell, params, xs)[1]
    assert_equal(module(kind, GRU, params, time_major=True)(xs), expected)
    inner = len(batch_shape)
    found = module(kind, GRU, params)(jnp.moveaxis(xs, 0, inner))
    assert_equal(found, jnp.moveaxis(expected, 0, inner))
    assert_equal(module(kind, GRU, params)(xs, time_major=True), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["lstm", "gru_before", "lru", "bidirectional_two", "learned_carry", "language_model"])
def test_gradients(kind, name):
    entry = next(entry for entry in CELLS if entry.name == name)
    params, xs = random_params(entry), random_inputs(entry)
    mask = rx.length_mask(LENGTHS, T)
    expected = jax.grad(lambda params: weighed(turned(rx.unroll(entry.cell, params, xs, mask=mask)[1])))(params)

    def loss(model):
        return weighed(model(turned(xs), seq_lengths=LENGTHS))

    if kind == "nnx":
        gradients = nnx.to_flat_state(nnx.grad(loss)(ours_nnx.RNN(entry.cell, params=params)))
        found = {"/".join(map(str, path[1:])): gradient[...] for path, gradient in gradients}
    else:
        found = named(jax.grad(lambda params: loss(module("linen", entry, params)))(params))
    assert_close(found, named(expected))


def named(params: Any) -> dict[str, Any]:
    """Leaves by the names that both kinds of modules give them, such as ``W/f``."""
    return traverse_util.flatten_dict(ours_linen.from_cell_params(params)["cell_params"], sep="/")


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_and_a_mask_both_hold(kind):
    params, xs, mask = random_params(LSTM), random_inputs(LSTM), random_flags(3)
    carry, ys = rx.unroll(LSTM.cell, params, xs, mask=mask & rx.length_mask(LENGTHS, T))
    found = module(kind, LSTM, params)(turned(xs), seq_lengths=LENGTHS, mask=turned(mask), return_carry=True)
    assert_equal(found, (carry, turned(ys)))


@pytest.mark.parametrize("kind", KINDS)
def test_reverse(kind):
    """Segments start where resets say, in time order, whichever way the layer goes; as in ``rx.Backward``."""
    params, xs, resets = random_params(LSTM), random_inputs(LSTM), random_flags(4)
    mask = rx.length_mask(LENGTHS, T)
    carry, ys = rx.unroll(rx.Backward(LSTM.cell), params, xs, mask=mask, resets=resets)
    rnn = module(kind, LSTM, params, reverse=True, return_carry=True)
    in_time = rnn(turned(xs), seq_lengths=LENGTHS, resets=turned(resets), keep_order=True)
    assert_equal(in_time, (carry, turned(ys)))
    _, found = rnn(turned(xs), seq_lengths=LENGTHS, resets=turned(resets))
    expected = turned(ys)
    for b, length in enumerate(LENGTHS.tolist()):
        np.testing.assert_array_equal(found[b, :length], expected[b, :length][::-1])
        np.testing.assert_array_equal(found[b, length:], 0)
    assert_equal(rnn(turned(xs))[1], turned(rx.unroll(LSTM.cell, params, xs[::-1])[1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"method": "scan"}, {"memory": "edges"}])
def test_method_and_memory_are_handed_on(kind, settings):
    params, xs = random_params(LSTM), random_inputs(LSTM)
    plain, chosen = (
        jax.grad(lambda xs, rnn=rnn: rnn(xs).sum())
        for rnn in (module(kind, LSTM, params), module(kind, LSTM, params, **settings))
    )
    assert str(jax.make_jaxpr(chosen)(xs)) != str(jax.make_jaxpr(plain)(xs))
    assert_close(chosen(xs), plain(xs))


# What Flax gives.


def flax_rnn(kind: str, name: str, seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    """``(call, (cell, params))``: Flax's own RNN with random weights, and these as ours."""
    if kind == "linen":
        cell = getattr(nn, name)(H, param_dtype=jnp.float64)
        rnn = nn.RNN(cell, **settings)
        weights = random_like(rnn.init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]["cell"], seed)
        variables = {"params": {"cell": weights}}
        return lambda inputs, **options: rnn.apply(variables, inputs, **options), from_linen(cell, weights)
    cell = getattr(nnx, name)(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    nnx.update(cell, random_like(nnx.state(cell, nnx.Param), seed))
    return nnx.RNN(cell, **settings), from_nnx(cell)


MODES = [
    {},
    {"time_major": True},
    {"reverse": True},
    {"reverse": True, "keep_order": True},
    {"reverse": True, "time_major": True},
]


@pytest.mark.parametrize("lengths", [full(None), jnp.array([7, 4, 1])], ids=["whole", "lengths"])
@pytest.mark.parametrize("settings", MODES, ids=lambda settings: "_".join(settings) or "plain")
@pytest.mark.parametrize("kind", KINDS)
def test_as_flax_does(kind, settings, lengths):
    """Outputs, carry and gradients, from a given carry; settings at construction or at the call."""
    theirs, (_, params) = flax_rnn(kind, "LSTMCell", **settings)
    inputs, c, h = (np.random.default_rng(1).normal(size=shape) for shape in ((B, T, D), (B, H), (B, H)))
    options = {"seq_lengths": lengths, "return_carry": True}
    time_first = turned if "time_major" in settings else lambda outputs: outputs

    def run_theirs(inputs, c, h):
        rnn = nnx.clone(theirs) if kind == "nnx" else theirs  # it writes to its parameters
        carry, outputs = rnn(time_first(inputs), initial_carry=(c, h), **options)
        if lengths is not None:  # which Flax does not set to zero
            outputs = jnp.where(time_first(turned(rx.length_mask(lengths, T)))[..., None], outputs, 0)
        return carry, outputs

    def run_ours(inputs, c, h, **given):
        carry, outputs = ours(time_first(inputs), initial_carry=rx.LSTMCarry(h=h, c=c), **options, **given)
        return (carry.c, carry.h), outputs

    ours = module(kind, LSTM, params, **settings)
    assert_agree(run_ours, run_theirs, inputs, c, h)
    set_at_construction = run_ours(inputs, c, h)
    ours = module(kind, LSTM, params)
    assert_equal(run_ours(inputs, c, h, **settings), set_at_construction)


def bidirectional(kind: str, cells: Any, params: Any, flax: bool = False, **settings: Any) -> Any:
    """``call(inputs, **options)`` of two of our modules in our ``Bidirectional``, or in Flax's own."""
    if kind == "nnx":
        make: Any = nnx.Bidirectional if flax else ours_nnx.Bidirectional
        return make(*(ours_nnx.RNN(cell, params=part) for cell, part in zip(cells, params, strict=True)), **settings)
    make = nn.Bidirectional if flax else ours_linen.Bidirectional
    layer = make(*map(ours_linen.RNN, cells), **settings)
    ahead, back = map(ours_linen.from_cell_params, params)
    variables = {"params": {"forward_rnn": ahead, "backward_rnn": back}}
    return lambda inputs, **options: layer.apply(variables, inputs, **options)


@pytest.mark.parametrize("flax", [False, True], ids=["ours", "flax's own"])
@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_as_flax_does(kind, flax):
    """The same as its modules of its cells."""
    (ahead, (_, ahead_params)), (back, (_, back_params)) = (flax_rnn(kind, "GRUCell", seed) for seed in (0, 1))
    inputs, lengths = np.random.default_rng(1).normal(size=(B, T, D)), jnp.array([7, 4, 1])
    expected_carry, expected = zip(
        ahead(inputs, seq_lengths=lengths, return_carry=True),
        back(inputs, seq_lengths=lengths, return_carry=True, reverse=True, keep_order=True),
        strict=True,
    )
    expected = jnp.where(turned(rx.length_mask(lengths, T))[..., None], jnp.concatenate(expected, axis=-1), 0)
    layer = bidirectional(kind, (GRU.cell, GRU.cell), (ahead_params, back_params), flax)
    carry, found = layer(inputs, seq_lengths=lengths, return_carry=True)
    assert_close((found, tuple(carry)), (expected, expected_carry))


@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_is_the_cell_of_two_directions(kind):
    """With masks, resets, carries, another merge, time first."""
    entry = Entry("both", rx.Bidirectional(rx.LSTM(H), rx.GRU(H), merge="sum"))
    params, xs = random_params(entry), random_inputs(entry)
    start, mask, resets = random_carry(entry, params), random_flags(1), random_flags(2)
    expected = rx.unroll(entry.cell, params, xs, start, mask=mask, resets=resets)
    layer = bidirectional(kind, (rx.LSTM(H), rx.GRU(H)), params, merge_fn=jnp.add, time_major=True)
    found = layer(xs, initial_carry=start, mask=mask, resets=resets, return_carry=True)
    assert_close(found, expected)
    assert type(found[0]) is rx.Directions


# Dtypes.


@pytest.mark.parametrize("kind", KINDS)
def test_param_dtype(kind):
    inputs = turned(random_inputs(LSTM, dtype=jnp.bfloat16))
    if kind == "nnx":
        rnn = ours_nnx.RNN(LSTM.cell, D, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        params, outputs = rnn.cell_params, rnn(inputs)
    else:
        outputs, variables = ours_linen.RNN(LSTM.cell, param_dtype=jnp.bfloat16).init_with_output(
            jax.random.key(0), inputs
        )
        params = variables["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    assert outputs.dtype == jnp.bfloat16


# What is refused.


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_call_refuses(kind):
    rnn = module(kind, LSTM, random_params(LSTM))
    inputs = jnp.ones((B, T, D))
    for expected, options in {
        "seq_lengths is float64[3], expected integers [*batch] = [3]": {"seq_lengths": jnp.ones(B)},
        "seq_lengths is int64[7], expected integers [*batch] = [3]": {"seq_lengths": jnp.ones(T, int)},
        "a length is 8, expected between 0 and num_steps=7": {"seq_lengths": jnp.array([7, 8, 0])},
        "mask is bool[7,3], expected bool [*batch, T] = [3, 7]": {"mask": jnp.ones((T, B), bool)},
        "resets is int64[3,7], expected bool [*batch, T] = [3, 7]": {"resets": jnp.ones((B, T), int)},
        "mask is True, expected bool [*batch, T] = [3, 7]": {"mask": True},
        "carry has the structure (*, *), but LSTM": {"initial_carry": (jnp.ones((B, H)), jnp.ones((B, H)))},
    }.items():
        assert expected in refused(ValueError, lambda options=options: rnn(inputs, **options))
    assert "mask is bool[3,7], expected bool [T, *batch] = [7, 3]" in refused(
        ValueError, lambda: rnn(turned(inputs), mask=jnp.ones((B, T), bool), time_major=True)
    )
    for wrong in (jnp.ones(D), 1.0, None):
        assert "RNN: inputs is " in refused(ValueError, lambda wrong=wrong: rnn(wrong))


def test_wrong_features():
    inputs = jnp.ones((B, T, D + 1))
    params = random_params(LSTM)
    assert "xs has 6 features on its last axis, but params of LSTM(hidden_size=2) expect 5" in refused(
        ValueError, lambda: module("nnx", LSTM, params)(inputs)
    )
    assert "expected to generate shape (6, 2), but the existing parameter it received has shape (5, 2)" in refused(
        errors.ScopeParamShapeError, lambda: module("linen", LSTM, params)(inputs)
    )

"""Law 2: every method and memory setting gives what method="scan" gives, in values and in gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.recurrence import associative, products
from tests.conftest import full
from tests.laws.compare import assert_close, assert_same_with_gradients, weigh, with_gradients
from tests.laws.events import random_events
from tests.registry import CELLS, Entry, T, random_carry, random_inputs, random_params

BLOCK = 3  # T = 7: two whole blocks and a rest
AFFINE = {"lru", "mingru", "zoneout_lru", "learned_carry_lru", "lift_linen", "lift_nnx"}
CHOSEN = {"lstm", "gru_before", "user", "zoneout", "bidirectional_two"}
OBSTACLES = {  # of the others, in part: the layer that is named, and why
    "lstm": "LSTM(hidden_size=2, forget_bias=0.5): dot_general is not affine in the carry",
    "elman_relu": "recurrent_init=identity): dot_general is not affine in the carry",
    "user": "step=step): a leaf of its carry is bool[3]",
    "user_pytree": "tanh is not affine in the carry",
    "everything": "dot_general is not affine in the carry",
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """So that the associative method has blocks of blocks in few steps."""
    monkeypatch.setattr(associative, "SEQUENTIAL", 2)
    monkeypatch.setattr(associative, "BLOCK", 3)


def assert_all_alike(entry, ways, num_steps=T, seed=0, events=True, reverse=False):
    """Each way, options of unroll, gives what scan gives: all in one program."""
    params = random_params(entry, seed)
    inputs = params, random_carry(entry, params, seed=seed), random_inputs(entry, num_steps, seed=seed)
    mask, resets = random_events(seed, num_steps) if events else (None, None)
    key = jax.random.key(seed) if entry.draws and events else None

    def run(options, params, carry, xs):
        return rx.unroll(entry.cell, params, xs, carry, mask=mask, resets=resets, key=key, reverse=reverse, **options)

    @jax.jit
    def outcomes(*inputs):
        return [with_gradients(functools.partial(run, how))(*inputs) for how in ({"method": "scan"}, *ways)]

    expected, *actual = outcomes(*inputs)
    for outcome in actual:
        assert_same_with_gradients(outcome, expected)


def fused(*settings):
    return [{"method": "fused", "memory": memory, "block": BLOCK} for memory in settings]


@pytest.mark.parametrize("seed", [0, full(1), full(2)])
@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_methods_agree(entry, seed):
    """With mask and resets, and a key where the cell draws."""
    ways = [{"method": "associative", "memory": memory} for memory in ("preactivations", "edges")]
    assert_all_alike(entry, fused("preactivations") + (ways if entry.name in AFFINE else []), seed=seed)


VARIANTS = {
    "reverse": {"ways": fused("carries", "preactivations"), "reverse": True},
    "without events": {"ways": fused("edges"), "events": False},
    "edges": {"ways": fused("edges", "carries")},
    "reverse, edges": {"ways": fused("edges"), "reverse": True},
}
IN_SHORT = {"reverse", "without events"}
OVER_CELLS = [
    (entry.name, name) if entry.name in CHOSEN and name in IN_SHORT else full(entry.name, name)
    for entry in CELLS
    for name in VARIANTS
]
BY_NAME = {entry.name: entry for entry in CELLS}


@pytest.mark.parametrize(("name", "variant"), OVER_CELLS)
def test_memory_settings_agree(name, variant):
    assert_all_alike(BY_NAME[name], **VARIANTS[variant])


@pytest.mark.parametrize(
    "variant", [{"reverse": True}, {"events": False}, {"num_steps": 1}, {"num_steps": 19}], ids=str
)
@pytest.mark.parametrize("name", ["learned_carry_lru", full("mingru"), full("zoneout_lru")])
def test_associative_variants_agree(name, variant):
    assert_all_alike(BY_NAME[name], [{"method": "associative", "block": 5}], **variant)


@pytest.mark.parametrize("num_steps", [0, 1, 2, full(3), full(4)])
@pytest.mark.parametrize("name", ["gru_after", full("everything"), full("zoneout"), full("bidirectional")])
def test_sequences_shorter_than_a_block(name, num_steps):
    """Fewer steps than a block has, one, none."""
    assert_all_alike(BY_NAME[name], fused("edges"), num_steps)


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_associative_applies_or_is_refused_by_name(entry):
    """A refusal names the layer, not the chain around it, and what stands in the way."""
    params = random_params(entry)
    unroll = functools.partial(rx.unroll, entry.cell, params, random_inputs(entry), method="associative")
    if entry.name in AFFINE:
        jax.eval_shape(unroll)
        return
    with pytest.raises(ValueError, match=r"^unroll: method is 'associative', which does not apply to .*: .*") as error:
        jax.eval_shape(unroll)
    layer = str(error.value).removeprefix("unroll: method is 'associative', which does not apply to ").split("(")[0]
    assert f"{layer}(" in repr(entry.cell)
    assert layer not in ("Chain", "Bidirectional")
    assert OBSTACLES.get(entry.name, "") in str(error.value)


@pytest.mark.parametrize("memory", [full("preactivations"), full("carries"), "edges"])
def test_second_derivatives_over_blocks(memory):
    """Reverse over reverse and forward over reverse, along a random direction in params."""
    entry = Entry("gru", rx.GRU(2, reset_after=False))
    params = random_params(entry)
    xs, mask = random_inputs(entry), random_events()[0]

    def slope(amount, **options):
        def loss(amount):
            moved = jax.tree.map(lambda leaf: leaf + amount * jnp.cos(3 * leaf), params)
            return weigh(rx.unroll(entry.cell, moved, xs, mask=mask, **options))

        return jax.grad(loss)(amount)

    @jax.jit
    def curvatures(at):
        by_fused = functools.partial(slope, method="fused", memory=memory, block=BLOCK)
        by_scan = jax.grad(functools.partial(slope, method="scan"))(at)
        return (jax.grad(by_fused)(at), jax.jvp(by_fused, (at,), (1.0,))[1]), (by_scan, by_scan)

    actual, expected = curvatures(0.0)
    assert_close(actual, expected, rtol=1e-9)
    assert all(expected)


def test_vmap_over_params_and_keys():
    """Of several blocks: equals the single runs by scan."""
    entry = BY_NAME["zoneout"]
    many = [random_params(entry, seed) for seed in (0, 1)]
    keys, xs = jax.random.split(jax.random.key(1)), random_inputs(entry)
    mask, resets = random_events()

    def run(options, params, key):
        def loss(params):
            return weigh(rx.unroll(entry.cell, params, xs, mask=mask, resets=resets, key=key, **options))

        return jax.value_and_grad(loss)(params)

    @jax.jit
    def both(stacked, keys):
        by_fused = functools.partial(run, {"method": "fused", "block": BLOCK, "memory": "edges"})
        return jax.vmap(by_fused)(stacked, keys), [
            run({"method": "scan"}, *pair) for pair in zip(many, keys, strict=True)
        ]

    actual, singles = both(jax.tree.map(lambda *leaves: jnp.stack(leaves), *many), keys)
    assert_close(actual, jax.tree.map(lambda *leaves: np.stack(leaves), *singles), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [("gru_after", {}), ("gru_after", {"method": "fused"}), ("lru", {"method": "associative"})],
    ids=str,
)
def test_forward_mode_is_refused_with_advice(name, options):
    """By the methods whose derivative is defined in reverse; where unroll itself is the outermost call."""
    entry = BY_NAME[name]
    params, xs = random_params(entry), random_inputs(entry)
    with pytest.raises(TypeError, match=r"for forward mode .* use method='scan'"):
        jax.jvp(lambda params: rx.unroll(entry.cell, params, xs, **options)[1], (params,), (params,))


@pytest.mark.parametrize("cell", [rx.LSTM(2), rx.GRU(2), rx.GRU(2, reset_after=False)], ids=repr)
def test_wide_products_which_are_not_merged(cell, monkeypatch):
    """The weights of this suite are narrow, so that their products are merged in the loop; here none is."""
    monkeypatch.setattr(products, "NARROW", 0)
    jax.clear_caches()
    assert_all_alike(Entry("wide", cell), fused("preactivations", "edges"))
    jax.clear_caches()

"""rx.explain tells what unroll will do: the method, why, the memory, and what was found in the step."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import rnnjax as rx
from tests.registry import CELLS, B, D, H, T


def explain(cell, num_steps=T, **options):
    return rx.explain(cell, D, (B,), num_steps, **options)


def test_a_fused_cell():
    """The parts of an LSTM: input products before the loop, recurrent ones in it, which are its taps."""
    found = explain(rx.LSTM(H), 100)
    assert (found.method, found.memory) == ("fused", "preactivations")
    assert "products leave the loop" in found.reason
    (layer,) = found.layers
    assert layer.before[0] == "float64[3,5] @ float64[5,2] (4)"
    assert layer.taps == ("float64[3,2] @ float64[2,2] (4)",)
    assert not any("5" in product for product in layer.loop if "@" in product)
    assert layer.after == ()
    assert layer.num_steps == 100
    assert layer.block is not None
    assert "dot_general" in layer.obstacles["associative"]


def test_each_memory_setting_keeps_less_than_the_one_before():
    sizes = explain(rx.LSTM(H), 100).layers[0].memory_bytes
    assert list(sizes) == ["preactivations", "carries", "edges"]
    assert sizes["preactivations"] > sizes["carries"] > 5 * sizes["edges"] > 0


def test_memory_grows_with_the_steps():
    short, long = (explain(rx.GRU(H), steps, block=10).layers[0].memory_bytes for steps in (100, 200))
    assert {memory: 2 * size for memory, size in short.items()} == long


def test_auto_keeps_less_where_it_would_be_too_much():
    """Beyond 2 GiB per layer; nothing is allocated to find out."""
    assert rx.explain(rx.LSTM(512), 64, (256,), 100).memory == "preactivations"
    assert rx.explain(rx.LSTM(512), 64, (256,), 100_000).memory == "edges"


@pytest.mark.parametrize("memory", ["preactivations", "carries", "edges"])
def test_what_is_asked_for_is_what_is_explained(memory):
    found = explain(rx.GRU(H), memory=memory, block=3, method="fused")
    assert (found.method, found.memory, found.reason) == ("fused", memory, "it was asked for")
    assert found.layers[0].block == 3
    scanned = explain(rx.GRU(H), method="scan")
    assert (scanned.method, scanned.memory, scanned.reason) == ("scan", None, "it was asked for")


@pytest.mark.parametrize("cell", [rx.LRU(H), rx.MinGRU(H)], ids=repr)
def test_long_sequences_of_affine_cells(cell):
    found = explain(cell, 10_000)
    assert found.method == "associative"
    assert "affine" in found.reason
    assert found.memory == "preactivations"
    assert found.layers[0].taps == ()
    assert found.layers[0].obstacles == {}
    assert explain(cell, T).method == "fused"


def test_a_chain_layer_by_layer():
    """Layers without a carry run at once, and leave method and reason to the others."""
    found = explain(rx.Chain(rx.Lift(nn.Dense(H)), rx.LSTM(H), rx.Dropout(0.1), rx.LRU(H)), 1000)
    assert [layer.method for layer in found.layers] == ["at once", "fused", "at once", "associative"]
    assert found.method == "fused; associative"
    assert found.memory == "preactivations"
    text = str(found)
    assert text.index("LSTM(hidden_size=2): 1000 steps, batch (3,)") < text.index("LRU(hidden_size=2): 1000 steps")
    assert [layer.method for layer in explain(rx.Bidirectional(rx.GRU(H))).layers] == ["fused", "fused"]


def test_a_layer_without_a_carry():
    found = explain(rx.Lift(nn.Dense(H)))
    assert (found.method, found.memory) == ("at once", None)
    assert "no carry" in found.reason


def talkative(W, h, x):
    jax.debug.print("{}", h.sum())
    h = jnp.tanh(x @ W + h)
    return h, h


def test_what_cannot_be_taken_apart_is_scanned(capsys):
    """A step with side effects: they happen, once a step, in order; and explain says why."""
    cell = rx.Cell(
        lambda key, size: jax.random.normal(key, (size, H)),
        lambda W, batch_shape: jnp.zeros((*batch_shape, H)),
        talkative,
    )
    found = explain(cell)
    assert (found.method, found.memory) == ("scan", None)
    assert "side effects" in found.reason
    assert found.layers[0].obstacles == {}
    rx.unroll(cell, cell.init(jax.random.key(0), D), jnp.ones((T, B, D)))
    jax.effects_barrier()
    assert len(capsys.readouterr().out.split()) == T
    with pytest.raises(ValueError, match=r"'associative', which does not apply to Cell.*side effects"):
        explain(cell, method="associative")


def test_no_steps_and_cells_without_input():
    assert explain(rx.LSTM(H), 0).method == "scan"
    counter = rx.Cell(
        lambda key, size: (), lambda params, batch_shape: jnp.zeros(batch_shape), lambda p, h, x: (h + 1, h)
    )
    assert "5 steps" in str(rx.explain(counter, None, (B,), 5))


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_every_cell_prints_for_a_person(entry):
    """Taps and memory of each fused layer; the method of each."""
    found = rx.explain(entry.cell, entry.input_size, (B,), T)
    text = str(found)
    assert text.count("  chosen     ") == len(found.layers)
    for layer in found.layers:
        if layer.method == "fused":
            assert all(tap in str(layer) for tap in layer.taps)
            assert "where the carry meets params" in str(layer)
            assert f"{layer.memory:<15}" in str(layer)
            assert "(chosen)" in str(layer)


def test_bad_arguments_get_one_clear_sentence():
    with pytest.raises(ValueError, match=r"^explain: memory is 'least', expected one of 'auto', 'preactivations'"):
        explain(rx.LSTM(H), memory="least")
    with pytest.raises(ValueError, match=r"^explain: method is 'fast', expected one of 'auto', 'scan'"):
        explain(rx.LSTM(H), method="fast")
    with pytest.raises(ValueError, match=r"^explain: num_steps is -1, expected at least 0"):
        explain(rx.LSTM(H), -1)
    with pytest.raises(TypeError, match=r"^explain: cell is the class LSTM"):
        explain(rx.LSTM)


def test_an_error_of_the_step_itself_is_not_taken_for_a_refusal():
    def step(W, h, x):
        raise NotImplementedError("this gate is still to be written")

    cell = rx.Cell(lambda key, size: jnp.ones((size, H)), lambda W, batch_shape: jnp.zeros((*batch_shape, H)), step)
    for method in ("auto", "associative"):
        with pytest.raises(NotImplementedError, match="this gate is still to be written"):
            rx.explain(cell, D, (3,), 5, method=method)

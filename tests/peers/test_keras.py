"""Keras layers there and back: weights bit for bit, values and gradients to 1e-10 in float64 and 1e-5 in float32.

Keras's own tanh rounds to float32 on JAX whatever it is given; in float64 its backend is given JAX's here.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras.src import backend

import rnnjax as rx
from rnnjax.interop.keras import from_keras, to_keras
from rnnjax.interop.keras.activations import FUNCTIONS
from tests.peers.agree import assert_same, random_like, with_gradients
from tests.registry import B, D, H, T

L = keras.layers
MASK = np.arange(T)[:, None] < [7, 4, 0]
MASK[2, 0] = False
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}

DRAWN = {"recurrent_initializer": "glorot_uniform"}  # Keras draws no orthogonal matrix in half precision
ROW = {"return_sequences": True, "zero_output_for_mask": True}  # as rx.unroll gives outputs
ALL = DRAWN | ROW

LAYERS = {
    "simple_rnn": lambda: L.SimpleRNN(H, **ALL),
    "lstm": lambda: L.LSTM(H, **ALL),
    "lstm_activations": lambda: L.LSTM(H, "softsign", "hard_sigmoid", **ALL),
    "gru_after": lambda: L.GRU(H, **ALL),
    "gru_before": lambda: L.GRU(H, "elu", reset_after=False, **ALL),
    "backward": lambda: L.GRU(H, go_backwards=True, **ALL),
    "rnn_of_cell": lambda: L.RNN(L.SimpleRNNCell(H, "relu", **DRAWN), **ROW),
    "rnn_of_cells": lambda: L.RNN([L.LSTMCell(H, **DRAWN), L.GRUCell(3, **DRAWN)], go_backwards=True, **ROW),
    "both_concat": lambda: L.Bidirectional(L.LSTM(H, **ALL)),
    "both_sum": lambda: L.Bidirectional(L.GRU(H, **ALL), "sum"),
    "both_ave": lambda: L.Bidirectional(L.SimpleRNN(H, **ALL), "ave"),
    "both_mul": lambda: L.Bidirectional(L.LSTM(H, **ALL), "mul"),
    "both_none": lambda: L.Bidirectional(L.GRU(H, reset_after=False, **ALL), None),
    "both_unlike": lambda: L.Bidirectional(
        L.LSTM(H, **ALL), backward_layer=L.LSTM(3, "softplus", go_backwards=True, **ALL)
    ),
    "both_of_cells": lambda: L.Bidirectional(L.RNN([L.GRUCell(3, **DRAWN), L.LSTMCell(H, **DRAWN)], **ROW)),
}
STACKS = {
    "two_layers": lambda: [L.LSTM(3, **ALL), L.GRU(H, **ALL)],
    "both_ways": lambda: [L.Bidirectional(L.GRU(H, **ALL)), L.Dropout(0.3), L.Bidirectional(L.LSTM(H, **ALL), "sum")],
    "nested": lambda: [L.InputLayer((None, D)), keras.Sequential([L.SimpleRNN(3, **ALL), L.LSTM(H, **ALL)])],
    "last_backward": lambda: [L.LSTM(3, **ALL), L.GRU(H, go_backwards=True, **ALL)],
}
REVERSED = {
    "backward_twice": lambda: [L.LSTM(3, go_backwards=True, **ALL), L.GRU(H, go_backwards=True, **ALL)],
    "backward_first": lambda: [
        L.LSTM(3, go_backwards=True, **ALL),
        L.SpatialDropout1D(0.2),
        L.Bidirectional(L.GRU(H, **ALL)),
        L.SimpleRNN(3, **ALL),
    ],
    "roles_swapped": lambda: [
        L.Bidirectional(L.GRU(H, go_backwards=True, **ALL), backward_layer=L.LSTM(H, **ALL)),
        L.LSTM(H, **ALL),
    ],
}


@pytest.fixture(params=TOLERANCE)
def dtype(request, monkeypatch):
    """What Keras computes in."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    if request.param == "float64":
        monkeypatch.setattr(backend.numpy, "tanh", jnp.tanh)
    yield request.param
    keras.config.set_dtype_policy(before)


def built(layer):
    """Every weight drawn."""
    layer.build((None, None, D))
    layer.set_weights(random_like(layer.get_weights()))
    return layer


def draw(dtype="float64"):
    return np.random.default_rng(1).normal(size=(T, B, D)).astype(dtype)


def run_keras(layer, xs, mask=None):
    """Keras's outputs, a list of [T, B, H] in its own order of time."""
    ys = layer(xs.swapaxes(0, 1), **({} if mask is None else {"mask": mask.T}))
    return [keras.ops.convert_to_numpy(y).swapaxes(0, 1) for y in jax.tree.leaves(ys)]


def in_keras_order(cell, ys):
    """Our outputs as a list; from the last step to the first where Keras has them so."""
    last = cell.layers[-1] if isinstance(cell, rx.Chain) else cell
    return [jnp.flip(y, 0) if isinstance(last, rx.Backward) else y for y in jax.tree.leaves(ys)]


def run_ours(cell, params, xs, mask=None):
    return in_keras_order(cell, rx.unroll(cell, params, xs, mask=mask)[1])


def assert_equal(found, expected):
    """Bit for bit, dtypes too."""
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), found, expected)


@pytest.mark.parametrize(("dtype", "masked"), [("float64", True), ("float32", False)], indirect=["dtype"])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients(name, masked, dtype):
    """Outputs and states; gradients for every weight, the inputs and the start states; all of them random."""
    layer, mask = built(LAYERS[name]()), MASK if masked else None
    ways = [layer.forward_layer, layer.backward_layer] if isinstance(layer, L.Bidirectional) else [layer]
    for part in {layer, *ways}:
        part.return_state = True
    states = [state for way in ways for state in way.get_initial_state(B)]
    weights = [variable.value for variable in layer.trainable_variables]
    cell, params = from_keras(layer, two_biases=True)
    structure = jax.tree.structure(cell.carry(params))
    start = [array.astype(dtype) for array in random_like(jax.tree.leaves(cell.carry(params, (B,))))]

    def theirs(weights, xs, start):
        fixed = [variable.value for variable in layer.non_trainable_variables]
        masked = {} if mask is None else {"mask": mask.T}
        start = keras.tree.pack_sequence_as(states, start)
        outputs, _ = layer.stateless_call(weights, fixed, xs.swapaxes(0, 1), initial_state=start, **masked)
        return [leaf.swapaxes(0, 1) if leaf.ndim == 3 else leaf for leaf in jax.tree.leaves(outputs)]

    def ours(params, xs, start):
        carry, ys = rx.unroll(cell, params, xs, structure.unflatten(start), mask=mask)
        return in_keras_order(cell, ys) + jax.tree.leaves(carry)

    (for_weights, *others), outputs = with_gradients(theirs)(weights, draw(dtype), start)
    layer.set_weights(for_weights)
    for_params = from_keras(layer, two_biases=True)[1]
    found = with_gradients(ours)(params, draw(dtype), start)
    assert_same(found, ((for_params, *others), outputs), TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("name", "masked"), [(name, masked) for name in STACKS for masked in (False, True)] + [(n, False) for n in REVERSED]
)
def test_stacks(name, masked, dtype):
    """From Keras and back to it. Keras does not reverse the mask for a layer after a backward one."""
    model, mask = built(keras.Sequential((STACKS | REVERSED)[name]())), MASK if masked else None
    cell, params = from_keras(model)
    expected = run_keras(model, draw(dtype), mask)
    assert_same(run_ours(cell, params, draw(dtype), mask), expected, TOLERANCE[dtype])
    assert_same(run_keras(to_keras(cell, params), draw(dtype), mask), expected, TOLERANCE[dtype])
    assert_equal(from_keras(model.layers), (cell, params))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"], indirect=True)
@pytest.mark.parametrize("name", LAYERS)
def test_weights_there_and_back(name, dtype):
    """Bit for bit, and the layer computes the same."""
    layer = built(LAYERS[name]())
    cell, params = from_keras(layer, two_biases=True)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}
    again = to_keras(cell, params)
    assert_equal(again.get_weights(), layer.get_weights())
    assert {variable.dtype for variable in again.weights} == {again.compute_dtype} == {dtype}
    assert_equal(from_keras(again, two_biases=True), (cell, params))
    if dtype == "float64":
        assert_same(run_keras(again, draw(dtype), MASK), run_keras(layer, draw(dtype), MASK), TOLERANCE[dtype])


CELLS = [
    rx.Elman(H, activation=jax.nn.softmax),
    rx.LSTM(H),
    rx.LSTM(H, activation=jax.nn.relu, gate_activation=jax.nn.hard_sigmoid),
    rx.GRU(H),
    rx.GRU(H, reset_after=False, activation=jax.nn.selu),
    rx.TwoBiases(rx.GRU(H)),
    rx.Backward(rx.LSTM(H)),
    rx.Backward(rx.Chain(rx.LSTM(H), rx.GRU(H))),
    rx.Bidirectional(rx.LSTM(H), rx.GRU(H, reset_after=False), merge=rx.Directions),
    rx.Bidirectional(rx.Elman(H), merge=jnp.multiply),
    rx.Bidirectional(rx.Chain(rx.TiedDropout(0.1), rx.LSTM(H)), merge="mean"),
    rx.Chain(rx.Dropout(0.3), rx.Backward(rx.Bidirectional(rx.GRU(H), merge="sum")), rx.Backward(rx.Elman(3))),
    rx.Chain(rx.TiedDropout(0.1), rx.RecurrentDropout(rx.GRU(H), 0.2, per_gate=True), rx.LSTM(3), rx.Dropout(0.1)),
    rx.Chain(rx.RecurrentDropout(rx.TwoBiases(rx.GRU(H)), 0.2, per_gate=True), rx.RecurrentDropout(rx.Elman(3), 0.2)),
]


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_ours_there_and_back(cell, dtype):
    """The cell that went comes back, with its params bit for bit; Keras computes what it computes."""
    drawn = random_like(cell.init(jax.random.key(0), D))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), drawn)
    layer = to_keras(cell, params)
    two_biases = "TwoBiases" in repr(cell)
    assert_equal(from_keras(layer, two_biases=two_biases), (cell, params))
    mask = None if "Chain(Dropout" in repr(cell) else MASK  # Keras does not reverse it between layers
    assert_same(run_keras(layer, draw(dtype), mask), run_ours(cell, params, draw(dtype), mask), TOLERANCE[dtype])


def test_two_rows_of_biases_are_one():
    layer = built(L.GRU(H, **ALL))
    (rows_z, rows_r, rows_n) = np.split(layer.get_weights()[2], 3, axis=-1)
    cell, params = from_keras(layer)
    assert cell == rx.GRU(H)
    assert_equal((params.b.r, params.b.z), (rows_r.sum(0), rows_z.sum(0)))
    assert_equal((params.b.n, params.b_hn), tuple(rows_n))
    assert_equal(from_keras(to_keras(cell, params)), (cell, params))


@pytest.mark.parametrize("make", [L.SimpleRNN, L.LSTM, L.GRU, lambda H, **flags: L.GRU(H, reset_after=False, **flags)])
def test_without_biases(make, dtype):
    """Zeros here; there and back without. The mask keeps Keras's GRU from mixing float32 with float64."""
    layer = built(make(H, use_bias=False, **ALL))
    cell, params = from_keras(layer)
    assert not any(map(np.any, jax.tree.leaves(params.b)))
    assert_same(run_ours(cell, params, draw(dtype), MASK), run_keras(layer, draw(dtype), MASK), TOLERANCE[dtype])
    assert_equal(to_keras(cell, params, use_bias=False).get_weights(), layer.get_weights())


@pytest.mark.parametrize("name", ["lstm", "backward"])
def test_masked_steps_repeat_the_last_output(name, dtype):
    """Keras's default; and its last output is h of the carry."""
    layer = built(LAYERS[name]())
    layer.zero_output_for_mask = False
    cell, params = from_keras(layer)
    carry, ys = rx.unroll(cell, params, draw(dtype), mask=MASK)
    repeated = rx.repeat_last(ys, MASK, reverse=layer.go_backwards)
    assert_same(in_keras_order(cell, repeated), run_keras(layer, draw(dtype), MASK), TOLERANCE[dtype])
    layer.return_sequences = False
    last = layer(draw(dtype).swapaxes(0, 1), mask=MASK.T)
    assert_same(np.asarray(jax.tree.leaves(carry)[0]), np.asarray(last), TOLERANCE[dtype])
    if not layer.go_backwards:
        assert_same(np.asarray(rx.last(ys, MASK)), np.asarray(last), TOLERANCE[dtype])


def test_last_output_of_both_directions(dtype):
    layer = built(L.Bidirectional(L.GRU(H)))
    carry, _ = rx.unroll(*from_keras(layer), draw(dtype), mask=MASK)
    last = layer(draw(dtype).swapaxes(0, 1), mask=MASK.T)
    assert_same(np.concatenate(carry, -1), np.asarray(last), TOLERANCE[dtype])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations(name, dtype):
    """Values and derivatives, with the arguments that a Keras layer gives."""
    xs = np.linspace(-7, 7, 4 * T).reshape(4, T).astype(dtype)
    layer = built(L.LSTM(H, name, name, **DRAWN))
    cell, _ = from_keras(layer)
    assert cell == rx.LSTM(H, activation=FUNCTIONS[name], gate_activation=FUNCTIONS[name])
    assert_same(
        with_gradients(cell.activation)(xs), with_gradients(getattr(keras.activations, name))(xs), TOLERANCE[dtype]
    )


def test_no_activation_is_forgotten():
    known = {getattr(keras.activations, name) for name in FUNCTIONS}
    others = {fn for fn in vars(keras.activations).values() if callable(fn)} - known
    names = {fn.__name__ for fn in others} - {"get", "serialize", "deserialize"}
    assert names == {"glu", "hard_shrink", "soft_shrink", "sparsemax", "tanh_shrink", "threshold"}


def test_a_function_of_jax_passes_through():
    fn = lambda x: jnp.clip(x, 0, 6)
    assert from_keras(built(L.GRU(H, fn, jnp.tanh)))[0] == rx.GRU(H, activation=fn, gate_activation=jnp.tanh)


def test_dropout_of_a_layer():
    """One mask of the inputs, masks of the state for each gate: as Keras draws them."""
    cell, params = from_keras(built(L.SimpleRNN(H, dropout=0.2, recurrent_dropout=0.3)))
    assert cell == rx.Chain(rx.TiedDropout(0.2), rx.RecurrentDropout(rx.Elman(H), 0.3))
    xs = draw()
    assert not np.allclose(*(rx.unroll(cell, params, xs, key=key)[1] for key in (None, jax.random.key(0))))
    assert from_keras(built(L.LSTM(H, dropout=0.2)))[0] == rx.Chain(rx.TiedDropout(0.2), rx.LSTM(H))
    layer = built(L.GRU(H, recurrent_dropout=0.3, **ALL))
    cell, params = from_keras(layer)
    assert cell == rx.RecurrentDropout(rx.GRU(H), 0.3, per_gate=True)
    assert len(layer.cell.get_recurrent_dropout_mask(np.ones((B, H)))) == 3
    layer = built(L.LSTM(H, recurrent_dropout=0.3, **ALL))
    assert len(layer.cell.get_recurrent_dropout_mask(np.ones((B, H)))) == 4
    assert from_keras(built(L.SpatialDropout1D(0.3))) == (rx.TiedDropout(0.3), ())


def test_a_converted_layer_can_be_saved(tmp_path):
    cell = rx.Chain(rx.Bidirectional(rx.LSTM(H, gate_activation=jax.nn.hard_sigmoid)), rx.Dropout(0.2), rx.GRU(3))
    model = to_keras(cell, cell.init(jax.random.key(0), D))
    model.save(tmp_path / "model.keras")
    assert_equal(
        run_keras(keras.saving.load_model(tmp_path / "model.keras"), draw("float32")), run_keras(model, draw("float32"))
    )


ON_TORCH = """
import keras, numpy as np, rnnjax as rx
from rnnjax.interop.keras import from_keras, to_keras

assert keras.backend.backend() == "torch"
for dtype in ("float32", "bfloat16"):
    flags = {"return_sequences": True, "recurrent_initializer": "glorot_uniform", "dtype": dtype}
    layer = keras.layers.Bidirectional(keras.layers.GRU(2, bias_initializer="glorot_uniform", **flags), dtype=dtype)
    layer.build((None, None, 5))
    cell, params = from_keras(layer, two_biases=True)
    again = to_keras(cell, params)
    for a, b in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    xs = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(params.forward.b_h.r.dtype)
    _, ys = rx.unroll(cell, params, xs)
    theirs = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(xs.swapaxes(0, 1), dtype)))
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(ys.astype("float32"), theirs.swapaxes(0, 1).astype("float32"), atol=tolerance)
layer = keras.layers.LSTM(2, activation=lambda x: x)
layer.build((None, None, 5))
try:
    from_keras(layer)
except ValueError as error:
    assert "cannot be represented exactly" in str(error), error
else:
    raise AssertionError("a function of PyTorch was taken")
print("done")
"""


def test_on_another_backend():
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", ON_TORCH], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout == "done\n", done.stderr


def test_importing_does_not_load_keras():
    program = "import sys, rnnjax.interop.keras; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

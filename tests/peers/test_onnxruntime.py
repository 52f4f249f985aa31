"""ONNX both ways against onnxruntime: operators taken over, models written; 1e-5 in float32, every number random."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from flax import nnx
from onnx import TensorProto, helper

import rnnjax as rx
from rnnjax.interop import onnx
from tests.registry import VOCABULARY, B, D, Entry, H, T, random_carry, random_inputs, random_params

TOLERANCE = 1e-5
LENGTHS = np.array([T, 4, 0], np.int32)
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
NUM_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {  # with the numbers that each takes
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "Affine": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "ScaledTanh": ("alpha", "beta"),
    "HardSigmoid": ("alpha", "beta"),
    "Elu": ("alpha",),
    "Softsign": (),
    "Softplus": (),
}


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def random_tensors(op, num_directions, *, num_steps=T, peepholes=False, seed=0):
    """What an operator may be given, by ONNX's names."""
    rng, G = np.random.default_rng(seed), NUM_GATES[op]
    shapes = {
        "X": (num_steps, B, D),
        "W": (num_directions, G * H, D),
        "R": (num_directions, G * H, H),
        "B": (num_directions, 2 * G * H),
        "initial_h": (num_directions, B, H),
    }
    if op == "LSTM":
        shapes["initial_c"] = (num_directions, B, H)
    if peepholes:
        shapes["P"] = (num_directions, 3 * H)
    return {name: (0.7 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def make_node(op, given, **attributes):
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"] + ["initial_c", "P"] * (op == "LSTM")
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (op == "LSTM")]
    return helper.make_node(op, [name if name in given else "" for name in names], outputs, **attributes)


def run_operator(node, given):
    """What onnxruntime makes of one node: Y, Y_h and of an LSTM Y_c."""
    kinds = {name: TensorProto.INT32 if name == "sequence_lens" else TensorProto.FLOAT for name in given}
    inputs = [helper.make_tensor_value_info(name, kind, given[name].shape) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
    graph = helper.make_graph([node], "operator", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return session(model).run(None, given)


def run_cell(node, given):
    """The same of the cell that ``from_onnx`` makes of the node."""
    cell, params = onnx.from_onnx(node, given)
    lengths = given.get("sequence_lens")
    carry = onnx.carry_from_onnx(given["initial_h"], given.get("initial_c"))
    mask = None if lengths is None else rx.length_mask(lengths, T)
    after, ys = rx.unroll(cell, params, given["X"], carry, mask=mask)
    Y = np.moveaxis(np.reshape(ys, (len(ys), B, -1, H)), 2, 1)
    return [Y, *onnx.carry_to_onnx(after)]


def assert_close(found, expected, tolerance=TOLERANCE):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def assert_operator_agrees(op, given, **attributes):
    node = make_node(op, given, hidden_size=H, **attributes)
    found, expected = run_cell(node, given), run_operator(node, given)
    if "sequence_lens" in given:  # where it is 0, onnxruntime gives zeros for the state, rnnjax the initial one
        for states, start in zip(found[1:], ("initial_h", "initial_c"), strict=False):
            np.testing.assert_array_equal(states[:, LENGTHS == 0], given[start][:, LENGTHS == 0])
            states[:, LENGTHS == 0] = 0
    assert_close(found, expected)


VARIANTS = {
    "plain": {},
    "clip": {"clip": 0.4},
    "reset_after": {"linear_before_reset": 1},
    "reset_after_clip": {"linear_before_reset": 1, "clip": 0.4},
    "coupled": {"input_forget": 1},
    "coupled_clip": {"input_forget": 1, "clip": 0.4},
}
OF_OP = {"linear_before_reset": "GRU", "input_forget": "LSTM"}
OPERATORS = [
    (op, variant)
    for op, variant in itertools.product(NUM_GATES, VARIANTS)
    if all(OF_OP.get(name, op) == op for name in VARIANTS[variant])
]


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op", "variant"), OPERATORS)
def test_operator(op, variant, direction, lengths):
    given = random_tensors(op, DIRECTIONS[direction]) | ({"sequence_lens": LENGTHS} if lengths else {})
    assert_operator_agrees(op, given, direction=direction, **VARIANTS[variant])


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", ["plain", "clip", "coupled", "coupled_clip"])
def test_peepholes(variant, direction, lengths):
    given = random_tensors("LSTM", DIRECTIONS[direction], peepholes=True)
    given |= {"sequence_lens": LENGTHS} if lengths else {}
    assert_operator_agrees("LSTM", given, direction=direction, **VARIANTS[variant])


WITH_DEFAULTS = ("LeakyRelu", "HardSigmoid", "Elu")


@pytest.mark.parametrize("clip", [{}, {"clip": 0.6}], ids=["", "clip"])
@pytest.mark.parametrize(
    ("activation", "numbers"), [*ACTIVATIONS.items(), *((name, ()) for name in WITH_DEFAULTS)], ids=str
)
@pytest.mark.parametrize("op", NUM_GATES)
def test_activations(op, activation, numbers, clip):
    """Each in every place, the two directions with different numbers."""
    rng = np.random.default_rng(1)
    usual = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[op]
    for place in range(len(usual)):
        names = [*usual[:place], activation, *usual[place + 1 :]]
        drawn = {f"activation_{number}": rng.uniform(0.1, 0.6, 2).astype(np.float32).tolist() for number in numbers}
        given = random_tensors(op, 2, num_steps=3, seed=place)  # few, as gates without bounds let states grow
        assert_operator_agrees(op, given, direction="bidirectional", activations=names * 2, **drawn, **clip)


def test_numbers_go_to_the_activations_that_take_one():
    attributes = {
        "activations": ["HardSigmoid", "LeakyRelu", "Tanh", "Sigmoid", "ScaledTanh", "Elu"],
        "activation_alpha": [0.3, 0.2, 0.7, 0.4],
        "activation_beta": [0.6, 0.8],
    }
    assert_operator_agrees("LSTM", random_tensors("LSTM", 2), direction="bidirectional", **attributes)


TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
ELU = onnx.Elu(0.5)
MODELS = [
    Entry("elman", rx.Elman(H)),
    Entry("elman_relu", rx.Elman(H, jax.nn.relu)),
    Entry("elman_clipped", rx.Elman(H, onnx.Clipped(onnx.Affine(0.5, 0.25), 0.75))),
    Entry("lstm", rx.LSTM(H)),
    Entry("lstm_activations", rx.LSTM(H, 1.0, jax.nn.soft_sign, jax.nn.hard_sigmoid, jax.nn.leaky_relu)),
    Entry("gru", rx.GRU(H)),
    Entry("gru_before", rx.GRU(H, reset_after=False, activation=ELU)),
    Entry("peephole", rx.PeepholeLSTM(H)),
    Entry("coupled", rx.CoupledLSTM(H)),
    Entry("coupled_peephole", rx.CoupledLSTM(H, peephole=True)),
    Entry("backward", rx.Backward(rx.GRU(H))),
    Entry("bidirectional", rx.Bidirectional(rx.LSTM(H))),
    Entry("bidirectional_sum", rx.Bidirectional(rx.GRU(H), merge="sum")),
    Entry("bidirectional_mean", rx.Bidirectional(rx.Elman(H), rx.Elman(H, jax.nn.relu), merge="mean")),
    Entry("bidirectional_two_cells", rx.Bidirectional(rx.LearnedCarry(rx.GRU(H)), rx.PeepholeLSTM(3))),
    Entry("bidirectional_one_learned", rx.Bidirectional(rx.LearnedCarry(rx.GRU(H)), rx.GRU(H))),
    Entry("bidirectional_of_chains", rx.Bidirectional(rx.Chain(rx.GRU(3), rx.Backward(rx.Elman(H))))),
    Entry("backward_bidirectional", rx.Backward(rx.Chain(rx.Bidirectional(rx.GRU(H)), rx.LSTM(3)))),
    Entry("learned_carry", rx.LearnedCarry(rx.Chain(rx.LSTM(3), rx.GRU(H)))),
    Entry("recurrent_dropout", rx.RecurrentDropout(rx.LSTM(H), 0.4)),
    Entry("reparametrized", rx.Reparametrize(rx.GRU(H), lambda p: p._replace(U=jax.tree.map(lambda U: U @ U, p.U)))),
    Entry("residual", rx.Residual(rx.Chain(rx.Bidirectional(rx.GRU(3)), rx.Lift(nn.Dense(D))))),
    Entry("head", rx.Chain(rx.Lift(nn.Dense(3, use_bias=False)), rx.GRU(H), rx.Lift(nn.Dense(D)))),
    Entry(
        "language_model",
        rx.Chain(
            rx.Lift(nn.Embed(VOCABULARY, D)),
            rx.TiedDropout(0.1),
            rx.LearnedCarry(rx.LSTM(3)),
            rx.GaussianNoise(0.1),
            rx.Chain(rx.Dropout(0.5), rx.Residual(rx.GRU(3))),
            rx.Lift(nn.LayerNorm()),
            rx.Lift(nn.Dense(VOCABULARY)),
        ),
        TOKEN,
    ),
    Entry(
        "nnx",
        rx.Chain(
            rx.Lift(lambda rngs: nnx.Embed(VOCABULARY, D, rngs=rngs)),
            rx.Lift(lambda rngs: nnx.LayerNorm(D, rngs=rngs)),
            rx.GRU(3),
            rx.Lift(lambda rngs: nnx.Sequential(nnx.Linear(3, 7, rngs=rngs), nnx.gelu, nnx.Linear(7, 2, rngs=rngs))),
        ),
        TOKEN,
    ),
    Entry(
        "sequential",
        rx.Chain(
            rx.GRU(3), rx.Lift(nn.Sequential([nn.LayerNorm(use_scale=False, use_bias=False), nn.Dense(7), nn.silu]))
        ),
    ),
]
BY_NAME = {entry.name: entry for entry in MODELS}
LOOK_AHEAD = ("backward", "bidirectional", "residual")


def run_exported(entry, params, xs, carry=None, lengths=None):
    """onnxruntime's ys, then the leaves of the carry after them if one is given."""
    model = onnx.to_onnx(entry.cell, params, lengths=lengths is not None, carries=carry is not None)
    feeds = {"xs": np.asarray(xs)} | ({} if lengths is None else {"lengths": lengths})
    return session(model).run(None, feeds | ({} if carry is None else onnx.carry_inputs(carry)))


@pytest.mark.parametrize("with_carry", [False, True], ids=["start", "carry"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("entry", MODELS, ids=repr)
def test_export(entry, lengths, with_carry):
    params, xs = random_params(entry, dtype=np.float32), random_inputs(entry, dtype=np.float32)
    mask = None if lengths is None else rx.length_mask(lengths, T)
    carry = random_carry(entry, params) if with_carry else None
    found = run_exported(entry, params, xs, carry, lengths)
    after, ys = rx.unroll(entry.cell, params, xs, carry, mask=mask)
    assert_close(found, [ys, *jax.tree.leaves(after)] if with_carry else [ys])


@pytest.mark.parametrize("entry", MODELS, ids=repr)
def test_sizes_not_seen_at_export(entry):
    """One session, any number of steps and batch elements, one of each too."""
    params = random_params(entry, dtype=np.float32)
    run = session(onnx.to_onnx(entry.cell, params, lengths=True)).run
    for num_steps, batch in ((1, 1), (2, 11)):
        xs = random_inputs(entry, num_steps, (batch,), dtype=np.float32)
        lengths = num_steps - np.arange(batch, dtype=np.int32) % (num_steps + 1)
        _, ys = rx.unroll(entry.cell, params, xs, mask=rx.length_mask(lengths, num_steps))
        assert_close(run(None, {"xs": np.asarray(xs), "lengths": lengths}), [ys])


@pytest.mark.parametrize("entry", [entry for entry in MODELS if not entry.name.startswith(LOOK_AHEAD)], ids=repr)
def test_streaming(entry):
    """Two pieces, each final carry fed back under its name, equal the whole; an element may pause for a piece."""
    params, xs = random_params(entry, dtype=np.float32), np.asarray(random_inputs(entry, dtype=np.float32))
    on = session(onnx.to_onnx(entry.cell, params, lengths=True, carries=True))
    names = [output.name for output in on.get_outputs()]
    feeds = onnx.carry_inputs(entry.cell.carry(params, (B,)))
    assert [value.name for value in on.get_inputs()] == ["xs", "lengths", *feeds]
    first, second = np.array([3, 2, 0], np.int32), np.array([4, 0, 3], np.int32)
    pieces = []
    for piece, lengths in ((xs[:3], first), (xs[3:], second)):
        found = dict(zip(names, on.run(None, {"xs": piece, "lengths": lengths, **feeds}), strict=True))
        pieces.append(found.pop("ys"))
        feeds = {name.replace("carry_out", "carry_in"): carry for name, carry in found.items()}
    mask = jnp.concatenate([rx.length_mask(first, 3), rx.length_mask(second, 4)])
    after, ys = rx.unroll(entry.cell, params, xs, mask=mask)
    assert_close([np.concatenate(pieces), *feeds.values()], [ys, *jax.tree.leaves(after)])


def test_padding_may_hold_anything():
    """Features that are no numbers, tokens that no table has."""
    for entry, bad in ((BY_NAME["residual"], np.nan), (BY_NAME["language_model"], 10**6)):
        params = random_params(entry, dtype=np.float32)
        xs = np.array(random_inputs(entry, dtype=np.float32))
        xs[~np.asarray(rx.length_mask(LENGTHS, T))] = bad
        _, ys = rx.unroll(entry.cell, params, xs, mask=rx.length_mask(LENGTHS, T))
        assert_close(run_exported(entry, params, xs, lengths=LENGTHS), [ys])


@pytest.mark.parametrize("name", ["elman", "lstm", "gru", "head", "language_model"])
def test_half_precision(name):
    entry = BY_NAME[name]
    params, xs = random_params(entry, dtype=np.float16), random_inputs(entry, dtype=np.float16)
    found = run_exported(entry, params, xs, lengths=LENGTHS)
    _, ys = rx.unroll(entry.cell, params, xs, mask=rx.length_mask(LENGTHS, T))
    assert_close(found, [ys], tolerance=1e-2)

"""ONNX both ways without a runtime: the golden data, the specification's own evaluator, round trips, every message."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import rnnjax as rx
from rnnjax.interop import onnx
from tests.registry import B, D, Entry, H, T, random_params

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "data" / "golden_onnx"
NUM_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def node_of(op, given, **attributes):
    names, outputs = (NAMES, ["Y", "Y_h", "Y_c"]) if op == "LSTM" else (NAMES[:6], ["Y", "Y_h"])
    return helper.make_node(op, [name if name in given else "" for name in names], outputs, **attributes)


def random_tensors(op, num_directions=1, dtype=np.float64, peepholes=True):
    """What an operator may be given, by ONNX's names."""
    rng, G = np.random.default_rng(0), NUM_GATES[op]
    shapes = {
        "X": (T, B, D),
        "W": (num_directions, G * H, D),
        "R": (num_directions, G * H, H),
        "B": (num_directions, 2 * G * H),
        "initial_h": (num_directions, B, H),
    }
    if op == "LSTM":
        shapes |= {"initial_c": (num_directions, B, H)} | ({"P": (num_directions, 3 * H)} if peepholes else {})
    return {name: (0.7 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}


def run_cell(node, given, layout=0) -> dict[str, Any]:
    """Y, Y_h and Y_c of the cell that ``from_onnx`` makes of a node."""
    cell, params = onnx.from_onnx(node, given)
    swapped = {
        name: np.swapaxes(value, 0, 1) if layout and name in ("X", "initial_h", "initial_c") else value
        for name, value in given.items()
    }
    carry = onnx.carry_from_onnx(swapped["initial_h"], swapped.get("initial_c")) if "initial_h" in given else None
    lengths = given.get("sequence_lens")
    mask = None if lengths is None else rx.length_mask(lengths, len(swapped["X"]))
    after, ys = rx.unroll(cell, params, swapped["X"], carry, mask=mask)
    states = onnx.carry_to_onnx(after)
    Y = np.reshape(ys, (*ys.shape[:2], len(states[0]), -1))  # [T, B, num_directions, H]
    Y = np.moveaxis(Y, 1, 0) if layout else np.moveaxis(Y, 2, 1)
    return dict(zip(("Y", "Y_h", "Y_c"), (Y, *(np.swapaxes(s, 0, 1) if layout else s for s in states)), strict=False))


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the golden data is not at {GOLDEN}")
@pytest.mark.parametrize("op", NUM_GATES)
def test_golden(op):
    """ONNX's own node tests, all eighteen."""
    cases = json.loads((GOLDEN / f"{op}.json").read_text())
    arrays = np.load(GOLDEN / f"{op}.npz")
    assert len(cases) == 6
    for case, about in cases.items():
        given, expected = (
            {key.rpartition("/")[2]: arrays[key] for key in arrays if key.startswith(f"{case}/{way}/")}
            for way in ("in", "out")
        )
        node = helper.make_node(op, about["node_inputs"], about["node_outputs"], **about["attrs"])
        found = run_cell(node, given, about["attrs"].get("layout", 0))
        assert expected
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=f"{case}, {name}")


OPERATORS = [("RNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1})]


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op", "attributes"), OPERATORS, ids=str)
def test_operator_equals_the_specifications_evaluator(op, attributes, direction, layout):
    given = random_tensors(op, DIRECTIONS[direction])
    if layout:
        given |= {n: np.swapaxes(given[n], 0, 1) for n in ("X", "initial_h", "initial_c") if n in given}
    node = node_of(op, given, hidden_size=H, direction=direction, layout=layout, **attributes)
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, value.shape) for name, value in given.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in node.output]
    model = helper.make_model(helper.make_graph([node], "one", inputs, outputs))
    found = run_cell(node, given, layout)
    expected: Any = ReferenceEvaluator(model).run(None, given)
    for name, value in zip(node.output, expected, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-10)


ACTIVATIONS = {  # the specification's formulas, with numbers of their own
    "Relu": ({}, lambda x, a, b: np.maximum(0, x)),
    "Tanh": ({}, lambda x, a, b: (1 - np.exp(-2 * x)) / (1 + np.exp(-2 * x))),
    "Sigmoid": ({}, lambda x, a, b: 1 / (1 + np.exp(-x))),
    "Affine": ({"alpha": 0.75, "beta": -0.5}, lambda x, a, b: a * x + b),
    "LeakyRelu": ({"alpha": 0.25}, lambda x, a, b: np.where(x >= 0, x, a * x)),
    "ThresholdedRelu": ({"alpha": 0.5}, lambda x, a, b: np.where(x > a, x, 0)),
    "ScaledTanh": ({"alpha": 1.5, "beta": 0.75}, lambda x, a, b: a * np.tanh(b * x)),
    "HardSigmoid": ({"alpha": 0.25, "beta": 0.375}, lambda x, a, b: np.minimum(np.maximum(a * x + b, 0), 1)),
    "Elu": ({"alpha": 0.5}, lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1))),
    "Softsign": ({}, lambda x, a, b: x / (1 + np.abs(x))),
    "Softplus": ({}, lambda x, a, b: np.log(1 + np.exp(x))),
}


def numbers_of(name):
    return {f"activation_{number}": [value] for number, value in ACTIVATIONS[name][0].items()}


@pytest.mark.parametrize("spelt", [str, str.lower, str.upper])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, spelt):
    """Its values, in any spelling; hashable and equal by its numbers; written as it was read."""
    numbers, formula = ACTIVATIONS[name]
    given = random_tensors("RNN")
    node = node_of("RNN", given, activations=[spelt(name)], **numbers_of(name))
    cell, params = onnx.from_onnx(node, given)
    x = np.array([-3.0, -0.5, -0.25, 0.0, 0.25, 0.5, 2.5])  # 0.5 is ThresholdedRelu's threshold
    expected = formula(x, numbers.get("alpha"), numbers.get("beta"))
    np.testing.assert_allclose(cell.activation(jnp.asarray(x)), expected, rtol=1e-12, atol=1e-12)
    assert hash(onnx.from_onnx(node, given)[0]) == hash(cell)
    assert onnx.from_onnx(onnx.to_onnx(cell, params))[0] == cell


def test_defaults_of_the_numbers():
    """Where the specification and onnxruntime agree on them."""
    given = random_tensors("LSTM", peepholes=False)
    cell, _ = onnx.from_onnx(node_of("LSTM", given, activations=["HardSigmoid", "LeakyRelu", "Elu"]), given)
    assert cell == rx.LSTM(H, 1.0, onnx.LeakyRelu(0.01), onnx.HardSigmoid(0.2, 0.5), onnx.Elu(1.0))


def test_clip_bounds_gates_and_candidate():
    given = random_tensors("LSTM", peepholes=False)
    cell, _ = onnx.from_onnx(node_of("LSTM", given, clip=0.5), given)
    expected = rx.LSTM(
        H,
        activation=onnx.Clipped(jnp.tanh, 0.5),
        gate_activation=onnx.Clipped(jax.nn.sigmoid, 0.5),
        output_activation=jnp.tanh,
    )
    assert cell == expected
    assert float(cell.activation(9.0)) == pytest.approx(np.tanh(0.5))


def test_usual_operators_are_usual_cells():
    """They compare equal to the cells that a user makes."""
    for op, peepholes, attributes, cell in (
        ("RNN", False, {"activations": ["Tanh", "Tanh"]}, rx.Elman(H)),  # the specification's own default has two
        ("LSTM", False, {}, rx.LSTM(H)),
        ("LSTM", True, {}, rx.PeepholeLSTM(H)),
        ("LSTM", False, {"input_forget": 1}, rx.CoupledLSTM(H)),
        ("LSTM", True, {"input_forget": 1}, rx.CoupledLSTM(H, peephole=True)),
        ("GRU", False, {}, rx.GRU(H, reset_after=False)),
        ("GRU", False, {"linear_before_reset": 1}, rx.GRU(H)),
    ):
        given = random_tensors(op, peepholes=peepholes)
        assert onnx.from_onnx(node_of(op, given, **attributes), given)[0] == cell
        both = random_tensors(op, 2, peepholes=peepholes)
        attributes = attributes if op != "RNN" else {}
        assert onnx.from_onnx(node_of(op, both, direction="bidirectional", **attributes), both)[0] == rx.Bidirectional(
            cell
        )
        found, params = onnx.from_onnx(node_of(op, given, direction="reverse", **attributes), given)
        assert found == rx.Backward(cell)
        assert rx.bind(found, params) is params
    both = random_tensors("RNN", 2)
    node = node_of("RNN", both, direction="bidirectional", activations=["Relu", "Tanh"])
    assert onnx.from_onnx(node, both)[0] == rx.Bidirectional(rx.Elman(H, jax.nn.relu), rx.Elman(H))


CLIPPED = onnx.Clipped(jnp.tanh, 0.5)
CELLS = [
    rx.Elman(H),
    rx.Elman(H, activation=onnx.Clipped(onnx.Affine(0.5, 0.25), 2.0)),
    rx.LSTM(H),
    rx.LSTM(H, 1.0, onnx.Elu(0.5), onnx.HardSigmoid(0.25, 0.5), jax.nn.relu),
    rx.LSTM(H, 1.0, CLIPPED, onnx.Clipped(jax.nn.sigmoid, 0.5), jnp.tanh),
    rx.GRU(H),
    rx.GRU(H, reset_after=False, activation=jax.nn.soft_sign),
    rx.PeepholeLSTM(H),
    rx.CoupledLSTM(H),
    rx.CoupledLSTM(H, peephole=True),
    rx.Backward(rx.GRU(H)),
    rx.Bidirectional(rx.PeepholeLSTM(H)),
    rx.Bidirectional(rx.Elman(H), rx.Elman(H, activation=jax.nn.relu)),
]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_cell_to_onnx_and_back(cell, dtype):
    """The same cell, and every array bit for bit in its dtype."""
    params = random_params(Entry("cell", cell), dtype=jnp.dtype(dtype))
    found, back = onnx.from_onnx(onnx.to_onnx(cell, params))
    assert found == cell
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("op", "attributes"), [*OPERATORS, ("LSTM", {"input_forget": 1})], ids=str)
def test_onnx_to_cell_and_back(op, attributes, direction):
    """W, R and P bit for bit; B as the sum of the two biases, but the two of a GRU's candidate with reset after."""
    given = random_tensors(op, DIRECTIONS[direction])
    model = onnx.to_onnx(*onnx.from_onnx(node_of(op, given, direction=direction, **attributes), given))
    [node] = [node for node in model.graph.node if node.op_type == op]
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {name: held[tensor] for name, tensor in zip(NAMES, node.input, strict=False) if tensor in held}
    G = NUM_GATES[op]
    W_b, R_b = given["B"].reshape(-1, 2, G, H).swapaxes(0, 1)
    first, second = W_b + R_b, np.zeros_like(R_b)
    if "linear_before_reset" in attributes:
        first[:, 2], second[:, 2] = W_b[:, 2], R_b[:, 2]
    expected = {
        "W": given["W"].reshape(-1, G, H, D),
        "R": given["R"].reshape(-1, G, H, H),
        "B": np.stack([first, second], axis=1),
    }
    if op == "LSTM":
        expected["P"] = given["P"].reshape(-1, 3, H)
    if "input_forget" in attributes:  # what the forget gate has is not used, and comes back as zeros
        expected["W"][:, 2] = expected["R"][:, 2] = expected["B"][:, 0, 2] = expected["P"][:, 2] = 0
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name].reshape(array.shape), array)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("op", "attributes"), [("RNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1})], ids=str
)
def test_two_biases_come_back_bit_for_bit(op, attributes, direction):
    given = random_tensors(op, DIRECTIONS[direction])
    two, one = (
        onnx.from_onnx(node_of(op, given, direction=direction, **attributes), given, two_biases=two)
        for two in (True, False)
    )
    model = onnx.to_onnx(*two)
    [node] = [node for node in model.graph.node if node.op_type == op]
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(held[node.input[3]], given["B"])
    np.testing.assert_allclose(rx.unroll(*two, given["X"])[1], rx.unroll(*one, given["X"])[1], rtol=1e-12)


def test_what_a_model_holds_for_run_time_is_refused_unless_it_is_zero():
    given = random_tensors("GRU") | {"sequence_lens": np.array([7, 4, 1], np.int32), "initial_h": np.ones((1, B, H))}
    node = node_of("GRU", {name: given[name] for name in ("X", "W", "R", "B", "sequence_lens", "initial_h")})
    weights = [numpy_helper.from_array(given[name], name) for name in "WRB"]
    for name in ("sequence_lens", "initial_h"):
        model = model_of([node], [*weights, numpy_helper.from_array(given[name], name)])
        with pytest.raises(ValueError, match=f"^from_onnx: {name} of GRU node '.*' is held by the model, which a cell"):
            onnx.from_onnx(model)
    zeros = numpy_helper.from_array(np.zeros_like(given["initial_h"]), "initial_h")
    assert onnx.from_onnx(model_of([node], [*weights, zeros]))[0] == rx.GRU(H, reset_after=False)


def model_of(nodes, initializers=()):
    xs = helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, None, D])
    ys = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.DOUBLE, None)
    return helper.make_model(helper.make_graph(nodes, "model", [xs], [ys], list(initializers)))


def test_weights_of_a_model():
    """From initializers, Constant nodes and the weights that are given, which come first."""
    given = random_tensors("GRU")
    W, R, bias = (numpy_helper.from_array(given[name], name) for name in "WRB")
    constant = helper.make_node("Constant", [], ["R"], value=R)
    nodes = [constant, node_of("GRU", {n: given[n] for n in "XWRB"})]
    _, expected = onnx.from_onnx(nodes[1], given)
    for found in (
        onnx.from_onnx(model_of(nodes, [W, bias])),
        onnx.from_onnx(model_of(nodes, [W]), {"B": given["B"]}),
        onnx.from_onnx(model_of(nodes[1:], [W, bias]), given),
    ):
        jax.tree.map(np.testing.assert_array_equal, found[1], expected)
    _, changed = onnx.from_onnx(model_of(nodes, [W, bias]), {"B": 2 * given["B"]})
    np.testing.assert_array_equal(changed.b.n, 2 * expected.b.n)


def test_one_node_of_several():
    given = random_tensors("GRU")
    first = node_of("GRU", {n: given[n] for n in "XWR"})
    second = helper.make_node("RNN", ["X", "w", "r"], ["out"], name="second")
    weights = given | {"w": np.ones((1, 3, H)), "r": np.ones((1, 3, 3))}
    model = model_of([first, second])
    assert onnx.from_onnx(model, weights, node="second")[0] == rx.Elman(3)
    assert onnx.from_onnx(model, weights, node="out")[0] == rx.Elman(3)
    assert onnx.from_onnx(model, weights, node="Y")[0] == rx.GRU(H, reset_after=False)
    with pytest.raises(
        ValueError, match=r"from_onnx: the model has GRU node 'Y', RNN node 'second'; give the name of one as node"
    ):
        onnx.from_onnx(model, weights)
    with pytest.raises(ValueError, match=r"the model has GRU node 'Y', RNN node 'second'; node is 'third'"):
        onnx.from_onnx(model, weights, node="third")


def test_carries_to_states_and_back():
    h, c = np.random.default_rng(0).normal(size=(2, 2, B, H))
    both = onnx.carry_from_onnx(h, c)
    assert both == rx.Directions(*both)
    np.testing.assert_array_equal(both.backward.c, c[1])
    for args in ((h,), (h, c), (h[:1],), (h[:1], c[:1])):
        back = onnx.carry_to_onnx(onnx.carry_from_onnx(*args))
        jax.tree.map(np.testing.assert_array_equal, back, args)

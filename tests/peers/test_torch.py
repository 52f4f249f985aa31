"""PyTorch's RNN, LSTM (projected too) and GRU, from and to: layers, directions, packed sequences."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import rnnjax as rx
from rnnjax.interop.torch import carry_from_torch, carry_to_torch, from_state_dict, from_torch, to_torch
from tests.peers.agree import assert_same, random_like, weights_like, with_gradients
from tests.registry import B, D, H, T

LENGTHS = np.array([4, 7, 1])  # pack_padded_sequence takes no empty sequence
KINDS = {
    "RNN_TANH": nn.RNN,
    "RNN_RELU": functools.partial(nn.RNN, nonlinearity="relu"),
    "LSTM": nn.LSTM,
    "LSTM projected": functools.partial(nn.LSTM, proj_size=H - 1),
    "GRU": nn.GRU,
}
SHAPES = {
    "one layer": {},
    "three layers": {"num_layers": 3},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "without biases": {"num_layers": 2, "bias": False},
}


def random_module(kind, shape, dtype=torch.float64):
    """A module with every parameter random."""
    module = KINDS[kind](D, H, dtype=dtype, **SHAPES[shape])
    weights = random_like({name: parameter.detach().double().numpy() for name, parameter in module.named_parameters()})
    module.load_state_dict({name: torch.tensor(array, dtype=dtype) for name, array in weights.items()})
    return module


def random_call(module, dtype=np.float64):
    """xs and the states to start from."""
    rng = np.random.default_rng(1)
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or H, *[H] * (module.mode == "LSTM")]
    states = tuple(rng.normal(size=(rows, B, size)).astype(dtype) for size in sizes)
    return rng.normal(size=(T, B, D)).astype(dtype), states


def run_torch(module, packed, xs, states):
    """PyTorch's ``(ys, state)`` and their gradients for xs, states and, by name, parameters."""
    xs, *states = (torch.tensor(array, requires_grad=True) for array in (xs, *states))
    inputs = nn.utils.rnn.pack_padded_sequence(xs, LENGTHS, enforce_sorted=False) if packed else xs
    ys, after = module(inputs, tuple(states) if len(states) > 1 else states[0])
    if packed:
        ys, _ = nn.utils.rnn.pad_packed_sequence(ys, total_length=T)
    outputs = ys, after
    values = jax.tree.map(lambda leaf: leaf.detach().numpy(), outputs)
    module.zero_grad()
    sum(
        jax.tree.leaves(
            jax.tree.map(lambda w, y: (torch.tensor(w, dtype=y.dtype) * y).sum(), weights_like(values), outputs)
        )
    ).backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    return values, (gradients, xs.grad.numpy(), tuple(state.grad.numpy() for state in states))


def run_ours(cell, packed, params, xs, states):
    """Our ``(ys, state)`` in PyTorch's form."""
    mask = rx.length_mask(LENGTHS, T) if packed else None
    structure = jax.tree.structure(cell.carry(params, (B,)))
    rows = [state[row] for row in range(len(states[0])) for state in states]
    carry, ys = rx.unroll(cell, params, xs, structure.unflatten(rows), mask=mask)
    leaves = jax.tree.leaves(carry)
    after = tuple(jnp.stack(leaves[index :: len(states)]) for index in range(len(states)))
    return ys, after if len(states) > 1 else after[0]


def kernels(params):
    return [
        leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if ".b" not in jax.tree_util.keystr(path)
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(kind, shape, packed):
    """For every parameter, the inputs and the start states; gradients of either bias, too."""
    module = random_module(kind, shape)
    cell, params = from_torch(module, two_biases=True)
    xs, states = random_call(module)
    values, (weight_gradients, *input_gradients) = run_torch(module, packed, xs, states)
    ours, outputs = with_gradients(functools.partial(run_ours, cell, packed))(params, xs, states)
    assert_same(outputs, values)
    _, expected = from_state_dict(weight_gradients, module.mode, two_biases=True)
    compared = kernels if shape == "without biases" else lambda params: params
    assert_same((compared(ours[0]), *ours[1:]), (compared(expected), *input_gradients))
    plain = from_torch(module)
    assert_same(run_ours(plain[0], packed, plain[1], xs, states), values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_float32(kind, shape):
    module = random_module(kind, shape, torch.float32)
    cell, params = from_torch(module)
    xs, states = random_call(module, np.float32)
    carry = carry_from_torch(cell, params, states)
    after, ys = rx.unroll(cell, params, xs, carry)
    expected = run_torch(module, False, xs, states)[0]
    assert ys.dtype == np.float32
    assert_same((np.asarray(ys), carry_to_torch(after)), expected, 1e-5)


def assert_equal(one, other):
    """Bit for bit, and of one dtype."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trips_are_exact(kind, shape, dtype):
    """PyTorch's two biases come back as they were, or as their sum and zero."""
    module = random_module(kind, shape, dtype)
    bias = SHAPES[shape].get("bias", True)
    state = module.state_dict()
    back = to_torch(*from_torch(module, two_biases=True), bias=bias).state_dict()
    assert list(back) == list(state)
    assert all(back[name].dtype == dtype and torch.equal(back[name], state[name]) for name in state)

    cell, params = from_torch(module)
    there = to_torch(cell, params, bias=bias)
    assert there.state_dict().keys() == state.keys()
    for name, array in there.state_dict().items():
        if name.startswith("weight"):
            assert torch.equal(array, state[name])
    assert from_torch(there)[0] == cell
    assert_equal(from_torch(there)[1], params)


@pytest.mark.parametrize(
    ("module", "states"),
    [(nn.RNNCell(D, H), 1), (nn.RNNCell(D, H, nonlinearity="relu"), 1), (nn.LSTMCell(D, H), 2), (nn.GRUCell(D, H), 1)],
    ids=str,
)
def test_cells(module, states):
    """One step of PyTorch's cells."""
    cell, params = from_torch(module)
    rng = np.random.default_rng(0)
    x, *start = (rng.normal(size=(B, size)).astype(np.float32) for size in (D, *[H] * states))
    given = [torch.tensor(state) for state in start]
    expected = module(torch.tensor(x), tuple(given) if states > 1 else given[0])
    carry = rx.LSTMCarry(*start) if states > 1 else start[0]
    after, _ = cell.step(params, carry, x)
    for ours, theirs in zip(jax.tree.leaves(after), expected if states > 1 else [expected], strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_between_layers():
    """It comes and goes, and is off without a key."""
    module = nn.LSTM(D, H, num_layers=3, dropout=0.25)
    cell, params = from_torch(module)
    assert cell == rx.Chain(rx.LSTM(H), rx.Dropout(0.25), rx.LSTM(H), rx.Dropout(0.25), rx.LSTM(H))
    back = to_torch(cell, params)
    assert (back.dropout, back.num_layers) == (0.25, 3)
    xs = torch.randn(T, B, D)
    np.testing.assert_allclose(rx.unroll(cell, params, xs.numpy())[1], module.eval()(xs)[0].detach(), atol=1e-6)


def test_part_of_a_larger_model():
    model = nn.ModuleDict({"encoder": nn.GRU(D, H, bidirectional=True), "head": nn.Linear(2 * H, 3)})
    cell, params = from_state_dict(model.state_dict(), "GRU", prefix="encoder.")
    assert cell == rx.Bidirectional(rx.GRU(H))
    assert_equal(params, from_torch(model["encoder"])[1])


class Doubled(nn.GRU):
    """A user's own."""

    def forward(self, *args):
        ys, state = super().forward(*args)
        return 2 * ys, state


def quantised():
    return torch.ao.nn.quantized.dynamic.LSTM(D, H)


def weights(**changes):
    state = {name: array.numpy() for name, array in nn.LSTM(D, H).state_dict().items()} | changes
    return {name: array for name, array in state.items() if array is not None}


LSTM = rx.LSTM(H)
PARAMS = LSTM.init(jax.random.key(0), D)
BAD = {
    "from_torch: module is of type Linear, expected nn.RNN, nn.LSTM, nn.GRU": lambda: from_torch(nn.Linear(D, H)),
    "from_torch: module is of type int": lambda: from_torch(3),
    "from_torch: module is a quantised LSTM": lambda: from_torch(quantised()),
    "from_torch: module is a subclass of PyTorch's, Doubled, which may compute something else": lambda: from_torch(
        Doubled(D, H)
    ),
    "from_torch: module is the class LSTM, expected": lambda: from_torch(nn.LSTM),
    "from_torch: weight_ih_l0 is on the meta device": lambda: from_torch(nn.LSTM(D, H, device="meta")),
    "from_torch: module is a subclass of PyTorch's, ParametrizedLSTM, which may compute something else": lambda: (
        from_torch(nn.utils.parametrizations.weight_norm(nn.LSTM(D, H), "weight_hh_l0"))
    ),
    "from_state_dict: kind is 'lstm', expected one of 'RNN_TANH', 'RNN_RELU', 'LSTM', 'GRU'": lambda: from_state_dict(
        weights(), "lstm"
    ),
    "from_state_dict: kind GRU: weight_ih_l0 has shape (8, 5), expected (6, any)": lambda: from_state_dict(
        weights(), "GRU"
    ),
    "from_state_dict: state_dict lacks bias_hh_l0; expected": lambda: from_state_dict(weights(bias_hh_l0=None), "LSTM"),
    "from_state_dict: state_dict has also weight_xx; expected": lambda: from_state_dict(
        weights(weight_xx=np.ones(3)), "LSTM"
    ),
    "from_state_dict: kind LSTM: bias_ih_l0 has shape (3,), expected (8)": lambda: from_state_dict(
        weights(bias_ih_l0=np.ones(3)), "LSTM"
    ),
    "from_state_dict: kind LSTM: weight_hh_l0 is int64[8,2], expected floating-point weights": lambda: from_state_dict(
        weights(weight_hh_l0=np.ones((8, 2), np.int64)), "LSTM"
    ),
    "from_state_dict: no name in state_dict starts with 'rnn.'; it has weight_ih_l0": lambda: from_state_dict(
        weights(), "LSTM", prefix="rnn."
    ),
    "from_state_dict: state_dict is of type list, expected arrays by name": lambda: from_state_dict([], "LSTM"),
    "carry_from_torch: state has the shapes (1, 3, 2), but LSTM(hidden_size=2) has h and c of [1, *batch, H]": (
        lambda: carry_from_torch(LSTM, PARAMS, np.ones((1, 3, 2)))
    ),
    "carry_from_torch: the carry of state.h is float64[3,5], but LSTM(hidden_size=2).carry has float64[3,2]": (
        lambda: carry_from_torch(LSTM, PARAMS, (np.ones((1, 3, 5)), np.ones((1, 3, 5))))
    ),
    "carry_to_torch: carry is (), expected that of layers of one kind and size": lambda: carry_to_torch(()),
    "from_state_dict: prefix is None, expected the beginning of names": lambda: from_state_dict(
        weights(), "LSTM", prefix=None
    ),
    "from_state_dict: weights are float32 and float64, expected one dtype": lambda: from_state_dict(
        weights(bias_ih_l0=np.ones(8)), "LSTM"
    ),
    "to_torch: params.U.i is float64[2,3], but LSTM(hidden_size=2).init has float64[2,2]": lambda: to_torch(
        LSTM, PARAMS._replace(U=PARAMS.U._replace(i=np.ones((2, 3))))
    ),
    "to_torch: GRU(hidden_size=2, reset_after=False) cannot be represented exactly: PyTorch's GRU resets after": (
        lambda: to_torch(rx.GRU(H, False), rx.GRU(H, False).init(jax.random.key(0), D))
    ),
    "to_torch: MinGRU(hidden_size=2) cannot be represented exactly: PyTorch has no such layer": lambda: to_torch(
        rx.MinGRU(H), rx.MinGRU(H).init(jax.random.key(0), D)
    ),
    "to_torch: LSTM(hidden_size=2, activation=relu) cannot be represented exactly": lambda: to_torch(
        rx.LSTM(H, activation=jax.nn.relu), PARAMS
    ),
    "cannot be represented exactly: layers of one PyTorch module differ in nothing but weights": lambda: to_torch(
        rx.Chain(rx.LSTM(H), rx.GRU(H)), rx.Chain(rx.LSTM(H), rx.GRU(H)).init(jax.random.key(0), D)
    ),
    "cannot be represented exactly: PyTorch has dropout of one rate, between all layers": lambda: to_torch(
        rx.Chain(rx.LSTM(H), rx.Dropout(0.1)), (PARAMS, ())
    ),
    "cannot be represented exactly: bias is False, but bias_ih_l0 is not zero": lambda: to_torch(
        LSTM, PARAMS, bias=False
    ),
    "cannot be represented exactly: PyTorch puts the outputs of two like directions side by side": lambda: to_torch(
        rx.Bidirectional(LSTM, merge="sum"), rx.Directions(PARAMS, PARAMS)
    ),
    "to_torch: cell is 3, which is not a cell": lambda: to_torch(3, PARAMS),
    "LSTM(hidden_size=2): params are a tuple, expected LSTMParams": lambda: to_torch(LSTM, ()),
}


@pytest.mark.parametrize("message", BAD)
def test_messages(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        BAD[message]()


def test_float64_without_64_bits():
    with jax.enable_x64(False), pytest.raises(TypeError, match="weight_hh_l0 is float64, which JAX would round"):
        from_torch(nn.GRU(D, H, dtype=torch.float64))

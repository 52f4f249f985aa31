"""PyTorch: LSTM, GRU and Elman, several layers, both directions, packed sequences; 1e-10 in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import rnnjax as rx
from tests.peers.agree import assert_same, random_like, weights_like, with_gradients
from tests.registry import B, D, H, T

LENGTHS = np.array([4, 7, 1])  # pack_padded_sequence takes no empty sequence


def elman(W, U, b_ih, b_hh):
    return rx.ElmanParams(W.T, U.T, b_ih + b_hh)


def lstm(W, U, b_ih, b_hh):
    split = lambda weights: rx.LSTMGates(*jnp.split(weights.T, 4, axis=-1))
    return rx.LSTMParams(split(W), split(U), split(b_ih + b_hh))


def gru(W, U, b_ih, b_hh):
    """The candidate's two biases are different parameters, the gates' are not."""
    split = lambda weights: rx.GRUGates(*jnp.split(weights.T, 3, axis=-1))
    return rx.GRUParams(split(W), split(U), split(b_ih + b_hh)._replace(n=b_ih[2 * H :]), b_hh[2 * H :])


# PyTorch's module, our cell, and the params of one layer and direction from PyTorch's four arrays.
KINDS = {
    "tanh": (torch.nn.RNN, rx.Elman(H), elman),
    "relu": (functools.partial(torch.nn.RNN, nonlinearity="relu"), rx.Elman(H, activation=jax.nn.relu), elman),
    "lstm": (torch.nn.LSTM, rx.LSTM(H), lstm),
    "gru": (torch.nn.GRU, rx.GRU(H), gru),
}


def run_ours(cell, convert, num_layers, both, mask, weights, xs, states):
    """Our unroll of PyTorch's weights and states [num_layers * directions, B, H]: ``(states, ys)``."""
    kinds = [f"{kind}_l{{}}{{}}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def layer(index):
        directions = [
            convert(*(weights[kind.format(index, way)] for kind in kinds)) for way in ("", "_reverse")[: 1 + both]
        ]
        return rx.Directions(*directions) if both else directions[0]

    model = rx.Chain(*[rx.Bidirectional(cell) if both else cell] * num_layers)
    params = tuple(map(layer, range(num_layers)))
    structure = jax.tree.structure(model.carry(params, (B,)))
    carry = structure.unflatten(state[index] for index in range(num_layers * (1 + both)) for state in states)
    after, ys = rx.unroll(model, params, xs, carry, mask=mask)
    leaves = jax.tree.leaves(after)
    return tuple(jnp.stack(leaves[index :: len(states)]) for index in range(len(states))), ys


def run_torch(module, packed, weights, xs, states):
    """PyTorch's gradients and outputs, as ``with_gradients`` gives them."""
    arguments = jax.tree.map(lambda leaf: torch.tensor(leaf, requires_grad=True), (weights, xs, states))
    weights, xs, states = arguments
    inputs = torch.nn.utils.rnn.pack_padded_sequence(xs, LENGTHS, enforce_sorted=False) if packed else xs
    ys, after = torch.func.functional_call(module, weights, (inputs, states if len(states) > 1 else states[0]))
    if packed:
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, total_length=T)
    outputs = (after if len(states) > 1 else (after,)), ys
    values = jax.tree.map(lambda leaf: leaf.detach().numpy(), outputs)
    terms = jax.tree.map(lambda w, leaf: (torch.tensor(w) * leaf).sum(), weights_like(values), outputs)
    sum(jax.tree.leaves(terms)).backward()
    return jax.tree.map(lambda leaf: leaf.grad.numpy(), arguments), values


@pytest.mark.parametrize(
    ("num_layers", "both", "packed"),
    [(1, False, False), (3, False, True), (2, True, False), (2, True, True)],
    ids=["one_layer", "three_layers_packed", "two_layers_both_ways", "two_layers_both_ways_packed"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_torch(kind, num_layers, both, packed):
    """Values, and gradients for every parameter, the inputs and the start states; all of them random."""
    make, cell, convert = KINDS[kind]
    module = make(D, H, num_layers=num_layers, bidirectional=both, dtype=torch.float64)
    weights = random_like({name: parameter.detach().numpy() for name, parameter in module.named_parameters()})
    rng = np.random.default_rng(1)
    states = tuple(rng.normal(size=(num_layers * (1 + both), B, H)) for _ in range(2 if kind == "lstm" else 1))
    xs = rng.normal(size=(T, B, D))
    mask = rx.length_mask(LENGTHS, T) if packed else None
    ours = functools.partial(run_ours, cell, convert, num_layers, both, mask)
    assert_same(with_gradients(ours)(weights, xs, states), run_torch(module, packed, weights, xs, states))

"""Keras on JAX: SimpleRNN, LSTM, GRU with the reset after and before, with masks; 1e-10 in float64.

Keras's own tanh rounds to float32 whatever it is given, so that the layers are given JAX's.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import rnnjax as rx
from tests.peers.agree import assert_agree, random_like
from tests.registry import B, D, H, T

MASK = np.arange(T)[:, None] < [7, 4, 1]
MASK[2, 0] = False


def elman(W, U, b):
    return rx.ElmanParams(W, U, b)


def lstm(*weights):
    """Gates in the order i f c o, as ours."""
    return rx.LSTMParams(*(rx.LSTMGates(*jnp.split(part, 4, axis=-1)) for part in weights))


def gru(W, U, b):
    """Gates in the order z r h; two rows of biases where the reset comes after."""
    after = b.ndim == 2
    split = lambda part: rx.GRUGates(**dict(zip("zrn", jnp.split(part, 3, axis=-1), strict=True)))
    if not after:
        return rx.GRUParams(split(W), split(U), split(b), None)
    return rx.GRUParams(split(W), split(U), split(b.sum(0))._replace(n=split(b[0]).n), split(b[1]).n)


@pytest.mark.parametrize(
    ("make", "ours", "convert"),
    [
        (keras.layers.SimpleRNN, rx.Elman(H), elman),
        (keras.layers.LSTM, rx.LSTM(H), lstm),
        (keras.layers.GRU, rx.GRU(H), gru),
        (lambda *args, **settings: keras.layers.GRU(*args, reset_after=False, **settings), rx.GRU(H, False), gru),
    ],
    ids=["elman", "lstm", "gru_after", "gru_before"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_keras(make, ours, convert, masked):
    """Values, and gradients for every parameter, the inputs and the start states; all of them random."""
    layer = make(H, activation=jnp.tanh, return_sequences=True, return_state=True, zero_output_for_mask=True)
    layer.build((B, T, D))
    rng = np.random.default_rng(1)
    weights = random_like([np.asarray(variable.value) for variable in layer.trainable_variables])
    structure = jax.tree.structure(ours.carry(convert(*weights)))
    xs, states = rng.normal(size=(T, B, D)), tuple(rng.normal(size=(structure.num_leaves, B, H)))

    def run_keras(weights, xs, states):
        fixed = [variable.value for variable in layer.non_trainable_variables]
        mask = {"mask": jnp.asarray(MASK.T)} if masked else {}
        (ys, *after), _ = layer.stateless_call(
            weights, fixed, jnp.swapaxes(xs, 0, 1), initial_state=list(states), **mask
        )
        return tuple(after), jnp.swapaxes(ys, 0, 1)

    def run_ours(weights, xs, states):
        start = structure.unflatten(states)
        after, ys = rx.unroll(ours, convert(*weights), xs, start, mask=MASK if masked else None)
        return tuple(jax.tree.leaves(after)), ys

    assert_agree(run_ours, run_keras, weights, xs, states)

"""What from_keras and to_keras refuse, each in a sentence."""

import sys

import jax
import jax.numpy as jnp
import keras
import pytest

import rnnjax as rx
from rnnjax.interop.keras import from_keras, to_keras
from tests.registry import D, H

L = keras.layers


def built(layer):
    layer.build((None, None, D))
    return layer


class OwnLSTM(L.LSTM):
    """It might compute anything."""


class OwnCell(keras.layers.Layer):
    state_size = output_size = D

    def call(self, x, states):
        return x, states


FROM = {
    "no layer": (lambda: None, TypeError, "layer is of type NoneType, expected a built SimpleRNN, LSTM, GRU, RNN of"),
    "a class": (lambda: L.LSTM, TypeError, "layer is the class LSTM, expected a built"),
    "another layer": (lambda: built(L.Dense(H)), TypeError, "layer is of type Dense, expected"),
    "in a stack": (
        lambda: [built(L.LSTM(H, return_sequences=True)), L.LayerNormalization()],
        TypeError,
        "of type LayerNormalization,",
    ),
    "a subclass": (lambda: built(OwnLSTM(H)), TypeError, "layer is of type OwnLSTM, expected"),
    "a cell": (lambda: L.RNN(OwnCell(), name="own"), TypeError, "RNN 'own' has a cell of type OwnCell, expected"),
    "empty": (list, ValueError, "layer is empty, expected a built"),
    "empty model": (keras.Sequential, ValueError, "layer is empty, expected a built"),
    "not built": (
        lambda: L.GRU(H, name="g"),
        ValueError,
        "GRU 'g' is not built, so it has no weights; call it once, or",
    ),
    "half built": (
        lambda: L.Bidirectional(L.GRU(H, name="g")),
        ValueError,
        "GRU 'forward_g' is not built, so it has no weights",
    ),
    "masking": (
        lambda: L.Masking(0.5, name="m"),
        ValueError,
        "Masking 'm' cannot be represented exactly: it makes a mask of the inputs; leave it out and give rx.unroll"
        " mask=(xs != 0.5).any(-1)",
    ),
    "noise": (
        lambda: L.Dropout(0.1, noise_shape=(1, None, None), name="d"),
        ValueError,
        "Dropout 'd' with noise_shape=(1, None, None) cannot be represented exactly: rx.Dropout draws a mask for every",
    ),
    "activation": (
        lambda: built(L.LSTM(H, "tanh_shrink", name="l")),
        ValueError,
        "activation tanh_shrink of LSTM 'l' cannot be represented exactly: JAX has no such function; give a function",
    ),
    "gate": (
        lambda: built(L.GRU(H, recurrent_activation=keras.ops.sigmoid, name="g")),
        ValueError,
        "recurrent_activation sigmoid of GRU 'g' cannot be represented exactly",
    ),
    "layer as activation": (
        lambda: built(L.SimpleRNN(H, L.LeakyReLU(0.1), name="s")),
        ValueError,
        "activation LeakyReLU of SimpleRNN 's' cannot be represented exactly",
    ),
    "dropout": (
        lambda: built(L.LSTM(H, dropout=0.1, recurrent_dropout=0.2, name="l")),
        ValueError,
        "dropout=0.1 of LSTM 'l' cannot be represented exactly: it draws a mask of the inputs for each gate; for",
    ),
    "last only": (
        lambda: [built(L.LSTM(H, name="l")), L.Dropout(0.1), built(L.GRU(H, name="g"))],
        ValueError,
        "LSTM 'l' gives its last output only, expected return_sequences=True, as GRU 'g' comes after it",
    ),
}


@pytest.mark.parametrize("case", FROM)
def test_from_keras_refuses(case):
    make, error, message = FROM[case]
    with pytest.raises(error) as caught:
        from_keras(make())
    assert str(caught.value).startswith("from_keras: ")
    assert message in str(caught.value)


def test_from_keras_refuses_what_jax_would_round():
    layer = built(L.LSTM(H, dtype="float64", name="l"))
    with jax.enable_x64(False), pytest.raises(TypeError, match="kernel of LSTM 'l' is float64, which JAX would round"):
        from_keras(layer)


def first(cell, **settings):
    """Its first params."""
    return cell, cell.init(jax.random.key(0), D), settings


def with_params(cell, change):
    return cell, change(cell.init(jax.random.key(0), D)), {}


NO_LAYER = "cannot be represented exactly: Keras has no recurrent layer that computes this"
TO = {
    "no cell": (lambda: (L.LSTM(H), None, {}), TypeError, "cell is LSTM, which is not a cell"),
    "use_bias": (lambda: first(rx.LSTM(H), use_bias=0), TypeError, "use_bias is 0, expected True or False"),
    "biases": (
        lambda: first(rx.LSTM(H), use_bias=False),
        ValueError,
        "LSTM(hidden_size=2) cannot be represented exactly: use_bias is False, but a bias is not zero",
    ),
    "peephole": (lambda: first(rx.PeepholeLSTM(H)), ValueError, f"PeepholeLSTM(hidden_size=2) {NO_LAYER}"),
    "coupled": (lambda: first(rx.CoupledLSTM(H)), ValueError, f"CoupledLSTM(hidden_size=2) {NO_LAYER}"),
    "projected": (lambda: first(rx.ProjectedLSTM(3, H)), ValueError, NO_LAYER),
    "two biases": (lambda: first(rx.TwoBiases(rx.LSTM(H))), ValueError, NO_LAYER),
    "lookahead": (lambda: first(rx.Bidirectional(rx.Backward(rx.LSTM(H)))), ValueError, NO_LAYER),
    "zoneout": (lambda: first(rx.Chain(rx.LSTM(H), rx.Zoneout(rx.GRU(H), 0.1))), ValueError, NO_LAYER),
    "merge": (
        lambda: first(rx.Bidirectional(rx.LSTM(H), merge=jnp.maximum)),
        ValueError,
        "Keras merges by concat, sum, mean, jnp.multiply or rx.Directions",
    ),
    "activation": (
        lambda: first(rx.GRU(H, activation=jnp.sin)),
        ValueError,
        "GRU(hidden_size=2, activation=sin) cannot be represented exactly: Keras has no activation that is sin",
    ),
    "gate": (
        lambda: first(rx.GRU(H, gate_activation=jax.nn.gelu)),
        ValueError,
        "Keras has no gate_activation that is gelu",
    ),
    "output": (
        lambda: first(rx.LSTM(H, output_activation=jax.nn.relu)),
        ValueError,
        "Keras has one activation for the candidate and the memory",
    ),
    "one mask": (
        lambda: first(rx.RecurrentDropout(rx.LSTM(H), 0.1)),
        ValueError,
        "Keras draws a mask for each gate, as per_gate=True does",
    ),
    "both masks": (
        lambda: first(
            rx.Bidirectional(rx.Chain(rx.TiedDropout(0.1), rx.RecurrentDropout(rx.GRU(H), 0.1, per_gate=True)))
        ),
        ValueError,
        "with recurrent dropout Keras draws a mask of the inputs for each gate",
    ),
    "dropped twice": (
        lambda: first(rx.RecurrentDropout(rx.RecurrentDropout(rx.GRU(H), 0.1, per_gate=True), 0.1, per_gate=True)),
        ValueError,
        NO_LAYER,
    ),
    "other params": (
        lambda: (rx.LSTM(H), first(rx.GRU(H))[1], {}),
        TypeError,
        "params are a GRUParams, expected LSTMParams",
    ),
    "a shape": (
        lambda: with_params(rx.LSTM(H), lambda p: p._replace(U=p.U._replace(g=jnp.ones((H, 3))))),
        ValueError,
        "params.U.g is float64[2,3], but LSTM(hidden_size=2).init(key, 5) has float64[2,2]",
    ),
    "no floats": (
        lambda: with_params(rx.Elman(H), lambda p: p._replace(b=jnp.arange(H))),
        TypeError,
        "params.b is int64[2], expected floating-point weights",
    ),
    "dtypes": (
        lambda: with_params(rx.Elman(H), lambda p: p._replace(b=p.b.astype(jnp.bfloat16))),
        ValueError,
        "params are bfloat16 and float64, and a Keras layer has one dtype",
    ),
    "widths": (
        lambda: with_params(rx.Chain(rx.Elman(H), rx.Elman(3)), lambda p: (p[0], first(rx.Elman(3))[1])),
        ValueError,
        "have weights of the shapes [(5, 2), (2, 2), (2,), (5, 3), (3, 3), (3,)], but Keras makes [(5, 2), (2, 2),",
    ),
}


@pytest.mark.parametrize("case", TO)
def test_to_keras_refuses(case):
    make, error, message = TO[case]
    cell, params, settings = make()
    with pytest.raises(error) as caught:
        to_keras(cell, params, **settings)
    assert message in str(caught.value)


def test_keras_has_to_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    for convert in (lambda: from_keras(None), lambda: to_keras(*first(rx.LSTM(H))[:2])):
        with pytest.raises(ImportError, match="_keras needs keras: pip install keras"):
            convert()

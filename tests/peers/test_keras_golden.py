"""The values that Keras's own tests of SimpleRNN, LSTM and GRU expect, from rnnjax, at their own tolerances."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.interop.keras import from_keras

GOLDEN = Path(__file__).parents[3] / "shared/data/golden_keras/golden_keras.json"
CASES = json.loads(GOLDEN.read_text())["cases"] if GOLDEN.exists() else []

pytestmark = pytest.mark.skipif(not CASES, reason=f"{GOLDEN} is absent")


def test_all_cases_are_here():
    assert len(CASES) == 48


def decode(value):
    """Arrays, initialisers, and lists of them, as the file has them."""
    match value:
        case {"shape": shape, "dtype": dtype, "data": data}:
            return np.array(data, dtype).reshape(shape)
        case {"constant": constant}:
            return keras.initializers.Constant(constant)
        case list():
            return [decode(entry) for entry in value]
    return value


def call(layer, carry, xs, mask=None, initial_state=None):
    """What Keras gives for a call of the layer, by its flags; and the carry after it. Arrays with the batch first."""
    cell, params = from_keras(layer)
    structure = jax.tree.structure(cell.carry(params))
    if initial_state is not None:
        carry = structure.unflatten(jax.tree.leaves(initial_state))
    mask = None if mask is None else mask.T
    carry, ys = rx.unroll(cell, params, xs.swapaxes(0, 1), carry, mask=mask)
    if mask is not None and not layer.zero_output_for_mask:
        ys = rx.repeat_last(ys, mask, reverse=layer.go_backwards)
    ys = jnp.flip(ys, 0) if layer.go_backwards else ys
    y = ys.swapaxes(0, 1) if layer.return_sequences else ys[-1]
    return carry, (y, *jax.tree.leaves(carry)) if layer.return_state else y


@pytest.mark.parametrize("case", CASES, ids=[f"{case['layer']['layer']}-{i}" for i, case in enumerate(CASES)])
def test_case(case):
    settings = {name: decode(value) for name, value in case["layer"]["kwargs"].items()}
    layer = getattr(keras.layers, case["layer"]["layer"])(*case["layer"]["args"], **settings, dtype="float32")
    carry, output = None, None
    for arguments in case["calls"]:
        if arguments == "reset_state":
            carry = None
            continue
        (xs,), named = decode(arguments["args"]), {name: decode(a) for name, a in arguments["kwargs"].items()}
        if not layer.built:
            layer.build(xs.shape)
        after, output = call(layer, carry, xs, **named)
        carry = after if layer.stateful else None

    def entry(index):
        return output if not index else output[index[0]]

    expected = entry(case["equals_output_index"]) if "equals_output_index" in case else case["expected"]
    found = entry(case["output_index"])
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=case["rtol"], atol=case["atol"])

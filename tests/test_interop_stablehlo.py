"""Any cell as StableHLO: serialised, called by plain JAX at sizes not seen before, whole and in pieces."""

import re

import flax.linen as nn
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.interop.onnx import carry_inputs
from rnnjax.interop.stablehlo import to_stablehlo
from tests.laws.compare import assert_close
from tests.registry import D, Entry, H, random_inputs, random_params

TOKEN = jax.ShapeDtypeStruct((), jnp.int32)
ENTRIES = [
    Entry(
        "tagger",
        rx.Chain(rx.Lift(nn.Embed(11, D)), rx.Bidirectional(rx.LSTM(H)), rx.Lift(nn.LayerNorm()), rx.Lift(nn.Dense(3))),
        TOKEN,
        steps=False,
    ),
    Entry("stack", rx.Chain(rx.GRU(H), rx.Dropout(0.3), rx.LearnedCarry(rx.PeepholeLSTM(H)), rx.Lift(nn.Dense(3)))),
    Entry("linear", rx.Residual(rx.Chain(rx.LRU(H), rx.MinGRU(D)))),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
def test_another_process_would_see_the_same(entry):
    params = random_params(entry)
    exported = to_stablehlo(entry.cell, params, lengths=True, carries=True)
    call = jax.export.deserialize(exported.serialize()).call
    for num_steps, lengths in (6, [6, 4, 0]), (1, [1, 0]):
        xs = random_inputs(entry, num_steps, (len(lengths),))
        carry = entry.cell.carry(rx.bind(entry.cell, params), (len(lengths),))
        carry = jax.tree.map(lambda leaf: leaf + 0.3, carry)
        outputs = call({"xs": xs, "lengths": np.array(lengths, np.int32), **carry_inputs(carry)})
        mask = rx.length_mask(np.array(lengths), num_steps)
        after, ys = rx.unroll(entry.cell, params, xs, carry, mask=mask)
        names = [name.replace("carry_in", "carry_out") for name in carry_inputs(after)]
        assert_close(outputs, {"ys": ys} | dict(zip(names, jax.tree.leaves(after), strict=True)))
    plain = to_stablehlo(entry.cell, params).call({"xs": xs})
    assert_close(plain, {"ys": rx.unroll(entry.cell, params, xs)[1]})


def test_sizes_that_params_do_not_tell():
    """Given, as for images, or asked for."""
    model = rx.Lift(nn.Conv(2, (3, 3)), input_ndim=3)
    image = jax.ShapeDtypeStruct((5, 7, 1), jnp.float64)
    params = model.init(jax.random.key(0), image)
    xs = np.random.default_rng(0).normal(size=(2, 3, 5, 7, 1))
    assert_close(
        to_stablehlo(model, params, input_size=image).call({"xs": xs}), {"ys": rx.unroll(model, params, xs)[1]}
    )
    with pytest.raises(ValueError, match=r"^to_stablehlo: params of Lift.* do not tell the size of its input"):
        to_stablehlo(model, params)


LSTM = rx.LSTM(H)
PARAMS = LSTM.init(jax.random.key(0), D)
BAD = {
    "to_stablehlo: model is 3, which is not a cell": lambda: to_stablehlo(3, PARAMS),
    "to_stablehlo: lengths is 1, expected True or False": lambda: to_stablehlo(LSTM, PARAMS, lengths=1),  # pyright: ignore
    "LSTM(hidden_size=2): params are a tuple, expected LSTMParams": lambda: to_stablehlo(LSTM, ()),
}


@pytest.mark.parametrize("message", BAD)
def test_messages(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        BAD[message]()

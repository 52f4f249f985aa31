"""A training step with its batch split over two devices exchanges gradients, never activations."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax as rx
from tests.conftest import full
from tests.laws.events import random_events
from tests.registry import D, Entry, H, T, random_inputs, random_params

BATCH = (4,)
MODELS = [
    rx.LSTM(H),
    rx.GRU(H),
    rx.Chain(rx.GRU(H, reset_after=False), rx.Lift(nn.Dense(D))),
    full(rx.LRU(H)),
]


def mesh(kind):
    return jax.make_mesh((2,), ("data",), axis_types=(kind,))


@pytest.mark.parametrize(
    "options", [{"block": 3}, full({"memory": "edges", "block": 3}), full({"method": "scan"})], ids=str
)
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_a_training_step_gathers_nothing(model, options):
    """With mask and resets, in several blocks. What it does exchange is the sum of gradients."""
    entry = Entry("", model)
    split = NamedSharding(mesh(AxisType.Auto), PartitionSpec(None, "data"))
    sequences = jax.device_put((random_inputs(entry, T, BATCH), *random_events(0, T, BATCH)), split)
    params = jax.device_put(random_params(entry), NamedSharding(split.mesh, PartitionSpec()))

    def training_step(params, xs, mask, resets):
        def loss(params):
            return (rx.unroll(model, params, xs, mask=mask, resets=resets, **options)[1] ** 2).sum()

        value, slopes = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, slope: p - 0.1 * slope, params, slopes)

    text = jax.jit(training_step).lower(params, *sequences).compile().as_text() or ""
    assert "all-gather" not in text
    assert "all-reduce" in text
    assert "num_partitions=2" in text


def test_explicit_axes_are_refused():
    """With one sentence that says what to do."""
    entry = Entry("", rx.LSTM(H))
    split = NamedSharding(mesh(AxisType.Explicit), PartitionSpec(None, "data"))
    xs = jax.device_put(random_inputs(entry, T, BATCH), split)
    params = random_params(entry)
    for run in (rx.unroll, jax.jit(rx.unroll, static_argnums=0)):
        with pytest.raises(ValueError, match=r"^unroll: xs is split along Explicit mesh axes, .*, expected Auto axes"):
            run(entry.cell, params, xs)


def test_arrays_whole_on_explicit_axes_are_taken():
    """They lie on such a mesh, and are not split."""
    entry = Entry("", rx.LSTM(H))
    whole = NamedSharding(mesh(AxisType.Explicit), PartitionSpec())
    params, xs = random_params(entry), np.asarray(random_inputs(entry, T, BATCH))
    slope = jax.jit(jax.grad(lambda params, xs: (rx.unroll(entry.cell, params, xs, block=2)[1] ** 2).sum()))
    found = slope(params, jax.device_put(xs, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, slope(params, xs))

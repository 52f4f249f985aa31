"""A batch split over two devices gives what one device gives: on an Auto mesh, and inside shard_map."""

import jax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax as rx
from tests.conftest import full
from tests.laws.compare import assert_close, assert_same_with_gradients, unroll_with_gradients, weigh
from tests.laws.events import random_events
from tests.registry import CELLS, T, random_carry, random_inputs, random_params

BATCH = (4,)
CHOSEN = ("lstm", "learned_carry_lru", "user")
OVER_CELLS = [entry if entry.name in CHOSEN else full(entry) for entry in CELLS]
WHOLE, BATCH_FIRST, TIME_FIRST = PartitionSpec(), PartitionSpec("data"), PartitionSpec(None, "data")


@pytest.fixture(scope="module")
def mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))


@pytest.mark.parametrize("entry", OVER_CELLS, ids=repr)
def test_sharded_inputs(entry, mesh):
    params = random_params(entry)
    inputs = params, random_carry(entry, params, BATCH), random_inputs(entry, T, BATCH), *random_events(0, T, BATCH)
    layout = WHOLE, BATCH_FIRST, TIME_FIRST, TIME_FIRST, TIME_FIRST
    sharded = jax.device_put(inputs, tuple(NamedSharding(mesh, spec) for spec in layout))

    run = jax.jit(unroll_with_gradients(entry))
    outcome = run(*sharded)
    assert_same_with_gradients(outcome, run(*inputs))
    assert not any(ys.sharding.is_fully_replicated for ys in jax.tree.leaves(outcome[0][1]))


@pytest.mark.parametrize("entry", OVER_CELLS, ids=repr)
def test_inside_shard_map(entry, mesh):
    """From the cell's own carry, which is the same on every device, with resets to it."""
    params, xs, events = random_params(entry), random_inputs(entry, T, BATCH), random_events(0, T, BATCH)
    specs = WHOLE, TIME_FIRST, TIME_FIRST, TIME_FIRST

    def run(params, xs, mask, resets):
        return rx.unroll(entry.cell, params, xs, mask=mask, resets=resets)

    mapped = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=(BATCH_FIRST, TIME_FIRST))

    def with_gradient(run):
        return jax.jit(
            lambda params: (run(params, xs, *events), jax.grad(lambda p: weigh(run(p, xs, *events)))(params))
        )

    values, gradient = with_gradient(mapped)(params)
    expected, expected_gradient = with_gradient(run)(params)
    assert_close(values, expected)
    assert_close(gradient, expected_gradient, rtol=1e-9)

"""Steps as users write them, where the compiler once went wrong: by every method as by a scan."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

import rnnjax as rx
from tests.conftest import full

T, B, D, H = 9, 2, 4, 3


def cell_of(step, params, carry=lambda params, batch: jnp.zeros((*batch, H))):
    return rx.Cell(lambda key, input_size: params, carry, step)


def twice(h):
    return h, h


def gates(a):
    one, other = jnp.split(a, 2, axis=-1)
    return twice(jnp.tanh(one) * jax.nn.sigmoid(other))


def draw(number, *shape):
    return 0.6 * jax.random.normal(jax.random.key(number), shape)


PARAMS = {
    "W": draw(1, D, H),
    "U": draw(2, H, H),
    "V": draw(3, H, H),
    "v": draw(4, H),
    "s": draw(5),
    "f": 0.2,
    "W2": draw(6, D, 2 * H),
    "U2": draw(7, H, 2 * H),
    "b2": draw(8, 2 * H),
    "kernel": draw(9, D + H, 2 * H),
    "table": draw(10, 5000, H),
}
STEPS = {  # x is a pair: features [*batch, D], and a drive [*batch, H] that is added as it is
    "drive in a sum": lambda p, h, x: twice(jnp.tanh(x[1] + h @ p["U"])),
    "scalar added": lambda p, h, x: twice(jnp.tanh(x[1] + h @ p["U"] + p["s"])),
    "number added": lambda p, h, x: twice(jnp.tanh(p["f"] + h @ p["U"] + x[0] @ p["W"])),
    "entry added": lambda p, h, x: twice(jnp.tanh(h @ p["U"] + p["v"][1] + x[1])),
    "column of scores": lambda p, h, x: twice(jnp.tanh(x[0] @ p["W"] + jax.nn.sigmoid((h @ p["v"])[..., None]) * h)),
    "checkpointed": lambda p, h, x: twice(jax.checkpoint(lambda h, x: jnp.tanh(x @ p["W"] + h @ p["U"]))(h, x[0])),
    "one kernel": lambda p, h, x: gates(jnp.concatenate([x[0], h], -1) @ p["kernel"] + p["s"]),
    "two kernels": lambda p, h, x: gates(x[0] @ p["W2"] + h @ p["U2"] + p["b2"]),
    "table": lambda p, h, x: twice(jnp.tanh(h @ p["U"] + p["table"][jnp.argmax(x[0], -1)])),
    "branches": lambda p, h, x: twice(lax.cond(x[0].sum() > 0, lambda h: h @ p["U"], jnp.sin, h) + x[1]),
}


def inputs(*batch):
    return draw(20, T, *batch, D), draw(21, T, *batch, H)


SPEC = tuple(jax.ShapeDtypeStruct((size,), jnp.float64) for size in (D, H))


def compare(cell, xs, **options):
    """Values and gradients with respect to params and xs."""

    def run(method):
        def loss(params, xs):
            carry, ys = rx.unroll(cell, params, xs, method=method, **options)
            return (jnp.sin(ys) * (1 + jnp.arange(ys.size).reshape(ys.shape))).sum() + (carry**2).sum()

        return jax.value_and_grad(loss, (0, 1))(PARAMS, xs)

    for one, other in zip(jax.tree.leaves(run("fused")), jax.tree.leaves(run("scan")), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("batch", [(B,), full(())], ids=str)
def test_the_step_runs_as_by_scan(name, batch):
    compare(cell_of(STEPS[name], PARAMS), inputs(*batch), block=4)
    assert rx.explain(cell_of(STEPS[name], PARAMS), SPEC, batch).layers


def test_a_score_without_batch_axes():
    """A product that is a scalar."""
    step = lambda p, h, x: twice(jnp.tanh(x[0] @ p["W"] + jax.nn.sigmoid(h @ p["v"]) * h))
    compare(cell_of(step, PARAMS), inputs(), block=4)


@pytest.mark.parametrize("name", ["one kernel", "two kernels"])
def test_gates_taken_apart_inside_shard_map(name):
    """Where constants have a type that says along which axes they vary."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    cell, xs = cell_of(STEPS[name], PARAMS), inputs(B)

    def slopes(method):
        def loss(params, xs):
            return lax.psum((rx.unroll(cell, params, xs, method=method, block=4)[1] ** 2).sum(), "data")

        specs = PartitionSpec(), PartitionSpec(None, "data")
        run = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
        return jax.jit(run)(PARAMS, xs)

    assert all(np.any(leaf) for leaf in jax.tree.leaves(slopes("scan")[{"one kernel": "kernel"}.get(name, "W2")]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), slopes("fused"), slopes("scan"))


@pytest.mark.parametrize("name", ["table", "branches"])
def test_auto_scans_what_is_faster_so(name):
    found = rx.explain(cell_of(STEPS[name], PARAMS), SPEC, (B,))
    assert found.method == "scan"
    assert "every step" in found.reason or "every branch" in found.reason


@pytest.mark.parametrize("method", ["auto", "fused"])
def test_rbg_keys_draw_what_a_scan_draws(method):
    """Their numbers change under vmap, so such steps are not taken at many times at once."""
    cell, xs = rx.Zoneout(rx.GRU(H), 0.3), jnp.ones((T, B, H))
    params = cell.init(jax.random.key(0), H)
    key = jax.random.key(0, impl="rbg")
    run = lambda method: rx.unroll(cell, params, xs, key=key, method=method, block=4)[1]
    np.testing.assert_array_equal(run(method), run("scan"))


def test_rbg_keys_that_draw_once_leave_a_step_whole():
    """Recurrent dropout draws its masks before the first step, and is found in a random cell too."""
    key = jax.random.key(0, impl="rbg")
    chosen = rx.RecurrentDropout(rx.GRU(H), 0.5), rx.RecurrentDropout(rx.Zoneout(rx.GRU(H), 0.3), 0.5)
    for cell in chosen:
        params, xs = cell.init(key, D), jax.random.normal(key, (T, B, D))
        run = lambda method, cell=cell, params=params, xs=xs: rx.unroll(cell, params, xs, key=key, method=method)[1]
        np.testing.assert_allclose(run("auto"), run("scan"), rtol=1e-12)


def test_a_memory_setting_that_is_asked_for_is_kept():
    """A scan would keep everything."""
    found = rx.explain(cell_of(STEPS["branches"], PARAMS), SPEC, (B,), memory="edges")
    assert (found.method, found.memory) == ("fused", "edges")


def test_calls_to_the_host_are_scanned():
    host = lambda x: jax.pure_callback(np.cos, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    cell = cell_of(lambda p, h, x: twice(jnp.tanh(h + host(x))), PARAMS)
    found = rx.explain(cell, H, (B,))
    assert (found.method, "host" in found.reason) == ("scan", True)
    xs = jnp.ones((T, B, H))
    np.testing.assert_allclose(rx.unroll(cell, PARAMS, xs)[1], rx.unroll(cell, PARAMS, xs, method="scan")[1])


@pytest.mark.parametrize("num_steps", [20, 600])
def test_a_reset_forgets_what_is_not_finite(num_steps):
    cell = cell_of(lambda p, h, x: twice(p["s"] * h + x), PARAMS)
    xs = jnp.ones((num_steps, H)).at[5, 0].set(jnp.inf).at[6, 1].set(jnp.nan)
    resets = jnp.zeros(num_steps, bool).at[10].set(True)
    ends = [rx.unroll(cell, PARAMS, xs, resets=resets, method=method)[0] for method in ("associative", "scan")]
    assert jnp.isfinite(ends[0]).all()
    np.testing.assert_allclose(*ends, rtol=1e-12)


@dataclasses.dataclass(frozen=True)
class Filling:
    """A cell with a setting whose type matters."""

    fill: Any

    def init(self, key, input_size):
        return ()

    def carry(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, H))

    def step(self, params, carry, x):
        return carry, jnp.full(carry.shape, self.fill)


def test_equal_settings_of_other_types_are_other_cells():
    dtypes = [rx.unroll(Filling(fill), (), jnp.ones((T, H)))[1].dtype for fill in (1, 1.0, True)]
    assert [dtype.kind for dtype in dtypes] == ["i", "f", "b"]


def test_a_block_may_be_any_integer():
    run = lambda block: rx.unroll(Filling(1), (), jnp.ones((T, H)), block=block)[1]
    assert run(np.int32(4)).shape == run(jnp.int32(4)).shape == (T, H)


def test_recurrent_dropout_leaves_the_input_in_one_kernel_alone():
    """The kernel has no weights for the carry, so nothing is dropped."""
    params = jnp.concatenate([jnp.eye(H), jnp.zeros((H, H))])
    step = lambda p, h, x: twice(jnp.tanh(jnp.concatenate([x, h], -1) @ p))
    cell = rx.RecurrentDropout(cell_of(step, params), 0.5)
    ys = rx.unroll(cell, params, jnp.ones((T, B, H)), key=jax.random.key(1))[1]
    np.testing.assert_allclose(ys, np.tanh(np.ones((T, B, H))))


def test_recurrent_dropout_draws_for_each_gate_of_a_split_sum():
    def step(params, h, x):
        parts = jnp.split(x @ params["W"] + h @ params["U"], 4, -1)
        return sum(parts) * 0 + 1, jnp.concatenate(parts, -1)

    params = {"W": jnp.zeros((H, 4 * H)), "U": jnp.tile(jnp.eye(H), (1, 4))}
    cell = cell_of(step, params, lambda params, batch: jnp.ones((*batch, H)))
    gated = rx.RecurrentDropout(cell, 0.5, per_gate=True)
    ys = rx.unroll(gated, params, jnp.ones((1, 50, H)), key=jax.random.key(1))[1]
    of_gates = ys[0].reshape(50, 4, H)
    assert set(np.unique(of_gates)) == {0.0, 2.0}
    assert (of_gates[:, 0] != of_gates[:, 1]).any()


@pytest.mark.parametrize("wrap", [lambda fn: lambda h: lax.cond(h.sum() > 0, fn, fn, h)], ids=["cond"])
def test_recurrent_dropout_refuses_products_that_it_cannot_reach(wrap):
    cell = cell_of(lambda p, h, x: twice(jnp.tanh(h @ p["U"] + wrap(lambda h: h @ p["U"])(h) + x)), PARAMS)
    with pytest.raises(ValueError, match=r"^RecurrentDropout: .* enters a product inside cond, .*; expected"):
        rx.RecurrentDropout(cell, 0.5).init(jax.random.key(0), H)


def test_recurrent_dropout_reaches_into_checkpoint():
    step = lambda p, h, x: twice(jnp.tanh(h @ p["U"] + jax.checkpoint(lambda h: h @ p["U"])(h)))
    cell = rx.RecurrentDropout(cell_of(step, PARAMS, lambda params, batch: jnp.ones((*batch, H))), 1.0)
    assert not rx.unroll(cell, PARAMS, jnp.ones((1, B, H)), key=jax.random.key(0))[1].any()


def test_masks_need_outputs_of_the_batch():
    cell = cell_of(lambda p, h, x: (h, 1.0), PARAMS)
    with pytest.raises(ValueError, match=r"^unroll: mask acts on single batch elements, but the output of .* is 1\.0"):
        rx.unroll(cell, PARAMS, jnp.ones((T, B, H)), mask=jnp.ones((T, B), bool))


@pytest.mark.parametrize(
    ("message", "call"),
    {
        "explain: input_size is '3', expected a positive integer": lambda: rx.explain(rx.LSTM(2), cast(Any, "3")),
        "explain: input_size is 3.5, expected": lambda: rx.explain(rx.LSTM(2), cast(Any, 3.5)),
        "explain: batch_shape is 3, expected a tuple": lambda: rx.explain(rx.LSTM(2), 3, cast(Any, 3)),
        "explain: batch_shape is (-2,), expected a tuple": lambda: rx.explain(rx.LSTM(2), 3, (-2,)),
        "unroll: reverse is 'no', expected True or False": lambda: rx.unroll(
            Filling(1), (), 0, reverse=cast(Any, "no")
        ),
        "unroll: length is True, expected an integer": lambda: rx.unroll(Filling(1), (), None, length=True),
        "unroll: key is uint32[5], expected one key": lambda: rx.unroll(
            Filling(1), (), jnp.ones((T, H)), key=jnp.zeros(5, jnp.uint32)
        ),
        "unroll: xs is array(['a'], dtype='<U1'), expected an array": lambda: rx.unroll(
            Filling(1), (), np.array(["a"])
        ),
        "RecurrentDropout: per_gate is 'no', expected True": lambda: rx.RecurrentDropout(
            rx.LSTM(2), 0.5, cast(Any, "no")
        ),
    }.items(),
)
def test_bad_arguments(message, call):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value).startswith(message)

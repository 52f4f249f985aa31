"""However a step writes its gates, the products of x leave the loop and the cuts are of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx

D, H, B = 5, 4, 3


def gates(z, carry, cut):
    i, f, g, o = cut(z)
    h, c = carry
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def split(z):
    return jnp.split(z, 4, axis=-1)


def slices(z):
    return [z[..., k * H : (k + 1) * H] for k in range(4)]


def two_kernels(params, h, x):
    return x @ params["W"] + h @ params["U"] + params["b"]


def one_kernel(params, h, x):
    return jnp.concatenate([h, x], axis=-1) @ jnp.concatenate([params["U"], params["W"]]) + params["b"]


def lstm(sums, cut):
    def init(key, input_size):
        draw = lambda *shape: jax.random.normal(key, shape)
        return {"W": draw(input_size, 4 * H), "U": draw(H, 4 * H), "b": draw(4 * H)}

    def carry(params, batch_shape):
        return jnp.zeros((*batch_shape, H)), jnp.zeros((*batch_shape, H))

    return rx.Cell(init, carry, lambda params, carry, x: gates(sums(params, carry[0], x), carry, cut))


def found(cell):
    (layer,) = rx.explain(cell, D, (B,), 20).layers
    return layer


@pytest.mark.parametrize("cut", [split, slices])
@pytest.mark.parametrize("sums", [one_kernel, two_kernels])
def test_gates_are_taken_apart(sums, cut):
    """As the library's own LSTM, which is written gate by gate."""
    layer, ours = found(lstm(sums, cut)), found(rx.LSTM(H))
    assert layer.before[0] == ours.before[0] == f"float64[{B},{D}] @ float64[{D},{H}] (4)"
    assert layer.taps == ours.taps
    assert not any("slice" in name or "split" in name or "concatenate" in name for name in layer.loop)


def assert_runs_as_by_scan(cell):
    """Values and gradients."""
    params, xs = cell.init(jax.random.key(1), D), jax.random.normal(jax.random.key(2), (7, B, D))

    def run(method):
        def loss(params, xs):
            carry, ys = rx.unroll(cell, params, xs, method=method, block=3)
            return (jnp.sin(ys) * (1 + jnp.arange(ys.size).reshape(ys.shape))).sum(), carry

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)

    for a, b in zip(jax.tree.leaves(run("fused")), jax.tree.leaves(run("scan")), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cut", [split, slices])
@pytest.mark.parametrize("sums", [one_kernel, two_kernels])
def test_gates_taken_apart_give_the_same(sums, cut):
    assert_runs_as_by_scan(lstm(sums, cut))


@pytest.mark.parametrize(
    "step",
    [
        lambda params, h, x: (h, jnp.tanh(two_kernels(params, h, x))),
        lambda params, h, x: (jnp.tanh(slices(z := two_kernels(params, h, x))[0] + slices(z)[1] * z.sum() / 50), x),
        lambda params, h, x: (jnp.tanh(sum(slices(z := two_kernels(params, h, x)))), z[..., ::2]),
        lambda params, h, x: (jnp.tanh(one_kernel(params, h, h @ params["U"][:, :D])[..., 1 : H + 1]), x),
        lambda params, h, x: (jnp.tanh(jnp.concatenate([h, x[..., :H]], 0)[1 : B + 1] @ params["U"][:, :H]), x),
        lambda params, h, x: (
            jnp.tanh(sum(two_kernels(params, h, x)[..., a : a + H] for a in (0, 1, 2, 3, 5, 7, 9)) / 7),
            x,
        ),
    ],
    ids=["not cut", "used whole too", "strided", "nothing known before", "joined along the batch", "overlapping"],
)
def test_what_is_not_of_that_form_stays_right(step):
    """And is left as it is, or taken apart."""
    init = lstm(two_kernels, split).init
    assert_runs_as_by_scan(rx.Cell(init, lambda params, batch: jnp.full((*batch, H), 0.3), step))

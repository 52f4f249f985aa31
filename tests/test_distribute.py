"""However a step writes its gates, the products of x leave the loop and the cuts are of weights."""

import jax
import jax.numpy as jnp
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


@pytest.mark.parametrize(
    "step",
    [
        lambda params, h, x: (h, jnp.tanh(two_kernels(params, h, x))),
        lambda params, h, x: (slices(z := two_kernels(params, h, x))[0] + slices(z)[1] * z.sum(), x),
        lambda params, h, x: (sum(slices(two_kernels(params, h, x) * 2)), two_kernels(params, h, x)[..., ::2]),
        lambda params, h, x: (jnp.tanh(one_kernel(params, h, h @ params["U"][:, :H])[..., 1 : H + 1]), x),
        lambda params, h, x: (jnp.concatenate([h, x], 0)[:B] + 1, x) if x.ndim > 1 else (h, x),
        lambda params, h, x: (sum(two_kernels(params, h, x)[..., a : a + H] for a in (0, 1, 2, 3, 5, 7, 9)), x),
    ],
    ids=["not cut", "used whole too", "strided", "nothing known before", "joined along the batch", "overlapping"],
)
def test_what_is_not_of_that_form_stays_right(step):
    """And is left as it is, or taken apart: values and gradients are those of a scan."""
    square = lstm(two_kernels, split)
    cell = rx.Cell(square.init, lambda params, batch: jnp.zeros((*batch, H)), step)
    key = jax.random.key(1)
    params, xs = cell.init(key, H), jax.random.normal(key, (6, B, H))
    params["W"] = params["W"] * 0.3

    def run(method):
        def loss(params, xs):
            (carry, ys) = rx.unroll(cell, params, xs, method=method)
            return (ys**2).sum() + (carry**2).sum()

        return jax.value_and_grad(loss, (0, 1))(params, xs)

    for a, b in zip(jax.tree.leaves(run("fused")), jax.tree.leaves(run("scan")), strict=True):
        assert jnp.allclose(a, b, rtol=1e-9, atol=1e-9)

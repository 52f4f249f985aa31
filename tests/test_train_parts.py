"""What goes around a training step: optax, a part of a model, half precision, skipping."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax as rx

T, B, D, H = 7, 3, 5, 2
LR, DECAY = 0.1, 0.3
rng = np.random.default_rng(0)


def product(w, carry, batch, key):
    """Linear, so that its gradient is the batch."""
    return w @ batch, (carry, {})


# What optax gives, in NumPy: from params and the gradients of all steps so far, the next params.


def clipped(w, gs):
    return w - LR * gs[-1] * min(1, 0.5 / np.linalg.norm(gs[-1]))


def adam(w, gs, decay=0.0):
    m = sum(0.1 * 0.9**age * g for age, g in enumerate(reversed(gs))) / (1 - 0.9 ** len(gs))
    v = sum(0.001 * 0.999**age * g**2 for age, g in enumerate(reversed(gs))) / (1 - 0.999 ** len(gs))
    return w - LR * (m / (np.sqrt(v) + 1e-8) + decay * w)


def rmsprop(w, gs):
    v = sum(0.1 * 0.9**age * g**2 for age, g in enumerate(reversed(gs)))
    return w - LR * gs[-1] / np.sqrt(v + 1e-8)


OPTIMIZERS = {
    "clipping": (optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(LR)), clipped),
    "L2": (optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(LR)), lambda w, gs: w - LR * (gs[-1] + DECAY * w)),
    "weight decay": (optax.adamw(LR, weight_decay=DECAY), lambda w, gs: adam(w, gs, DECAY)),
    "momentum": (
        optax.sgd(LR, momentum=0.9),
        lambda w, gs: w - LR * sum(0.9**age * g for age, g in enumerate(reversed(gs))),
    ),
    "RMSProp": (optax.rmsprop(LR), rmsprop),
    "Adam": (optax.adam(LR), adam),
    "schedule": (optax.sgd(optax.exponential_decay(LR, 1, 0.5)), lambda w, gs: w - LR * 0.5 ** (len(gs) - 1) * gs[-1]),
    "accumulation": (
        optax.MultiSteps(optax.sgd(LR), 2).gradient_transformation(),
        lambda w, gs: w - LR * (gs[-1] + gs[-2]) / 2 if len(gs) % 2 == 0 else w,
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optax(name) -> None:
    optimizer, by_hand = OPTIMIZERS[name]
    step = jax.jit(rx.train.make_step(product, optimizer))
    gs = list(rng.normal(size=(4, D)))
    expected = np.linspace(-1, 1, D)
    state = rx.train.init_state(jnp.asarray(expected), optimizer)
    for count, g in enumerate(gs, start=1):
        state, _ = step(state, g)
        expected = by_hand(expected, gs[:count])
        np.testing.assert_allclose(state.params, expected, rtol=1e-7)  # optax has schedules in float32


def elman(num_inputs, num_units) -> Any:
    params: Any = [rng.normal(size=shape) for shape in ((num_inputs, num_units), (num_units, num_units), num_units)]
    return rx.ElmanParams(*params)


def loss_fn(params, carry, batch, key):
    """Squared error of a chain, or of one cell, that predicts its input."""
    model = rx.Elman(D) if isinstance(params, rx.ElmanParams) else rx.Chain(rx.Elman(H), rx.Elman(D))
    carry, ys = rx.unroll(model, params, batch, carry, method="scan")
    return rx.losses.squared_error(ys, batch), (carry, {})


def test_only() -> None:
    """A part is trained as if the rest were constant; the rest stays bit for bit, and has no optimiser state."""
    inner = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(LR, momentum=0.9))
    frozen, trained = params = elman(D, H), elman(H, D)
    batch, carry = rng.normal(size=(T, B, D)), (np.zeros((B, H)), np.zeros((B, D)))
    before = rx.train.init_state(params, rx.train.only(inner, "^1/"), carry)
    after, _ = jax.jit(rx.train.make_step(loss_fn, rx.train.only(inner, "^1/")))(before, batch)
    jax.tree.map(np.testing.assert_array_equal, after.params[0], frozen)
    grads = jax.jit(jax.grad(lambda part: loss_fn((frozen, part), carry, batch, None)[0]))(trained)
    expected = optax.apply_updates(trained, inner.update(grads, inner.init(trained))[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), after.params[1], expected)
    assert len(jax.tree.leaves(before.opt_state)) == len(trained)
    same = rx.train.init_state(params, rx.train.only(inner, lambda path: path.startswith("1/")), carry)
    assert jax.tree.structure(same) == jax.tree.structure(before)


def test_only_bad_input() -> None:
    with pytest.raises(ValueError, match=r"only: where='\^7/' holds for no leaf of params, which are 0/W, 0/U, .*1/b"):
        rx.train.only(optax.adam(LR), "^7/").init((elman(D, H), elman(H, D)))


def test_half_precision() -> None:
    """Products are of bfloat16; what is kept is float32; the loss is the same to bfloat16's rounding."""
    params, batch, carry = jax.tree.map(np.float32, (elman(D, D), rng.normal(size=(T, B, D)), np.zeros((B, D))))
    state, half = rx.train.init_state(params, optax.sgd(LR), carry), rx.train.half_precision(loss_fn)
    step = rx.train.make_step(half, optax.sgd(LR))
    products = [line for line in str(jax.make_jaxpr(step)(state, batch)).splitlines() if "dot_general" in line]
    assert products
    assert all("bf16" in line for line in products)
    after, metrics = jax.jit(step)(state, batch)
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    grads = jax.eval_shape(jax.grad(lambda params: half(params, carry, batch, None)[0]), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {np.dtype(np.float32)}
    full = jax.jit(loss_fn)(params, carry, batch, None)[0]
    np.testing.assert_allclose(metrics["loss"], full, rtol=2**-6)
    assert metrics["loss"] != full
    with pytest.raises(TypeError, match=r"half_precision: dtype is .*int32.*, expected a floating-point dtype"):
        rx.train.half_precision(loss_fn, jnp.int32)


infinite = optax.GradientTransformation(lambda params: jnp.inf, lambda updates, state, params=None: (updates, state))


def test_skip_nonfinite() -> None:
    """A bad batch changes nothing but the count of steps; a good one is trained on as without the wrapper."""
    optimizer = optax.chain(optax.adam(LR), infinite)  # the infinity that is in the state from the start is no harm
    step, batch = rx.train.make_step(product, optimizer), rng.normal(size=D)
    skipping = jax.jit(rx.train.skip_nonfinite(step))
    start = rx.train.init_state(jnp.ones(D), optimizer)
    expected, _ = jax.jit(step)(start, batch)
    state, metrics = skipping(start, batch)
    assert metrics["skipped"] == 0
    same, metrics = skipping(state, np.where(np.arange(D) == 2, np.nan, batch))
    assert metrics["skipped"] == 1
    assert same.num_steps == 2
    jax.tree.map(np.testing.assert_array_equal, same._replace(num_steps=1), expected._replace(num_steps=1))


def test_skip_looks_at_the_carry() -> None:
    """A carry that is not finite would spoil all later steps, though the loss of this one is finite."""
    step = rx.train.make_step(lambda w, carry, batch, key: (w, (carry / batch, {})), optax.sgd(LR))
    state = rx.train.init_state(jnp.ones(()), optax.sgd(LR), jnp.ones(()))
    after, metrics = jax.jit(rx.train.skip_nonfinite(step))(state, jnp.zeros(()))
    assert metrics["skipped"] == 1
    assert after.carry == after.params == 1


@pytest.mark.parametrize("bad", [(), (0,), (2,), (2, 1)], ids=str)
def test_first_leaf_that_is_not_finite(bad) -> None:
    batch = {name: np.nan if index in bad else 1.0 for index, name in enumerate("abc")}

    def loss(params, carry, batch, key):
        return jnp.sum(jnp.stack([params[name] * batch[name] for name in batch])), (carry, {})

    step = jax.jit(rx.train.make_step(loss, optax.sgd(LR)))
    state = rx.train.init_state(dict.fromkeys("abc", jnp.ones(())), optax.sgd(LR))
    assert step(state, batch)[1]["nonfinite_leaf"] == min(bad, default=-1)


def test_paths() -> None:
    params = {"b": (1.0, 2.0), "a": elman(D, H)}
    assert jax.tree.leaves(rx.train.paths(params)) == ["a/W", "a/U", "a/b", "b/0", "b/1"]


def test_mistakes_before_any_step() -> None:
    """Each is one sentence."""
    good = lambda params, carry, batch, key: (jnp.sum(params), (carry, {}))
    state = rx.train.init_state(jnp.ones(2), optax.sgd(LR))
    message = "optimizer is adam, expected an optax transformation, such as optax.adam"
    with pytest.raises(TypeError, match=f"init_state: {message}"):
        rx.train.init_state(jnp.ones(2), optax.adam)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=f"make_step: {message}"):
        rx.train.make_step(good, optax.adam)  # pyright: ignore[reportArgumentType]
    for make in (lambda: rx.train.make_step(3, optax.sgd(LR)), lambda: rx.train.half_precision(3)):  # pyright: ignore
        with pytest.raises(TypeError, match="loss_fn is 3, expected a function"):
            make()
    with pytest.raises(TypeError, match="skip_nonfinite: step is 3, expected a function"):
        rx.train.skip_nonfinite(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="only: where is 3, expected a regular expression or a function"):
        rx.train.only(optax.sgd(LR), 3)  # pyright: ignore[reportArgumentType]
    for given in (
        "jnp.sum(params)",
        "(jnp.sum(params), {})",
        "(params, (carry, {}))",
        "(jnp.sum(params), (carry, []))",
    ):
        loss_fn = eval(f"lambda params, carry, batch, key: {given}", {"jnp": jnp})
        with pytest.raises(TypeError, match=r"make_step: loss_fn gave .*float64.*, expected \(loss, \(carry, metrics"):
            rx.train.make_step(loss_fn, optax.sgd(LR))(state, None)

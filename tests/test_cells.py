"""Measured properties of cells and initialisers: what each promises beside its equations; and the package."""

import inspect
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from tests.registry import CELLS, D, Entry, H, T, random_carry, random_inputs, random_params

KEY = jax.random.key(0)
MANY = 20_000  # draws: a mean is known to 1/sqrt(MANY) = 0.7 % of a standard deviation


def close(actual, expected, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def given(cell, input_size=D, seed=0):
    """Random params, inputs and carry."""
    entry = Entry("", cell, input_size)
    params = random_params(entry, seed)
    return params, random_inputs(entry, seed=seed), random_carry(entry, params, seed=seed)


# Initial values


def test_forget_bias_is_stored():
    """Every other bias starts at zero; the equations add nothing at run time."""
    b = rx.LSTM(H, forget_bias=0.7).init(KEY, D).b
    close(b.f, 0.7)
    close((b.i, b.g, b.o), 0)


@pytest.mark.parametrize("cell", [rx.Elman(7), rx.LSTM(7), rx.GRU(7)])
def test_recurrent_kernels_start_orthogonal(cell):
    """Each gate by itself, and each another."""
    gates = jax.tree.leaves(cell.init(KEY, D).U)
    for U in gates:
        close(U.T @ U, np.eye(7))
    assert len({float(U[0, 0]) for U in gates}) == len(gates)


@pytest.mark.parametrize(
    ("init", "bound", "std"),
    [
        (rx.initializers.glorot, np.sqrt(6 / 300), np.sqrt(2 / 300)),
        (rx.initializers.uniform_sqrt, 0.1, 0.1 / np.sqrt(3)),
        (rx.initializers.lecun_normal, np.inf, np.sqrt(1 / 200)),
        (rx.initializers.small_normal, np.inf, 0.001),
    ],
)
def test_initialisers(init, bound, std):
    """Bounds and spread of an input kernel [200, 100]."""
    W = rx.Elman(100, kernel_init=init).init(KEY, 200).W
    assert np.abs(W).max() <= bound
    close(W.std() / std, 1, atol=0.02)
    close(W.mean() / std, 0, atol=0.03)


def test_identity_start_remembers():
    """A ReLU net with identity kernel keeps a positive state for ever."""
    cell = rx.Elman(H, jax.nn.relu, recurrent_init=rx.initializers.identity)
    h = jnp.array([0.3, 2.0])
    close(rx.unroll(cell, cell.init(KEY, D), jnp.zeros((T, D)), h)[1], np.tile(h, (T, 1)))


def test_lru_starts_on_its_ring_with_states_of_variance_one():
    """Eigenvalues are uniform over the ring's area and the phases; white noise gives states of variance 1."""
    (r_min, r_max, max_phase), quarters = (0.6, 0.9, 1.5), [0.25, 0.5, 0.75]
    cell = rx.LRU(1000, r_min, r_max, max_phase)
    params = cell.init(KEY, 50)
    modulus, phase = np.exp(-np.exp(params.nu)), np.exp(params.theta)
    assert r_min <= modulus.min() <= modulus.max() <= r_max
    assert phase.max() <= max_phase
    close(np.quantile(modulus**2, quarters), np.quantile([r_min**2, r_max**2], quarters), 0.02)
    close(np.quantile(phase, quarters), np.quantile([0, max_phase], quarters), 0.07)
    states, _ = rx.unroll(cell, params, np.random.default_rng(0).normal(size=(40, 200, 50)))
    close((np.abs(states) ** 2).mean(), 1, atol=0.02)


# Dynamics


def test_lstm_with_open_forget_gate_keeps_its_memory():
    cell = rx.LSTM(H)
    params, xs, carry = given(cell)
    shut = params._replace(b=params.b._replace(f=jnp.full(H, 50.0), i=jnp.full(H, -50.0)))
    close(rx.unroll(cell, shut, xs, carry)[0].c, carry.c)


def test_both_grus_are_one_where_the_reset_gate_is_open():
    after, before = rx.GRU(H), rx.GRU(H, reset_after=False)
    params, xs, carry = given(before)
    params = params._replace(b=params.b._replace(r=jnp.full(H, 50.0)))
    close(rx.unroll(after, params._replace(b_hn=jnp.zeros(H)), xs, carry)[1], rx.unroll(before, params, xs, carry)[1])


@pytest.mark.parametrize("cell", [rx.LRU(H), rx.MinGRU(H)])
def test_linear_in_the_state(cell):
    params, xs, one = given(cell)
    other = jnp.flip(one)
    ends = [rx.unroll(cell, params, xs, carry)[0] for carry in (one, other, 0.3 * one + 0.7 * other)]
    close(ends[2], 0.3 * ends[0] + 0.7 * ends[1])


def test_leak_of_one_is_elman():
    params, xs, carry = given(rx.Elman(H))
    close(rx.unroll(rx.Leaky(H, leak=1.0), params, xs, carry)[1], rx.unroll(rx.Elman(H), params, xs, carry)[1])


def test_leaky_is_the_euler_method_of_its_time_constant():
    """Without input the state decays as exp(-t / tau), with an error that halves with dt."""
    tau, total_time = 10.0, 8.0
    params = jax.tree.map(jnp.zeros_like, rx.Leaky(1).init(KEY, 1))

    def error(num_steps):
        cell = rx.Leaky.continuous(1, tau=tau, dt=total_time / num_steps)
        h, _ = rx.unroll(cell, params, jnp.zeros((num_steps, 1)), jnp.ones(1))
        return abs(h[0] - np.exp(-total_time / tau))

    assert rx.Leaky.continuous(1, tau=tau, dt=2.0).leak == 0.2
    close(error(200) / error(400), 2, atol=0.01)


def test_leaky_noise_has_its_standard_deviation():
    """One linear step: std leak * sqrt(2 / leak) * noise; after many, noise / sqrt(1 - leak / 2); none without key."""
    leak, noise = 0.2, 0.3
    cell = rx.Leaky(1, leak=leak, noise=noise, activation=lambda a: a)
    params = jax.tree.map(jnp.zeros_like, cell.init(KEY, 1))
    xs = jnp.zeros((100, MANY, 1))
    ys = rx.unroll(cell, params, xs, key=KEY)[1]
    close(ys[0].std() / noise, np.sqrt(2 * leak), atol=0.01)
    close(ys[-1].std() / noise, 1 / np.sqrt(1 - leak / 2), atol=0.02)
    assert not rx.unroll(cell, params, xs)[1].any()


# Cells as values, and the package


def test_cells_print_as_the_call_that_makes_them():
    for text in (
        "LSTM(hidden_size=2, forget_bias=0.5)",
        "Leaky(hidden_size=2, leak=0.3, noise=0.2)",
        "Chain(GRU(hidden_size=2, reset_after=False), Dropout(rate=0.5), LRU(hidden_size=3, r_max=0.9))",
        "Bidirectional(forward=Elman(hidden_size=2), merge='sum')",
        "Zoneout(cell=LSTM(hidden_size=2), rate=LSTMCarry(h=0.2, c=0.5))",
        "Residual(cell=LearnedCarry(cell=ExposeCarry(cell=MinGRU(hidden_size=2))))",
    ):
        assert repr(eval(text, dict(vars(rx)))) == text
    assert repr(rx.Elman(2, jax.nn.relu)) == "Elman(hidden_size=2, activation=relu)"


def test_cells_are_equal_by_their_settings():
    """Equal cells hash alike; another setting, another kind of cell or another order is another cell."""
    make = lambda: [
        rx.LSTM(2), rx.LSTM(3), rx.LSTM(2, 0.0), rx.GRU(2), rx.GRU(2, False), rx.Elman(2), rx.Elman(2, jax.nn.relu),
        rx.Leaky(2), rx.Dropout(0.1), rx.TiedDropout(0.1), rx.Zoneout(rx.GRU(2), 0.1), rx.Residual(rx.GRU(2)),
        rx.Chain(rx.GRU(2), rx.LSTM(2)), rx.Chain(rx.LSTM(2), rx.GRU(2)), rx.Bidirectional(rx.GRU(2), merge="sum"),
    ]  # fmt: skip
    assert make() == make()
    assert list(map(hash, make())) == list(map(hash, make()))
    assert len(set(make())) == len(make())


@pytest.mark.parametrize("entry", CELLS, ids=repr)
def test_cells_are_frozen(entry):
    name = next(iter(vars(entry.cell)))
    with pytest.raises(AttributeError, match="cannot assign to field"):
        setattr(entry.cell, name, 1)


def test_importing_loads_neither_flax_nor_orbax():
    script = "import rnnjax, sys; print([m for m in ('flax', 'orbax', 'tqdm', 'matplotlib') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def public_names():
    """Every public function and class, of the package and of the modules that it offers."""
    names = {}
    for module in (rx, rx.data, rx.train, rx.sweep):
        names.update({name: getattr(module, name) for name in module.__all__})
    for module in (rx.losses, rx.initializers):
        names.update(
            {name: fn for name, fn in vars(module).items() if getattr(fn, "__module__", "") == module.__name__}
        )
    return [pytest.param(names[name], id=name) for name in names if callable(names[name]) and name[0] != "_"]


@pytest.mark.parametrize("value", public_names())
def test_public_names_are_documented(value):
    """With an example; tuples of arrays with a comment on every field instead."""
    if inspect.isclass(value) and issubclass(value, tuple):
        lines = inspect.getsource(value).splitlines()
        fields = inspect.get_annotations(value)
        assert all(any(re.match(rf"    {field}: .*  # .", line) for line in lines) for field in fields)
    else:
        assert ">>>" in (value.__doc__ or "")

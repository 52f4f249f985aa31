"""Vanishing and exploding gradients: how much of what was seen ``lag`` steps ago a recurrent network can learn from.

    python examples/vanishing_gradient.py            a table, and out/vanishing_gradient/gradient.png

The gradient of the last output, in a random direction, with respect to the state ``lag`` steps before it. Then what
clipping does to the exploding case: a few steps of gradient descent with and without it.

Source: Bengio, Simard, Frasconi, IEEE Transactions on Neural Networks 5 (1994); Pascanu, Mikolov, Bengio (2013),
arXiv:1211.5063, for the norms and for clipping.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import rnnjax as rx

LAGS = (0, 1, 5, 10, 20, 50, 100)
INPUT_SIZE, HIDDEN_SIZE, BATCH_SIZE = 4, 64, 16
scaled = jax.nn.initializers.orthogonal

CELLS = {
    "Elman, orthogonal x 0.9": rx.Elman(HIDDEN_SIZE, recurrent_init=scaled(0.9)),
    "Elman, orthogonal": rx.Elman(HIDDEN_SIZE),
    "Elman, orthogonal x 1.5": rx.Elman(HIDDEN_SIZE, recurrent_init=scaled(1.5)),
    "Elman, uniform 1/sqrt(H)": rx.Elman(HIDDEN_SIZE, recurrent_init=rx.initializers.uniform_sqrt),
    "Elman ReLU, identity": rx.Elman(HIDDEN_SIZE, jax.nn.relu, recurrent_init=rx.initializers.identity),
    "Elman ReLU, orthogonal x 2": rx.Elman(HIDDEN_SIZE, jax.nn.relu, recurrent_init=scaled(2.0)),
    "LSTM, forget bias 0": rx.LSTM(HIDDEN_SIZE, forget_bias=0.0),
    "LSTM, forget bias 1": rx.LSTM(HIDDEN_SIZE),
    "LSTM, forget bias 5": rx.LSTM(HIDDEN_SIZE, forget_bias=5.0),
    "GRU": rx.GRU(HIDDEN_SIZE),
}


def gradient_by_lag(cell: Any, key: jax.Array, max_lag: int) -> jax.Array:
    """The norm of d(direction . y_T) / d carry_{T - lag}, a mean over the batch: [max_lag + 1] for each lag from 0."""
    params_key, x_key, direction_key = jax.random.split(key, 3)
    params = cell.init(params_key, INPUT_SIZE)
    xs = 0.3 * jax.random.normal(x_key, (max_lag + 1, BATCH_SIZE, INPUT_SIZE))
    direction = jax.random.normal(direction_key, (BATCH_SIZE, HIDDEN_SIZE))
    direction /= jnp.linalg.norm(direction, axis=-1, keepdims=True)

    def last_output(nudges):
        """The last output, with something added to the carry after every step: its gradient is what we ask for."""
        nudged = rx.Cell(init=cell.init, carry=cell.carry, step=add_to_carry)
        return (rx.unroll(nudged, params, (xs, nudges))[1][-1] * direction).sum()

    def add_to_carry(params, carry, inputs):
        x, nudge = inputs
        carry = jax.tree.map(jnp.add, cell.step(params, carry, x)[0], nudge)
        return carry, carry.h if isinstance(carry, rx.LSTMCarry) else carry

    nothing = jax.tree.map(lambda leaf: jnp.zeros((max_lag + 1, *leaf.shape)), cell.carry(params, (BATCH_SIZE,)))
    grads = jax.grad(last_output)(nothing)
    squares = sum((leaf**2).sum(-1) for leaf in jax.tree.leaves(grads))
    return jnp.sqrt(squares).mean(-1)[::-1]


def descend(cell: Any, clip: float, key: jax.Array, num_updates: int = 100, num_steps: int = 60) -> Any:
    """Losses and gradient norms of gradient descent on remembering the sign of the first input to the end."""
    model = rx.Chain(cell, rx.Lift(nn.Dense(1)))
    params_key, x_key = jax.random.split(key)
    xs = 0.3 * jax.random.normal(x_key, (num_steps, BATCH_SIZE, INPUT_SIZE))

    def loss_fn(params, carry, batch, key):
        _, ys = rx.unroll(model, params, batch)
        return rx.losses.squared_error(ys[-1], jnp.sign(batch[0, :, :1])), ((), {})

    optimizer = optax.chain(optax.clip_by_global_norm(clip), optax.sgd(0.02))
    step = rx.train.make_step(loss_fn, optimizer)
    state = rx.train.init_state(model.init(params_key, INPUT_SIZE), optimizer)
    return jax.lax.scan(lambda state, _: step(state, xs), state, length=num_updates)[1]


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Print the tables and draw the picture; returns the norm at the greatest lag for every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=lambda text: int(text) % 2**32, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/vanishing_gradient"), help="folder of the picture")
    args = parser.parse_args(argv)
    key = jax.random.key(args.seed)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"cannot make the folder {args.out}: {error.strerror}") from error

    print("norm of the gradient of the last output with respect to the state `lag` steps before\n")
    print(f"{'lag':28}" + "".join(f"{lag:>10}" for lag in LAGS))
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    at_last = {}
    for name, cell in CELLS.items():
        norms = np.asarray(jax.jit(partial(gradient_by_lag, cell, max_lag=max(LAGS)))(key))
        print(f"{name:28}" + "".join(f"{norms[lag]:>10.1e}" for lag in LAGS))
        left.semilogy(np.maximum(norms, 1e-12), label=name)
        at_last[name] = float(norms[max(LAGS)])
    left.set(xlabel="lag (steps)", ylabel="gradient norm", title="gradient by lag, before training")
    left.legend(fontsize="small")

    exploding = "Elman, orthogonal x 1.5"
    print(f"\ngradient descent on {exploding}: largest gradient norm, and the loss after the last update")
    for name, clip in {"not clipped": float("inf"), "clipped to 1": 1.0}.items():
        metrics = jax.tree.map(np.asarray, jax.jit(partial(descend, CELLS[exploding], clip))(key))
        print(f"{name:28}{np.nanmax(metrics['grad_norm']):>10.1e}{metrics['loss'][-1]:>10.1e}")
        right.semilogy(metrics["loss"], label=name)
    right.set(xlabel="update", ylabel="loss", title=f"clipping, {exploding}")
    right.legend()
    figure.savefig(args.out / "gradient.png", dpi=120)
    print(f"\nsaved: {args.out / 'gradient.png'}")
    shown = ("Elman, uniform 1/sqrt(H)", "Elman ReLU, orthogonal x 2", "LSTM, forget bias 1")
    print(f"gradient at lag {max(LAGS)}: " + "; ".join(f"{name}: {at_last[name]:.0e}" for name in shown))
    return at_last


if __name__ == "__main__":
    main()

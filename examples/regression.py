"""Regression, the first example: an Elman network looks at 50 values of a series and says the value 6 steps later.

    python examples/regression.py            10 seconds; a picture in out/regression

The series is that of Mackey and Glass, Science 197 (1977), by steps of a day: how many blood cells there are, where new
ones come with a delay of 17 days. It is chaotic. The figure is the root of the mean squared error on the last fifth of
it, in standard deviations; beside it: to say the last value again, and the best linear function of the 50 values.
"""

import argparse
from pathlib import Path

import flax.linen as nn
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.linear_model import LinearRegression

import rnnjax as rx

LOOKED_AT, AHEAD, DELAY = 50, 6, 17  # days


def mackey_glass(num_steps: int, rng: np.random.Generator) -> np.ndarray:
    """The series from a random past, long ago: float [num_steps, 1]."""
    x = list(rng.uniform(0.5, 1.3, DELAY + 1))
    for _ in range(200 + num_steps):
        x.append(0.9 * x[-1] + 0.2 * x[-1 - DELAY] / (1 + x[-1 - DELAY] ** 10))
    return np.array(x[-num_steps:], np.float32)[:, None]


def main(argv: list[str] | None = None) -> float:
    """Train, and compare on the test part; returns the network's error there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="units of the network")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/regression"), help="folder of the picture")
    args = parser.parse_args(argv)
    if min(args.size, args.epochs) < 1:
        parser.error(f"--size {args.size}, --epochs {args.epochs}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)

    # The data: windows of 50 values and the 6 after them, in batches.
    series = mackey_glass(5000, np.random.default_rng(args.seed))
    parts = rx.data.split_by_time(series, [4000, 1000], overlap=LOOKED_AT)
    scale = rx.data.Standardizer.fit(parts[0])
    train, test = (rx.data.windows(scale(part), LOOKED_AT, AHEAD) for part in parts)  # inputs [50, N, 1]
    batches = rx.data.minibatches(train, 32, key=jax.random.key(args.seed), axis=1, drop_last=True)

    # The model: a recurrent layer and a read-out; its output after the last value is the forecast.
    model = rx.Chain(rx.Elman(args.size), rx.Lift(nn.Dense(1)))

    def forecast(params, batch):
        _, ys = rx.unroll(model, params, batch.inputs)  # [T, B, 1]
        return ys[-1]

    def loss_fn(params, carry, batch, key):
        return rx.losses.squared_error(forecast(params, batch), batch.targets[-1]), (carry, {})

    # Training: back-propagation through time by Adam, with a learning rate that falls to zero.
    rate = optax.cosine_decay_schedule(3e-3, args.epochs * len(batches(0)))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = rx.train.init_state(model.init(jax.random.key(args.seed), input_size=1), optimizer)
    state = rx.train.fit(rx.train.make_step(loss_fn, optimizer), state, batches, num_epochs=args.epochs).state

    # The test: forecasts of values that nothing was fitted to.
    truth = test.targets[-1]  # [N, 1]
    linear = LinearRegression().fit(train.inputs[..., 0].T, train.targets[-1])
    forecasts = {
        "Elman network": rx.train.predict(forecast, state.params, rx.data.minibatches(test, 500, axis=1)(0), axis=0),
        "linear function": linear.predict(test.inputs[..., 0].T),
        "last value again": test.inputs[-1],
    }
    errors = {name: float(np.sqrt(np.square(values - truth).mean())) for name, values in forecasts.items()}
    print("error in standard deviations: " + ", ".join(f"{name} {error:.4f}" for name, error in errors.items()))

    figure, axes = plt.subplots(figsize=(9, 3.5), layout="constrained")
    axes.plot(truth[:200], "k", lw=4, alpha=0.3, label="the series")
    for name, values in forecasts.items():
        axes.plot(values[:200], lw=1, label=f"{name}: {errors[name]:.3f}")
    axes.set(xlabel="day of the test part", ylabel="standardised", title=f"forecasts from {AHEAD} days before")
    axes.legend(loc="lower left", ncols=4)
    figure.savefig(args.out / "forecasts.png")
    plt.close(figure)
    print(f"saved: {args.out / 'forecasts.png'}")
    return errors["Elman network"]


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; no picture was drawn") from None

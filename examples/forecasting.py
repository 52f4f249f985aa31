"""Forecasting: from four days of a table, a GRU that steps over segments of a day says the next four, all at once.

    python examples/forecasting.py                                 three series drawn from a process, 1 minute
    python examples/forecasting.py --csv ETTh1.csv --target OT     the standard benchmark, 5 minutes
    python examples/forecasting.py --csv FILE --target COLUMN --window 168 --horizon 48        any table

FILE is a table of comma-separated values with a header, a row a step, in order of time. All columns of numbers are
forecast, by the same weights; others, such as the date, are left out. The first 70 % of the rows are for
training, the next 10 % for validation, the rest for the test. The figure is the mean squared error over all steps,
columns and windows of the test part, where columns have variance 1 in the training part.

ETTh1.csv lies in https://github.com/zhouhaoyi/ETDataset under ETT-small: hourly loads and the oil temperature (OT) of a
transformer. Files named ETTh... or ETTm... are divided as in the papers: 12, 4 and 4 months of 30 days. Published for
ETTh1, 96 steps from 96, squared / absolute error: SegRNN 0.368 / 0.395, DLinear 0.386 / 0.400.

Source: Lin et al. (2023), arXiv:2308.11200, SegRNN. Differs from: what is learned for a segment and for a column is
added up there where they put one beside the other.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.linear_model import Ridge

import rnnjax as rx

BATCH_SIZE, LEARNING_RATE, DROPOUT = 64, 5e-4, 0.5
SEE_HELP = "(see python examples/forecasting.py --help)"
STEPS_A_DAY = {"ETTh": 24, "ETTm": 96}  # by how the file's name begins


class Params(NamedTuple):
    """What SegRNN learns."""

    encoder: Any  # a linear layer and the GRU
    position: jax.Array  # [S', 1, 1, H] for each segment of the horizon
    column: jax.Array  # [C, H] for each column
    read_out: Any


def read(path: Path) -> tuple[list[str], np.ndarray]:
    """The columns of a file that are numbers, more often than not: their names, and [num_rows, C]."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = [row for row in csv.reader(file) if row] or [[]]  # without blank lines
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or f"it is no table in UTF-8 ({error})"
        raise SystemExit(f"cannot read {path}: {why} {SEE_HELP}") from error
    names = [name.strip() for name in names]
    wrong = next((n for n, row in enumerate(rows, 2) if len(row) != len(names)), None)
    if wrong or not rows:
        found = f"row {wrong} has {len(rows[wrong - 2])} cells, the header {len(names)}" if wrong else "no rows"
        raise SystemExit(
            f"cannot read {path}: {found}, expected a header and rows of as many comma-separated cells {SEE_HELP}"
        )
    if len({*names}) < len(names) or np.isfinite([number(name) for name in names]).any():
        raise SystemExit(f"{path} begins with {', '.join(names)}, expected a different name for each column {SEE_HELP}")
    values = np.array([[number(cell) for cell in row] for row in rows])
    chosen = np.flatnonzero(np.isfinite(values).mean(0) >= 0.5)
    if not len(chosen):
        raise SystemExit(f"{path} has no column of numbers among {', '.join(names)} {SEE_HELP}")
    for row, column in np.argwhere(~np.isfinite(values[:, chosen]))[:1]:
        name, cell = names[chosen[column]], rows[row][chosen[column]]
        raise SystemExit(f"{path}: row {row + 2} of column {name} is {cell!r}, expected a finite number")
    if others := [name for n, name in enumerate(names) if n not in chosen]:
        print(f"left out, as they are no numbers: {', '.join(others)}")
    return [names[n] for n in chosen], values[:, chosen]


def number(cell: str) -> float:
    """NaN for what is none."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def drawn(rng: np.random.Generator, num_rows: int = 5000) -> tuple[list[str], np.ndarray]:
    """Hourly loads of three towns that grow, each with its own day and week, and noise that fades within hours."""
    hours = np.arange(num_rows)[:, None]  # [num_rows, 1]
    day = np.sin(2 * np.pi * hours / 24 + rng.uniform(-1, 1, 3)) + np.cos(4 * np.pi * hours / 24) / 2
    week = rng.uniform(0.3, 1.5, (7, 3))[hours[:, 0] // 24 % 7]  # how high it goes, by the day of the week
    noise = np.zeros((num_rows, 3))
    for hour in range(1, num_rows):
        noise[hour] = 0.9 * noise[hour - 1] + 0.15 * rng.normal(size=3)
    return ["north", "middle", "south"], 5 + hours / 2000 + week * day + noise


def split(name: str, values: np.ndarray, window: int, horizon: int) -> list[np.ndarray]:
    """Training, validation and test part; the latter two with the window before them."""
    num, steps = len(values), STEPS_A_DAY.get(name[:4])
    sizes = [360 * steps, 120 * steps, 120 * steps] if steps else [num * 7 // 10, num // 10, num - num * 8 // 10]
    if sum(sizes) > num or sizes[0] < window + horizon or min(sizes[1:]) < horizon:
        raise SystemExit(
            f"{name} has {num} rows, too few: {sizes[0]} for training, {sizes[1]} for validation and {sizes[2]} for"
            f" the test are to hold windows of {window} steps and the {horizon} after them"
        )
    return rx.data.split_by_time(values, sizes, overlap=window)


def linear(train: rx.data.Windows, test: rx.data.Windows) -> np.ndarray:
    """Forecasts [horizon, N, C] by ridge regression on the window, counted from its last value, for all columns."""
    every = 1 + train.inputs[0].size // 100_000  # so many windows are enough
    (xs, ys), (xs_test, _) = (
        [(part - inputs[-1]).reshape(len(part), -1).T for part in (inputs, targets)]  # [N C, window], [N C, horizon]
        for inputs, targets in ((train.inputs[:, ::every], train.targets[:, ::every]), test)
    )
    return Ridge().fit(xs, ys).predict(xs_test).T.reshape(test.targets.shape) + test.inputs[-1]


def draw(forecasts: dict[str, np.ndarray], test: rx.data.Windows, scale: Any, column: int, name: str, path: Path):
    """Three windows of the test part, a column in its own units; and the error by how far ahead it is."""
    window, horizon, num_windows = len(test.inputs), *test.targets.shape[:2]
    figure, all_axes = plt.subplots(2, 2, figsize=(12, 6), layout="constrained")
    in_units = scale.columns(column).inverse  # of [T, 1]
    for axes, n in zip(all_axes.flat, np.linspace(0, num_windows - 1, 3).astype(int), strict=False):
        truth = np.concatenate([test.inputs[:, n, [column]], test.targets[:, n, [column]]])
        axes.plot(range(-window, horizon), in_units(truth), "k", lw=3, alpha=0.3, label="truth")
        for label, ys in forecasts.items():
            axes.plot(range(horizon), in_units(ys[:, n, [column]]), lw=1, label=label)
        axes.axvspan(0, horizon - 1, alpha=0.1)
        axes.set(title=f"window {n} of the test part", xlabel="step; the horizon is shaded", ylabel=name)
    for label, ys in forecasts.items():
        all_axes[1, 1].plot(range(1, horizon + 1), np.square(ys - test.targets).mean((1, 2)), label=label)
    all_axes[1, 1].set(title="all windows and columns", xlabel="steps ahead", ylabel="squared error", ylim=(0, None))
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), ncols=4, loc="outside upper center")
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train with early stopping, and compare on the test part; returns SegRNN's mean squared error there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="a table (default: one that is drawn)")
    parser.add_argument("--target", help="the column that is shown and named (default: the last)")
    parser.add_argument("--window", type=int, default=96, help="steps that are looked at")
    parser.add_argument("--horizon", type=int, default=96, help="steps after them that are forecast")
    parser.add_argument("--segment", type=int, default=24, help="steps that the GRU takes at once")
    parser.add_argument("--size", type=int, default=512, help="units of the GRU")
    parser.add_argument("--epochs", type=int, default=5, help="at most; it stops after two without a better one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/forecasting"), help="folder of the picture")
    args = parser.parse_args(argv)
    if args.segment < 1 or any(steps < 1 or steps % args.segment for steps in (args.window, args.horizon)):
        parser.error(f"--window and --horizon are to be multiples of --segment, which is {args.segment}")

    if min(args.size, args.epochs) < 1:
        parser.error(f"--size {args.size}, --epochs {args.epochs}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)
    names, values = read(args.csv) if args.csv else drawn(np.random.default_rng(args.seed))
    file, target = args.csv.name if args.csv else "the drawn table", args.target or names[-1]
    if target not in names:
        raise SystemExit(f"{file} has no column of numbers named {target}; it has {', '.join(names)}")
    parts = split(file, values, args.window, args.horizon)
    scale = rx.data.Standardizer.fit(parts[0])
    train, valid, test = (rx.data.windows(scale(part).astype(np.float32), args.window, args.horizon) for part in parts)

    gru = rx.GRU(args.size)
    encoder = rx.Chain(rx.Lift(nn.Sequential([nn.Dense(args.size), nn.relu])), gru)
    read_out = rx.Chain(rx.Dropout(DROPOUT), rx.Lift(nn.Dense(args.segment)))
    keys = jax.random.split(jax.random.key(args.seed), 6)
    params = Params(
        encoder.init(keys[0], args.segment),
        jax.random.normal(keys[1], (args.horizon // args.segment, 1, 1, args.size)),
        jax.random.normal(keys[2], (len(names), args.size)),
        read_out.init(keys[3], args.size),
    )

    def forecast(params, windows, key=None):  # [horizon, B, C]
        last = windows.inputs[-1]  # [B, C] all is counted from here, as levels drift
        segments = (windows.inputs - last).reshape(-1, args.segment, *last.shape)
        (_, h), _ = rx.unroll(encoder, params.encoder, jnp.moveaxis(segments, 1, -1))  # h [B, C, H]
        _, ys = gru.step(params.encoder[1], h, params.position + params.column)  # [S', B, C, H] one step for each
        _, ys = rx.unroll(read_out, params.read_out, ys, key=key)  # [S', B, C, segment]
        return jnp.moveaxis(ys, -1, 1).reshape(-1, *last.shape) + last

    def loss_fn(params, carry, windows, key):
        return rx.losses.squared_error(forecast(params, windows, key), windows.targets), (carry, {})

    def evaluate(state):
        forecasts = rx.train.predict(forecast, state.params, rx.data.minibatches(valid, 256, axis=1)())
        return {"squared_error": np.square(forecasts - valid.targets).mean()}

    batches = rx.data.minibatches(train, BATCH_SIZE, key=keys[4], axis=1)
    falling = optax.cosine_decay_schedule(LEARNING_RATE, args.epochs * len(batches()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    step, state = rx.train.make_step(loss_fn, optimizer), rx.train.init_state(params, optimizer)
    best = rx.train.Best("squared_error", patience=2)
    fitted = rx.train.fit(step, state, batches, num_epochs=args.epochs, key=keys[5], evaluate=evaluate, best=best)
    params = (fitted.best or fitted.state).params

    forecasts = {
        "SegRNN": rx.train.predict(forecast, params, rx.data.minibatches(test, 256, axis=1)()),
        "linear": linear(train, test),
        "last value again": np.broadcast_to(test.inputs[-1], test.targets.shape),
    }
    column = names.index(target)
    draw(forecasts, test, scale, column, target, args.out / "forecasts.png")
    print(f"saved: {args.out / 'forecasts.png'}")
    errors = {label: ys - test.targets for label, ys in forecasts.items()}
    squared = {label: np.square(error).mean((0, 1)) for label, error in errors.items()}  # [C]
    said = [
        f"{label} {squared[label].mean():.3f} / {abs(errors[label]).mean():.3f} ({target} {squared[label][column]:.3f})"
        for label in errors
    ]
    if file == "ETTh1.csv" and args.window == args.horizon == 96:
        said.append("published: SegRNN 0.368 / 0.395, DLinear 0.386 / 0.400")
    print(f"{file}, {args.horizon} steps from {args.window}, squared / absolute error: {', '.join(said)}")
    return float(squared["SegRNN"].mean())


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None

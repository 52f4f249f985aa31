"""Three tasks that ask for memory: for each a network that learns it, and one that does not.

    python examples/algorithmic.py adding        a GRU and an Elman network
    python examples/algorithmic.py copy          a linear recurrent unit and an LSTM
    python examples/algorithmic.py parity        an Elman network and a MinGRU

Every step draws new sequences from the task itself; what is measured is measured on others. Pictures go to --out.

adding: T=200 numbers in [0, 1], two of them marked, one in each half; the answer, due at the end, is their sum. The
figure is the mean squared error; always to say 1 has 1/6. Source: Hochreiter and Schmidhuber, Neural Computation 9
(1997). Bai, Kolter and Koltun (2018, arXiv:1803.01271, table 1) report, at T=600, GRU 5e-5, LSTM 0.164, RNN 0.177.

copy: 10 symbols of 8, T=500 steps, of which the last says to go, then 10 in which the symbols are due in their order;
the blank is due before. The figure is the cross-entropy, a mean over all T + 20 steps; a network that knows when to
answer, but has no memory, has 10 ln 8 / (T + 20). Source: Arjovsky, Shah and Bengio (2016, arXiv:1511.06464), where
the LSTM stays there; in the 400 steps that the LRU takes here, it does not even find when to answer.

parity: whether the number of ones among the bits is odd. Trained on lengths 1 to 40, with the parity of the bits so far
as the target of each step, so that short sequences are learned first. The figure is the accuracy after the last bit of
sequences of lengths 41 to 100, each length alike; chance is 0.5. Networks whose state is linear and diagonal, with
factors in (0, 1), such as MinGRU, cannot: Grazzi et al. (2024, arXiv:2411.12537); RNNs can: Deletang et al. (2023,
arXiv:2207.02098).
"""

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import rnnjax as rx

NUM_SYMBOLS, NUM_COPIED = 8, 10
BATCH_SIZE, NUM_VALID = 32, 500


class Batch(NamedTuple):
    """Sequences of a task."""

    xs: np.ndarray  # float [T, B, D]
    targets: np.ndarray  # float [T, B, 1], or int [T, B]
    mask: np.ndarray  # bool [T, B] where an answer is due


def adding(rng: np.random.Generator, num: int, length: int) -> Batch:
    """Numbers beside their markers; the sum of the two that are marked is due at the last step."""
    marked = rng.integers(length // 2, size=num), rng.integers(length // 2, length, size=num)
    numbers, markers = rng.random((length, num)), np.zeros((length, num))
    markers[marked, np.arange(num)] = 1
    targets = np.broadcast_to((numbers * markers).sum(0), (length, num))[..., None]
    last = np.broadcast_to(np.arange(length)[:, None] == length - 1, (length, num))
    return Batch(np.stack([numbers, markers], -1).astype(np.float32), targets.astype(np.float32), last)


def copy(rng: np.random.Generator, num: int, length: int) -> Batch:
    """Symbols, blanks, the word to go, blanks in whose place the symbols are due; inputs are one-hot."""
    blank, go = NUM_SYMBOLS, NUM_SYMBOLS + 1
    symbols = rng.integers(NUM_SYMBOLS, size=(NUM_COPIED, num))
    tokens, targets = np.full((2, length + 2 * NUM_COPIED, num), blank, np.int32)
    tokens[:NUM_COPIED], tokens[-NUM_COPIED - 1], targets[-NUM_COPIED:] = symbols, go, symbols
    return Batch(np.eye(NUM_SYMBOLS + 2, dtype=np.float32)[tokens], targets, np.ones(tokens.shape, bool))


def parity(rng: np.random.Generator, num: int, longest: int) -> Batch:
    """Bits, of lengths from 1 to the longest, and the parity of the bits so far."""
    bits, lengths = rng.integers(2, size=(longest, num, 1)), rng.integers(1, longest + 1, size=num)
    targets = bits.cumsum(0) % 2
    return Batch(bits.astype(np.float32), targets.astype(np.float32), np.arange(longest)[:, None] < lengths)


class Task(NamedTuple):
    """What is learned, and by whom."""

    draw: Callable[[np.random.Generator, int, int], Batch]  # so many sequences of a length
    length: int  # T; the longest of parity
    loss: Callable[..., jax.Array]  # of the answers
    figure: str  # what it is called
    guessing: Callable[[int], float]  # the loss of who knows when to answer, but not what; by length
    networks: dict[str, rx.Chain]  # the first is the one that learns it
    rate: float  # Adam's, at the start
    num_steps: int


def network(num_outputs: int, *layers: Any) -> rx.Chain:
    """Layers and a read-out."""
    return rx.Chain(*layers, rx.Lift(nn.Dense(num_outputs)))


mlp = rx.Lift(nn.Sequential([nn.Dense(64), nn.relu]))
TASKS = {
    "adding": Task(
        draw=adding,
        length=200,
        loss=rx.losses.squared_error,
        figure="mean squared error",
        guessing=lambda length: 1 / 6,
        networks={"GRU": network(1, rx.GRU(64)), "Elman": network(1, rx.Elman(64))},
        rate=2e-3,
        num_steps=2000,
    ),
    "copy": Task(
        draw=copy,
        length=500,
        loss=rx.losses.cross_entropy,
        figure="cross-entropy",
        guessing=lambda length: NUM_COPIED * math.log(NUM_SYMBOLS) / (length + 2 * NUM_COPIED),
        networks={  # the LRU's states start with all phases, and keep 0.6 or more of themselves over 500 steps
            "LRU": network(NUM_SYMBOLS + 1, rx.Lift(nn.Dense(64)), rx.LRU(128, r_min=0.999)),
            "LSTM": network(NUM_SYMBOLS + 1, rx.LSTM(64)),
        },
        rate=5e-3,
        num_steps=400,
    ),
    "parity": Task(
        draw=parity,
        length=40,
        loss=rx.losses.bernoulli,
        figure="cross-entropy",
        guessing=lambda length: math.log(2),
        networks={"Elman": network(1, rx.Elman(64)), "MinGRU": network(1, rx.MinGRU(64), mlp)},
        rate=3e-3,
        num_steps=2000,
    ),
}


def train(task: Task, model: rx.Chain, args: argparse.Namespace) -> rx.train.Fitted:
    """New sequences for every step; the validation loss is in the rows."""

    def outputs_of(params, batch):
        return rx.unroll(model, params, batch.xs)[1]  # [T, B, num_outputs]

    def loss_fn(params, carry, batch, key):
        return task.loss(outputs_of(params, batch), batch.targets, batch.mask), (carry, {})

    def batches(epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng((args.seed, 1, epoch))
        for _ in range(100):
            yield task.draw(rng, BATCH_SIZE, args.length)

    valid = task.draw(np.random.default_rng((args.seed, 0)), NUM_VALID, args.length)
    valid_batches = rx.data.minibatches(valid, 100, axis=1)(0)

    def evaluate(state):
        outputs = rx.train.predict(outputs_of, state.params, valid_batches)
        return {"loss": task.loss(outputs, valid.targets, valid.mask)}

    falling = optax.cosine_decay_schedule(task.rate, args.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    state = rx.train.init_state(model.init(jax.random.key(args.seed), valid.xs.shape[-1]), optimizer)
    every = max(args.steps // 20, 1)
    step = rx.train.make_step(loss_fn, optimizer)
    return rx.train.fit(step, state, batches, num_steps=args.steps, evaluate=evaluate, evaluate_every=every)


def accuracy_by_length(model: rx.Chain, params: Any, args: argparse.Namespace) -> np.ndarray:
    """How often the parity is right after the last bit of sequences of 1, 2, ... 2.5 times the longest length.

    The output at step t has seen the first t bits alone: it is the answer to the sequence of these.
    """
    num_steps = 5 * args.length // 2
    bits = np.random.default_rng((args.seed, 2)).integers(2, size=(num_steps, 1000, 1))
    _, logits = rx.unroll(model, params, bits.astype(np.float32))
    return ((logits > 0) == bits.cumsum(0) % 2).mean((1, 2))  # [num_steps]


def draw(curves: dict[str, Any], accuracies: dict[str, np.ndarray], guessing: float, path: Path) -> None:
    """Validation losses by step, beside that of guessing; for parity, accuracies by length too."""
    figure, axes = plt.subplots(1, 2 if accuracies else 1, squeeze=False, figsize=(9, 3.5), layout="constrained")
    for name, curve in curves.items():
        axes[0, 0].semilogy(*zip(*curve, strict=True), marker=".", label=name)
    axes[0, 0].axhline(guessing, color="gray", ls=":", label="guessing")
    axes[0, 0].set(xlabel="training step", ylabel="validation loss")
    axes[0, 0].legend()
    for name, accuracy in accuracies.items():
        axes[0, 1].plot(np.arange(len(accuracy)) + 1, accuracy, label=name)
        axes[0, 1].set(xlabel="length", ylabel="right answers", ylim=(0.4, 1.02))
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train both networks of a task; returns the figure of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--length", type=int, help="T; the longest in training for parity (default: as above)")
    parser.add_argument("--steps", type=int, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/algorithmic"), help="folder of the pictures")
    args = parser.parse_args(argv)
    task = TASKS[args.task]
    args.length = task.length if args.length is None else args.length
    args.steps = task.num_steps if args.steps is None else args.steps
    if args.length < 2 or args.steps < 1:
        parser.error(f"--length {args.length}, --steps {args.steps}, expected at least 2 and 1")
    args.out.mkdir(parents=True, exist_ok=True)

    guessing, curves, accuracies, figures = task.guessing(args.length), {}, {}, {}
    for name, model in task.networks.items():
        fitted = train(task, model, args)
        curves[name] = [(row["step"], row["eval_loss"]) for row in fitted.rows if "eval_loss" in row]
        loss = figures[name] = curves[name][-1][1]
        print(f"{name}: validation loss {loss:.5f} ({loss / guessing:.3f} of guessing, {guessing:.5f})", flush=True)
        if args.task == "parity":
            accuracies[name] = accuracy_by_length(model, fitted.state.params, args)
            figures[name] = float(accuracies[name][args.length :].mean())
    draw(curves, accuracies, guessing, args.out / f"{args.task}.png")
    print(f"saved: {args.out / args.task}.png")
    what = f"T={args.length}, {task.figure}"
    if args.task == "parity":
        what, guessing = f"right answers at lengths {args.length + 1} to {5 * args.length // 2}", 0.5
    found = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
    print(f"{args.task}, {what}: {found}; guessing {guessing:.4g}")
    return next(iter(figures.values()))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; no picture was drawn") from None

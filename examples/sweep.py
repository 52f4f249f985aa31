"""A sweep: 500 leaky networks learn to say whether two stimuli, a delay apart, were the same, all in one program.

    python examples/sweep.py                 10 leaks x 5 learning rates x 10 seeds; a table, and pictures in out/sweep

A stimulus is an angle, shown for two steps with noise; the network has to keep the first one until the second comes.
The leak is the step of time in units of the network's time constant: a small one remembers by itself but is slow, with
a leak of 1 all memory is in the recurrent weights. Run it again and it goes on, or says at once, from what is in --out.

Source: the task is the delayed match to category of Freedman and Assad, Nature 443 (2006), with the identical stimulus
as the category, as in Yang et al., Nature Neuroscience 22 (2019), who train leaky networks on it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import optax

import rnnjax as rx

NUM_ANGLES, NOISE = 8, 0.1  # noise of each step's input, of stimuli of length 1
BEFORE, SHOWN, DELAY, ANSWER = 2, 2, 12, 2  # steps: T = BEFORE + SHOWN + DELAY + SHOWN + ANSWER
BATCH_SIZE, NUM_VALID = 32, 1000
adam = optax.inject_hyperparams(optax.adam)  # its learning rate is a value in its state


class Trials(NamedTuple):
    """B trials of the task."""

    xs: np.ndarray  # float [T, B, 3] the angle's cosine and sine, and whether the answer is due
    same: np.ndarray  # float [B, 1] 1 for the same stimulus twice


def trials(rng: np.random.Generator, num: int) -> Trials:
    """Half of them have the same stimulus twice."""
    same = rng.random(num) < 0.5
    first = rng.integers(NUM_ANGLES, size=num)
    second = np.where(same, first, (first + rng.integers(1, NUM_ANGLES, size=num)) % NUM_ANGLES)
    begin = BEFORE + SHOWN + DELAY
    xs = np.zeros((begin + SHOWN + ANSWER, num, 3), np.float32)
    for start, stimulus in ((BEFORE, first), (begin, second)):
        angle = 2 * np.pi * stimulus / NUM_ANGLES
        xs[start : start + SHOWN, :, :2] = np.stack([np.cos(angle), np.sin(angle)], -1)
    xs[..., :2] += NOISE * rng.normal(size=xs[..., :2].shape)
    xs[-ANSWER:, :, 2] = 1
    return Trials(xs, same[:, None].astype(np.float32))


def batches(epoch: int) -> Iterator[Trials]:
    """New trials for every step, the same ones for all networks."""
    rng = np.random.default_rng((1, epoch))
    for _ in range(100):
        yield trials(rng, BATCH_SIZE)


def model(size: int, leak: Any) -> rx.Chain:
    """A leaky network and its read-out; the leak may be a traced value."""
    return rx.Chain(rx.Leaky(size, leak=leak), rx.Lift(nn.Dense(1)))


def init(hparams: dict[str, Any], key: Any) -> dict[str, Any]:
    """A member of the sweep: what it learns, and what its step has to know."""
    params = model(hparams["size"], hparams["leak"]).init(key, input_size=3)
    train = rx.train.init_state(params, optimizer(hparams["lr"]))
    return {"train": train, "leak": hparams["leak"], "size": rx.sweep.Static(hparams["size"])}


def optimizer(rate: Any) -> optax.GradientTransformation:
    """Adam with clipping; once initialised, the rate is that of the state."""
    return optax.chain(optax.clip_by_global_norm(1.0), adam(rate))


def loss_and_accuracy(state: dict[str, Any], params: Any, batch: Trials) -> tuple[Any, Any]:
    """Of the answer at the last step."""
    _, logits = rx.unroll(model(state["size"].value, state["leak"]), params, batch.xs)
    answer = logits[-1]
    return rx.losses.bernoulli(answer, batch.same), ((answer > 0) == batch.same).mean()


def step(state: dict[str, Any], batch: Trials) -> tuple[dict[str, Any], dict[str, Any]]:
    """One training step of one member."""

    def loss_fn(params, carry, batch, key):
        loss, accuracy = loss_and_accuracy(state, params, batch)
        return loss, (carry, {"accuracy": accuracy})

    train, metrics = rx.train.make_step(loss_fn, optimizer(0.0))(state["train"], batch)
    return state | {"train": train}, {"loss": metrics["loss"], "accuracy": metrics["accuracy"]}


def evaluate(state: dict[str, Any]) -> dict[str, Any]:
    """On trials that no network was trained on."""
    valid = trials(np.random.default_rng(0), NUM_VALID)
    loss, accuracy = loss_and_accuracy(state, state["train"].params, valid)
    return {"valid_loss": loss, "valid_accuracy": accuracy}


def table(results: rx.sweep.Results) -> np.ndarray:
    """Print the validation accuracy, a mean over seeds, by leak and learning rate; [leaks, rates]."""
    leaks, rates = (list(dict.fromkeys(results.setting(name))) for name in ("leak", "lr"))
    means = results.curve("valid_accuracy")[-1].reshape(len(leaks), len(rates), -1).mean(-1)
    print(f"{'leak':>8}" + "".join(f"{f'lr {rate:.1e}':>12}" for rate in rates))
    for leak, row in zip(leaks, means, strict=True):
        print(f"{leak:8.3f}" + "".join(f"{mean:12.3f}" for mean in row))
    return means


def main(argv: list[str] | None = None) -> float:
    """Run the sweep; returns the best setting's accuracy on validation, a mean over its seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaks", type=int, default=10, help="how many, from 0.05 to 1")
    parser.add_argument("--rates", type=int, default=5, help="how many learning rates, from 3e-4 to 3e-2")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--size", type=int, default=32, help="units of each network")
    parser.add_argument("--out", type=Path, default=Path("out/sweep"), help="folder of what is written")
    args = parser.parse_args(argv)
    rx.sweep.use_host_devices()  # one for each core, before JAX starts

    leaks, rates = np.geomspace(0.05, 1, args.leaks), np.geomspace(3e-4, 3e-2, args.rates)
    settings = rx.sweep.grid(leak=leaks, lr=rates, size=[args.size])
    results = rx.sweep.run(
        init,
        step,
        settings,
        batches,
        num_steps=args.steps,
        seeds=range(args.seeds),
        evaluate=evaluate,
        every=max(args.steps // 20, 1),
        folder=args.out / "state",
    )
    print(f"{len(results)} networks, {(results.diverged > 0).sum()} diverged; {results.plans[0]}\n")
    best = table(results).max()
    rx.sweep.write_csv(results, args.out / "results.csv")
    rx.sweep.draw_settings(results, "valid_accuracy", args.out / "settings.png")
    rx.sweep.draw_curves(results, "valid_accuracy", args.out / "curves.png", largest=True)
    member = results.best("valid_loss")
    print(f"\nbest setting: {best:.3f} of the answers right; best network: {member.metrics['valid_accuracy']:.3f}")
    print(f"saved: {', '.join(str(path) for path in sorted(args.out.glob('*.*')))}")
    return float(best)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt as stopped:
        raise SystemExit(str(stopped)) from None

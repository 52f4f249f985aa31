"""Digits as sequences: a recurrent network reads images row by row, pixel by pixel, and pixels in a random order.

    python examples/digits.py                              scikit-learn's digits in all three orders, 3 minutes
    python examples/digits.py --mnist FOLDER --order rows  by row it takes minutes, by pixel hours on two cores

The data are 1,797 images of 8 x 8 pixels that come with scikit-learn, 500 of them for the test, drawn by --seed. The
figure is the accuracy on the test images; beside it, a linear classifier (logistic regression) that sees all pixels at
once, and chance, 0.1.

With --mnist, the 28 x 28 pixels of MNIST from its four IDX files, as they are or gzipped: train-images-idx3-ubyte,
train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, from
https://storage.googleapis.com/cvdf-datasets/mnist. There, Le, Jaitly and Hinton (2015, arXiv:1504.00941) made the
pixels, and the pixels in a random order, a test of long memories, T=784; Bai, Kolter and Koltun (2018,
arXiv:1803.01271, table 1) report GRU 0.962 and 0.873.

The layers are those of Orvieto et al. (2023), arXiv:2303.06349; --cell puts another cell in the LRU's place.
"""

import argparse
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import rnnjax as rx

ORDERS = {"rows": "by row", "pixels": "by pixel", "permuted": "by pixel, permuted"}
CELLS = {"lru": rx.LRU, "gru": rx.GRU, "lstm": rx.LSTM, "elman": rx.Elman}
NUM_CLASSES, BATCH_SIZE, LEARNING_RATE, DROPOUT = 10, 50, 3e-3, 0.2


class Images(NamedTuple):
    """N digits."""

    pixels: np.ndarray  # float [N, rows, columns], in [0, 1]
    labels: np.ndarray  # int [N]


def digits(seed: int) -> tuple[Images, Images]:
    """scikit-learn's digits, for training and test."""
    pixels, labels = load_digits(return_X_y=True)
    order = rx.data.permutation(len(labels), jax.random.key(seed))
    pixels, labels = (pixels / 16).astype(np.float32).reshape(-1, 8, 8)[order], labels[order]
    return Images(pixels[:-500], labels[:-500]), Images(pixels[-500:], labels[-500:])


def mnist(folder: Path) -> list[Images]:
    """MNIST, for training and test."""
    parts = []
    for name in ("train", "t10k"):
        pixels, labels = (
            read_idx(folder / f"{name}-{what}-idx{ndim}-ubyte", ndim) for what, ndim in (("images", 3), ("labels", 1))
        )
        if len(pixels) != len(labels) or labels.max() >= NUM_CLASSES:
            found = f"{len(pixels)} images and {len(labels)} labels up to {labels.max()}"
            raise SystemExit(f"{folder}, files {name}-...: {found}, expected as many labels as images, 0 to 9")
        parts.append(Images(pixels.astype(np.float32) / 255, labels.astype(int)))
    train, test = (part.pixels.shape[1:] for part in parts)
    if train != test:
        raise SystemExit(f"{folder}: images of {train} pixels to train on, of {test} to test, expected the same")
    return parts


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """An array of bytes in the IDX format: 0, 0, 8 for bytes, the number of axes; their sizes; the values."""
    path = path if path.exists() else path.with_name(path.name + ".gz")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise SystemExit(f"cannot read {path}: {why} (where to get it: python examples/digits.py --help)") from error
    head = 4 + 4 * ndim
    sizes = np.frombuffer(content[4:head].ljust(4 * ndim, b"\0"), ">u4").astype(int)
    if content[:4] != bytes((0, 0, 8, ndim)) or not sizes.all() or len(content) != head + sizes.prod():
        raise SystemExit(f"{path} is not an IDX file of {ndim} axes of bytes (see python examples/digits.py --help)")
    return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)


def as_sequences(pixels: np.ndarray, order: str) -> np.ndarray:
    """The pixels [T, N, D]: a row a step, or a pixel a step, in a random order that is the same for all."""
    if order == "rows":
        return pixels.swapaxes(0, 1)
    flat = pixels.reshape(len(pixels), -1)
    if order == "permuted":
        flat = flat[:, rx.data.permutation(flat.shape[1], jax.random.key(0))]
    return flat.T[..., None]


def network(cell: str, size: int) -> rx.Chain:
    """Two residual blocks of a recurrent layer and a gate."""
    gate = rx.Lift(nn.Sequential([nn.Dense(2 * size), nn.glu]))
    block = rx.Residual(rx.Chain(rx.Lift(nn.LayerNorm()), CELLS[cell](size), gate, rx.Dropout(DROPOUT)))
    return rx.Chain(rx.Lift(nn.Dense(size)), block, block, rx.Lift(nn.Dense(NUM_CLASSES)))


def train(images: Images, order: str, args: argparse.Namespace) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier of sequences [T, N, D]: its answers after each step that is read, int [T, N]."""
    model, key = network(args.cell, args.size), jax.random.key(args.seed)
    sequences = as_sequences(images.pixels, order)
    batches = rx.data.minibatches((sequences, images.labels), BATCH_SIZE, key=key, axis=(1, 0), drop_last=True)

    def logits_of(params, xs, key=None):  # [T, B, 10] of a step: the mean of all up to it
        _, ys = rx.unroll(model, params, xs, key=key)
        return ys.cumsum(0) / jnp.arange(1, len(ys) + 1)[:, None, None]

    def loss_fn(params, carry, batch, key):
        xs, labels = batch
        return rx.losses.cross_entropy(logits_of(params, xs, key)[-1], labels), (carry, {})

    falling = optax.cosine_decay_schedule(LEARNING_RATE, args.epochs * len(batches()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    state = rx.train.init_state(model.init(key, sequences.shape[-1]), optimizer)
    step = rx.train.make_step(loss_fn, optimizer)
    params = rx.train.fit(step, state, batches, num_epochs=args.epochs, key=key).state.params
    answers = lambda params, xs: logits_of(params, xs).argmax(-1)
    return lambda xs: rx.train.predict(answers, params, rx.data.minibatches(xs, 500, axis=1)())


def draw(curves: dict[str, np.ndarray], linear: float, path: Path) -> None:
    """How often the answer is right when a part of the image is read."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(np.arange(1, len(curve) + 1) / len(curve), curve, label=name)
    axes.axhline(linear, color="gray", ls=":", label="linear classifier, all pixels")
    axes.set(xlabel="part of the image that is read", ylabel="accuracy on the test images", ylim=(0, 1))
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train a network for each order; returns the test accuracy of the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="folder of the four files (default: scikit-learn's digits)")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=[*ORDERS], help="default: one after the other")
    parser.add_argument("--cell", choices=CELLS, default="lru")
    parser.add_argument("--size", type=int, default=64, help="units of each of the two layers")
    parser.add_argument("--epochs", type=int, help="default: 60, with --mnist 3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/digits"), help="folder of the picture")
    args = parser.parse_args(argv)
    if args.epochs is None:
        args.epochs = 3 if args.mnist else 60
    if min(args.size, args.epochs) < 1:
        parser.error(f"--size {args.size}, --epochs {args.epochs}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)
    train_images, test_images = mnist(args.mnist) if args.mnist else digits(args.seed)

    few = Images(*(array[:10_000] for array in train_images))  # enough for as many weights
    baseline = LogisticRegression(max_iter=1000).fit(few.pixels.reshape(len(few.labels), -1), few.labels)
    linear = float(baseline.score(test_images.pixels.reshape(len(test_images.labels), -1), test_images.labels))
    curves = {}
    for order in args.order:
        answers = train(train_images, order, args)(as_sequences(test_images.pixels, order))
        curves[ORDERS[order]] = (answers == test_images.labels).mean(1)
        print(f"{ORDERS[order]}: {curves[ORDERS[order]][-1]:.3f}", flush=True)
    draw(curves, linear, args.out / "accuracy.png")
    print(f"saved: {args.out / 'accuracy.png'}")
    found = [f"{args.cell.upper()} {name} {curve[-1]:.3f}" for name, curve in curves.items()]
    print(f"test accuracy: {', '.join(found)}; linear classifier of all pixels {linear:.3f}, chance 0.1")
    return float(curves[ORDERS[args.order[-1]]][-1])


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; no picture was drawn") from None

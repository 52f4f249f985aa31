"""A character language model: trained on any text, measured against a bigram table, writing text of its own.

python examples/char_lm.py                              the Python standard library's sources, 2.5 minutes
python examples/char_lm.py --text FILE --minutes 5      any text; the last tenth of it is for validation
python examples/char_lm.py --load out/char_lm/model.safetensors --minutes 0 --prompt "def "        only write
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from text_sources import Text, bigram_nats, encode, python_sources, read_text
from tqdm import tqdm

import rnnjax as rx

CELLS = {"gru": rx.GRU, "lstm": rx.LSTM, "elman": rx.Elman, "mingru": rx.MinGRU}
BATCH_SIZE, NUM_STEPS, LEARNING_RATE, EMBEDDING_SIZE = 32, 64, 4e-3, 64
SAVE_EVERY = 20.0  # seconds
BITS = 1 / math.log(2)  # in a nat
KIND = "characters of examples/char_lm.py"  # what a model of this script keeps its vocabulary under


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="a text file (default: the Python standard library's sources)")
    parser.add_argument("--cell", choices=CELLS, default="gru")
    parser.add_argument("--layers", type=at_least(1), default=1)
    parser.add_argument("--size", type=at_least(1), default=256, help="units of each layer")
    parser.add_argument("--dropout", type=fraction, default=0.0, help="after each layer")
    parser.add_argument("--minutes", type=at_least(0, float), default=2.5, help="of training")
    parser.add_argument("--steps", type=at_least(0), help="training steps, in place of minutes")
    parser.add_argument("--seed", type=lambda text: int(text) % 2**32, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/char_lm"), help="folder of what is written")
    parser.add_argument("--load", type=Path, help="a model.safetensors to write with or to go on from, as it is")
    parser.add_argument("--prompt", default="\n", help="how the sample begins")
    parser.add_argument("--length", type=at_least(0), default=600, help="characters of the sample")
    parser.add_argument("--temperature", type=at_least(0, float), default=0.7, help="0 takes the likeliest character")
    args = parser.parse_args(argv)
    args.prompt = args.prompt or "\n"
    args.total = 60 * args.minutes if args.steps is None else args.steps
    if not args.load and not args.total:
        parser.error("nothing to do: --minutes 0 or --steps 0 without --load")
    return args


def at_least(low: int, kind: type = int) -> Any:
    """A number of a kind, not below ``low``."""

    def number(text: str) -> Any:
        if not (low <= (value := kind(text)) < math.inf):
            raise argparse.ArgumentTypeError(f"{text}, expected at least {low}")
        return value

    return number


def fraction(text: str) -> float:
    """A number in [0, 1)."""
    if not 0 <= (value := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}, expected in [0, 1)")
    return value


def build(num_symbols: int, args: argparse.Namespace) -> rx.Chain:
    """Embedding, recurrent layers each with dropout, and a read-out."""
    layers = [layer for _ in range(args.layers) for layer in (CELLS[args.cell](args.size), rx.Dropout(args.dropout))]
    return rx.Chain(rx.Lift(nn.Embed(num_symbols, EMBEDDING_SIZE)), *layers, rx.Lift(nn.Dense(num_symbols)))


def loss_fn(model: rx.Chain, params: Any, carry: Any, chunk: rx.data.Chunk, key: Any) -> Any:
    """Cross-entropy of the next character; the state goes on from the last chunk, anew where a document starts."""
    carry, logits = rx.unroll(model, params, chunk.inputs, carry, resets=chunk.resets, key=key)
    return rx.losses.cross_entropy(logits, chunk.targets, chunk.mask), (carry, {})


def stream(text: Text, seed: int) -> Iterator[rx.data.Chunk]:
    """Chunks without end, every pass from another place."""
    for epoch in itertools.count():
        shift = np.random.default_rng((seed, epoch)).integers(len(text.tokens))
        yield from rx.data.chunks(np.roll(text.tokens, shift), np.roll(text.starts, shift), BATCH_SIZE, NUM_STEPS)


def evaluate(score: Any, model: rx.Chain, params: Any, text: Text) -> float:
    """Nats per character."""
    carry, total, count = model.carry(params, (BATCH_SIZE,)), 0.0, 0
    for chunk in rx.data.chunks(text.tokens, text.starts, BATCH_SIZE, 4 * NUM_STEPS):
        nats, (carry, _) = score(params, carry, chunk, None)
        total, count = total + float(nats) * chunk.mask.sum(), count + chunk.mask.sum()
    return float(total / count)


def train(model: rx.Chain, params: Any, texts: tuple[Text, Text], args: argparse.Namespace, run: "Run") -> Any:
    """Truncated back-propagation through time; the learning rate falls to zero over the steps or the minutes."""
    falling = optax.inject_hyperparams(optax.scale)(step_size=1.0)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(LEARNING_RATE), falling)
    state = rx.train.init_state(params, optimizer, model.carry(params, (BATCH_SIZE,)))
    step = jax.jit(rx.train.make_step(partial(loss_fn, model), optimizer))
    score = jax.jit(partial(loss_fn, model))
    began = saved = time.time()
    bar = tqdm(total=round(args.total), bar_format="{percentage:3.0f}% |{bar:20}| {desc}", desc="compiling")
    try:
        for number, chunk in enumerate(stream(texts[0], args.seed)):
            seconds = time.time() - began
            if (done := (seconds if args.steps is None else number) / args.total) >= 1:
                break
            rate = min(1, (number + 1) / 50) * (1 + math.cos(math.pi * done)) / 2
            state.opt_state[-1].hyperparams["step_size"] = jnp.float32(rate)
            state, metrics = step(state, chunk, jax.random.fold_in(jax.random.key(args.seed), number))
            run.params, run.progress = state.params, {"step": number + 1, "seconds": time.time() - began}
            if number % 10 == 0:
                metrics = {name: float(value) for name, value in metrics.items()}
                seconds = time.time() - began
                left = f"{seconds * (1 - done) / done:.0f}" if done > 0.02 else "?"
                bar.n = round(done * bar.total)
                bar.set_description_str(
                    f"step {number + 1}: loss {metrics['loss']:.3f} nats = {metrics['loss'] * BITS:.3f} bits per"
                    f" character, {(number + 1) * BATCH_SIZE * NUM_STEPS / seconds:,.0f} characters/s, {left} s left"
                )
                if time.time() - saved > SAVE_EVERY:
                    quick = Text(*(array[:100_000] for array in texts[1]))
                    metrics["valid"] = evaluate(score, model, state.params, quick)
                    run.save({**run.progress, **metrics})
                    saved = time.time()
    finally:
        bar.close()
    valid = evaluate(score, model, state.params, texts[1])
    run.save({**run.progress, "valid": valid})
    return valid


class Run:
    """The files of one run. Those of an earlier run in the same folder are kept, under a number."""

    def __init__(self, folder: Path, model: rx.Chain, vocabulary: rx.data.Vocabulary):
        self.model, self.vocabulary = model, vocabulary
        self.params, self.progress = None, {}  # the newest
        self.rows: list[dict] = []  # of metrics.jsonl
        self.files = [folder / name for name in ("model.safetensors", "metrics.jsonl", "curve.png")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f"cannot make the folder {folder}: {error.strerror}") from error

    def save(self, row: dict) -> None:
        """Write the model whole or not at all, add a row to the metrics, draw the learning curve."""
        model, metrics, curve = self.files
        if not self.rows:
            self._keep_earlier()
        rx.save(model, self.model, self.params, metadata={KIND: "".join(self.vocabulary.symbols)})
        self.rows.append(row)
        with metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        for name in ("loss", "valid"):
            points = [(row["seconds"], row[name] * BITS) for row in self.rows if name in row]
            axes.plot(*zip(*points, strict=True) if points else ([], []), marker=".", label=name)
        axes.set(xlabel="seconds of training", ylabel="bits per character")
        axes.legend()
        figure.savefig(curve)
        plt.close(figure)

    def interrupted(self) -> str:
        """Save what there is; say what was saved where."""
        if self.params is None:
            return "interrupted before the first step; nothing was written"
        self.save({**self.progress, "interrupted": True})
        return f"interrupted; the model as it was is saved as {self.files[0]}, go on with --load {self.files[0]}"

    def _keep_earlier(self) -> None:
        earlier = [file for file in self.files if file.exists()]
        numbered = ([file.with_stem(f"{file.stem}-{n}") for file in earlier] for n in itertools.count(1))
        kept = next(names for names in numbered if not any(name.exists() for name in names))
        for file, name in zip(earlier, kept, strict=True):
            file.rename(name)
            tqdm.write(f"kept from an earlier run: {name}")


def write(model: rx.Chain, params: Any, vocabulary: rx.data.Vocabulary, args: argparse.Namespace) -> str:
    """New text, a character at a time: the trained model, stepped."""
    params = rx.bind(model, params)

    @jax.jit
    def step(carry, token, key):
        carry, logits = model.step(params, carry, token)
        logits = logits.at[0].set(-jnp.inf)  # never the unknown character
        sampled = jax.random.categorical(key, logits / jnp.maximum(args.temperature, 1e-6))
        return carry, jnp.where(args.temperature > 0, sampled, logits.argmax())

    carry, tokens, key = model.carry(params), list(vocabulary.encode(args.prompt)), jax.random.key(args.seed)
    for position in range(len(tokens) + args.length - 1):
        carry, token = step(carry, tokens[position], jax.random.fold_in(key, position))
        if position + 1 == len(tokens):
            tokens.append(int(token))
    return args.prompt + "".join(vocabulary.decode(tokens[len(args.prompt) :]))


def load(path: Path) -> Any:
    """A model that this script saved."""
    try:
        (model, params), metadata = rx.load(path), rx.read_metadata(path)
        return model, params, rx.data.Vocabulary(tuple(metadata[KIND]))
    except KeyError:
        raise SystemExit(f"{path} was not written by this script: it holds no characters") from None
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


def train_and_report(model: Any, params: Any, vocabulary: Any, args: argparse.Namespace) -> Any:
    """Train a new model, or go on with the one given; ``(model, params, vocabulary, validation nats)``."""
    documents = python_sources() if args.text is None else read_text(args.text)
    if vocabulary is None:
        training = "".join(documents[0])
        vocabulary = rx.data.Vocabulary.of(training, min_count=1 + len(training) // 200_000)
        model = build(len(vocabulary), args)
        params = model.init(jax.random.key(args.seed), jax.ShapeDtypeStruct((), jnp.int32))
    texts = encode(documents[0], vocabulary), encode(documents[1], vocabulary)
    sizes = [f"{len(text.tokens):,}" for text in texts]
    print(f"{sizes[0]} characters to train on, {sizes[1]} to validate, {len(vocabulary)} different\n{model}")
    run = Run(args.out, model, vocabulary)
    try:
        valid = train(model, params, texts, args, run)
    except KeyboardInterrupt:
        raise SystemExit(run.interrupted()) from None
    except OSError as error:
        raise SystemExit(f"cannot write: {error}; what was saved before stays") from error
    bigram = bigram_nats(*texts, len(vocabulary))
    print(
        f"validation: {valid:.4f} nats = {valid * BITS:.4f} bits per character;"
        f" bigram table {bigram * BITS:.4f} bits (ratio {valid / bigram:.3f})\n"
        f"saved: {', '.join(map(str, run.files))}\n"
    )
    return model, run.params, vocabulary, valid


def main(argv: list[str] | None = None) -> float | None:
    """Train, evaluate, write; returns the validation nats per character, None where nothing was trained."""
    args = parse(argv)
    nothing: Any = (None, None, None)
    model, params, vocabulary = load(args.load) if args.load else nothing
    valid = None
    if args.total:
        model, params, vocabulary, valid = train_and_report(model, params, vocabulary, args)
    if unknown := vocabulary.unknown(args.prompt):
        print(f"the model has never seen {', '.join(map(repr, unknown))}: read as the unknown character")
    print(write(model, params, vocabulary, args))
    return valid


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted; what was saved stays") from None

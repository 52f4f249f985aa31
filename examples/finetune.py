"""Fine-tuning: the language model of `make demo`, trained on Python, goes on with another text, lower layers frozen.

    make demo                                       or: python examples/char_lm.py --out out/demo
    python examples/finetune.py                     on C, the headers that come with NumPy; 2 minutes
    python examples/finetune.py --text FILE         on any text; its last tenth is for validation

FILE is plain text, such as tiny Shakespeare, data/tinyshakespeare/input.txt of https://github.com/karpathy/char-rnn;
--model is a model.safetensors of examples/char_lm.py. Characters that it has never seen it reads as the unknown one.

The figure is the cross-entropy on the text's validation part, in nats per character, after a few steps with the
embedding frozen; beside it with more layers frozen, with none, with training from nothing, and without training.

Source: Yosinski et al. (2014), arXiv:1411.1792, who freeze the layers below each layer in turn.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from char_lm import BATCH_SIZE, NUM_STEPS, evaluate, load, loss_fn
from text_sources import encode, read_text

import rnnjax as rx

LEARNING_RATE = 8e-3  # of all runs; from nothing, 4e-3 does worse
MOST_UNKNOWN = 0.05  # of a text's characters


def headers() -> tuple[list[str], list[str]]:
    """NumPy's C headers: nine tenths of each for training, the rest for validation."""
    paths = [path for path in sorted(Path(np.get_include()).rglob("*.h")) if path.stat().st_size >= 2000]
    parts = [read_text(str(path)) for path in paths]
    return [text for train, _ in parts for text in train], [text for _, valid in parts for text in valid]


def read(path: str | None, model: Path, vocabulary: rx.data.Vocabulary) -> list[Any]:
    """A text's training and validation part in the model's characters, with a word about those it does not have."""
    documents = headers() if path is None else read_text(path)
    texts = [encode(part, vocabulary) for part in documents]
    tokens = np.concatenate([text.tokens for text in texts])
    if (share := (tokens == 0).mean()) > MOST_UNKNOWN:
        raise SystemExit(
            f"{share:.0%} of the characters of {path or 'the headers of NumPy'} are not among the {len(vocabulary) - 1}"
            f" of {model}, expected at most {MOST_UNKNOWN:.0%}: train it on such a text, examples/char_lm.py --text"
        )
    if unknown := vocabulary.unknown("".join(documents[0] + documents[1])):
        print(f"the model has never seen {', '.join(map(repr, unknown[:20]))}: {share:.2%} of the text's characters")
    return texts


def main(argv: list[str] | None = None) -> float:
    """Fine-tune, and compare; returns the validation nats per character with the embedding frozen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("out/demo/model.safetensors"), help="of examples/char_lm.py")
    parser.add_argument("--text", help="a text file (default: NumPy's C headers)")
    parser.add_argument("--steps", type=int, default=150, help="of training, for each of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/finetune"), help="folder of what is written")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f"--steps {args.steps}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.model.exists():
        raise SystemExit(f"there is no model {args.model}: run make demo first, or examples/char_lm.py --out out/demo")
    model, pretrained, vocabulary = load(args.model)
    train_text, valid_text = read(args.text, args.model, vocabulary)
    print(f"{model}\n{len(train_text.tokens):,} characters to train on, {len(valid_text.tokens):,} to validate")
    score = jax.jit(partial(loss_fn, model))

    def train(params: Any, lowest: int) -> rx.train.Fitted:
        """Train the layers from ``lowest`` on; those below stay as they are."""
        rate = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, args.steps // 10, args.steps)
        adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
        optimizer = rx.train.only(adam, lambda path: int(path.split("/")[0]) >= lowest)
        return rx.train.fit(
            rx.train.make_step(partial(loss_fn, model), optimizer),
            rx.train.init_state(params, optimizer, model.carry(params, (BATCH_SIZE,))),
            rx.data.chunks(train_text.tokens, train_text.starts, BATCH_SIZE, NUM_STEPS),
            num_steps=args.steps,
            key=jax.random.key(args.seed),
            evaluate=lambda state: {"nats": evaluate(score, model, state.params, valid_text)},
            evaluate_every=max(args.steps // 10, 1),
        )

    with_params = [number for number, part in enumerate(pretrained) if jax.tree.leaves(part)]  # the embedding is 0
    frozen = {n: f"layers below {n} frozen" if n else "none frozen" for n in reversed(with_params)}
    runs = {name: train(pretrained, lowest) for lowest, name in frozen.items()}
    fresh = model.init(jax.random.key(args.seed), jax.ShapeDtypeStruct((), jnp.int32))
    runs["from nothing"] = train(fresh, 0)
    tuned = frozen[with_params[1]]

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    nats = {"not trained": evaluate(score, model, pretrained, valid_text)}
    axes.axhline(nats["not trained"], color="k", lw=0.5, label="not trained")
    for name, run in runs.items():
        rows = [row for row in run.rows if "eval_nats" in row]
        axes.plot([row["step"] for row in rows], [row["eval_nats"] for row in rows], marker=".", label=name)
        nats[name] = rows[-1]["eval_nats"]
    axes.set(xlabel="training step", ylabel="validation, nats per character")
    axes.legend()
    figure.savefig(args.out / "curves.png")
    plt.close(figure)
    saved = args.out / "model.safetensors"
    rx.save(saved, model, runs[tuned].state.params, metadata=rx.read_metadata(args.model))
    print(f"saved: {args.out / 'curves.png'}, {saved} (let it write: examples/char_lm.py --minutes 0 --load {saved})")
    print("validation, nats per character: " + ", ".join(f"{name} {value:.3f}" for name, value in nats.items()))
    return nats[tuned]


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None

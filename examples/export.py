"""A trained model on its way to production: ONNX and StableHLO files, run by a process without rnnjax.

    python examples/export.py            trains, writes out/export/model.onnx and model.stablehlo, runs both, compares

The model reads Python sources a character at a time and says which characters belong to a comment. The files take any
batch and any number of steps, lengths, and carries, so that a text can also be read in pieces; examples/run_exported.py
does both, with numpy, onnxruntime and jax alone.
"""

import argparse
import io
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
from text_sources import python_sources

import rnnjax as rx
from rnnjax.interop.onnx import carry_inputs, to_onnx
from rnnjax.interop.stablehlo import to_stablehlo

NUM_STEPS, BATCH_SIZE = 100, 32


def comments(document: str) -> np.ndarray:
    """bool [N]: which characters stand in a comment, as Python's own tokenizer has it."""
    inside = np.zeros(len(document), bool)
    starts = np.cumsum([0] + [len(line) for line in io.StringIO(document)])
    try:
        for token in tokenize.generate_tokens(io.StringIO(document).readline):
            if token.type == tokenize.COMMENT:
                start = starts[token.start[0] - 1] + token.start[1]
                inside[start : start + len(token.string)] = True
    except (tokenize.TokenError, SyntaxError):
        pass  # a document that was cut short ends here
    return inside


def sample(tokens: np.ndarray, labels: np.ndarray, lines: np.ndarray, rng: np.random.Generator) -> tuple:
    """A batch of windows [T, B] that begin where a line does."""
    at = rng.choice(lines, BATCH_SIZE) + np.arange(NUM_STEPS)[:, None]
    return tokens[at], labels[at]


def train(model, params, batches, num_steps: int):
    """Adam on the cross-entropy of every character."""

    def loss_fn(params, carry, batch, key):
        tokens, labels = batch
        _, logits = rx.unroll(model, params, tokens)
        loss = optax.sigmoid_binary_cross_entropy(logits[..., 0], labels).mean()
        return loss, (carry, {"accuracy": ((logits[..., 0] > 0) == labels).mean()})

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    state, step = rx.train.init_state(params, optimizer), jax.jit(rx.train.make_step(loss_fn, optimizer))
    metrics = {}
    for number in range(num_steps):
        state, metrics = step(state, next(batches), jax.random.key(number))
    print(f"trained {num_steps} steps: {metrics['accuracy']:.1%} of the last batch's characters are right")
    return state.params


def main(argv: list[str] | None = None) -> float:
    """Returns the greatest difference between rnnjax's outputs and those of the exported files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/export"), help="folder for the files")
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--size", type=int, default=64, help="units of the LSTM")
    parser.add_argument("--limit", type=int, default=1_000_000, help="characters of Python source to learn from")
    args = parser.parse_args(argv)

    documents, _ = python_sources(args.limit)
    vocabulary = rx.data.Vocabulary.of("".join(documents))
    tokens = vocabulary.encode("".join(documents))
    labels = np.concatenate([comments(document) for document in documents])
    newline = vocabulary.encode("\n")[0]
    lines = 1 + np.flatnonzero(tokens[: -NUM_STEPS - 1] == newline)
    rng = np.random.default_rng(0)

    model = rx.Chain(
        rx.Lift(nn.Embed(len(vocabulary), 16)), rx.LSTM(args.size), rx.Lift(nn.LayerNorm()), rx.Lift(nn.Dense(1))
    )
    params = model.init(jax.random.key(0), jax.ShapeDtypeStruct((), jnp.int32))
    params = train(model, params, iter(lambda: sample(tokens, labels, lines, rng), None), args.steps)

    args.out.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(model, params, lengths=True, carries=True), args.out / "model.onnx")
    exported = to_stablehlo(model, params, lengths=True, carries=True)
    (args.out / "model.stablehlo").write_bytes(exported.serialize())

    xs, _ = sample(tokens, labels, lines, rng)
    lengths = rng.integers(0, NUM_STEPS + 1, BATCH_SIZE).astype(np.int32)
    inputs: dict[str, Any] = {"xs": xs, "lengths": lengths} | carry_inputs(model.carry(params, (BATCH_SIZE,)))
    np.savez(args.out / "inputs.npz", **inputs)
    runner = Path(__file__).with_name("run_exported.py")
    subprocess.run([sys.executable, runner, args.out], check=True)

    _, ys = rx.unroll(model, params, xs, mask=rx.length_mask(lengths, NUM_STEPS))
    outputs = np.load(args.out / "outputs.npz")
    differences = {name: float(np.abs(outputs[name] - ys).max()) for name in outputs.files}
    print("exported, outputs within " + ", ".join(f"{name} {worst:.1e}" for name, worst in differences.items()))
    return max(differences.values())


if __name__ == "__main__":
    main()

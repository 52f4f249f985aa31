"""Tagging: a class for every step of a sequence, by a bidirectional network, which sees what comes before and after.

    python examples/tagging.py                                     characters of Python: keyword, name, string, ...
    python examples/tagging.py --conll FILE --conll-test FILE      words of sentences: named entities

By default the data are the standard library's own sources, and the truth is what Python's tokenizer says of them; the
network sees nothing but characters, in pieces cut anywhere. The figure is the part of the test files' characters that
it tags right; beside it, the most frequent tag of each window of five characters. What is left to the network is what
lies further away: whether a quote opens a string or closes it, and that this is the middle of a long one.

--conll reads columns, as of the CoNLL-2003 shared task: a line for each word, its columns separated by blanks, the word
the first and the tag the last of them, in IOB1 or IOB2 (O, I-PER, B-PER, ...); an empty line behind each sentence;
lines that begin with -DOCSTART- are left out. https://www.clips.uantwerpen.be/conll2003/ner has the tags of CoNLL-2003
(the words are Reuters'), https://www.clips.uantwerpen.be/conll2002/ner all of CoNLL-2002, in Spanish and Dutch. Without
--conll-test the last tenth of FILE is the test. The figure is the F1 of exact entities, as conlleval counts them;
beside it, the most frequent tag of each word. On English (eng.train, eng.testb) Ma and Hovy (2016, arXiv:1603.01354)
report 0.912, with word vectors from 6 billion words and a CRF; a Markov model with many features has 0.855
(https://nlp.stanford.edu/projects/project-ner.shtml). This network knows nothing but FILE.
"""

import argparse
import io
import keyword
import re
import tokenize
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from conll import Sequence, read_columns, span_f1
from sklearn.metrics import ConfusionMatrixDisplay

import rnnjax as rx

BATCH_SIZE, LEARNING_RATE, PIECE = 32, 4e-3, 256
EMBEDDING_SIZES = (64, 16, 32)  # of a character or word, of a word's shape and of its ending


def classes_of(source: str) -> np.ndarray:
    """The class of each character, str [N], as Python's tokenizer sees it."""
    classes = np.full(len(source), "blank", "U11")
    begins = np.cumsum([0, *map(len, io.StringIO(source))])  # of lines
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "NAME":
            kind = "keyword" if keyword.iskeyword(token.string) else "name"
        elif kind == "STRING" or kind.startswith(("FSTRING", "TSTRING")):
            kind = "long string" if re.match(r"\w*('''|\"\"\")", token.string) else "string"
        else:
            kind = {"NUMBER": "number", "COMMENT": "comment", "OP": "operator"}.get(kind, "blank")
        (row, column), (last_row, last_column) = token.start, token.end
        classes[begins[row - 1] + column : begins[last_row - 1] + last_column] = kind
    return classes


def read_sources(num_characters: int) -> list[Sequence]:
    """Files of the standard library, a symbol a character."""
    found = []
    for source in rx.data.python_sources(num_characters):
        try:
            found.append(Sequence(np.array([*source.text])[:, None], classes_of(source.text)))
        except (tokenize.TokenError, SyntaxError):
            continue  # cut off, or of another version of Python
    if len(found) < 10:
        raise SystemExit(f"--characters {num_characters} are {len(found)} files, expected at least 10")
    return found


def pieces(files: list[Sequence], length: int) -> list[Sequence]:
    """Cut into sequences of ``length`` steps, wherever that is."""
    return [
        Sequence(*(part[start : start + length] for part in file))
        for file in files
        for start in range(0, len(file.tags), length)
    ]


def accuracy(truth: list[np.ndarray], predicted: list[np.ndarray]) -> float:
    """The part of all steps that are tagged right."""
    return float((np.concatenate(truth) == np.concatenate(predicted)).mean())


def windows(sequence: Sequence, radius: int) -> list[tuple[str, ...]]:
    """Each step's first symbol with those around it."""
    padded = [""] * radius + sequence.symbols[:, 0].tolist() + [""] * radius
    return list(zip(*(padded[shift:] for shift in range(2 * radius + 1)), strict=False))


def most_frequent(train: list[Sequence], test: list[Sequence], radius: int) -> list[np.ndarray]:
    """The baseline: the most frequent tag of each window; of all, where the window is new."""
    counts: dict[Any, Counter[str]] = defaultdict(Counter)
    for sequence in train:
        for around, tag in zip(windows(sequence, radius), sequence.tags.tolist(), strict=True):
            counts[around][tag] += 1
    best = {around: found.most_common(1)[0][0] for around, found in counts.items()}
    usual = sum(counts.values(), Counter()).most_common(1)[0][0]
    return [np.array([best.get(around, usual) for around in windows(sequence, radius)]) for sequence in test]


class Embeddings(nn.Module):
    """The features of a step, each looked up in a table of its own, side by side."""

    num_symbols: tuple[int, ...]

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:  # int [..., F] -> float [..., sum of the sizes]
        tables = [nn.Embed(num, size) for num, size in zip(self.num_symbols, EMBEDDING_SIZES, strict=False)]
        return jnp.concatenate([table(features[..., index]) for index, table in enumerate(tables)], axis=-1)


def draw_confusion(truth: list[np.ndarray], predicted: list[np.ndarray], path: Path) -> None:
    """Which tag, a row, is taken for which."""
    figure, axes = plt.subplots(figsize=(7, 7), layout="constrained")
    style: Any = {"normalize": "true", "values_format": ".2f", "xticks_rotation": "vertical", "cmap": "Blues"}
    ConfusionMatrixDisplay.from_predictions(np.concatenate(truth), np.concatenate(predicted), ax=axes, **style)
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train, keep the best on validation; returns the test accuracy, or with --conll the F1 of entities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conll", type=Path, help="a file in columns to train on")
    parser.add_argument("--conll-test", type=Path, help="another to test on")
    parser.add_argument("--characters", type=int, default=2_000_000, help="of Python, for training and test")
    parser.add_argument("--size", type=int, default=128, help="units of each direction")
    parser.add_argument("--epochs", type=int, help="default 4, with --conll 15")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/tagging"), help="folder of what is written")
    args = parser.parse_args(argv)
    epochs = (15 if args.conll else 4) if args.epochs is None else args.epochs
    if min(args.size, epochs, args.characters) < 1:
        parser.error(f"--size {args.size}, --epochs {epochs}, --characters {args.characters}, expected at least 1")
    if args.conll_test and not args.conll:
        parser.error("--conll-test needs --conll, the file to train on")
    args.out.mkdir(parents=True, exist_ok=True)
    files = [] if args.conll else read_sources(args.characters)
    whole, score, radius, dropout = (
        (read_columns(args.conll), span_f1, 0, 0.5) if args.conll else (files, accuracy, 2, 0.1)
    )
    tenth = -(-len(whole) // 10)
    rest, test = (whole, read_columns(args.conll_test)) if args.conll_test else (whole[:-tenth], whole[-tenth:])
    train, valid = rest[:-tenth], rest[-tenth:]
    if files:
        train, valid, test = (pieces(part, PIECE) for part in (train, valid, test))

    names = np.unique(np.concatenate([sequence.tags for sequence in train]))
    columns = np.concatenate([sequence.symbols for sequence in train]).T.tolist()
    vocabularies = [rx.data.Vocabulary.of(column, min_count=2) for column in columns]
    if min(map(len, vocabularies)) < 2 or len(names) < 2:
        raise SystemExit(f"{args.conll} has no word twice, or a single tag, in {len(train)} sentences to train on")
    embed = rx.Lift(Embeddings(tuple(map(len, vocabularies))), input_ndim=1)
    around = rx.Bidirectional(rx.LSTM(args.size))
    model = rx.Chain(embed, rx.Dropout(dropout), around, rx.Dropout(dropout), rx.Lift(nn.Dense(len(names))))

    def numbers(sequence):  # int [length, F]
        columns = sequence.symbols.T.tolist()
        return np.stack([known.encode(column) for known, column in zip(vocabularies, columns, strict=True)], axis=-1)

    def loss_fn(params, carry, batch, key):
        _, logits = rx.unroll(model, params, batch.xs, mask=batch.mask, key=key)  # [T, B, tags]
        return rx.losses.cross_entropy(logits, batch.targets, batch.mask), (carry, {})

    def likeliest(params, batch):
        xs, mask = batch
        return rx.unroll(model, params, xs, mask=mask)[1].argmax(-1)  # [T, B]

    def tag(params, sequences):  # str [length] each
        batches = rx.data.minibatches(rx.data.pad([numbers(sequence) for sequence in sequences]), 64, axis=1)
        found = rx.train.predict(likeliest, params, batches())  # [T, N]
        return [names[column[: len(each.tags)]] for column, each in zip(found.T, sequences, strict=True)]

    def evaluate(state):
        return {"score": score([sequence.tags for sequence in valid], tag(state.params, valid))}

    key = jax.random.key(args.seed)
    targets = [np.searchsorted(names, sequence.tags) for sequence in train]
    batches = rx.data.buckets([numbers(each) for each in train], BATCH_SIZE, targets=targets, key=key, growth=2.0)
    falling = optax.cosine_decay_schedule(LEARNING_RATE, epochs * len(batches()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    state = rx.train.init_state(model.init(key, jax.ShapeDtypeStruct((len(vocabularies),), jnp.int32)), optimizer)
    step, best = rx.train.make_step(loss_fn, optimizer), rx.train.Best("score", largest=True)
    fitted = rx.train.fit(step, state, batches, num_epochs=epochs, key=key, evaluate=evaluate, best=best)
    params = (fitted.best or fitted.state).params

    truth, predicted = [sequence.tags for sequence in test], tag(params, test)
    draw_confusion(truth, predicted, args.out / "confusion.png")
    print(f"saved: {args.out / 'confusion.png'}")
    found, baseline = score(truth, predicted), score(truth, most_frequent(train, test, radius))
    what, simple = ("F1", "each word") if args.conll else ("accuracy", "five characters")
    print(f"test {what}: bidirectional LSTM {found:.4f}, most frequent tag of {simple} {baseline:.4f}")
    return found


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None

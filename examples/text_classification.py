"""Text classification: a bidirectional LSTM reads texts of every length, beside the bag of words that it has to beat.

    python examples/text_classification.py                    which module is a snippet of Python from?
    python examples/text_classification.py --imdb aclImdb     is a film review positive or negative?

By default the data are the standard library's own sources: 16 of its modules and packages in snippets of 1 to 30 lines.
Those for training, validation and test are from different files, or, where a module is one file, from different parts
of it. The figure is the accuracy on the test snippets; beside it, logistic regression on the same words (TF-IDF), and
the most frequent class. Which modules these are depends on the version of Python.

--imdb reads the Large Movie Review Dataset (Maas et al., ACL 2011), https://ai.stanford.edu/~amaas/data/sentiment:
aclImdb_v1.tar.gz unpacked, a folder of train/pos, train/neg, test/pos and test/neg with a review in each .txt file, of
which the first 400 words are taken.
There, Maas et al. have 0.889 by words and word vectors from 50,000 more reviews; Dai and Le (2015, arXiv:1511.01432)
report 0.865 for an LSTM as it is, and 0.928 for one that was trained to write all of these reviews before.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import make_pipeline

import rnnjax as rx

NUM_MODULES, MOST_LINES, FEWEST_WORDS = 16, 30, 5  # of a snippet
TABLES = {"encodings", "pydoc_data"}  # are hardly Python
MOST_WORDS = 400  # of a review; the rest is left out
BATCH_SIZE, LEARNING_RATE, EMBEDDING_SIZE, DROPOUT, WORD_DROPOUT = 32, 4e-3, 64, 0.5, 0.5


class Text(NamedTuple):
    """What is classified, and the truth."""

    words: list[str]
    label: int


class Params(NamedTuple):
    """What is learned."""

    encoder: Any  # from words to a vector for each
    read_out: Any  # from one vector to the classes


def read_snippets(rng: np.random.Generator) -> tuple[list[str], list[list[Text]]]:
    """The modules, and snippets of them for training, validation and test."""
    modules: dict[str, list[list[str]]] = defaultdict(list)  # the lines of each file
    for source in rx.data.python_sources():
        modules[source.path.split("/")[0].removesuffix(".py")].append(source.text.splitlines(keepends=True))
    names = sorted(modules.keys() - TABLES, key=lambda name: -sum(map(len, modules[name])))[:NUM_MODULES]
    parts: list[list[Text]] = [[], [], []]
    for label, name in enumerate(names):
        for part, files in zip(parts, split(modules[name]), strict=True):
            texts = [Text(rx.data.words(snippet), label) for lines in files for snippet in cut(lines, rng)]
            part += [text for text in texts if len(text.words) >= FEWEST_WORDS]
    return names, parts


def split(files: list[list[str]]) -> list[list[list[str]]]:
    """6, 2 and 2 tenths of the lines, by files; where they are few, by pieces of them."""
    if len(files) < 5:
        files = [lines[k * len(lines) // 10 : (k + 1) * len(lines) // 10] for lines in files for k in range(10)]
    parts: list[list[list[str]]] = [[], [], []]
    for lines in files:  # each to the part that has the least of its share, with it
        filled = [sum(map(len, [*part, lines])) / share for part, share in zip(parts, (6, 2, 2), strict=True)]
        parts[int(np.argmin(filled))].append(lines)
    return parts


def cut(lines: list[str], rng: np.random.Generator) -> list[str]:
    """All of a file in snippets of 1 to MOST_LINES lines."""
    snippets = []
    while lines:
        num = int(np.exp(rng.uniform(0, np.log(MOST_LINES + 1))))  # 2 or 3 as often as 12 to 20
        snippets.append("".join(lines[:num]))
        lines = lines[num:]
    return snippets


def read_reviews(folder: Path) -> tuple[list[str], list[list[Text]]]:
    """The classes, and reviews for training, validation (every tenth of those for training) and test."""
    names, parts = ["neg", "pos"], []
    for part in ("train", "test"):
        texts = []
        for label, name in enumerate(names):
            paths = sorted((folder / part / name).glob("*.txt"))
            if len(paths) < 10:
                raise SystemExit(
                    f"{folder / part / name} has {len(paths)} files .txt, expected at least 10: a review in each"
                    " (where to get them: python examples/text_classification.py --help)"
                )
            reviews = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
            plain = [review.lower().replace("<br />", " ") for review in reviews]
            texts += [Text(rx.data.words(review)[:MOST_WORDS], label) for review in plain]
        parts.append(texts)
    train, test = parts
    return names, [[text for k, text in enumerate(train) if k % 10], train[::10], test]


def bag_of_words(train: list[Text], test: list[Text]) -> np.ndarray:
    """What logistic regression on words, in whatever order, takes each text for, int [N]."""
    counts = TfidfVectorizer(token_pattern=r"\S+", lowercase=False, min_df=2, sublinear_tf=True)
    baseline = make_pipeline(counts, LogisticRegression(C=10, tol=1e-3, max_iter=300))
    documents = [[" ".join(text.words) for text in part] for part in (train, test)]
    return baseline.fit(documents[0], [text.label for text in train]).predict(documents[1])


def draw(names: list[str], test: list[Text], truth: np.ndarray, answers: dict[str, np.ndarray], path: Path) -> None:
    """What is taken for what by the first of the answers, and the accuracy of all by the length of the text."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(15, 8), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        truth,
        next(iter(answers.values())),
        labels=range(len(names)),
        display_labels=names,
        xticks_rotation="vertical",
        cmap="Blues",
        colorbar=False,
        ax=left,
    )
    lengths = np.array([len(text.words) for text in test])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 9)))
    group = np.searchsorted(edges[1:-1], lengths)
    for label, found in answers.items():
        points = [(lengths[group == k].mean(), (found == truth)[group == k].mean()) for k in np.unique(group)]
        right.plot(*zip(*points, strict=True), marker="o", label=label)
    right.set(xlabel="words in the text", ylabel="accuracy", xscale="log")
    right.legend()
    figure.savefig(path)
    plt.close(figure)


def main(argv: list[str] | None = None) -> float:
    """Train, keep the best on validation, and compare on the test part; returns the network's accuracy there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imdb", type=Path, help="the folder aclImdb (default: snippets of Python)")
    parser.add_argument("--size", type=int, default=64, help="units of each direction")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/text_classification"), help="folder of the picture")
    args = parser.parse_args(argv)
    if min(args.size, args.epochs) < 1:
        parser.error(f"--size {args.size}, --epochs {args.epochs}, expected at least 1")
    args.out.mkdir(parents=True, exist_ok=True)

    names, parts = read_reviews(args.imdb) if args.imdb else read_snippets(np.random.default_rng(args.seed))
    train, _, test = parts
    vocabulary = rx.data.Vocabulary.of((word for text in train for word in text.words), min_count=2, max_size=20_000)
    if len(vocabulary) < 2:
        raise SystemExit(f"no word is twice in the {len(train)} texts to train on (see --help for what is read)")
    tokens = [[vocabulary.encode(text.words) for text in part] for part in parts]
    labels = [np.array([text.label for text in part]) for part in parts]

    embed = rx.Lift(nn.Embed(len(vocabulary), EMBEDDING_SIZE))
    encoder = rx.Chain(embed, rx.Dropout(DROPOUT), rx.Bidirectional(rx.LSTM(args.size)), rx.Dropout(DROPOUT))
    read_out = rx.Lift(nn.Dense(len(names)))
    key = jax.random.key(args.seed)
    params = Params(encoder.init(key, jax.ShapeDtypeStruct((), jnp.int32)), read_out.init(key, 2 * args.size))

    def logits_of(params, batch, key=None):  # [B, C]
        _, ys = rx.unroll(encoder, params.encoder, batch.xs, mask=batch.mask, key=key)  # [T, B, 2 H]
        return read_out.step(params.read_out, (), rx.max_over_time(ys, batch.mask))[1]

    def loss_fn(params, carry, batch, key):
        return rx.losses.cross_entropy(logits_of(params, batch, key), batch.labels), (carry, {})

    def classify(params, batch):  # and which text it is: those of about the same length stand together
        return logits_of(params, batch).argmax(-1), batch.labels

    def classes(params, tokens):  # int [N]
        batches = rx.data.buckets(tokens, 256, labels=np.arange(len(tokens)), growth=2.0)
        found, order = rx.train.predict(classify, params, batches(), axis=0)
        return found[np.argsort(order)]

    def evaluate(state):
        return {"accuracy": (classes(state.params, tokens[1]) == labels[1]).mean()}

    batches = rx.data.buckets(tokens[0], BATCH_SIZE, labels=labels[0], key=key, growth=2.0)
    hidden = rx.data.augmented(batches, lambda b, key: b._replace(xs=rx.data.drop_tokens(b.xs, WORD_DROPOUT, key)), key)
    falling = optax.cosine_decay_schedule(LEARNING_RATE, args.epochs * len(batches()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))
    fitted = rx.train.fit(
        rx.train.make_step(loss_fn, optimizer),
        rx.train.init_state(params, optimizer),
        hidden,
        num_epochs=args.epochs,
        key=key,
        evaluate=evaluate,
        best=rx.train.Best("accuracy", largest=True),
        max_shapes=batches.num_shapes,
    )
    answers = {
        "bidirectional LSTM": classes((fitted.best or fitted.state).params, tokens[2]),
        "bag of words": bag_of_words(train, test),
        "most frequent class": np.full(len(test), np.bincount(labels[0]).argmax()),
    }
    draw(names, test, labels[2], answers, args.out / "test.png")
    print(f"saved: {args.out / 'test.png'}")
    accuracies = {name: float((found == labels[2]).mean()) for name, found in answers.items()}
    print("test accuracy: " + ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in accuracies.items()))
    return accuracies["bidirectional LSTM"]


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None

"""Text for language models: the standard library's own sources, or a file; and the bigram table to beat."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import rnnjax as rx

SHORTEST = 1000  # characters


class Text(NamedTuple):
    """Documents one after the other, as numbers."""

    tokens: np.ndarray  # int32 [N]
    starts: np.ndarray  # bool [N] a document starts here


def python_sources(limit: int = 4_000_000) -> tuple[list[str], list[str]]:
    """Files of the standard library, the last tenth apart."""
    try:
        documents = [source.text for source in rx.data.python_sources(limit)]
    except FileNotFoundError as error:
        raise SystemExit(f"{error}: give a text with --text") from error
    size, valid = sum(map(len, documents)), []
    while sum(map(len, valid)) < size / 10:
        valid.insert(0, documents.pop())
    return documents, valid


def read_text(path: str) -> tuple[list[str], list[str]]:
    """The first nine tenths of a file for training, the rest for validation."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SystemExit(f"cannot read the text {path}: {error.strerror or error}") from error
    if len(text) < SHORTEST:
        raise SystemExit(f"the text {path} has {len(text)} characters, expected at least {SHORTEST}")
    cut = len(text) * 9 // 10
    return [text[:cut]], [text[cut:]]


def encode(documents: list[str], vocabulary: rx.data.Vocabulary) -> Text:
    """Documents as one array, with their starts."""
    tokens = vocabulary.encode("".join(documents))
    starts = np.zeros(len(tokens), bool)
    starts[np.cumsum([0] + [len(document) for document in documents[:-1]])] = True
    return Text(tokens, starts)


def bigram_nats(train: Text, valid: Text, num_symbols: int) -> float:
    """Nats per character of the table of pairs, each count one higher, on the pairs that the network is asked for."""
    counts = np.ones((num_symbols, num_symbols))
    np.add.at(counts, (train.tokens[:-1], train.tokens[1:]), ~train.starts[1:])
    nats = -np.log(counts / counts.sum(1, keepdims=True))
    return float(nats[valid.tokens[:-1], valid.tokens[1:]][~valid.starts[1:]].mean())

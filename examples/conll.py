"""Named entities in columns, as CoNLL's shared tasks have them: sentences, and the F1 of entities. For tagging.py."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Sequence(NamedTuple):
    """What is tagged, and the truth."""

    symbols: np.ndarray  # str [length, F] of each step: a character; or a word, its shape, its ending
    tags: np.ndarray  # str [length]


def read_columns(path: Path) -> list[Sequence]:
    """The sentences of a file in columns."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SystemExit(f"cannot read {path}: {error.strerror} (see python examples/tagging.py --help)") from error
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        lines = content.decode("latin-1").split("\n")  # as the files of 2002 may be
    sentences: list[list[list[str]]] = [[]]
    for number, line in enumerate(lines, 1):
        columns = line.split()
        if not columns:
            sentences.append([])
        elif columns[0] != "-DOCSTART-":
            if len(columns) < 2 or not re.fullmatch("O|[BI]-.+", columns[-1]):
                raise SystemExit(
                    f"{path}, line {number} is {line!r}, expected a word and, in the last column, its tag: O, B-... or"
                    " I-... (see python examples/tagging.py --help)"
                )
            sentences[-1].append(columns)
    sentences = [sentence for sentence in sentences if sentence]
    if len(sentences) < 10:
        raise SystemExit(
            f"{path} has {len(sentences)} sentences, expected at least 10 (see python examples/tagging.py --help)"
        )
    return [
        Sequence(np.array([features(word) for word, *_ in sentence]), np.array([tag for *_, tag in sentence]))
        for sentence in sentences
    ]


def features(word: str) -> tuple[str, str, str]:
    """A word in lower case, its shape (``Xx-dd`` of McDonald-1997: each run shortened to one or two), its ending."""
    shape = re.sub(r"\d", "d", re.sub(r"[^\W\d_]", lambda letter: "X" if letter[0].isupper() else "x", word))
    return word.lower(), re.sub(r"(.)\1+", r"\1\1", shape), word[-3:].lower()


def spans(tags: Any) -> set[tuple[int, int, str]]:
    """Begin, end and type of each entity, in IOB1 or IOB2: it begins where conlleval says so, and goes on with I-."""
    found, begin, kind = set(), 0, ""
    for step, tag in enumerate([*tags, "O"]):
        prefix, _, new = tag.partition("-")
        if kind and (prefix != "I" or new != kind):
            found.add((begin, step, kind))
            kind = ""
        if new and not kind:  # B-; or I- behind O or another type
            begin, kind = step, new
    return found


def span_f1(truth: list[np.ndarray], predicted: list[np.ndarray]) -> float:
    """The harmonic mean of precision and recall of exact entities; 0 where there are none."""
    pairs = [(spans(a), spans(b)) for a, b in zip(truth, predicted, strict=True)]
    return 2 * sum(len(a & b) for a, b in pairs) / max(sum(len(a) + len(b) for a, b in pairs), 1)

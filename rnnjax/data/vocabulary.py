"""Symbols and their numbers."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from rnnjax import _checks

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Symbols (characters, words) by number; number 0 is the unknown symbol, which stands for all others.

    There is no symbol for padding: masks say what is there.

    Args:
      symbols: the known symbols, the first being the unknown one.

    Raises:
      ValueError: there are none, or one occurs twice.

    >>> vocabulary = Vocabulary.of("abracadabra", min_count=2)
    >>> vocabulary.encode("abc").tolist(), "".join(vocabulary.decode([1, 2, 3]))
    ([1, 2, 0], 'abr')

    Of words, many documents, ready for ``rx.data.buckets``:

    >>> documents = [words(text.lower(), stop_words={"the"}) for text in ("The cat sat.", "The cat ran!", "Sat, cat?")]
    >>> vocabulary = Vocabulary.of((word for document in documents for word in document), min_count=2, max_size=10_000)
    >>> vocabulary.symbols[1:], [vocabulary.encode(document).tolist() for document in documents]
    (('cat', 'sat'), [[1, 2, 0], [1, 0, 0], [2, 0, 1, 0]])
    """

    symbols: tuple[str, ...]

    def __post_init__(self):
        repeated = [symbol for symbol, count in Counter(self.symbols).items() if count > 1]
        if not self.symbols or repeated:
            found = f"have {repeated[0]!r} twice" if repeated else "are empty"
            raise ValueError(f"Vocabulary: symbols {found}, expected the unknown symbol and others, each once")

    @classmethod
    def of(cls, sequence: Iterable[str], min_count: int = 1, max_size: int | None = None) -> "Vocabulary":
        """The symbols of ``sequence`` that occur at least ``min_count`` times, the most frequent first.

        At most ``max_size`` of them, the unknown one among these.
        """
        _checks.positive_int("Vocabulary.of", "min_count", min_count)
        if max_size is not None:
            _checks.positive_int("Vocabulary.of", "max_size", max_size)
        counts = Counter(map(_symbol, sequence))
        counts.pop(UNKNOWN, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls((UNKNOWN, *(symbol for symbol, count in ranked if count >= min_count))[:max_size])

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, sequence: Iterable[str]) -> np.ndarray:
        """Numbers int32 [N]; 0 for symbols not known."""
        return np.fromiter((self._numbers.get(symbol, 0) for symbol in sequence), np.int32)

    def decode(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """The symbols of some numbers."""
        numbers = np.asarray(numbers, int)
        for number in numbers[(numbers < 0) | (numbers >= len(self))][:1]:
            raise ValueError(f"Vocabulary.decode: a number is {number}, expected numbers in [0, {len(self)})")
        return [self.symbols[number] for number in numbers]

    def unknown(self, sequence: Iterable[str]) -> list[str]:
        """The symbols of ``sequence`` that are not known, each once, in order."""
        known = set(self.symbols[1:])
        return [symbol for symbol in dict.fromkeys(sequence) if symbol not in known]

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols)}


def words(text: str, stop_words: Collection[str] = ()) -> list[str]:
    r"""The words of a text, and its punctuation marks one by one: ``\w+(?:['’]\w+)*|[^\w\s]``.

    Args:
      text: any; ``text.lower()`` for words in lower case.
      stop_words: left out, as if they were not there.

    Returns:
      The words in order.

    Raises:
      TypeError: the text is not a string.

    >>> words("Don't panic, it's 1979!")
    ["Don't", 'panic', ',', "it's", '1979', '!']
    >>> words("the end of the story", stop_words={"the", "of"})
    ['end', 'story']
    """
    if not isinstance(text, str):
        raise TypeError(f"words: text is {text!r}, expected a string")
    return [word for word in _WORD.findall(text) if word not in stop_words]


def _symbol(symbol: str) -> str:
    if not isinstance(symbol, str):
        raise TypeError(f"Vocabulary.of: a symbol is a {type(symbol).__name__}, expected str; chain documents to one")
    return symbol

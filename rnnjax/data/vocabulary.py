"""Symbols and their numbers."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Symbols (characters, words) by number; number 0 is the unknown symbol, which stands for all others.

    Args:
      symbols: the known symbols, the first being the unknown one.

    >>> vocabulary = Vocabulary.of("abracadabra", min_count=2)
    >>> vocabulary.encode("abc").tolist(), "".join(vocabulary.decode([1, 2, 3]))
    ([1, 2, 0], 'abr')
    """

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, sequence: Iterable[str], min_count: int = 1) -> "Vocabulary":
        """The symbols of ``sequence`` that occur at least ``min_count`` times, the most frequent first."""
        counts = Counter(sequence)
        counts.pop(UNKNOWN, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls((UNKNOWN, *(symbol for symbol, count in ranked if count >= min_count)))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, sequence: Iterable[str]) -> np.ndarray:
        """Numbers int32 [N]; 0 for symbols not known."""
        numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        return np.fromiter((numbers.get(symbol, 0) for symbol in sequence), np.int32)

    def decode(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """The symbols of some numbers."""
        return [self.symbols[number] for number in numbers]

    def unknown(self, sequence: Iterable[str]) -> list[str]:
        """The symbols of ``sequence`` that are not known, each once, in order."""
        known = set(self.symbols[1:])
        return [symbol for symbol in dict.fromkeys(sequence) if symbol not in known]

"""NumPy in, NumPy out: sequences as the library takes them."""

from rnnjax.data.sequences import Chunk, chunks, pad
from rnnjax.data.vocabulary import Vocabulary

__all__ = ["Chunk", "Vocabulary", "chunks", "pad"]

"""NumPy in, NumPy out: data as the library takes them.

A data set is a function: ``batches(epoch)`` gives the batches of an epoch, the same ones whenever it is asked, as a
sequence whose items are made when they are asked for. Keys are JAX's; without one the order stays.
"""

from rnnjax.data.augmentation import blank_span, crop, drop_steps, drop_tokens, jitter, rescale
from rnnjax.data.batching import augmented, minibatches
from rnnjax.data.bucketing import Batch, buckets
from rnnjax.data.checks import check_finite, check_labels, check_mask
from rnnjax.data.forecasting import Windows, split_by_time, windows
from rnnjax.data.iterators import batched, shuffled
from rnnjax.data.order import permutation
from rnnjax.data.padding import pad
from rnnjax.data.prefetching import prefetch
from rnnjax.data.python_sources import Source, python_sources
from rnnjax.data.standardizer import Standardizer
from rnnjax.data.streams import Chunk, chunks, document_chunks
from rnnjax.data.vocabulary import Vocabulary, words

__all__ = [
    "Batch",
    "Chunk",
    "Source",
    "Standardizer",
    "Vocabulary",
    "Windows",
    "augmented",
    "batched",
    "blank_span",
    "buckets",
    "check_finite",
    "check_labels",
    "check_mask",
    "chunks",
    "crop",
    "document_chunks",
    "drop_steps",
    "drop_tokens",
    "jitter",
    "minibatches",
    "pad",
    "permutation",
    "prefetch",
    "python_sources",
    "rescale",
    "shuffled",
    "split_by_time",
    "windows",
    "words",
]

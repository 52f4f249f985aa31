"""Padding, streams of chunks, vocabularies."""

import numpy as np
import pytest

import rnnjax as rx
from rnnjax.data import Chunk, Vocabulary, chunks, pad


def test_pad_round_trip() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(length, 2)) for length in (3, 0, 7, 1)]
    xs, mask = pad(sequences)
    assert xs.shape == (7, 4, 2)
    for index, sequence in enumerate(sequences):
        np.testing.assert_array_equal(xs[mask[:, index], index], sequence)
    assert not xs[~mask].any()
    np.testing.assert_array_equal(mask, rx.length_mask(np.array([3, 0, 7, 1]), 7))
    assert pad(sequences, multiple=4)[0].shape == (8, 4, 2)


def test_pad_bad_input() -> None:
    with pytest.raises(ValueError, match="pad: sequences are empty"):
        pad([])
    with pytest.raises(ValueError, match=r"pad: sequence 1 has shape \(3, 4\), but sequence 0 \(3, 2\)"):
        pad([np.zeros((3, 2)), np.zeros((3, 4))])
    with pytest.raises(ValueError, match="pad: multiple is 0, expected a positive integer"):
        pad([np.zeros((3, 2))], multiple=0)


@pytest.mark.parametrize(
    ("num_tokens", "batch_size", "num_steps"), [(100, 3, 7), (22, 3, 7), (23, 3, 7), (8, 7, 5), (9, 2, 50)]
)
def test_chunks_hold_every_pair_once(num_tokens: int, batch_size: int, num_steps: int) -> None:
    """Every token but the last is an input once, its target the next; lanes go on from chunk to chunk."""
    tokens, starts = np.arange(num_tokens), np.zeros(num_tokens, bool)
    starts[[0, 5]] = True
    every = list(chunks(tokens, starts, batch_size, num_steps))
    assert all(array.shape == (num_steps, batch_size) for chunk in every for array in chunk)
    whole = Chunk(*(np.concatenate(arrays) for arrays in zip(*every, strict=True)))
    seen = whole.inputs[whole.mask]
    assert sorted(seen) == [number for number in range(num_tokens - 1) if number != 4]  # 5 starts a document
    np.testing.assert_array_equal(whole.targets[whole.mask], seen + 1)
    for lane in range(batch_size):
        valid = whole.inputs[:, lane][whole.mask[:, lane]]
        assert set(np.diff(valid)) <= {1, 2}  # 2: past the pair that crosses into a document
    assert whole.resets[0].all()
    assert (whole.resets[1:] == (whole.inputs[1:] == 5))[whole.mask[1:]].all()


def test_chunks_bad_input() -> None:
    good = np.arange(9), np.zeros(9, bool)
    with pytest.raises(ValueError, match="chunks: the text has 9 tokens, expected more than batch_size=9"):
        next(chunks(*good, 9, 4))
    with pytest.raises(ValueError, match="chunks: num_steps is 0, expected a positive integer"):
        next(chunks(*good, 2, 0))
    with pytest.raises(ValueError, match=r"chunks: tokens have shape \(9,\), starts \(8,\)"):
        next(chunks(good[0], good[1][:8], 2, 4))


def test_vocabulary() -> None:
    vocabulary = Vocabulary.of("abracadabra", min_count=2)
    assert vocabulary.symbols[1:] == ("a", "b", "r")
    assert "".join(vocabulary.decode(vocabulary.encode("abxr"))) == "ab\N{REPLACEMENT CHARACTER}r"
    assert vocabulary.unknown("xaxyb") == ["x", "y"]
    words = Vocabulary.of(["the", "cat", "the"])
    assert words.encode(["the", "dog"]).tolist() == [1, 0]
    assert len(words) == 3

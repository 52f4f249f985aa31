"""Padding, chunks of one long text, vocabularies, and what data are refused for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.data import Chunk, Vocabulary, check_finite, check_labels, check_mask, chunks, pad, words


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


def test_pad_takes_lists() -> None:
    """An empty list does not make floats of tokens."""
    xs, mask = pad([[1, 2], [], [3]])
    assert xs.dtype == np.int64
    assert xs.T.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert mask.sum(0).tolist() == [2, 0, 1]


def test_pad_bad_input() -> None:
    with pytest.raises(ValueError, match="pad: sequences are empty"):
        pad([])
    with pytest.raises(ValueError, match=r"pad: sequence 1 has shape \(3, 4\), but sequence 0 \(3, 2\)"):
        pad([np.zeros((3, 2)), np.zeros((3, 4))])
    for given in (1, "abc", None):
        with pytest.raises(
            TypeError, match=r"pad: sequence 1 is array\(.*\), expected an array \[length, ...\] of numbers"
        ):
            pad([[2, 3], given])
    with pytest.raises(TypeError, match=r"pad: sequences are 5, expected arrays \[length, ...\]"):
        pad(5)  # pyright: ignore[reportArgumentType]
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


def test_chunks_of_features_in_any_order() -> None:
    """Features are cut as tokens are; chunk k is the same whether or not those before it were made."""
    starts = np.arange(23) % 5 == 0
    tokens, features = (chunks(xs, starts, 3, 2) for xs in (np.arange(23), np.arange(46).reshape(23, 2)))
    every = list(features)
    assert len(tokens) == len(features) == len(every) == 4
    for k, (few, chunk) in enumerate(zip(tokens, every, strict=True)):
        np.testing.assert_array_equal(chunk.inputs[..., 1], 2 * few.inputs + 1)
        np.testing.assert_array_equal(chunk.targets[..., 0], 2 * few.targets)
        jax.tree.map(np.testing.assert_array_equal, features[k], chunk)
        jax.tree.map(np.testing.assert_array_equal, features[k:][0], chunk)


def test_chunks_bad_input() -> None:
    good = np.arange(9), np.zeros(9, bool)
    with pytest.raises(ValueError, match="chunks: the text has 9 tokens, expected more than batch_size=9"):
        chunks(*good, 9, 4)
    with pytest.raises(ValueError, match="chunks: num_steps is 0, expected a positive integer"):
        chunks(*good, 2, 0)
    with pytest.raises(ValueError, match=r"chunks: tokens have shape \(9,\), starts \(8,\)"):
        chunks(good[0], good[1][:8], 2, 4)


def test_vocabulary() -> None:
    vocabulary = Vocabulary.of("abracadabra", min_count=2)
    assert vocabulary.symbols[1:] == ("a", "b", "r")
    assert "".join(vocabulary.decode(vocabulary.encode("abxr"))) == "ab\N{REPLACEMENT CHARACTER}r"
    assert vocabulary.unknown("xaxyb") == ["x", "y"]
    assert vocabulary == Vocabulary(vocabulary.symbols)
    assert vocabulary.encode("").dtype == np.int32
    assert vocabulary.decode([]) == []


def test_vocabulary_of_words() -> None:
    """Most frequent first, then by spelling; at most ``max_size``, the unknown symbol among them."""
    text = words("The cat, the hat: the CAT'S hat!".lower(), stop_words={"the", ",", ":"})
    assert text == ["cat", "hat", "cat's", "hat", "!"]
    vocabulary = Vocabulary.of(text, max_size=3)
    assert vocabulary.symbols[1:] == ("hat", "!")
    assert len(vocabulary) == 3
    assert vocabulary.encode(["the", "hat"]).tolist() == [0, 1]
    assert words("naïve café – 3,5 a_b") == ["naïve", "café", "–", "3", ",", "5", "a_b"]
    assert words(" \n") == []


def test_vocabulary_bad_input() -> None:
    with pytest.raises(ValueError, match="Vocabulary: symbols have 'a' twice"):
        Vocabulary(("?", "a", "b", "a"))
    with pytest.raises(ValueError, match="Vocabulary: symbols are empty"):
        Vocabulary(())
    with pytest.raises(ValueError, match=r"Vocabulary.of: min_count is 0, expected a positive integer"):
        Vocabulary.of("abc", min_count=0)
    with pytest.raises(ValueError, match=r"Vocabulary.of: max_size is 0, expected a positive integer"):
        Vocabulary.of("abc", max_size=0)
    with pytest.raises(TypeError, match=r"Vocabulary.of: a symbol is a list, expected str; chain documents to one"):
        Vocabulary.of([["the", "cat"]])  # pyright: ignore[reportArgumentType]
    for number in (-1, 4):
        with pytest.raises(ValueError, match=rf"decode: a number is {number}, expected numbers in \[0, 4\)"):
            Vocabulary.of("abc").decode([1, number])
    with pytest.raises(TypeError, match=r"words: text is \['a'\], expected a string"):
        words(["a"])  # pyright: ignore[reportArgumentType]


def test_checks() -> None:
    """Good data pass; the message names the first fault."""
    check_finite({"xs": np.ones((2, 3)), "n": np.arange(3), "half": jnp.ones(2, jnp.bfloat16)})
    with pytest.raises(ValueError, match=r"check_finite: arrays\['xs'\]\[1, 0\] is inf, .* \(2 of 4 are not\)"):
        check_finite({"xs": np.array([[0, 1], [np.inf, np.nan]])})
    with pytest.raises(TypeError, match="check_finite: arrays is 'text', expected an array"):
        check_finite("text")

    labels, mask = np.array([[0, 2], [1, -1]]), np.array([[True, True], [True, False]])
    check_labels(labels, 3, mask)
    with pytest.raises(ValueError, match=r"check_labels: labels\[1, 1\] is -1, expected labels in \[0, 3\)"):
        check_labels(labels, 3)
    with pytest.raises(ValueError, match=r"labels\[0, 1\] is 2, expected labels in \[0, 2\) \(1 of 4 are not\)"):
        check_labels(labels, 2, mask)
    with pytest.raises(TypeError, match=r"check_labels: labels are float64\[2\], expected integers"):
        check_labels(np.ones(2), 3)
    with pytest.raises(ValueError, match=r"check_labels: mask is bool\[2\], expected bool of the labels' shape"):
        check_labels(labels, 3, mask[0])

    check_mask(mask)
    with pytest.raises(ValueError, match="check_mask: mask is False everywhere"):
        check_mask(mask & False)
    with pytest.raises(TypeError, match=r"check_mask: mask is int64\[2,2\], expected bool"):
        check_mask(labels)

"""Chunks of many documents: one long unroll with resets, whichever way it is cut."""

import jax
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.data import Chunk, document_chunks

KEY = jax.random.key(3)
LENGTHS = (5, 0, 13, 1, 2, 7, 11)
TOKENS = [100 * number + np.arange(length) for number, length in enumerate(LENGTHS)]
B, T, D = 3, 4, 2


def whole(chunks) -> Chunk:
    return Chunk(*(np.concatenate(arrays) for arrays in zip(*chunks, strict=True)))


@pytest.mark.parametrize("key", [None, KEY], ids=["in order", "shuffled"])
@pytest.mark.parametrize(("batch_size", "num_steps"), [(B, T), (1, 100), (5, 1), (33, 2)])
def test_every_pair_once(key, batch_size: int, num_steps: int) -> None:
    """Each token but a document's last is an input once per epoch, its target the next; resets at starts."""
    batches = document_chunks(TOKENS, batch_size, num_steps, key=key)
    for epoch in range(2):
        chunks = list(batches(epoch))
        assert {array.shape for chunk in chunks for array in chunk} == {(num_steps, batch_size)}
        one = whole(chunks)
        assert sorted(one.inputs[one.mask]) == [token for tokens in TOKENS for token in tokens[:-1]]
        np.testing.assert_array_equal(one.targets[one.mask], one.inputs[one.mask] + 1)
        begins = one.inputs % 100 == 0
        assert one.resets[0].all()
        np.testing.assert_array_equal(one.resets[1:][one.mask[1:]], begins[1:][one.mask[1:]])
        documents = one.inputs.T[one.mask.T] // 100  # in the order of the stream
        assert (np.diff(documents) != 0).sum() == sum(length > 1 for length in LENGTHS) - 1  # each in one piece
        jax.tree.map(np.testing.assert_array_equal, batches(epoch)[-1], chunks[-1])
    assert np.array_equal(whole(batches(0)).inputs, whole(batches(1)).inputs) == (key is None)


def test_chunks_equal_one_long_unroll() -> None:
    """Chunk after chunk gives what one unroll with the resets gives, and each document what it gives alone."""
    rng = np.random.default_rng(0)
    cell = rx.Elman(D)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), cell.init(KEY, D))
    documents = [rng.normal(size=(length, D)) for length in LENGTHS]
    places = [np.stack([np.full(length, n), np.arange(length)], axis=1) for n, length in enumerate(LENGTHS)]
    chunks = list(document_chunks(documents, B, T, targets=places, key=KEY)(epoch=1))

    carry, parts = cell.carry(params, (B,)), []
    for chunk in chunks:
        carry, ys = rx.unroll(cell, params, chunk.inputs, carry, mask=chunk.mask, resets=chunk.resets)
        parts.append(ys)
    ys, one = np.concatenate(parts), whole(chunks)
    _, long = rx.unroll(cell, params, one.inputs, mask=one.mask, resets=one.resets)
    np.testing.assert_allclose(ys, long, rtol=1e-12)

    xs, mask = rx.data.pad(documents)
    _, alone = rx.unroll(cell, params, xs, mask=mask)
    number, step = one.targets[one.mask].T
    cut = {int(n) for n, s in one.targets[0][one.mask[0]] if s > 0}
    assert len(cut) == 2
    uncut = ~np.isin(number, list(cut))
    np.testing.assert_allclose(ys[one.mask][uncut], np.asarray(alone)[step, number][uncut], rtol=1e-12)
    assert sorted(zip(number, step, strict=True)) == [(n, s) for n, length in enumerate(LENGTHS) for s in range(length)]


def test_features_and_targets() -> None:
    """Without targets the next step is the target, of features too; a step with a target of its own needs no next."""
    features = [np.stack([tokens, -tokens], axis=1).astype(np.float32) for tokens in TOKENS]
    one = whole(document_chunks(features, B, T, key=KEY)(0))
    tokens = whole(document_chunks(TOKENS, B, T, key=KEY)(0))
    np.testing.assert_array_equal(one.inputs[..., 1], -tokens.inputs)
    np.testing.assert_array_equal(one.targets[..., 0], tokens.targets)
    assert one.inputs.dtype == np.float32
    labelled = whole(document_chunks(TOKENS, B, T, targets=[tokens % 2 for tokens in TOKENS], key=KEY)(0))
    np.testing.assert_array_equal(labelled.targets, labelled.inputs % 2)
    assert labelled.mask.sum() == sum(LENGTHS)


def test_bad_documents() -> None:
    with pytest.raises(ValueError, match="document_chunks: documents are empty, expected at least one"):
        document_chunks([], B, T)
    with pytest.raises(ValueError, match="the documents hold 2 steps with a target, expected at least batch_size=3"):
        document_chunks([[1], [1, 2, 3], []], B, T)
    with pytest.raises(ValueError, match="document_chunks: there are 1 targets for 7 documents"):
        document_chunks(TOKENS, B, T, targets=TOKENS[:1])
    with pytest.raises(ValueError, match="document_chunks: target 2 has 12 steps, but document 2 has 13"):
        document_chunks(TOKENS, B, T, targets=[*TOKENS[:2], TOKENS[2][1:], *TOKENS[3:]])
    with pytest.raises(ValueError, match=r"document_chunks: document 1 has shape \(3, 2\), but document 0 \(5,\)"):
        document_chunks([TOKENS[0], np.ones((3, 2))], B, T)
    with pytest.raises(ValueError, match="document_chunks: num_steps is 0, expected a positive integer"):
        document_chunks(TOKENS, B, 0)

"""Augmentations: what they change and what they leave, by key."""

import jax
import numpy as np
import pytest

import rnnjax as rx
from rnnjax.data import blank_span, crop, drop_steps, drop_tokens, jitter, rescale

KEY = jax.random.key(5)
T, B, D = 101, 53, 3
LENGTHS = np.random.default_rng(0).integers(0, T + 1, B)
LENGTHS[:2] = 0, T
MASK = np.arange(T)[:, None] < LENGTHS
XS = np.random.default_rng(1).normal(size=(T, B, D))
TOKENS = np.arange(1, T * B + 1).reshape(T, B)

ALL = {
    "jitter": lambda key: jitter(XS, 0.5, key),
    "rescale": lambda key: rescale(XS, 0.5, key),
    "crop": lambda key: crop((XS, TOKENS), MASK, 7, key),
    "blank_span": lambda key: blank_span(XS, MASK, 7, key),
    "drop_tokens": lambda key: drop_tokens(TOKENS, 0.5, key),
    "drop_steps": lambda key: drop_steps(MASK, 0.5, key),
}


@pytest.mark.parametrize("name", ALL)
def test_by_key_alone(name: str) -> None:
    """The same key gives the same, another one something else, in the dtypes and the kind that came."""
    one, again, other = (ALL[name](key) for key in (KEY, jax.random.key_data(KEY), jax.random.key(6)))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    plain = ALL[name](None)
    for leaf, like in zip(jax.tree.leaves(one), jax.tree.leaves(plain), strict=True):
        assert type(leaf) is np.ndarray
        assert (leaf.dtype, leaf.shape) == (like.dtype, like.shape)


def test_noise() -> None:
    """Jitter is normal and independent; a factor is a sequence's own; both keep float32, and share a key."""
    noise = jitter(XS, 0.5, KEY) - XS
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.5], atol=0.02)
    factors = rescale(XS, 0.5, KEY) / XS
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:1, :, :1], XS.shape), rtol=1e-12)
    np.testing.assert_allclose([factors.mean(), factors[0, :, 0].std()], [1, 0.5], atol=0.2)
    assert abs(np.corrcoef(factors[0, :, 0], noise.flat[:B])[0, 1]) < 0.4
    for change in (jitter, rescale):
        assert change(XS.astype(np.float32), 0.5, KEY).dtype == np.float32
        np.testing.assert_array_equal(change(XS, 0.0, KEY), XS)
        assert change(XS, 0.5, None) is XS


@pytest.mark.parametrize("key", [None, KEY], ids=["first", "random"])
@pytest.mark.parametrize("num_steps", [1, 7, T, T + 5])
def test_crop(key, num_steps: int) -> None:
    """A run of the sequence's own steps, wholly within it where it is long enough, else all of it."""
    (xs, tokens), mask = crop((XS, TOKENS), MASK, num_steps, key)
    assert xs.shape == (num_steps, B, D)
    np.testing.assert_array_equal(mask.sum(0), np.minimum(LENGTHS, num_steps))
    there = tokens > 0  # zeros are what is padded
    np.testing.assert_array_equal(xs[there], XS.reshape(-1, D)[tokens[there] - 1])  # inputs and targets are cut alike
    assert there.all() == (num_steps <= T)
    assert not xs[~there].any()
    assert not mask[~there].any()
    steps, columns = np.divmod(np.where(there, tokens - 1, np.arange(B)), B)
    for column, length in enumerate(LENGTHS):
        found = steps[:, column][mask[:, column]]
        assert (np.diff(found) == 1).all()
        assert (columns[:, column] == column).all()
        assert (found < length).all()
        assert mask[: len(found), column].all()
    if num_steps == 7:
        starts = steps[0, LENGTHS > 7]
        assert starts.max() == 0 if key is None else len(set(starts)) > B / 2


def test_blank_span() -> None:
    """One span within each sequence, of every length up to the longest; the rest stays, NaN behind the end too."""
    xs = np.where(MASK[..., None], XS, np.nan)
    found = blank_span(xs, MASK, 7, KEY)
    blank = (found == 0).all(-1)
    np.testing.assert_array_equal(found[~blank], xs[~blank])
    assert not (blank & ~MASK).any()
    widths = blank.sum(0)
    assert set(widths[LENGTHS >= 7]) == set(range(8))
    edges = np.diff(blank.astype(int), axis=0, prepend=0)
    assert ((edges == 1).sum(0) == (widths > 0)).all()
    assert blank_span(xs, MASK, 7, None) is xs
    assert blank_span(XS[..., 0], MASK, 7, KEY).shape == (T, B)


def test_drop_tokens() -> None:
    found = drop_tokens(TOKENS, 0.25, KEY)
    dropped = found != TOKENS
    assert (found[dropped] == 0).all()
    np.testing.assert_allclose(dropped.mean(), 0.25, atol=0.03)
    assert (drop_tokens(TOKENS, 1.0, KEY, unknown=9) == 9).all()
    assert (drop_tokens(TOKENS, 0.0, KEY) == TOKENS).all()
    assert drop_tokens(TOKENS, 0.5, None) is TOKENS


def test_drop_steps() -> None:
    """Some of the valid steps; never all of a sequence; unroll sees the sequence without them."""
    found = drop_steps(MASK, 0.25, KEY)
    assert not (found & ~MASK).any()
    np.testing.assert_allclose(found.sum() / MASK.sum(), 0.75, atol=0.03)
    np.testing.assert_array_equal(drop_steps(MASK, 1.0, KEY), MASK)
    assert (drop_steps(MASK, 0.9, KEY).any(0) == MASK.any(0)).all()
    assert drop_steps(MASK, 0.5, None) is MASK

    cell = rx.Elman(2)
    params = cell.init(KEY, D)
    h, _ = rx.unroll(cell, params, XS, mask=found)
    xs, mask = rx.data.pad([XS[found[:, column], column] for column in range(B)])
    np.testing.assert_allclose(h, rx.unroll(cell, params, xs, mask=mask)[0], rtol=1e-12)


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"jitter: xs are int64\[101,53\], expected floating-point \[T, B, ...\]"):
        jitter(TOKENS, 0.1, KEY)
    with pytest.raises(TypeError, match=r"rescale: xs are float64\[101\], expected floating-point \[T, B, ...\]"):
        rescale(XS[:, 0, 0], 0.1, KEY)
    with pytest.raises(ValueError, match=r"jitter: deviation is -1, expected to lie in \[0.0, inf\]"):
        jitter(XS, -1, None)
    with pytest.raises(ValueError, match="crop: num_steps is 0, expected a positive integer"):
        crop(XS, MASK, 0, KEY)
    with pytest.raises(ValueError, match=r"crop: tree holds float64\[6,53,3\], but mask is bool\[101,53\]"):
        crop({"xs": XS[:6]}, MASK, 3, KEY)
    with pytest.raises(ValueError, match="blank_span: longest is 0, expected a positive integer"):
        blank_span(XS, MASK, 0, KEY)
    for name, call in (("crop", crop), ("blank_span", blank_span)):
        with pytest.raises(TypeError, match=rf"{name}: mask is int64\[101,53\], expected bool \[T, B\]"):
            call(XS, TOKENS, 7, KEY)
    with pytest.raises(TypeError, match=r"drop_steps: mask is bool\[101\], expected bool \[T, B\]"):
        drop_steps(MASK[:, 0], 0.5, KEY)
    for call, tokens in ((drop_tokens, TOKENS), (drop_steps, MASK)):
        with pytest.raises(ValueError, match=rf"{call.__name__}: rate is 1.5, expected to lie in \[0.0, 1.0\]"):
            call(tokens, 1.5, KEY)
    with pytest.raises(TypeError, match="jitter: key is 3, expected one key"):
        jitter(XS, 0.1, 3)  # pyright: ignore[reportArgumentType]

"""Windows of a table, its parts in time, and standardisation."""

import warnings

import jax
import numpy as np
import pytest

from rnnjax.data import Standardizer, minibatches, split_by_time, windows

ROWS, C = 101, 3
TABLE = np.arange(ROWS)[:, None] + 1000.0 * np.arange(C)  # column 0 is the row's number


@pytest.mark.parametrize(("length", "horizon", "stride"), [(7, 5, 1), (7, 5, 3), (1, 1, 2), (96, 5, 1), (90, 11, 4)])
def test_windows(length: int, horizon: int, stride: int) -> None:
    """Window n begins at row n * stride; every one that fits is there; nothing is copied."""
    inputs, targets = windows(TABLE, length, horizon, stride)
    assert inputs.shape[1] == len(range(0, ROWS - length - horizon + 1, stride)) == targets.shape[1]
    for n in range(inputs.shape[1]):
        start = n * stride
        np.testing.assert_array_equal(inputs[:, n], TABLE[start : start + length])
        np.testing.assert_array_equal(targets[:, n], TABLE[start + length : start + length + horizon])
    assert np.shares_memory(inputs, TABLE)
    assert np.shares_memory(targets, TABLE)


def test_windows_target_columns() -> None:
    for columns in (2, [2, 0], np.array([1])):
        targets = windows(TABLE, 7, 5, targets=columns).targets
        np.testing.assert_array_equal(targets, windows(TABLE, 7, 5).targets[..., np.atleast_1d(columns)])


def test_windows_of_a_file(tmp_path) -> None:
    """They are views of it; a batch of them is copied."""
    np.save(tmp_path / "table.npy", TABLE)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    found = windows(mapped, 7, 5)
    assert np.shares_memory(found.inputs, mapped)
    batch = minibatches(found, 11, key=jax.random.key(0), axis=1)(0)[2]
    assert batch.inputs.shape == (7, 11, C)
    assert not np.shares_memory(batch.inputs, mapped)
    np.testing.assert_array_equal(batch.targets[0, :, 0], batch.inputs[-1, :, 0] + 1)


def test_parts_do_not_mix() -> None:
    """With an overlap of the inputs' length, the steps forecast in a part are its own, each of them and no other."""
    sizes, length, horizon = (50, 20, 25), 7, 5
    parts = split_by_time(TABLE, sizes, overlap=length)
    begin = 0
    for part, size in zip(parts, sizes, strict=True):
        inputs, targets = windows(part, length, horizon)
        seen, forecast = set(inputs[..., 0].flat), set(targets[..., 0].flat)
        first = begin + (length if begin == 0 else 0)  # no inputs before the first rows of all
        assert forecast == set(range(first, begin + size))
        assert max(seen) < begin + size
        assert min(seen) == first - length
        begin += size
    apart = split_by_time(TABLE, sizes)
    np.testing.assert_array_equal(np.concatenate(apart), TABLE[:95])
    assert all(np.shares_memory(part, TABLE) for part in apart)


def test_windows_bad_input() -> None:
    with pytest.raises(
        ValueError, match=r"table has 11 rows, but a window takes input_length \+ horizon = 7 \+ 5 = 12"
    ):
        windows(TABLE[:11], 7, 5)
    with pytest.raises(ValueError, match=r"windows: table is float64\[101\], expected \[num_rows, C\]"):
        windows(TABLE[:, 0], 7, 5)
    with pytest.raises(ValueError, match="windows: stride is 0, expected a positive integer"):
        windows(TABLE, 7, 5, 0)
    for columns in (3, [0, -1], 0.5, "OT", []):
        with pytest.raises(ValueError, match=r"windows: targets are .*, expected columns in \[0, 3\)"):
            windows(TABLE, 7, 5, targets=columns)
    with pytest.raises(ValueError, match=r"split_by_time: sizes \[100, 2\] take 102 rows, but the table has 101"):
        split_by_time(TABLE, [100, 2])
    with pytest.raises(ValueError, match=r"split_by_time: a size is 0.5, expected a positive integer"):
        split_by_time(TABLE, [0.5, 0.5])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="split_by_time: overlap is -1, expected at least 0"):
        split_by_time(TABLE, [50], overlap=-1)
    with pytest.raises(ValueError, match="split_by_time: there are no sizes"):
        split_by_time(TABLE, [])


def test_standardizer(tmp_path) -> None:
    """Mean 0 and deviation 1 on what it was fitted to; the inverse gives the data back, constant features too."""
    values = np.random.default_rng(0).normal(3.0, 5.0, (ROWS, 2, C))
    values[..., 1] = 0.1  # its mean is not 0.1 to the last bit
    scale = Standardizer.fit(values)
    standard = scale(values)
    np.testing.assert_allclose(standard.mean((0, 1)), 0, atol=1e-14)
    np.testing.assert_allclose(standard.std((0, 1)), [1, 0, 1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(scale.inverse(standard), values, rtol=1e-14)
    assert scale.deviation[1] == 1
    np.testing.assert_allclose(scale.columns([2, 0]).inverse(standard[..., [2, 0]]), values[..., [2, 0]], rtol=1e-14)
    np.testing.assert_allclose(scale.columns(2).inverse(standard[..., [2]]), values[..., [2]], rtol=1e-14)
    np.savez(tmp_path / "scale.npz", **scale._asdict())
    loaded = Standardizer(**np.load(tmp_path / "scale.npz"))
    jax.tree.map(np.testing.assert_array_equal, loaded, scale)


def test_standardizer_takes_what_does_not_fit_into_memory() -> None:
    """Block by block it is the same; float32 stays float32, its moments computed in float64."""
    values = np.random.default_rng(0).normal(1e4, 1.0, (150_001, 2)).astype(np.float32)
    scale = Standardizer.fit(values)
    assert scale.mean.dtype == scale(values).dtype == scale.inverse(values).dtype == np.float32
    np.testing.assert_allclose(scale.mean, values.mean(0, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(scale.deviation, values.std(0, dtype=np.float64), rtol=1e-6)
    assert Standardizer.fit(np.array([[1], [3]])).mean.tolist() == [2.0]


def test_standardizer_bad_input() -> None:
    holed = TABLE.copy()
    holed[4, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"Standardizer.fit: values\[4, 2\] is nan, expected finite numbers"):
            Standardizer.fit(holed)
    for values in (TABLE[:0], TABLE[:, 0]):
        with pytest.raises(
            ValueError, match=r"Standardizer.fit: values are float64\[.*\], expected \[..., C\], not em"
        ):
            Standardizer.fit(values)
    scale = Standardizer.fit(TABLE)
    with pytest.raises(ValueError, match=r"values are float64\[101,1\], but it was fitted to 3 features on the last"):
        scale(TABLE[:, :1])
    with pytest.raises(ValueError, match=r"inverse: values are float64\[101,1\], but it was fitted to 3 features"):
        scale.inverse(TABLE[:, :1])

"""The examples on tasks and small data, in a tiny setting: what they draw, read and return, and mistakes."""

import gzip
import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def as_a_user_runs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False):
        yield


def script(name: str):
    return importlib.import_module(name)


def drawn(path: Path) -> bool:
    return path.stat().st_size > 1000


def test_regression(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """After four epochs it is far better than the last value again; it says what it returns."""
    error = script("regression").main(["--epochs", "4", "--size", "16", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"Elman network {error:.4f}, linear function 0.1365, last value again 0.8176" in said
    assert error < 0.4
    assert drawn(tmp_path / "forecasts.png")


def test_mackey_glass() -> None:
    """Each value is that of the equation, of the one before it and of the one 17 days ago; the series stays alive."""
    x = script("regression").mackey_glass(500, np.random.default_rng(0))[:, 0]
    now, before, delayed = x[18:], x[17:-1], x[:-18]
    np.testing.assert_allclose(now - before, 0.2 * delayed / (1 + delayed**10) - 0.1 * before, atol=1e-6)
    assert 0.2 < x.min() < 0.6 < 1.2 < x.max() < 1.5


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tiny = ["--order", "permuted", "rows", "--size", "8", "--epochs", "8", "--cell", "gru", "--out", str(tmp_path)]
    accuracy = script("digits").main(tiny)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("test accuracy: GRU by pixel, permuted 0.")
    assert f"GRU by row {accuracy:.3f}; linear classifier of all pixels 0.9" in said
    assert 0.4 < accuracy < 1
    assert drawn(tmp_path / "accuracy.png")


def test_orders_of_pixels() -> None:
    """T and D of each order; the same pixels, the same permutation for all images."""
    digits = script("digits")
    train, test = digits.digits(seed=0)
    assert train.pixels.shape == (1297, 8, 8)
    assert test.pixels.shape == (500, 8, 8)
    assert train.pixels.min() == 0
    assert train.pixels.max() == 1
    rows, pixels, permuted = (digits.as_sequences(test.pixels, each) for each in ("rows", "pixels", "permuted"))
    np.testing.assert_array_equal(rows[:, 7], test.pixels[7])
    np.testing.assert_array_equal(pixels[:, 7, 0], test.pixels[7].ravel())
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(pixels, axis=0))
    assert (permuted != pixels).any()
    np.testing.assert_array_equal(digits.as_sequences(test.pixels[7:9], "permuted"), permuted[:, 7:9])


def idx(array: np.ndarray) -> bytes:
    """The layout of the public files, from their description."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Six images to train on, gzipped, and three to test; 3 x 2 pixels."""
    folder, rng = tmp_path / "mnist", np.random.default_rng(0)
    folder.mkdir()
    for name, num in (("train", 6), ("t10k", 3)):
        images, labels = idx(rng.integers(256, size=(num, 3, 2))), idx(np.arange(num))
        zipped = name == "train"
        suffix = ".gz" if zipped else ""
        (folder / f"{name}-images-idx3-ubyte{suffix}").write_bytes(gzip.compress(images) if zipped else images)
        (folder / f"{name}-labels-idx1-ubyte{suffix}").write_bytes(gzip.compress(labels) if zipped else labels)
    return folder


def test_mnist_layout(mnist: Path) -> None:
    train, test = script("digits").mnist(mnist)
    expected = np.random.default_rng(0).integers(256, size=(6, 3, 2))
    np.testing.assert_allclose(train.pixels, expected / 255, rtol=1e-6)
    assert train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert test.pixels.shape == (3, 3, 2)
    assert test.labels.tolist() == [0, 1, 2]


def test_mnist_mistakes(mnist: Path, tmp_path: Path) -> None:
    digits = script("digits")
    images, labels = mnist / "t10k-images-idx3-ubyte", mnist / "t10k-labels-idx1-ubyte"
    whole = images.read_bytes()
    for content in (b"", whole[:-1], b"P" + whole[1:], idx(np.arange(3)), idx(np.zeros((0, 3, 2)))):
        images.write_bytes(content)
        with pytest.raises(SystemExit, match=r"t10k-images-idx3-ubyte is not an IDX file of 3 axes .*digits.py --help"):
            digits.main(["--mnist", str(mnist)])
    images.write_bytes(idx(np.zeros((3, 3, 3))))
    with pytest.raises(SystemExit, match=r"images of \(3, 2\) pixels to train on, of \(3, 3\) to test"):
        digits.main(["--mnist", str(mnist)])
    images.write_bytes(whole)
    labels.write_bytes(idx(np.arange(2)))
    with pytest.raises(SystemExit, match=r"mnist, files t10k-...: 3 images and 2 labels up to 1, expected"):
        digits.main(["--mnist", str(mnist)])
    labels.write_bytes(idx(np.array([0, 1, 10])))
    with pytest.raises(SystemExit, match=r"3 images and 3 labels up to 10, expected as many labels as images, 0 to 9"):
        digits.main(["--mnist", str(mnist)])
    with pytest.raises(SystemExit, match=r"cannot read .*train-images-idx3-ubyte.gz: No such file .*--help"):
        digits.main(["--mnist", str(tmp_path)])
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(b"not gzipped")
    with pytest.raises(SystemExit, match=r"cannot read .*train-images-idx3-ubyte.gz: Not a gzipped file"):
        digits.main(["--mnist", str(mnist)])


def test_adding_is_drawn_as_described() -> None:
    """The answer is the sum of the two marked numbers, one in each half, and is due at the last step alone."""
    xs, targets, mask = script("algorithmic").adding(np.random.default_rng(0), 11, 7)
    numbers, markers = xs[..., 0], xs[..., 1]
    assert xs.shape == (7, 11, 2)
    assert markers[:3].sum(0).tolist() == markers[3:].sum(0).tolist() == [1] * 11
    np.testing.assert_allclose(targets[-1, :, 0], (numbers * markers).sum(0), rtol=1e-6)
    assert mask[-1].all()
    assert mask.sum() == 11
    assert 0 <= numbers.min() < numbers.max() <= 1


def test_copy_is_drawn_as_described() -> None:
    """10 symbols, T - 1 blanks, the word to go, 10 blanks: T + 20; the symbols are due in the last 10."""
    xs, targets, mask = script("algorithmic").copy(np.random.default_rng(0), 5, 13)
    tokens = xs.argmax(-1)
    assert xs.shape == (33, 5, 10)
    assert (xs.sum(-1) == 1).all()
    np.testing.assert_array_equal(targets[-10:], tokens[:10])
    assert set(tokens[:10].ravel()) == set(range(8))
    assert (tokens[-11] == 9).all()
    assert (np.delete(tokens[10:], -11, axis=0) == 8).all()
    assert (targets[:-10] == 8).all()
    assert mask.all()


def test_parity_is_drawn_as_described() -> None:
    """The parity of the bits so far at every step; lengths of 1 to the longest."""
    xs, targets, mask = script("algorithmic").parity(np.random.default_rng(0), 300, 4)
    for t in range(4):
        np.testing.assert_array_equal(targets[t], xs[: t + 1].sum(0) % 2)
    assert np.unique(mask.sum(0)).tolist() == [1, 2, 3, 4]
    assert mask[0].all()


@pytest.mark.parametrize(("task", "guessing"), [("adding", "0.16667"), ("copy", f"{10 * np.log(8) / 23:.5f}")])
def test_adding_and_copy(task: str, guessing: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    loss = script("algorithmic").main([task, "--length", "3", "--steps", "3", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"validation loss {loss:.5f}" in said.splitlines()[0]
    assert said.count(f"of guessing, {guessing}") == 2
    assert said.splitlines()[-1].startswith(f"{task}, T=3, ")
    assert f" {loss:.4g}, " in said.splitlines()[-1]
    assert drawn(tmp_path / f"{task}.png")


def test_parity(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Trained a little on up to 3 bits, an Elman network knows more than nothing about the parity of 4 to 7."""
    right = script("algorithmic").main(["parity", "--length", "3", "--steps", "400", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert right > 0.65
    assert said.splitlines()[-1].startswith(f"parity, right answers at lengths 4 to 7: Elman {right:.4g}, MinGRU 0.")
    assert drawn(tmp_path / "parity.png")


def test_same_seed_same_figure(tmp_path: Path) -> None:
    tiny = ["adding", "--length", "5", "--steps", "2", "--out", str(tmp_path)]
    algorithmic = script("algorithmic")
    first = algorithmic.main([*tiny, "--seed", "3"])
    assert algorithmic.main([*tiny, "--seed", "3"]) == first != algorithmic.main([*tiny, "--seed", "4"])


def test_usage(capsys: pytest.CaptureFixture) -> None:
    for name in ("regression", "digits", "algorithmic"):
        with pytest.raises(SystemExit) as stop:
            script(name).main(["--help"])
        assert stop.value.code == 0
    assert "train-images-idx3-ubyte" in capsys.readouterr().out
    for name in ("regression", "digits"):
        for option in ("--size", "--epochs"):
            with pytest.raises(SystemExit):
                script(name).main([option, "0"])
            assert f"{option} 0" in capsys.readouterr().err
    for argv, message in (
        (["copy", "--steps", "0"], "--steps 0, expected"),
        (["sorting"], "invalid choice: 'sorting'"),
        (["copy", "--length", "1"], "expected at least"),
    ):
        with pytest.raises(SystemExit):
            script("algorithmic").main(argv)
        assert message in capsys.readouterr().err

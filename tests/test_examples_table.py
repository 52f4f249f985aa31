"""`make examples`: each row has the figure that a script prints; one that fails or lacks its file changes no other."""

import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("run_all")
    scripts = {
        "good": "import sys; print('learning ...'); print(f'accuracy 0.9 | chance 0.1 {sys.argv[1:]}'); print('saved')",
        "bad": "print('half'); raise SystemExit('no')",
    }
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "README.md").write_text(f"before\n{module.BEGIN}\n{module.END}\nafter\n")
    examples = (
        module.Example("good", "one", "accuracy"),
        module.Example("bad", "two", "accuracy"),
        module.Example("good", "three", "accuracy", ("--csv",), "x.csv"),
    )
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "EXAMPLES", examples)
    return module


def rows(folder: Path) -> list[str]:
    return [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("| `")]


def test_table(run_all, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_all.main(["--data", str(tmp_path / "data")]) == 2
    assert rows(tmp_path) == ["| `good.py` | one | accuracy 0.9 / chance 0.1 [] | 0.0 |"]
    said = capsys.readouterr().out
    assert "learning ..." in said
    assert "bad.py: failed" in said
    assert "good.py --csv x.csv: skipped, there is no x.csv under" in said

    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "x.csv").touch()
    first = rows(tmp_path)
    (tmp_path / "bad.py").write_text("print('accuracy 0.2')")
    assert run_all.main(["bad", "--data", str(tmp_path / "data")]) == 0
    assert rows(tmp_path) == [*first, "| `bad.py` | two | accuracy 0.2 | 0.0 |"]
    assert run_all.main(["good", "--data", str(tmp_path / "data")]) == 0
    assert [row.split(" | ")[1] for row in rows(tmp_path)] == ["one", "two", "three"]
    assert "x.csv']" in rows(tmp_path)[2]
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_every_example_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has each script of the folder, but those that only others use, and itself."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = {example.script for example in importlib.import_module("run_all").EXAMPLES}
    assert names == {path.stem for path in EXAMPLES.glob("*.py")} - {"run_all", "run_exported", "conll", "text_sources"}

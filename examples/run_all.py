"""Runs every example one after the other, and writes the figure that each prints into the table of examples/README.md.

python examples/run_all.py                        all of them (make examples)
python examples/run_all.py regression digits      some; the other rows stay as they are
python examples/run_all.py --data FOLDER          where ETTh1.csv, JSB_Chorales.mat and tiny Shakespeare's input.txt lie
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
BEGIN, END = "<!-- examples -->", "<!-- /examples -->"
HEAD = "| command | what it learns | figure | minutes |\n|---|---|---|---|"


class Example(NamedTuple):
    """A command, and what it is about."""

    script: str
    task: str
    says: str  # what the line with its figure begins with
    arguments: tuple[str, ...] = ()
    file: str | None = None  # among the data; it is the last argument

    @property
    def command(self) -> str:
        """As a reader types it."""
        return " ".join([f"{self.script}.py", *self.arguments, *([self.file] if self.file else [])])


EXAMPLES = (
    Example("regression", "a scalar series, one Elman layer: the first of every tutorial", "error"),
    Example("digits", "images of digits as sequences", "test accuracy"),
    Example("text_classification", "which module of the standard library a snippet is from", "test accuracy"),
    Example("tagging", "the token class of each character of Python", "test accuracy"),
    Example("forecasting", "oil temperature and loads, 96 hours ahead", "ETTh1.csv", ("--csv",), "ETTh1.csv"),
    Example("algorithmic", "the sum of two marked values of 200", "adding", ("adding",)),
    Example("algorithmic", "ten symbols, 500 steps later", "copy", ("copy",)),
    Example("algorithmic", "parity, at lengths never trained on", "parity", ("parity",)),
    Example("music", "Bach's chorales, and a new one as MIDI", "test", ("--data",), "JSB_Chorales.mat"),
    Example("char_lm", "Python's sources by character: `make demo`", "validation", ("--out", "out/demo")),
    Example(
        "char_lm",
        "tiny Shakespeare by character",
        "validation",
        ("--minutes", "5", "--out", "out/shakespeare", "--text"),
        "input.txt",
    ),
    Example("finetune", "the model of `make demo`, on C", "validation"),
    Example("sweep", "500 leaky networks on a delayed match, in one program", "best setting"),
    Example("optuna_sweep", "the same task, settings asked of Optuna", "160 trials"),
    Example("export", "a model as ONNX and StableHLO, run without rnnjax", "exported"),
    Example("vanishing_gradient", "the norm of the gradient by lag", "gradient at lag"),
)


def run(example: Example, data: Path) -> str | None:
    """The row of an example; None where its file is not there, or where it failed."""
    arguments = list(example.arguments)
    if example.file:
        found = sorted(data.rglob(example.file))
        if not found:
            print(f"{example.command}: skipped, there is no {example.file} under {data}")
            return None
        arguments.append(str(found[0]))
    print(f"\n== {example.command}", flush=True)
    began = time.monotonic()
    lines, command = [], [sys.executable, "-u", str(HERE / f"{example.script}.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.strip())
    figures = [line for line in lines if line.startswith(example.says)]
    if process.returncode or not figures:
        print(f"{example.command}: failed" if process.returncode else f"{example.command}: no line {example.says} ...")
        return None
    return row(example, figures[-1], (time.monotonic() - began) / 60)


def row(example: Example, said: str, minutes: float) -> str:
    """A line of the table."""
    return f"| {start(example)} | {said.replace('|', '/')} | {minutes:.1f} |"


def start(example: Example) -> str:
    """What a row of the example begins with, whatever came out."""
    return f"`{example.command}` | {example.task}"


def write(path: Path, rows: dict[Example, str]) -> None:
    """Put rows into the table between the markers; those that are not given stay as they are."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    table, after = rest.split(END)
    lines = table.splitlines()
    stay = {example: line for line in lines for example in EXAMPLES if line.startswith(f"| {start(example)} |")}
    lines = [(stay | rows)[example] for example in EXAMPLES if example in stay | rows]
    path.write_text("\n".join([f"{before}{BEGIN}", HEAD, *lines, f"{END}{after}"]), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns how many of them failed or were skipped."""
    names = list(dict.fromkeys(example.script for example in EXAMPLES))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *names], metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="folder of data files"
    )
    args = parser.parse_args(argv)
    missing = 0
    for example in EXAMPLES:
        if not args.names or example.script in args.names:
            made = run(example, args.data)
            missing += made is None
            if made:
                write(HERE / "README.md", {example: made})
    return missing


if __name__ == "__main__":
    try:
        sys.exit(min(main(), 1))
    except KeyboardInterrupt:
        raise SystemExit("stopped; the rows so far are in examples/README.md") from None

"""The file of rows, one for each kind of device: benchmarks/results/cpu.json, gpu.json."""

import json
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.timing import Row

KEY = ("suite", "cell", "T", "B", "I", "H", "models", "pass", "variant")


class Results:
    """Rows by what they measure: one measured anew takes the place of the old one, all others stay.

    ``runs`` says with which machine and versions; a row names its run.
    """

    def __init__(self, path: Path):
        self.path = path
        self.runs: dict[str, Any] = {}
        self._rows: dict[tuple, Row] = {}
        self.load()

    def load(self) -> None:
        """Read what the file holds, where there is one."""
        if not self.path.exists():
            return
        try:
            stored = json.loads(self.path.read_text())
            self.runs = stored["runs"]
            self._rows = {_key(row): row for row in stored["rows"]}
        except (ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(f"{self.path} cannot be read ({error!r}): delete it to start anew") from error

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return list(self._rows.values())

    def add(self, rows: list[Row], run: dict[str, Any]) -> None:
        """Put rows of a run in, and write the file, so that nothing measured is lost."""
        self.runs[run["date"]] = {name: part for name, part in run.items() if name != "date"}
        self._rows |= {_key(row): row | {"run": run["date"]} for row in rows}
        self.save()

    def save(self) -> None:
        """Write, one row a line, by way of a second file: a reader finds the old or the new one whole."""
        used = {row["run"] for row in self.rows}
        self.runs = {date: run for date, run in sorted(self.runs.items()) if date in used}
        rows = ",\n    ".join(json.dumps(row) for row in self.rows)
        runs = ",\n    ".join(f"{json.dumps(date)}: {json.dumps(run)}" for date, run in self.runs.items())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(f'{{\n  "runs": {{\n    {runs}\n  }},\n  "rows": [\n    {rows}\n  ]\n}}\n')
        new.replace(self.path)


def _key(row: Row) -> tuple:
    return tuple(row.get(name) for name in KEY)

"""What a run tells while it goes on: a progress bar, metrics.jsonl, curve.png."""

import importlib.util
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

from rnnjax.train.fitting.picture import EVALUATED, draw_curves

Row = dict[str, Any]  # "step", "epoch" and metrics; None for what is not finite, as JSON has no such number
BETWEEN_PICTURES = 60.0  # seconds


class Report:
    """The rows of a run, in files too where there is a folder.

    A file that cannot be written is a warning: the rows are here as well, and are tried again with the next ones.

    Args:
      folder: where metrics.jsonl and curve.png go, or None.
      last: the last step whose row, of the same run, is kept from metrics.jsonl; what comes after is done anew.
      every: rows are kept of the steps that are multiples of this, and of those with an evaluation.
      total: the step where the bar ends, or None.

    Raises:
      ImportError: tqdm or, for the picture, matplotlib is not installed.

    >>> report = Report(None)
    >>> report.add(1, 0, {"loss": 2.5})
    >>> report.evaluated({"loss": math.nan})
    >>> report.rows
    [{'step': 1, 'epoch': 0, 'loss': 2.5, 'eval_loss': None}]
    """

    def __init__(self, folder: Path | None, last: int = 0, every: int = 1, total: int | None = None):
        self._metrics, self._curve = (folder / "metrics.jsonl", folder / "curve.png") if folder else (None, None)
        if folder and not importlib.util.find_spec("matplotlib"):  # rather than after hours of training
            raise ImportError("fit needs matplotlib for its picture: pip install 'rnnjax[train]'")
        self.rows, self._size = _read(self._metrics, last) if self._metrics else ([], 0)
        self._written, self._every = len(self.rows), every  # rows; bytes of the file that hold them
        here = self.rows and self.rows[-1]["step"] == last
        self._latest: Row = (
            self.rows[-1] if here else {"step": last, "epoch": self.rows[-1]["epoch"] if self.rows else 0}
        )
        self._drawn = time.monotonic()
        self._bar = _tqdm()(total=total, initial=last, unit="step", disable=None)  # None: where it is no terminal

    def add(self, step: int, epoch: int, metrics: Row) -> None:
        """Take in the metrics of a step."""
        self._bar.update()
        self._latest = {"step": step, "epoch": epoch, **_finite(metrics)}
        if step % self._every == 0:
            self.rows.append(self._latest)

    def evaluated(self, metrics: Row) -> None:
        """Take in what was measured after the last of the steps."""
        if not self.rows or self.rows[-1] is not self._latest:
            self.rows.append(self._latest)
        elif self._written == len(self.rows):  # in an earlier run, which was stopped before this
            self._written, self._size = self._written - 1, self._size - len(_line(self._latest))
        self._latest |= _finite({EVALUATED + name: value for name, value in metrics.items()})

    def write(self) -> None:
        """Bring files and bar up to date."""
        if self._metrics and self._written < len(self.rows):
            lines = b"".join(map(_line, self.rows[self._written :]))
            try:
                with self._metrics.open("r+b" if self._metrics.exists() else "wb") as file:
                    file.truncate(self._size)  # away with what was written after the checkpoint, or in part
                    file.seek(self._size)
                    file.write(lines)
                self._size, self._written = self._size + len(lines), len(self.rows)
            except OSError as error:
                warnings.warn(f"fit: cannot write {self._metrics}: {error.strerror}; going on without", stacklevel=2)
        if self.rows and not self._bar.disable:
            shown = {n: v for n, v in self.rows[-1].items() if n == "loss" or n.startswith(EVALUATED)}
            self._bar.set_postfix(shown, refresh=False)
        if self._curve and time.monotonic() - self._drawn > BETWEEN_PICTURES:
            self._draw(self._curve)

    def close(self) -> None:
        """Write what is left, draw the picture, end the bar."""
        self.write()
        self._bar.close()
        if self._curve:
            self._draw(self._curve)

    def _draw(self, path: Path) -> None:
        self._drawn = time.monotonic()
        try:
            draw_curves(self.rows, path)
        except Exception as error:  # no picture is worth a run
            warnings.warn(f"fit: cannot draw {path}: {error}; going on without", stacklevel=2)


def _read(path: Path, last: int) -> tuple[list[Row], int]:
    """The rows up to a step, and how many bytes of the file they take; a line that was cut off is none."""
    rows, size = [], 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), start=1):
        if not line.endswith(b"\n"):
            break
        try:
            row = json.loads(line)
            if row["step"] > last:
                break
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"fit: line {number} of {path} is not one of metrics; take it out to go on") from error
        rows.append(row)
        size += len(line)
    return rows, size


def _line(row: Row) -> bytes:
    return f"{json.dumps(row)}\n".encode()


def _finite(metrics: Row) -> Row:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("fit needs tqdm for its progress bar: pip install 'rnnjax[train]'") from error
    return tqdm

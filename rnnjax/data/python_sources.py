"""Real text that is there wherever Python is: the sources of its standard library."""

import hashlib
import sysconfig
from pathlib import Path
from typing import NamedTuple

LEFT_OUT = {"test", "tests", "idle_test", "testing", "site-packages", "dist-packages", "__pycache__"}


class Source(NamedTuple):
    """A file of the standard library."""

    path: str  # below the library's folder, with slashes
    text: str  # all of it


def python_sources(num_characters: int | None = None) -> list[Source]:
    """The standard library's own files, without its tests, in the order of a hash of their path.

    The order looks random and is the same everywhere, so the last tenth is as good as a tenth drawn at random.

    Args:
      num_characters: stop when there are so many in all; the last file is cut off. None: all there are.

    Returns:
      Files that are not empty; of the Python that runs, so no two versions have the same.

    Raises:
      FileNotFoundError: this Python has none.

    >>> sources = python_sources(10_000)
    >>> sum(len(source.text) for source in sources)
    10000
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in root.rglob("*.py") if not LEFT_OUT & set(path.relative_to(root).parts)]
    named = {path.relative_to(root).as_posix(): path for path in paths}
    found, left = [], float("inf") if num_characters is None else num_characters
    for name in sorted(named, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if left <= 0:
            break
        text = named[name].read_text(encoding="utf-8", errors="replace")
        text = text if len(text) <= left else text[: int(left)]
        left -= len(text)
        if text:
            found.append(Source(name, text))
    if not found:
        raise FileNotFoundError(f"python_sources: there are no Python sources under {root}")
    return found

"""The folder of a run: one that can be written to, and that one run at a time has."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none: there nobody looks after two runs in one folder
    fcntl = None


@contextlib.contextmanager
def claimed(owner: str, folder: str | Path) -> Iterator[Path]:
    """Make a folder, and keep other runs out of it until the end of this one, however it ends.

    Args:
      owner: who asks, for the messages.
      folder: made where there is none.

    Raises:
      TypeError: not a path.
      OSError: it cannot be written to, or another run is at work in it.

    >>> with claimed("fit", tempfile.mkdtemp()) as folder:
    ...     folder.is_dir()
    True
    """
    if not isinstance(folder, str | Path):
        raise TypeError(f"{owner}: folder is {folder!r}, expected a path")
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f"{owner}: cannot write to the folder {folder}: {error.strerror}") from error
    with (folder / "lock").open("w") as lock:  # the system lets go of it when the process ends, if by a kill
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f"{owner}: another run is at work in the folder {folder}") from None
        yield folder

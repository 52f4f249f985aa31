"""A progress bar, where there is tqdm and a terminal."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """``advance(steps, what)``: so many steps of members are done, and this is what goes on.

    >>> with progress(10) as advance:
    ...     advance(5, "group 1 of 2")
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda steps, what: None
        return
    with tqdm(total=total, unit="step", unit_scale=True, disable=None) as bar:

        def advance(steps: int, what: str) -> None:
            bar.set_postfix_str(what, refresh=False)
            bar.update(steps)

        yield advance

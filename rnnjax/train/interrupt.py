"""Ctrl-C between two steps rather than in the middle of one."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C; a second one interrupts at once, as it does elsewhere.

    An interrupt inside a step would take the state with it, which was donated to the step. Signals that someone
    else handles, or in threads other than the main one, are left alone.
    """
    asked = threading.Event()
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield asked
        return

    def ask(*_) -> None:
        asked.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)

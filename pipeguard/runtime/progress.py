"""Tells a waiting person what takes so long."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeguard.log import STDERR, say
from pipeguard.rulebook.cache_files import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 1.0
COMPILING = "compiling the rules that changed; all of them take a minute, or more on a busy machine"


@contextmanager
def say_if_slow(what: str) -> Iterator[None]:
    """Say on stderr what is being done if it takes more than a second; in the main thread only.

    On a terminal, a line counts the parts of the rules that are compiled; a last line ends it.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    PARTS[:] = [0, 0]
    is_said = False
    is_terminal = os.isatty(STDERR)

    def tell(_number: int, _frame: object) -> None:
        nonlocal is_said
        if not is_said:
            say(what)
        elif is_terminal and PARTS[1]:
            with suppress(OSError):
                os.write(STDERR, "\r  part {} of {} ".format(*PARTS).encode())
        is_said = True

    # By an alarm, which needs no thread.
    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        if is_said and PARTS[1]:
            with suppress(OSError):
                os.write(STDERR, b"\n" if is_terminal else b"")
            say("the rules are ready")

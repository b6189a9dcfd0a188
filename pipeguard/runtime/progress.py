"""Tells a waiting person what takes so long."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeguard.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 1.0
COMPILING = "making the rules ready; after a change they are compiled, which takes up to a minute"


@contextmanager
def say_if_slow(what: str) -> Iterator[None]:
    """Say on stderr what is being done if it takes more than a second; in the main thread only."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    # By an alarm, which needs no thread.
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: say(what))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)

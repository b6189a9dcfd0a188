"""Informs a waiting person of the reason for a delay."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeguard.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeguard.detect.detector import Engines
    from pipeguard.rulebook.packs import PackFile

PATIENCE_SECONDS = 1.0
COMPILING = "compiling the rules that changed; all of them take a minute, or more on a busy machine"


def wait_for_engines(packs: Sequence[PackFile] | None = None, what: str = COMPILING) -> Engines:
    """Load the rules as `rulebook.cache.load_engines` does, and inform a waiting person."""
    from pipeguard.rulebook.cache import load_engines

    with say_if_slow(what):
        return load_engines(packs)


@contextmanager
def say_if_slow(what: str) -> Iterator[None]:
    """Name the current work on stderr if it takes more than a second; in the main thread only."""
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

"""Tells a waiting person what takes so long."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeguard.log import STDERR, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeguard.detect.detector import Engines
    from pipeguard.rulebook.packs import PackFile

PATIENCE_SECONDS = 1.0
COMPILING = "compiling the rules that changed; all of them take a minute, or more on a busy machine"


def wait_for_engines(packs: Sequence[PackFile] | None = None, what: str = COMPILING) -> Engines:
    """Load the rules as `rulebook.cache.load_engines` does, and tell the person who waits."""
    from pipeguard.rulebook.cache import load_engines

    with say_if_slow(what) as count:
        return load_engines(packs, on_progress=count)


@contextmanager
def say_if_slow(
    what: str, done: str = "the rules are ready"
) -> Iterator[Callable[[int, int], None]]:
    """Say on stderr what is being done if it takes more than a second; in the main thread only.

    It gives a function to call with the parts that are done and all parts. On a terminal, a line
    shows these, and `done` is said at the end.
    """
    parts = (0, 0)

    def count(number: int, of: int) -> None:
        nonlocal parts
        parts = number, of

    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield count
        return
    is_said = False
    is_terminal = os.isatty(STDERR)

    def tell(_number: int, _frame: object) -> None:
        nonlocal is_said
        if not is_said:
            say(what)
        elif is_terminal and parts[1]:
            with suppress(OSError):
                os.write(STDERR, "\r  part {} of {} ".format(*parts).encode())
        is_said = True

    # By an alarm, which needs no thread.
    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS, PATIENCE_SECONDS)
    try:
        yield count
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        if is_said and parts[1]:
            with suppress(OSError):
                os.write(STDERR, b"\n" if is_terminal else b"")
            say(done)

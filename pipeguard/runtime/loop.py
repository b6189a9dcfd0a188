"""The event loop of a process that serves several clients or servers: threads, signals, memory.

Knows no frames and no HTTP.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pipeguard.allocator import return_large_blocks
from pipeguard.firewall.protocol.strict_json import STACK_BYTES

SWITCH_SECONDS = 0.001  # instead of 0.005
_THREADS = 128  # that wait for servers to end; each holds one of them
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def new_loop() -> asyncio.AbstractEventLoop:
    """A fast event loop."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def prepare_threads(loop: asyncio.AbstractEventLoop) -> None:
    """Give the loop threads that parse deep frames, and enough of them to wait for servers."""
    threading.stack_size(STACK_BYTES)
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))


def tune_process() -> None:
    """Prepare memory and threads for a long run.

    Loaded modules stay, so the garbage collector need not check them. Threads switch after a fifth
    of the usual time, because several of them scan. Freed memory is returned to the system.
    """
    return_large_blocks(arenas=2)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # objects: a frame of 1 MB makes 100,000, and drops them together
    sys.setswitchinterval(SWITCH_SECONDS)


@contextmanager
def ending_on_signals(
    loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]
) -> Iterator[None]:
    """Set a future to the first signal's number; a second one ends the process at once."""

    def end(number: int) -> None:
        if ended.done():
            os._exit(1)
        ended.set_result(number)

    if sys.platform == "win32":
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: loop.call_soon_threadsafe(end, number))
        yield
        return
    for number in (*_SIGNALS, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)

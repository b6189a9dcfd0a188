"""What every listener of ours needs around it: an event loop, an address, signals, lean memory.

Knows no server and no endpoint.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from pipeguard.errors import LaunchError
from pipeguard.firewall.protocol.strict_json import STACK_BYTES
from pipeguard.transports.http.server.backend import MCP
from pipeguard.transports.http.server.listener import listen

SWITCH_SECONDS = 0.001  # instead of 0.005
_THREADS = 128  # that wait for servers to end; each holds one of them
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_LARGE_BLOCK_BYTES = 2**18
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


def bind(option: str, host: str, port: int) -> socket.socket:
    """A socket at the address that `--listen` names.

    Raises:
        LaunchError: there is no such address, or it is in use.
    """
    try:
        return listen(host, port)
    except OSError as error:
        raise LaunchError(f"--listen {option}: {error.strerror or error}.", 1) from None


def tune_process() -> None:
    """Prepare memory and threads for a long run.

    What is loaded stays, so the garbage collector need not look at it. Threads switch after a fifth
    of the usual time, since scanning runs in several. Freed memory goes back to the system: glibc
    would keep it, in an arena for each thread (mallopt(3)).
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or system
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK_BYTES)
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def url_at(listening: socket.socket, *, tls: bool) -> str:
    """The URL at which clients reach us."""
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}{MCP}"


@contextmanager
def ending_on_signals(
    loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]
) -> Iterator[None]:
    """Set a future on a signal; a second signal ends the process at once."""

    def end() -> None:
        if ended.done():
            os._exit(1)
        ended.set_result(None)

    if sys.platform == "win32":
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(end))
        yield
        return
    for number in (*_SIGNALS, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)

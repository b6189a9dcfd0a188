"""Closing and widening file descriptors that several threads share; knows no frames.

A number that one thread closes can be given to another file while a second thread is about to
use it. So nothing here frees a number: `shut_reading` and `shut_writing` replace it by a pipe whose
far end is closed. The peer sees the end at once, a later read gets end of file, a later write gets
EPIPE, and the number stays in use.
"""

import os
import select
import sys
from collections.abc import Callable

PIPE_BYTES = 2**20  # the most that an unprivileged process may ask for: pipe(7), pipe-max-size


class Waker:
    """A pipe of our own, which wakes a thread that polls its end `woken`."""

    def __init__(self) -> None:
        self.woken, self._end = os.pipe()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close both ends, if they were opened; at shutdown `os` may be gone."""
        for end in self.__dict__.values():
            close(end)

    def wake(self) -> None:
        """Write a byte, which takes no lock."""
        os.write(self._end, b"\0")


def shut_reading(descriptor: int) -> None:
    """Close the file behind a descriptor; reading it gives end of file from now on."""
    _replace(descriptor, *os.pipe())


def shut_writing(descriptor: int) -> None:
    """Close the file behind a descriptor; writing to it raises BrokenPipeError from now on."""
    _replace(descriptor, *reversed(os.pipe()))


def _replace(descriptor: int, end: int, far_end: int) -> None:
    os.close(far_end)
    os.dup2(end, descriptor, inheritable=False)
    os.close(end)


def write_all(descriptor: int, rest: memoryview) -> None:
    """Write all bytes; wait for room if another process made the descriptor non-blocking."""
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            if sys.platform != "win32":
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()


def widen(descriptor: int) -> None:
    """Set the capacity of a pipe to 1 MiB if the system allows it; leave other files unchanged.

    Large frames need fewer switches between the processes: 10 MB in 27 ms instead of more than 50.
    """
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return  # not a pipe, or the user's share of pipe memory is used up: slower, not wrong


def take_standard() -> None:
    """Open /dev/null on each of 0, 1, 2 that is closed, so that no pipe of ours gets its number."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return

"""Closing and widening file descriptors that several threads share; knows no frames.

A number that one thread closes can be given to another file while a second thread is about to
use it. So nothing here frees a number: `shut_reading` and `shut_writing` replace it by a pipe whose
far end is closed. The peer sees the end at once, a later read gets end of file, a later write gets
EPIPE, and the number stays in use.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_ZERO = bytes(4)  # a C int
PIPE_BYTES = 2**20  # the most that an unprivileged process may ask for: pipe(7), pipe-max-size


def shut_reading(descriptor: int) -> None:
    """Close the file behind a descriptor; reading it gives end of file from now on."""
    read_end, write_end = os.pipe()
    os.close(write_end)
    os.dup2(read_end, descriptor, inheritable=False)
    os.close(read_end)


def shut_writing(descriptor: int) -> None:
    """Close the file behind a descriptor; writing to it raises BrokenPipeError from now on."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.dup2(write_end, descriptor, inheritable=False)
    os.close(write_end)


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


def free_bytes(descriptor: int) -> int:
    """The room in an empty pipe (pipe(7)); 0 in any other, and if the system does not tell."""
    free = 0
    if sys.platform == "linux":
        import fcntl
        import termios

        with suppress(OSError):
            if fcntl.ioctl(descriptor, termios.FIONREAD, _ZERO) == _ZERO:
                free = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return free


def take_standard() -> None:
    """Open /dev/null on each of 0, 1, 2 that is closed, so that no pipe of ours gets its number."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return

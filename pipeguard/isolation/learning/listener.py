"""The kernel's side of being asked about system calls: seccomp(2), seccomp_unotify(2).

A call that the filter asks about waits until it is answered. It is answered "go on" always, so
nothing is decided here. Once the last descriptor of the listener is closed, such calls fail with
ENOSYS and never wait.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from fcntl import ioctl
from typing import NamedTuple

from pipeguard.isolation.learning.calls import ASK, SECCOMP_CALL

assert sys.platform == "linux"  # noqa: S101  tells mypy which system's names to look up

# linux/seccomp.h, linux/prctl.h
SET_MODE_FILTER, GET_ACTION_AVAIL = 1, 2
NEW_LISTENER, WAIT_KILLABLE = 1 << 3, 1 << 5
NO_NEW_PRIVS = 38
RECEIVE, SEND, IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
CONTINUE = 1
_NOTICE = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp


class NotifiedCall(NamedTuple):
    """A system call that waits for an answer.

    Attributes:
        cookie: the kernel's name for it.
        task: the thread that made it.
        number: of the call.
        arguments: as they are in its registers.
    """

    cookie: int
    task: int
    number: int
    arguments: tuple[int, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def is_available() -> bool:
    """Whether this kernel can ask about calls at all (Linux 5.0, and what `CONTINUE` needs 5.5)."""
    machine = os.uname().machine
    if machine not in SECCOMP_CALL:
        return False
    action = ctypes.c_uint32(ASK)
    libc = ctypes.CDLL(None, use_errno=True)
    asked = libc.syscall(SECCOMP_CALL[machine], GET_ACTION_AVAIL, 0, ctypes.byref(action))
    release = os.uname().release.split(".")
    return asked == 0 and (int(release[0]), int(release[1].partition("-")[0])) >= (5, 5)


def install(program: bytes) -> int:
    """Put a filter on this process and all that it will start; returns the listener.

    Raises:
        OSError: the kernel does not allow it, or a filter of this process listens already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    content = ctypes.create_string_buffer(program, len(program))
    given = _Program(len(program) // 8, ctypes.addressof(content))
    number = SECCOMP_CALL[os.uname().machine]
    for flags in (NEW_LISTENER | WAIT_KILLABLE, NEW_LISTENER):  # the second for Linux before 5.19
        listener: int = libc.syscall(number, SET_MODE_FILTER, flags, ctypes.byref(given))
        if listener >= 0:
            return listener
        if ctypes.get_errno() != errno.EINVAL:
            break
    raise OSError(ctypes.get_errno(), "seccomp")


def receive(listener: int) -> NotifiedCall | None:
    """The next call that waits; None for one whose thread was killed meanwhile.

    Raises:
        OSError: the listener is of no use any more.
    """
    notice = bytearray(_NOTICE.size)
    try:
        ioctl(listener, RECEIVE, notice)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
            return None
        raise
    cookie, task, _, number, _, _, *arguments = _NOTICE.unpack(notice)
    return NotifiedCall(cookie, task, number, tuple(arguments))


def is_waiting(listener: int, call: NotifiedCall) -> bool:
    """Whether a call still waits, so that what was read of its process is of its process."""
    try:
        ioctl(listener, IS_VALID, struct.pack("=Q", call.cookie))
    except OSError:
        return False
    return True


def let_go(listener: int, call: NotifiedCall) -> None:
    """Have a call go on; one whose thread is gone is no error."""
    try:
        ioctl(listener, SEND, bytearray(_ANSWER.pack(call.cookie, 0, 0, CONTINUE)))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise

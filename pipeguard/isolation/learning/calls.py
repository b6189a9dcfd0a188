"""The system calls that say what a server reads, writes and reaches, and a filter for them.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.12.
Looking at a file (stat(2), access(2), readlink(2)) is not among them: programs ask for many files
that they never open.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

from pipeguard.errors import LaunchError
from pipeguard.isolation.seccomp import (
    ALLOW,
    ARCHITECTURE_AT,
    ARCHITECTURES,
    ARGUMENTS_AT,
    JUMP_EQUAL,
    JUMP_GREATER_OR_EQUAL,
    LOAD,
    NUMBER_AT,
    RETURN,
)

ASK = 0x7FC00000  # SECCOMP_RET_USER_NOTIF (linux/seccomp.h)
MAX_DATAGRAM_BYTES = 1500  # what is longer is no question for a name


class FileAccess(Enum):
    """What a call does with a path."""

    READ = "read"
    WRITE = "write"
    BY_FLAGS = "by flags"  # of open(2)


class PathAt(NamedTuple):
    """Where the arguments of a call name a path.

    Attributes:
        access: what is done with it.
        path: the argument that points to it.
        folder: the argument with the descriptor that it is relative to; None for the current one.
    """

    access: FileAccess
    path: int
    folder: int | None = None


_READ, _WRITE, _OPEN = FileAccess.READ, FileAccess.WRITE, FileAccess.BY_FLAGS
PATHS: dict[str, tuple[PathAt, ...]] = {
    "open": (PathAt(_OPEN, 0),),
    "openat": (PathAt(_OPEN, 1, 0),),
    "openat2": (PathAt(_OPEN, 1, 0),),
    "creat": (PathAt(_WRITE, 0),),
    "truncate": (PathAt(_WRITE, 0),),
    "rename": (PathAt(_WRITE, 0), PathAt(_WRITE, 1)),
    "renameat": (PathAt(_WRITE, 1, 0), PathAt(_WRITE, 3, 2)),
    "renameat2": (PathAt(_WRITE, 1, 0), PathAt(_WRITE, 3, 2)),
    "unlink": (PathAt(_WRITE, 0),),
    "unlinkat": (PathAt(_WRITE, 1, 0),),
    "rmdir": (PathAt(_WRITE, 0),),
    "mkdir": (PathAt(_WRITE, 0),),
    "mkdirat": (PathAt(_WRITE, 1, 0),),
    "symlink": (PathAt(_WRITE, 1),),
    "symlinkat": (PathAt(_WRITE, 2, 1),),
    "link": (PathAt(_READ, 0), PathAt(_WRITE, 1)),
    "linkat": (PathAt(_READ, 1, 0), PathAt(_WRITE, 3, 2)),
    "chmod": (PathAt(_WRITE, 0),),
    "fchmodat": (PathAt(_WRITE, 1, 0),),
    "chdir": (PathAt(_READ, 0),),
    "execve": (PathAt(_READ, 0),),
    "execveat": (PathAt(_READ, 1, 0),),
    "inotify_add_watch": (PathAt(_READ, 1),),
}
# Where the flags of an open(2) are; openat2(2) has them in a structure.
FLAGS_AT = {"open": 1, "openat": 2, "openat2": 2}
NETWORK = ("connect", "bind", "sendto", "sendmmsg")
_X86_64 = (
    "open 2 creat 85 openat 257 openat2 437 truncate 76 rename 82 renameat 264 renameat2 316"
    " unlink 87 unlinkat 263 rmdir 84 mkdir 83 mkdirat 258 symlink 88 symlinkat 266 link 86"
    " linkat 265 chmod 90 fchmodat 268 chdir 80 execve 59 execveat 322 inotify_add_watch 254"
    " connect 42 bind 49 sendto 44 sendmmsg 307"
)
_AARCH64 = (
    "openat 56 openat2 437 truncate 45 renameat 38 renameat2 276 unlinkat 35 mkdirat 34"
    " symlinkat 36 linkat 37 fchmodat 53 chdir 49 execve 221 execveat 281 inotify_add_watch 27"
    " connect 203 bind 200 sendto 206 sendmmsg 269"
)
SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}  # the number of seccomp(2) itself


def _names(text: str) -> dict[int, str]:
    words = text.split()
    return {int(number): name for name, number in zip(words[::2], words[1::2], strict=True)}


_NAMES = {"x86_64": _names(_X86_64), "aarch64": _names(_AARCH64)}


def names_of(machine: str) -> dict[int, str]:
    """The calls that are asked about, by number.

    Args:
        machine: as `uname -m` names it.

    Raises:
        LaunchError: its system calls are not known here.
    """
    if machine not in _NAMES:
        known = " and ".join(_NAMES)
        raise LaunchError(
            f"what a server needs cannot be learned on {machine}, only on {known}: its system calls"
            " are not known here."
        )
    return _NAMES[machine]


def asking_filter(machine: str) -> bytes:
    """The filter that asks about those calls and lets all others pass, as `struct sock_filter`s.

    Calls of another architecture pass unseen: the server runs as open as ever.

    Raises:
        LaunchError: as `names_of`.
    """
    names = names_of(machine)
    program = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine].audit),
        (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    for number, name in sorted(names.items()):
        if name == "sendto":  # its third argument is the length
            program += [
                (JUMP_EQUAL, 0, 4, number),
                (LOAD, 0, 0, ARGUMENTS_AT + 8 * 2),
                (JUMP_GREATER_OR_EQUAL, 1, 0, MAX_DATAGRAM_BYTES),
                (RETURN, 0, 0, ASK),
                (RETURN, 0, 0, ALLOW),
            ]
        else:
            program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ASK)]
    program.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)

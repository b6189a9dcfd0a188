"""Processes above this one, and who feeds it (proc(5)). Linux only.

Loads no other module: each start of a server asks for its client.
"""

import _socket
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import closing, suppress

from pipeguard.launch.environment import read_status

_MANAGERS = {"systemd", "init", "launchd"}  # ancestors of agents and people alike
_ENDED = frozenset("ZX")  # a process that is a zombie, or dead (proc(5), `stat`)
_EXITING = 0x4  # a flag of a process that is closing its files (linux/sched.h)
# A question for the other end of a UNIX socket, and the fields of the answer (sock_diag(7)).
_QUESTION, _ANSWER = struct.Struct("=IHH8xB3xIIIq"), struct.Struct("=4xH30xI")
_BY_FAMILY, _ANY = 20, 0xFFFFFFFF


def find_client() -> str:
    """Identify the client that started this process: the nearest one above that feeds it.

    Returns:
        Its namespace, number and time of start; empty if it is not known. Linux only.
    """
    own = os.getpid()
    end, stdin = find_other_end(own), find_stdin(own)
    for each, _ in list_ancestors(own):
        # What started this process for the client has its standard input from the client as well.
        if end and end in list_links(each) and find_stdin(each) != stdin:
            return f"{read_link('/proc/self/ns/pid')} {each} {read_status(each)[1][19:20]}"
    return ""


def find_other_end(reader: int) -> str | None:
    """Return how descriptors name the end that is written to for a program's standard input.

    Returns:
        That of a pipe is named as the end that is read. Empty for what is neither a pipe nor a
        socket; None if it is not known.
    """
    stdin = find_stdin(reader)
    if not stdin.startswith("socket:"):
        return (stdin if _is_pipe(reader) else "") if stdin else None
    question = (_QUESTION.size, _BY_FAMILY, 1, _socket.AF_UNIX, _ANY, int(stdin[8:-1]), 4, -1)
    with (
        suppress(OSError),
        closing(_socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 4)) as asked,
    ):
        asked.send(_QUESTION.pack(*question))
        kind, peer = _ANSWER.unpack(asked.recv(4096)[: _ANSWER.size])
        return f"socket:[{peer}]" if kind == _BY_FAMILY else None
    return None


def list_links(process: int) -> set[str]:
    """List the targets of a process's descriptors; empty if we may not look."""
    with suppress(OSError):
        folder = f"/proc/{process}/fd"
        return {read_link(f"{folder}/{name}") for name in os.listdir(folder)}
    return set()


def find_stdin(process: int) -> str:
    """Return the target of a process's standard input; empty if we may not look."""
    return read_link(f"/proc/{process}/fd/0")


def _is_pipe(process: int) -> bool:
    """True if a process reads its standard input from a pipe, with or without a name."""
    with suppress(OSError):
        return stat.S_ISFIFO(os.stat(f"/proc/{process}/fd/0").st_mode)
    return False


def read_link(path: str) -> str:
    """Return the target of a link; empty if it was closed, or we may not look."""
    with suppress(OSError):
        return os.readlink(path)
    return ""


def list_ancestors(process: int) -> Iterator[tuple[int, str]]:
    """Yield the ancestors of a process, with their names, from its parent on; no managers."""
    seen = {0}
    process = find_process(process)[1]
    while process not in seen:
        seen.add(process)
        name, parent = find_process(process)
        if name not in _MANAGERS:
            yield process, name
        process = parent


def find_process(number: int) -> tuple[str, int]:
    """Return the name of a process, empty once it ends, and the id of its parent."""
    name, fields = read_status(number)
    ends = fields[0] in _ENDED or int(fields[6]) & _EXITING
    return "" if ends else name, int(fields[1])

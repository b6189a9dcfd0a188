"""Whether there is something outside a sandbox at what a server could not use.

Asked in a thread of its own and told to the person alone: neither an answer nor the time that one
takes depends on it, so that a server learns nothing of what there is.
"""

# ruff: noqa: PTH110, PTH112, PTH120
# the functions that the other modules of this package use
from __future__ import annotations

import os.path
from itertools import chain
from typing import TYPE_CHECKING

from pipeguard.isolation.walls.wall import PORT, WRITE, Mention

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING = b"0A"  # TCP_LISTEN (include/net/tcp_states.h)
MAX_TABLE_BYTES = 4 * 1024 * 1024


def is_present(mention: Mention) -> bool:
    """Whether there is such a file, a folder for one that is to be made, or a listening port."""
    if mention.rule == PORT:
        return int(mention.subject) in _listening_ports()
    if os.path.exists(mention.subject):
        return True
    return mention.rule == WRITE and os.path.isdir(os.path.dirname(mention.subject))


def _listening_ports() -> Iterator[int]:
    """The TCP ports at which this machine listens (proc(5))."""
    for line in chain.from_iterable(map(_lines, _TABLES)):
        _, local, _, state, *_ = [*line.split(), b"", b"", b"", b""]
        if state == _LISTENING:
            yield int(local.rpartition(b":")[2], 16)


def _lines(table: str) -> list[bytes]:
    try:
        with open(table, "rb") as file:
            return file.read(MAX_TABLE_BYTES).splitlines()[1:]
    except OSError:
        return []

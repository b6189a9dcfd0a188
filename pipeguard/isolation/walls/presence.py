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

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.errors import PolicyError
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.walls.grants import grant_of
from pipeguard.isolation.walls.sight import Sight, is_own_folder, sight_of
from pipeguard.isolation.walls.temporary_names import is_temporary
from pipeguard.isolation.walls.wall import PORT, READ, WRITE, Mention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.view import FileView

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING = b"0A"  # TCP_LISTEN (include/net/tcp_states.h)
MAX_TABLE_BYTES = 4 * 1024 * 1024
# Beside the tools whose names say already that they change something (`mentions`).
_MAKING_TOOL = lazy_regex(
    r"(?i)make|export|generat|render|report|convert|store|dump|record|build|draw|plot|print|backup"
)


def is_present(mention: Mention) -> bool:
    """Whether there is such a file, a folder for one that is to be made, or a listening port."""
    if mention.rule == PORT:
        return int(mention.subject) in _listening_ports()
    if os.path.exists(mention.subject):
        return True
    return mention.rule == WRITE and os.path.isdir(os.path.dirname(mention.subject))


def folder_behind(mention: Mention, tool: str, view: FileView) -> Mention | None:
    """The folder that a server is not given, where the file that it named is not there.

    In the sandbox that folder is missing, too: a server that wants to make a file fails as one that
    looks for a file. By the file's name and the tool's it is to change the folder or to read it.
    None where the folder is not there, is the server's own or given, or is not offered.

    Args:
        mention: of a file that is not there.
        tool: that was called, or empty.
        view: what the server sees.
    """
    folder = os.path.dirname(mention.subject)
    if mention.rule != READ or not os.path.isdir(folder):
        return None
    if is_own_folder(view, folder) or sight_of(view, folder) is not Sight.NOTHING:
        return None
    try:
        grant_of([{"rule": WRITE, "path": mention.subject}], this_host())
    except (PolicyError, OSError):  # a server may name what nobody can look up, as /proc/1/exe
        return None
    is_making = is_temporary(mention.subject) or _MAKING_TOOL.search(tool)
    return Mention(WRITE if is_making else READ, folder, mention.link, mention.subject)


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

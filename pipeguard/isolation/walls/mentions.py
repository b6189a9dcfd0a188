"""Files and ports that a text of a server says could not be used. Pure; reads a bounded length.

A server may say what it likes: what is found here is shown to a person, and gives nothing.
"""

# ruff: noqa: PTH118
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import re
from os.path import join, normpath
from typing import TYPE_CHECKING

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.isolation.walls.temporary_names import lasting_path
from pipeguard.isolation.walls.wall import PORT, READ, WRITE, Mention

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHARS = 64 * 1024  # of a text
MAX_LINE_CHARS = 4000
MAX_MENTIONS = 8  # of a text
MAX_PATH_CHARS = 1000
HIGHEST_PORT = 65_535
UNQUOTED = 4  # the group of `_PATH` for a path without quotes

# As Node, libuv, Python, Go, Rust and C libraries say it (errno(3), strerror(3)).
_UNCHANGEABLE = ("erofs", "read-only file system")
_DENIED = ("eacces", "eperm", "permission denied", "operation not permitted")
_ABSENT = ("enoent", "no such file", "not exist", "n't exist")
_REFUSED = ("econnrefused", "connection refused")
_FILE_SIGNS = (*_UNCHANGEABLE, *_DENIED, *_ABSENT)
SIGNS = (*_FILE_SIGNS, *_REFUSED)

_PATH = lazy_regex(
    r"""'(/[^'\n]{1,1000})'|"(/[^"\n]{1,1000})"|`(/[^`\n]{1,1000})`"""
    r"""|(?<![\w./:~'"`-])(/[^\s'"`,;:()<>|\[\]{}]{1,1000})"""
)
_RELATIVE = lazy_regex(
    r"""(?:: |\b(?:open|l?stat|access|scandir|mkdir|unlink|rmdir|write) )'([^'/\n][^'\n]{0,500})'"""
)
_LOOPBACK = lazy_regex(r"(?:\b127(?:\.\d{1,3}){3}|\blocalhost|::1\]?):(\d{1,5})(?!\d)", re.ASCII)
_WRITING = lazy_regex(
    r"(?i)\b(?:mkdir|mkdtemp|rename|unlink|rmdir|copyfile|symlink|chmod|utimes?|f?truncate"
    r"|writ\w{0,3}|creat\w{0,3}|sav\w{0,3}|delet\w{0,3}|lock)\b"
)
_WRITING_TOOL = lazy_regex(
    r"(?i)write|create|save|edit|move|append|delete|remove|rename|mkdir|update|upload|download"
)


def mentions(text: str, folder: str, tool: str = "") -> list[Mention]:
    """The files and ports that a text says could not be used, in its order.

    Args:
        text: of an answer that tells a failure, or lines of standard error.
        folder: the absolute path of the folder that the server started in.
        tool: that was called, or empty.
    """
    text = text[:MAX_CHARS]
    if not has_sign(text.lower()):
        return []
    found: dict[Mention, None] = {}
    for line in text.splitlines():
        for mention in _mentions_of(line[:MAX_LINE_CHARS], folder, tool):
            found[mention] = None
            if len(found) >= MAX_MENTIONS:
                return list(found)
    return list(found)


def has_sign(lowered: str) -> bool:
    """Whether a text, in lower case, may say that something could not be used."""
    return any(sign in lowered for sign in SIGNS)


def _mentions_of(line: str, folder: str, tool: str) -> Iterator[Mention]:
    lowered = line.lower()
    if any(sign in lowered for sign in _REFUSED):
        for match in _LOOPBACK.finditer(line):
            if 0 < int(match[1]) <= HIGHEST_PORT:
                yield Mention(PORT, str(int(match[1])))
    if not any(sign in lowered for sign in _FILE_SIGNS):
        return
    is_unchangeable = any(sign in lowered for sign in _UNCHANGEABLE)
    is_writing = is_unchangeable or bool(_WRITING.search(line) or _WRITING_TOOL.search(tool))
    for path in _paths(line, folder):
        yield Mention(WRITE, lasting_path(path)) if is_writing else Mention(READ, path)


def _paths(line: str, folder: str) -> Iterator[str]:
    for match in _PATH.finditer(line):
        path = match[match.lastindex or 0]
        if match.lastindex == UNQUOTED:
            path = path.rstrip(".!?")
        if path.isprintable():  # a policy has no other characters
            yield normpath(path)
    for match in _RELATIVE.finditer(line):
        path = normpath(join(folder, match[1]))
        if len(path) <= MAX_PATH_CHARS and path.isprintable():
            yield path

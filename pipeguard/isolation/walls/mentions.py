"""Files and ports that a text of a server says could not be used. Pure; reads a bounded length.

A server may say what it likes: what is found here is shown to a person, and gives nothing.
"""

# ruff: noqa: PTH118, PTH120
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import re
from os.path import commonpath, dirname, join, normpath
from typing import TYPE_CHECKING

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.isolation.walls.temporary_names import lasting_path
from pipeguard.isolation.walls.wall import ARGUMENT, PORT, READ, WRITE, Mention

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
# Of what is mounted by itself, and of a move from one mount to another.
_MOUNTED = ("ebusy", "resource busy", "exdev", "cross-device link")
_REFUSED = ("econnrefused", "connection refused")
_OWN_LIST = ("allowed director", "allowed folder", "allowed path", "allowed root")
_FILE_SIGNS = (*_UNCHANGEABLE, *_DENIED, *_ABSENT, *_MOUNTED)
SIGNS = (*_FILE_SIGNS, *_REFUSED, *_OWN_LIST)

_PATH = lazy_regex(
    r"""'(/[^'\n]{1,1000})'|"(/[^"\n]{1,1000})"|`(/[^`\n]{1,1000})`"""
    r"""|(?<![\w./:~'"`-])(/[^\s'"`,;:()<>|\[\]{}]{1,1000})"""
)
_RELATIVE = lazy_regex(
    r"""(?:: |\b(?:open|l?stat|access|scandir|mkdir|unlink|rmdir|write) )'([^'/\n][^'\n]{0,500})'"""
)
# As the reference server for files says it, which has a list of folders of its own.
_NOT_LISTED = lazy_regex(
    r"(?i)(?:outside|not (?:with)?in|not under)\b[^/]{0,60}\ballowed (?:director|folder|path|root)"
    r"\w*:? ?(/.{0,1000}?(?= not in )|)"
)
_LOOPBACK = lazy_regex(r"(?:\b127(?:\.\d{1,3}){3}|\blocalhost|::1\]?):(\d{1,5})(?!\d)", re.ASCII)
_WRITING = lazy_regex(
    r"(?i)\b(?:mkdir|mkdtemp|rename|unlink|rmdir|copyfile|symlink|chmod|utimes?|f?truncate"
    r"|writ\w{0,3}|creat\w{0,3}|sav\w{0,3}|delet\w{0,3}|lock)\b"
)
# Python says of a rename no more than the arrow.
_CHANGING_FOLDER = lazy_regex(
    r"""(?i)\b(?:rename|unlink|unlinkat|remove|rmdir|symlink|link|mkdtemp) ['"/]|['"] -> ['"]"""
)
_CHANGING_TOOL = lazy_regex(r"(?i)move|delete|remove|rename|unlink|trash")
_OPENING = lazy_regex(r"\b(?:open|l?stat|access|scandir) ['\"/]")
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
    found: dict[Mention, Mention] = {}
    for line in text.splitlines():
        for mention in _mentions_of(line[:MAX_LINE_CHARS], folder, tool):
            found.setdefault(mention._replace(named=""), mention)
            if len(found) >= MAX_MENTIONS:
                return list(found.values())
    return list(found.values())


def has_sign(lowered: str) -> bool:
    """Whether a text, in lower case, may say that something could not be used."""
    return any(sign in lowered for sign in SIGNS)


def _mentions_of(line: str, folder: str, tool: str) -> Iterator[Mention]:
    lowered = line.lower()
    if any(sign in lowered for sign in _REFUSED):
        for match in _LOOPBACK.finditer(line):
            if 0 < int(match[1]) <= HIGHEST_PORT:
                yield Mention(PORT, str(int(match[1])))
    if any(sign in lowered for sign in _OWN_LIST) and (listed := _NOT_LISTED.search(line)):
        path = normpath(listed[1] or next(_paths(line, folder), "."))
        if path not in {".", "/"} and path.isprintable():  # nobody is to add the root
            yield Mention(ARGUMENT, path)
    elif any(sign in lowered for sign in _FILE_SIGNS):
        yield from _files_in(line, lowered, folder, tool)


def _files_in(line: str, lowered: str, folder: str, tool: str) -> Iterator[Mention]:
    is_unchangeable = any(sign in lowered for sign in _UNCHANGEABLE)
    words = _PATH.sub("", line)  # a folder may be called `write`
    is_writing = is_unchangeable or bool(_WRITING.search(words) or _WRITING_TOOL.search(tool))
    paths = [*_paths(line, folder)]
    if not _is_of_folder(line, lowered, tool):
        for path in paths:
            if not is_writing:
                yield Mention(READ, path)
            elif (lasting := lasting_path(path)) == path:
                yield Mention(WRITE, path)
            else:
                yield Mention(WRITE, lasting, named=path)
        return
    folders = [dirname(path) for path in paths]
    if folders and any(sign in lowered for sign in _MOUNTED):
        folders = [commonpath(folders)]  # from one mount to another: what holds both
    for folder_of, path in zip(folders, paths, strict=False):
        if folder_of != "/":
            yield Mention(WRITE, folder_of, named=path)


def _is_of_folder(line: str, lowered: str, tool: str) -> bool:
    """Whether the folder would have to be changed that a path is in, not what is there.

    A file that is mounted alone can be neither renamed nor removed.
    """
    if "copyfile" in lowered:
        return False
    if any(sign in lowered for sign in _MOUNTED) or _CHANGING_FOLDER.search(line):
        return True
    return bool(_CHANGING_TOOL.search(tool)) and not _OPENING.search(line)


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

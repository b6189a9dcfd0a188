"""Files that a failed answer names, and the part of them that the server is not given. Pure.

A server may say what it likes: what is found here is shown to a person, and gives nothing.
"""

from __future__ import annotations

from os.path import dirname, normpath
from typing import TYPE_CHECKING

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.isolation.sensitive import contains_path
from pipeguard.isolation.view import MountKind
from pipeguard.isolation.walls.wall import READ, WRITE, Mention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.isolation.view import FileView

MAX_CHARS = 64 * 1024  # of a text
MAX_LINE_CHARS = 4000
MAX_MENTIONS = 8  # of a text
MAX_LINKS = 8
UNQUOTED = 4  # the group of `_PATH` for a path without quotes

# As Node, libuv, Python, Go, Rust and C libraries say it (errno(3), strerror(3)).
_FAILURE = lazy_regex(
    r"(?i)\b(?:erofs|eacces|eperm|enoent)\b|read-only file system|permission denied"
    r"|operation not permitted|no such file|(?:not|n't) exist"
)
_UNCHANGEABLE = lazy_regex(r"(?i)\berofs\b|read-only file system")
_PATH = lazy_regex(
    r"""'(/[^'\n]{1,1000})'|"(/[^"\n]{1,1000})"|`(/[^`\n]{1,1000})`"""
    r"""|(?<![\w./:~'"`-])(/[^\s'"`,;:()<>|\[\]{}]{1,1000})"""
)
# Of the tool that was called, or in the line.
_WRITING = lazy_regex(
    r"(?i)(?<![a-z])(?:mkdir|mkdtemp|rename|unlink|rmdir|copyfile|symlink|chmod|utime|f?truncate"
    r"|writ|creat|sav(?:e|ing)|delet|remov|lock\b|edit|mov(?:e|ing)|append|updat|upload|download)"
)


def mentions(text: str, tool: str = "") -> list[Mention]:
    """Find the files that a text says could not be used: a path and an error code in one line.

    Args:
        text: of an answer that failed.
        tool: that was called, or empty.
    """
    found: dict[Mention, None] = {}
    for line in (each[:MAX_LINE_CHARS] for each in text[:MAX_CHARS].splitlines()):
        if len(found) < MAX_MENTIONS and _FAILURE.search(line):
            words = _PATH.sub("", line)  # a folder may be called `write`
            is_writing = _UNCHANGEABLE.search(line) or _WRITING.search(f"{tool} {words}")
            rule = WRITE if is_writing else READ
            found |= dict.fromkeys(Mention(rule, path) for path in _paths(line))
    return list(found)[:MAX_MENTIONS]


def _paths(line: str) -> Iterator[str]:
    for match in _PATH.finditer(line):
        path = match[match.lastindex or 0]
        if match.lastindex == UNQUOTED:
            path = path.rstrip(".!?")
        if path.isprintable():  # a policy has no other characters
            yield normpath(path)


def is_refused(mention: Mention, view: FileView) -> bool:
    """True if a server does not see a file, or may only read one that it wants to change."""
    own = {mount.path for mount in view.mounts if mount.kind is MountKind.EMPTY}
    if mention.rule == WRITE and not own.isdisjoint((mention.path, dirname(mention.path))):
        return False  # a folder of its own, in which it may write
    sight = find_access(view, mention.path)
    return sight is None or (sight is MountKind.READ and mention.rule == WRITE)


def find_access(view: FileView, path: str) -> MountKind | None:
    """Say by the view alone how a server sees this machine's file at a path: READ or WRITE.

    None for what it does not see; what it has there may be its own.
    """
    for _ in range(MAX_LINKS):
        around = None
        # What stands later covers what stands before; a folder that is made covers nothing.
        for mount in view.mounts:
            if mount.kind is not MountKind.FOLDER and contains_path(path, mount.path):
                around = mount
        if around is None:
            return None
        if around.kind is not MountKind.LINK:
            break
        rest = path[len(around.path) :]
        above = "" if around.source.startswith("/") else around.path.rpartition("/")[0]
        path = normpath(f"{above}/{around.source.lstrip('/')}{rest}")
    else:
        return None
    if around.kind is MountKind.WRITE:
        # Of a kept home the source is elsewhere: it is the server's own.
        return MountKind.WRITE if around.source == around.path else None
    is_whole = around.kind in {MountKind.COPY, MountKind.TEXT} and path == around.path
    return MountKind.READ if is_whole or around.kind is MountKind.READ else None

"""The walls that one isolated server hits: the reasons why its answers fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os.path import dirname, normpath
from threading import Lock

from pipeguard.firewall.finding import Action, Finding, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.guard import AnswerNote
from pipeguard.isolation.egress.judge import Wall
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.isolation.sensitive import is_inside
from pipeguard.isolation.view import FileView, MountKind
from pipeguard.isolation.walls.grants import PORT, READ, WRITE
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import cut, visible

MAX_REFUSED = 1024  # connections that were refused last
EXCERPT_CHARS = 80
PLACE = "isolation"
ADDRESS = "egress.address"
_MADE = "created while the server ran, in a folder that it may change; your programs will run it"
_NOTES = {READ: "the server may not read it", WRITE: "the server may not change it"}


class WallWitness:
    """Learns of the walls of one server (`firewall.session.guard.ObstacleSource`), in any thread.

    Args:
        server: its sandbox.
    """

    def __init__(self, server: Sandbox) -> None:
        self._server = server
        self._lock = Lock()
        self._refused: tuple[Wall, ...] = ()
        self._callers: set[str] = set()  # two at most: one, or several

    def add_refused(self, wall: Wall) -> None:
        """Note that a connection was refused."""
        with self._lock:
            self._refused = (*self._refused, wall)[-MAX_REFUSED:]

    def read_obstacles(self) -> Walls:
        """Read all refused connections so far."""
        self._server.report_refused()
        return Walls(self._refused, self._server.view, is_alone=len(self._callers) < 2)

    def add_caller(self, conversation: str) -> None:
        """Note that a conversation calls tools of the server."""
        if len(self._callers) < 2:
            self._callers.add(conversation)


class Walls(NamedTuple):
    """The walls that a server has hit.

    The proxy knows which hosts and ports were refused, and when. A failed answer names the file
    that was missing by its path and an error code.

    Attributes:
        refused: the last connections.
        view: the files that the server sees.
        is_alone: True unless several conversations call its tools.
    """

    refused: tuple[Wall, ...]
    view: FileView
    is_alone: bool

    def explain_failure(
        self, answer: JsonObject, tool: str, event: str, since: float, now: float
    ) -> AnswerNote | None:
        """Name the walls that an answer failed at; None if it did not fail at any."""
        result = answer.get("result")
        is_error = isinstance(result, dict) and result.get("isError") is True
        has_failed = "error" in answer or is_error
        refused = {(w.rule, w.subject): w for w in self.refused if since <= w.at <= now}
        if not (has_failed or refused):
            return None
        texts = [*iterate_texts(answer)]
        whole = "\n".join(text for _, text in texts)
        # Of several clients, no one hears of another's hosts.
        walls = [wall for wall in refused.values() if self.is_alone or is_named(wall, whole)]
        if not has_failed:
            is_named_there = any(is_named(wall, whole) for wall in walls)
            return AnswerNote(describe_walls(walls)) if is_named_there else None
        findings = [
            _finding(mention, _NOTES[mention.rule], pointer, tool)
            for pointer, text in texts
            for mention in mentions(text, tool)
            if is_refused(mention, self.view)
        ][:1]
        walls += [Wall(each.rule, each.path, event) for each in findings]
        return AnswerNote(describe_walls(walls), tuple(findings)) if walls else None


def describe_made(path: str) -> Finding:
    """Describe a file that the server made and that the user's programs run later."""
    return _finding(Wall(WRITE, path), _MADE, "", "")


def _finding(mention: Wall, note: str, pointer: str, tool: str) -> Finding:
    return Finding(
        mention.rule,
        PLACE,
        pointer,
        severity=Severity.MEDIUM,
        action=Action.WARN,
        excerpt=shorten(mention.subject),
        note=note,
        tool=tool or None,
        path=mention.subject,
    )


def shorten(path: str) -> str:
    """A path with visible characters; the distinctive end of a long one."""
    text = visible(path[-EXCERPT_CHARS:])
    return text if len(path) <= EXCERPT_CHARS else f"…{text[1 - EXCERPT_CHARS :]}"


# --- mentions ---------------------------------------------------------------------------
# Files that a failed answer names, and the part of them that the server is not given.

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


def mentions(text: str, tool: str = "") -> list[Wall]:
    """Find the files that a text calls unusable: a path and an error code in one line.

    Args:
        text: of an answer that failed.
        tool: the called tool, or empty.
    """
    found: dict[Wall, None] = {}
    for line in (each[:MAX_LINE_CHARS] for each in text[:MAX_CHARS].splitlines()):
        if len(found) < MAX_MENTIONS and _FAILURE.search(line):
            words = _PATH.sub("", line)  # a folder may be called `write`
            is_writing = _UNCHANGEABLE.search(line) or _WRITING.search(f"{tool} {words}")
            rule = WRITE if is_writing else READ
            found |= dict.fromkeys(Wall(rule, path) for path in _paths(line))
    return list(found)[:MAX_MENTIONS]


def _paths(line: str) -> Iterator[str]:
    for match in _PATH.finditer(line):
        path = match[match.lastindex or 0]
        if match.lastindex == UNQUOTED:
            path = path.rstrip(".!?")
        if path.isprintable():  # a policy has no other characters
            yield normpath(path)


def is_refused(mention: Wall, view: FileView) -> bool:
    """True if a server cannot see a file, or may only read a file that it wants to change."""
    own = {mount.path for mount in view.mounts if mount.kind is MountKind.EMPTY}
    if mention.rule == WRITE and not own.isdisjoint((mention.subject, dirname(mention.subject))):
        return False  # a folder of its own, in which it may write
    sight = find_access(view, mention.subject)
    return sight is None or (sight is MountKind.READ and mention.rule == WRITE)


def find_access(view: FileView, path: str) -> MountKind | None:
    """The server's access to this machine's file at a path, by the view only: READ or WRITE.

    None if it cannot see that file; a file there may be its own.
    """
    for _ in range(MAX_LINKS):
        around = None
        # Later mounts cover earlier ones; a folder that is made covers nothing.
        for mount in view.mounts:
            if mount.kind is not MountKind.FOLDER and is_inside(path, mount.path):
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


# --- annotation -------------------------------------------------------------------------
# PipeGuard's own words in an answer that failed at a wall.

MAX_NAMED = 3  # walls in one answer
MAX_SUBJECT_CHARS = 200
MAX_WORDS = 6  # of a host; more of them are a sentence
UNNAMED = "that its event names"
_WORD = lazy_regex(r"[^\W\d_]{2,}")
_FILES = {READ: "the file that it named", WRITE: "the right to change the file that it named"}


def iterate_texts(answer: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield the texts of an answer, each with its pointer."""
    error = answer.get("error")
    result = answer.get("result")
    if isinstance(error, dict):
        data = error.get("data")
        fields = data.items() if isinstance(data, dict) else [("", data)]
        found = [("/error/message", error.get("message"))]
        found += [(f"/error/data/{key}".rstrip("/"), value) for key, value in fields]
        yield from ((pointer, text) for pointer, text in found if isinstance(text, str))
    if isinstance(result, dict) and isinstance(content := result.get("content"), list):
        for index, block in enumerate(content):
            if isinstance(block, dict) and isinstance(text := block.get("text"), str):
                yield f"/result/content/{index}/text", text


def is_named(wall: Wall, text: str) -> bool:
    """True if a text contains the subject of a wall."""
    return (f":{wall.subject}" if wall.rule == PORT else wall.subject) in text


def describe_walls(walls: Sequence[Wall]) -> str:
    """Describe walls to a model."""
    named = [f"{_show_wall(wall)} (event {wall.event})" for wall in walls[:MAX_NAMED]]
    named += [f"{len(walls) - MAX_NAMED} more"] if len(walls) > MAX_NAMED else []
    return (
        f"PipeGuard: this server is isolated, and does not get {', nor '.join(named)}. If"
        " that is what was missing, tell the user, who alone decides about it; do not work"
        " around it."
    )


def _show_wall(wall: Wall) -> str:
    if wall.rule in _FILES:
        return _FILES[wall.rule]
    if wall.rule == PORT:
        return f"port {wall.subject} of this machine"
    is_short = len(_WORD.findall(wall.subject)) <= MAX_WORDS
    shown = json.dumps(cut(visible(wall.subject), MAX_SUBJECT_CHARS), ensure_ascii=False)
    host = f"the host {shown if is_short else UNNAMED}"
    return f"the local address of {host}" if wall.rule == ADDRESS else host

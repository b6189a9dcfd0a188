"""The walls that one isolated server hits: the reasons why its answers fail."""

from __future__ import annotations

from collections import OrderedDict, deque
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipeguard.firewall.finding import Action, Finding, Severity
from pipeguard.isolation.walls.annotation import (
    describe_walls,
    is_about_failure,
    is_named,
    iterate_texts,
)
from pipeguard.isolation.walls.mentions import is_refused, mentions
from pipeguard.isolation.walls.wall import READ, WRITE, Wall
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.firewall.protocol.json_values import JsonObject
    from pipeguard.firewall.session.guard import AnswerNote
    from pipeguard.isolation.egress.recording import RefusedTarget
    from pipeguard.isolation.view import FileView
    from pipeguard.isolation.walls.wall import Mention

MAX_REFUSED = 256  # hosts and ports that were refused last
MAX_TIMES = 8  # when each of them was, last
EXCERPT_CHARS = 80
PLACE = "isolation"
_NOTES = {
    READ: "it is not given to the server to read",
    WRITE: "it is not given to the server to change",
}


class WitnessedServer(Protocol):
    """The sandbox of the server."""

    @property
    def view(self) -> FileView:
        """The files that it sees now."""

    def report_refused(self) -> None:
        """Report the connections that were refused until now."""


class _Refused(NamedTuple):
    wall: Wall
    times: deque[float]


class WallWitness:
    """The walls of one server (`firewall.session.guard.FailureNotes`), for any thread.

    The proxy knows which hosts and ports were refused, and when. Which file was missing, a failed
    answer says by its path and an error code.

    Args:
        server: its sandbox.
    """

    def __init__(self, server: WitnessedServer) -> None:
        self._server = server
        self._lock = Lock()
        self._refused: OrderedDict[tuple[str, str], _Refused] = OrderedDict()
        self._callers: set[str] = set()  # two at most: one, or several

    def add_refused(self, target: RefusedTarget) -> None:
        """Note that a connection was refused."""
        key = target.rule, target.subject
        wall = Wall(target.rule, target.subject, target.event, target.entry)
        with self._lock:
            before = self._refused.pop(key, None)
            times = deque([] if before is None else before.times, MAX_TIMES)
            times.append(target.at)
            self._refused[key] = _Refused(wall, times)
            if len(self._refused) > MAX_REFUSED:
                self._refused.popitem(last=False)

    def catch_up(self) -> None:
        """Learn of all refused connections until now."""
        self._server.report_refused()

    def add_caller(self, conversation: str) -> None:
        """Note that a conversation calls tools of the server."""
        if len(self._callers) < 2:
            self._callers.add(conversation)

    def explain_failure(
        self, answer: JsonObject, tool: str, event: str, since: float, now: float
    ) -> AnswerNote | None:
        """Name the walls that an answer failed at; None if it did not fail at any."""
        has_failed = _has_failed(answer)
        refused = self._refusals_during(since, now)
        if not (has_failed or refused):
            return None
        texts = [*iterate_texts(answer)]
        whole = "\n".join(text for _, text in texts)
        # Of several clients, none hears of another one's hosts.
        is_alone = len(self._callers) < 2
        walls = [wall for wall in refused if is_alone or is_named(wall, whole)]
        if not has_failed:
            is_told = walls and is_about_failure(whole, walls)
            return (describe_walls(walls), ()) if is_told else None
        findings = self._missing_file(texts, tool)
        walls += [Wall(each.rule, each.path, event) for each in findings]
        return (describe_walls(walls), tuple(findings)) if walls else None

    def _refusals_during(self, since: float, until: float) -> list[Wall]:
        if not self._refused:
            return []
        with self._lock:
            return [
                wall
                for wall, times in self._refused.values()
                if any(since <= at <= until for at in times)
            ]

    def _missing_file(self, texts: Sequence[tuple[str, str]], tool: str) -> list[Finding]:
        """Find the first file that an answer names and the server is not given."""
        view = self._server.view
        for pointer, text in texts:
            for mention in mentions(text, tool):
                if is_refused(mention, view):
                    return [_finding(mention, pointer, tool)]
        return []


def _has_failed(value: JsonObject) -> bool:
    result = value.get("result")
    return "error" in value or (isinstance(result, dict) and result.get("isError") is True)


def _finding(mention: Mention, pointer: str, tool: str) -> Finding:
    return Finding(
        mention.rule,
        PLACE,
        pointer,
        severity=Severity.MEDIUM,
        action=Action.WARN,
        excerpt=shorten(mention.path),
        note=_NOTES[mention.rule],
        tool=tool or None,
        path=mention.path,
    )


def shorten(path: str) -> str:
    """A path, made visible; the end of a long one, which tells it from others."""
    text = visible(path[-EXCERPT_CHARS:])
    return text if len(path) <= EXCERPT_CHARS else f"…{text[1 - EXCERPT_CHARS :]}"

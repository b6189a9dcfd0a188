"""Who was not let in over HTTP, for the audit: counted, so that who knocks often cannot fill it.

The first refusal of a kind is told at once; those that follow within an interval are told together
at its end. Nothing that a client chose is kept, but for its address: no header, no path, no name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from pipeguard.core.finding import Finding, Severity

INTERVAL_SECONDS = 60.0
MAX_PEERS = 1000  # that are told apart in one interval
PLACE = "http.request"


class Ground(Enum):
    """Why a request is not let in: the rule's name, what is wrong, and how bad that is.

    LOW is what well-behaved clients do as well, as one that comes back to a session that ended.
    """

    HOST = "host", "`Host` is none of our names", Severity.MEDIUM
    ORIGIN = "origin", "`Origin` is a web page that may not speak to us", Severity.MEDIUM
    NO_TOKEN = "no-token", "no bearer token was given", Severity.LOW
    WRONG_TOKEN = "wrong-token", "the token that was given is none of ours", Severity.MEDIUM
    FOREIGN_SESSION = "foreign-session", "the session is another token's", Severity.MEDIUM
    NO_SESSION = "no-session", "there is no such session, or none was named", Severity.LOW
    MISMATCH = "header-mismatch", "a header says something else than the body", Severity.MEDIUM
    HEADERS = "odd-header", "a header is there twice, or cannot be read", Severity.MEDIUM
    MANY_HEADERS = "large-head", "there are too many headers, or they are too long", Severity.MEDIUM
    TARGET = "long-target", "the address is too long", Severity.MEDIUM
    HTTP = "malformed", "it cannot be read as HTTP/1.1 or WebSocket", Severity.MEDIUM
    BODY = "no-message", "the body is no message of MCP in plain JSON", Severity.MEDIUM
    LARGE_BODY = "large-body", "the body is larger than a message may be", Severity.MEDIUM
    SLOW_BODY = "slow-body", "the body did not come in time", Severity.MEDIUM
    SILENT = "silent", "a connection sent no request in time", Severity.LOW
    CONNECTIONS = "many-connections", "too many connections are open", Severity.MEDIUM
    CROWDED = "many-bytes", "too many large messages are under way", Severity.MEDIUM
    UNTAKEN = "untaken", "a client takes too little of what it is sent", Severity.LOW
    SESSIONS = "many-sessions", "too many sessions are open", Severity.MEDIUM
    NOWHERE = "nowhere", "there is no such path, method or upgrade", Severity.LOW
    NO_STREAM = "no-stream", "the server behind gave no stream, or was not reached", Severity.LOW
    ENDING = "ending", "PipeGuard was ending", Severity.LOW

    def __init__(self, rule: str, words: str, severity: Severity) -> None:
        self.rule = f"entrance.{rule}"
        self.words = words
        self.severity = severity


class _Counted:
    """Refusals of one kind that are not told yet."""

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.count = 0
        self.route = ""
        self.peers: set[str] = set()
        self.first = ""

    def add(self, route: str, peer: str) -> None:
        if not self.count:
            self.route, self.first = route, peer
        self.count += 1
        if len(self.peers) < MAX_PEERS:
            self.peers.add(peer)


class Refusals:
    """Counts refusals and tells of them, at most once for each kind and interval.

    Args:
        tell: takes what is to be written down, and the address of the client or of the first.
        interval_seconds: between two of a kind.
    """

    def __init__(
        self, tell: Callable[[Finding, str], None], interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._tell = tell
        self._interval_seconds = interval_seconds
        self._counted: dict[Ground, _Counted] = {}

    def add(self, ground: Ground, route: str, peer: str) -> None:
        """A request was refused.

        Args:
            ground: why.
            route: what was asked for, in words of ours, as `POST /mcp`.
            peer: the client's network address.
        """
        counted = self._counted.get(ground)
        if counted is not None:
            counted.add(route, peer)
            return
        self._wait(ground)
        where = f" ({route})" if route else ""
        self._write(ground, f"1 request: {ground.words}{where}", peer)

    def close(self) -> None:
        """Tell what is counted."""
        for ground, counted in list(self._counted.items()):
            counted.timer.cancel()
            self._sum_up(ground, counted)
        self._counted.clear()

    def _wait(self, ground: Ground) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._interval_seconds, self._end_interval, ground)
        self._counted[ground] = _Counted(timer)

    def _end_interval(self, ground: Ground) -> None:
        counted = self._counted.pop(ground)
        if counted.count:
            self._wait(ground)  # first, so that it holds whatever comes of the telling
            self._sum_up(ground, counted)

    def _sum_up(self, ground: Ground, counted: _Counted) -> None:
        if not counted.count:
            return
        many = "" if len(counted.peers) < MAX_PEERS else " or more"
        peers = f"{len(counted.peers)}{many} addresses" if len(counted.peers) > 1 else "1 address"
        first = f", first {counted.route}" if counted.route else ""
        times = f"{counted.count} more request{'s' if counted.count > 1 else ''}"
        said = f"{times} within {self._interval_seconds:g} s, from {peers}: {ground.words}{first}"
        self._write(ground, said, counted.first)

    def _write(self, ground: Ground, note: str, peer: str) -> None:
        self._tell(Finding(ground.rule, PLACE, severity=ground.severity, note=note), peer)

"""The conversations of one listener: a Session for each session id, forgotten when it is idle.

A session id is the server's or ours, and a secret: it is compared and never shown (MCP
2025-06-18, basic/transports, "Session Management").
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from secrets import token_bytes
from time import monotonic
from typing import Protocol

from pipeguard.core.protocol import request_headers
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.protocol.subscriptions import LISTEN
from pipeguard.core.session.guard import Guard
from pipeguard.core.session.lifecycle import NEVER_OVERDUE
from pipeguard.core.session.session import Session
from pipeguard.transports.http.headers import is_session_id

KEY_BYTES = 32
MAX_OWNERS = 65536
DEFAULT_REVISION = "2025-03-26"  # where no header tells (MCP 2025-06-18, basic/transports)

_Mirrored = dict[str, tuple[str, ...]]


class Listener(Protocol):
    """A stream on which a client hears what it did not ask for."""

    def send(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""


class _SessionEntry:
    """A Session, when it was last used, and who listens to it now."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.used = monotonic()
        self.listeners: list[Listener] = []


class Owners:
    """Which token opened a session: it is for that one, and for no other one that lets in as well.

    Kept until the session ends, which may be long after its Session here was forgotten: the
    server's own outlives that. Of too many, the oldest go.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}  # of tokens, by what stands for a session's id

    def __len__(self) -> int:
        return len(self._names)

    def own(self, session_id: str, who: str) -> None:
        """A session was opened with a token of this name; nothing is kept where none is asked."""
        if not who:
            return
        while len(self._names) >= MAX_OWNERS:
            del self._names[next(iter(self._names))]
        self._names[_short(session_id)] = who

    def may(self, session_id: str, who: str) -> bool:
        """True where a session is this token's, or nobody's that we know."""
        return not self._names or self._names.get(_short(session_id), who) == who

    def drop(self, session_id: str) -> None:
        """A session is over."""
        self._names.pop(_short(session_id), None)


class Conversations:
    """The Sessions of one guarded server.

    What came to the client of one token goes to no other one: each name has a guard of its own.

    Args:
        guard: what is known of the server; its Sessions share it.
        run: names this run.
        most: Sessions that are kept; of more, the one that was idle for longest is forgotten.
        idle_seconds: after which one is.

    Attributes:
        owners: of the sessions, by the names of tokens.
    """

    def __init__(self, guard: Guard, run: str, most: int, idle_seconds: float) -> None:
        self.guard = guard
        self.owners = Owners()
        self._run = run
        self._most = most
        self._idle_seconds = idle_seconds
        self._kept: OrderedDict[str, _SessionEntry] = OrderedDict()
        self._heard: dict[Session, _SessionEntry] = {}  # those, and others while somebody listens
        self._guards = {"": guard}  # by the names of tokens, of which only the user makes more
        self._count = 0
        self._mirrored: dict[str, tuple[object, _Mirrored]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def new(self, version: str | None, who: str = "") -> Session:
        """A conversation that begins, or one in which each message stands alone.

        Args:
            version: of MCP, where it is known.
            who: the name of the token that the client gave, or empty.
        """
        self._count += 1
        if who not in self._guards:
            self._guards[who] = self.guard.part(token_bytes(KEY_BYTES))
        session = Session(self._guards[who], f"{self._run}.{self._count}")
        session.resume(version or DEFAULT_REVISION)
        return session

    def of(self, session_id: str | None, version: str | None, who: str = "") -> Session:
        """The Session of a session id; one that knows nothing yet where the id is not known.

        The server says whether there is such a session: it may have outlived us.
        """
        kept = self._kept.get(session_id) if session_id is not None else None
        if session_id is None or kept is None:
            return self.new(version, who)
        kept.used = monotonic()
        self._kept.move_to_end(session_id)
        return kept.session

    def keep(self, session_id: str | None, session: Session) -> None:
        """The server has begun a session, or knows one that we did not."""
        if session_id is None or not is_session_id(session_id):
            return
        known = self._kept.get(session_id)
        if known is None or known.session is not session:
            self._expire()
            self._kept[session_id] = self._heard[session] = _SessionEntry(session)

    def forget(self, session_id: str | None) -> None:
        """A session is over."""
        kept = self._kept.pop(session_id or "", None)
        if kept is not None:
            self._heard.pop(kept.session, None)

    def mirrored(self, tool: str) -> _Mirrored:
        """Of a tool as it is trusted, the headers that repeat its parameters (2026-07-28)."""
        pin = self.guard.pin("tool", tool)
        if pin is None:
            self._mirrored.pop(tool, None)
            return {}  # nothing is kept under a name that a client has invented
        known = self._mirrored.get(tool)
        if known is not None and known[0] is pin:
            return known[1]
        text = pin.approved or pin.held
        found = request_headers.mirrored_by(parse_json(text.encode())) if text else {}
        self._mirrored[tool] = (pin, found)
        return found

    def patience(self, method: str | None) -> asyncio.Timeout:
        """For how long an answer is waited for, as the policy says; else for ever."""
        seconds = self.guard.policy.limits.timeout_seconds
        return asyncio.timeout(None if method in NEVER_OVERDUE else seconds)

    @contextmanager
    def expiring(self, method: str | None, expire: Callable[[], None]) -> Iterator[None]:
        """While an answer is waited for; `expire` is called when that takes too long."""
        seconds = self.guard.policy.limits.timeout_seconds
        if seconds is None or method in NEVER_OVERDUE:
            yield
            return
        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def listening(self, session: Session, listener: Listener) -> Iterator[None]:
        """While somebody hears what a conversation says unasked."""
        kept = self._heard.get(session)
        if kept is None:
            kept = self._heard[session] = _SessionEntry(session)
        kept.listeners.append(listener)
        try:
            yield
        finally:
            kept.listeners.remove(listener)
            kept.used = monotonic()
            if not kept.listeners and kept not in self._kept.values():
                self._heard.pop(session, None)

    def subscribed(
        self, method: str | None, session: Session, listener: Listener
    ) -> AbstractContextManager[None]:
        """While a request is answered, which may have asked to be told of changes (2026-07-28)."""
        return self.listening(session, listener) if method == LISTEN else nullcontext()

    def relist(self, kinds: Iterable[str]) -> None:
        """Tell whoever listens to list again what changed."""
        changed = frozenset(kinds)
        for kept in list(self._heard.values()):
            frames = kept.session.relist(changed)
            if frames and kept.listeners:
                kept.listeners[-1].send(frames)  # a message goes to one stream only

    def _expire(self) -> None:
        """Make room for one more; they stand in the order of their last use."""
        now = monotonic()
        for session_id, kept in list(self._kept.items()):
            idle = now - kept.used > self._idle_seconds
            if not kept.listeners and (idle or len(self._kept) >= self._most):
                self.forget(session_id)


def _short(session_id: str) -> bytes:
    """What stands for a session's id: as long for each, however long a server's may be."""
    return sha256(session_id.encode("utf-8", "surrogateescape")).digest()

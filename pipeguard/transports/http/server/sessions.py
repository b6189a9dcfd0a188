"""The sessions of one listener: a Session for each session id, forgotten when it is idle.

A session id is the server's or ours, and a secret: it is compared and never shown (MCP
2025-06-18, basic/transports, "Session Management").
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from time import monotonic
from weakref import WeakSet

from pipeguard.firewall.finding import TO_CLIENT, Verdict
from pipeguard.firewall.protocol import json_values, methods, strict_json
from pipeguard.firewall.session import memory, own_frames, replies
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.lifecycle import NEVER_OVERDUE, WaitingRoom
from pipeguard.firewall.session.session import Session, SessionTape
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.headers import is_session_id
from pipeguard.transports.http.request_headers import Mirrored, find_mirrored
from pipeguard.transports.pump import take_event, take_frame
from pipeguard.transports.recently_used import RecentlyUsed
from pipeguard.transports.tasks import Tasks

KEY_BYTES = 32
SESSION_BYTES = 24
MAX_OWNERS = 65536
DEFAULT_REVISION = "2025-03-26"  # without a header (MCP 2025-06-18, basic/transports)


Subscriber = Callable[[list[bytes]], object]  # sends a client frames without waiting


def subscriber(write: Callable[[bytes], Awaitable[None]]) -> Subscriber:
    """Send a client messages of our own, one frame after the other."""
    tasks = Tasks()

    async def write_all(frames: list[bytes]) -> None:
        with suppress(ChannelClosed, ConnectionError, RuntimeError):  # the client has just left
            for frame in frames:
                await write(frame)

    return lambda frames: tasks.begin(write_all(frames))


class _Entry:
    """A Session, when it was last used, and its current subscribers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.used_at = monotonic()
        self.subscribers: list[Subscriber] = []


class SessionOwners:
    """The token that opened each session: no other token may use it.

    An entry stays until the session ends, which may be long after its Session here is forgotten:
    the server's own lives on. Of too many entries, the oldest are dropped.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}  # of tokens, by the digest of a session id

    def own(self, session_id: str, who: str) -> None:
        """Record the token's name for a new session, if a token is required."""
        if not who:
            return
        while len(self._names) >= MAX_OWNERS:
            del self._names[next(iter(self._names))]
        self._names[digest(session_id)] = who

    def allow(self, session_id: str, who: str) -> bool:
        """True if a session belongs to this token, or to none that we know."""
        return not self._names or self._names.get(digest(session_id), who) == who

    def drop(self, session_id: str) -> None:
        """Forget a session that has ended."""
        self._names.pop(digest(session_id), None)


class Sessions:
    """The Sessions of one guarded server.

    Content for the client of one token goes to no other: each name has a guard of its own, while it
    has a Session or is one of the last used.

    Args:
        guard: policy, pins and detector of the server; its Sessions share it.
        run: names this run.
        most: Sessions to keep; above that, the least recently used is forgotten.
        idle_seconds: after which a Session is forgotten.
        owners: of the sessions of a listener that has other servers as well; its own if None.

    Attributes:
        owners: of the sessions, by the names of tokens.
        waiting_room: of calls in any of them that wait for a person.
        name_token: called with the name of a Session's run and that of its client's token, if any.
        record: takes the verdicts on frames that no client or server sent.
        find_memory: finds the memory of a token's client.
        find_tape: finds the tape of a Session, by its run, the name of its client's token, and the
            version: a message that has one begins no conversation.
    """

    name_token: Callable[[str, str], None] | None = None
    find_memory: Callable[[str], memory.ClientMemory | None] = staticmethod(lambda _: None)
    find_tape: Callable[[str, str, str | None], SessionTape | None] = staticmethod(lambda *_: None)
    record: Callable[[Verdict], object] = staticmethod(lambda _: None)

    def __init__(
        self,
        guard: Guard,
        run: str,
        most: int,
        idle_seconds: float,
        owners: SessionOwners | None = None,
    ) -> None:
        self.guard = guard
        self.owners = owners or SessionOwners()
        self.waiting_room = WaitingRoom()
        self._run = run
        self._most = most
        self._idle_seconds = idle_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # by session id
        self._with_subscribers: dict[Session, _Entry] = {}  # these, and others with subscribers
        self._guards = RecentlyUsed[Guard](most)  # by the names of tokens and subjects
        self._holds: dict[asyncio.Future[None], Session] = {}
        self._over = WeakSet[Session]()  # with calls that may still be judged
        self._count = 0
        self._mirrored: dict[str, tuple[object, Mirrored]] = {}

    def new(self, version: str | None, who: str = "") -> Session:
        """A Session for a conversation that begins, or for one message without a session.

        Args:
            version: of MCP, if it is known.
            who: the name of the client's token, or empty.
        """
        self._count += 1
        guard = self._guards.find(who, lambda: self._part_guard(who)) if who else self.guard
        run = f"{self._run}.{self._count}"
        session = Session(guard, run, version or DEFAULT_REVISION, self.waiting_room)
        session.tape = self.find_tape(run, who, version)
        if who and self.name_token is not None:
            self.name_token(session.run, who)
        return session

    def _part_guard(self, who: str) -> Guard:
        guard = self.guard.part(token_bytes(KEY_BYTES))
        guard.detector.ledger.client = self.find_memory(who)
        return guard

    def of(self, session_id: str | None, version: str | None, who: str = "") -> Session:
        """The Session of a session id; a new one if the id is unknown.

        The server says whether there is such a session: it may have outlived us.
        """
        entry = self._entries.get(session_id or "")
        if entry is None:
            return self.new(version, who)
        entry.used_at = monotonic()
        self._entries.move_to_end(session_id or "")
        return entry.session

    def keep(self, session_id: str | None, session: Session) -> None:
        """Store the Session of an id that the server has given, or knows."""
        entry = self._entries.get(session_id or "")
        if session_id is None or (entry is not None and entry.session is session):
            return
        if is_session_id(session_id):
            self._make_room()
            self._entries[session_id] = self._with_subscribers[session] = _Entry(session)

    def forget(self, session_id: str | None) -> None:
        """Forget a session that has ended."""
        entry = self._entries.pop(session_id or "", None)
        if entry is not None:
            self._with_subscribers.pop(entry.session, None)
            self.end_conversation(entry.session)

    def mirrored_headers(self, tool: str, who: str = "") -> Mirrored:
        """The headers that repeat a trusted tool's parameters (2026-07-28), with their paths.

        Args:
            tool: its name.
            who: the name of the client's token, which matters to a gateway.
        """
        pin = self.guard.pin("tool", tool)
        if pin is None:
            self._mirrored.pop(tool, None)
            return {}  # no data is stored under a name that a client has invented
        known = self._mirrored.get(tool)
        if known is not None and known[0] is pin:
            return known[1]
        definition = pin.approved_definition or pin.held_definition
        parsed = strict_json.parse_json(definition.encode()) if definition else None
        mirrored = find_mirrored(parsed)
        self._mirrored[tool] = (pin, mirrored)
        return mirrored

    def most_seconds(self, method: str | None) -> float | None:
        """The seconds that the policy waits for an answer; None for no limit."""
        return None if method in NEVER_OVERDUE else self.guard.policy.limits.timeout_seconds

    @contextmanager
    def expiring(self, method: str | None, expire: Callable[[], None]) -> Iterator[None]:
        """Call `expire` when an answer takes longer than the policy allows."""
        seconds = self.most_seconds(method)
        if seconds is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def subscribing(self, session: Session, subscriber: Subscriber) -> Iterator[None]:
        """Send to a subscriber the messages of its conversation."""
        entry = self._with_subscribers.setdefault(session, _Entry(session))
        entry.subscribers.append(subscriber)
        try:
            yield
        finally:
            entry.subscribers.remove(subscriber)
            entry.used_at = monotonic()
            if not entry.subscribers and entry not in self._entries.values():
                self._with_subscribers.pop(session, None)

    def answering(
        self, method: str | None, session: Session, subscriber: Subscriber
    ) -> AbstractContextManager[None]:
        """Subscribe while a request is answered, if it is `subscriptions/listen` (2026-07-28)."""
        return self.subscribing(session, subscriber) if method == methods.LISTEN else nullcontext()

    @contextmanager
    def holding(self, session: Session) -> Iterator[asyncio.Future[None]]:
        """Keep a conversation while one of its calls waits for a person.

        Yields:
            A future that is done once the conversation has ended.
        """
        over = asyncio.get_running_loop().create_future()
        if session in self._over:
            over.set_result(None)
        self._holds[over] = session
        try:
            yield over
        finally:
            del self._holds[over]
            if session in self._with_subscribers:
                self._with_subscribers[session].used_at = monotonic()

    def holds(self, session: Session) -> bool:
        """True while a call of a conversation waits for a person."""
        return session in self._holds.values()

    def end_conversation(self, session: Session) -> None:
        """End a finished conversation's record, and its waits for a person, also later ones."""
        self._over.add(session)
        self.end_holds(session)
        if session.tape is not None:
            session.tape.end()

    def end_holds(self, session: Session | None = None) -> None:
        """End all waits for a person, of one finished conversation or of all."""
        for over, held in self._holds.items():
            if session in (None, held) and not over.done():
                over.set_result(None)

    def relist(self, kinds: frozenset[str]) -> None:
        """Tell each conversation's latest subscriber to list the changed kinds again."""
        for session in self._list_subscribed():
            verdict = take_event(session, own_frames.ListsChanged(kinds, monotonic()), self.record)
            self.send(session, verdict.own_frames)

    def find_subscribed(self, run: str) -> Session | None:
        """The Session with this name, if its client listens for unrequested messages."""
        return next((each for each in self._list_subscribed() if each.run == run), None)

    def _list_subscribed(self) -> list[Session]:
        return [session for session, entry in self._with_subscribers.items() if entry.subscribers]

    def send(self, session: Session, frames: list[bytes]) -> None:
        """Send frames to the latest subscriber of a conversation, if it has one.

        Each frame goes to only one stream.
        """
        entry = self._with_subscribers.get(session)
        if frames and entry is not None and entry.subscribers:
            entry.subscribers[-1](frames)

    def tell_audit_loss(self) -> None:
        """Tell each conversation's latest subscriber that rows of the audit are lost."""
        for session in self._list_subscribed():
            notice = json_values.serialise(replies.make_notice())
            verdict = take_frame(session, TO_CLIENT, notice, is_aside=True)
            self.record(verdict)
            self.send(session, list(verdict.forwards))

    def _make_room(self) -> None:
        """Forget idle sessions, and the least recently used while there are too many."""
        now = monotonic()
        for session_id, entry in list(self._entries.items()):
            is_used = entry.subscribers or self.holds(entry.session)
            is_idle = now - entry.used_at > self._idle_seconds
            if not is_used and (is_idle or len(self._entries) >= self._most):
                self.forget(session_id)


def make_session_id() -> str:
    """Make a session id that no client can guess."""
    return token_urlsafe(SESSION_BYTES)


def digest(text: str) -> bytes:
    """SHA-256 of a header's value, of the same length however long the value is."""
    return sha256(text.encode("utf-8", "surrogateescape")).digest()

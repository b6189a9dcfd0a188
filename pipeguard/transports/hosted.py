"""One channel to a server, and the exchanges over HTTP that share it.

Every answer finds the exchange that asked, also where clients use one id twice: what is in use
goes up under an id of ours, and comes back under the client's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from pipeguard.core import answers
from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.framing import Lost
from pipeguard.core.message import (
    JsonObject,
    JsonValue,
    Number,
    asked_in,
    id_token_of,
    parse_json,
    serialise,
)
from pipeguard.core.session import Session
from pipeguard.errors import Refusal
from pipeguard.transports.carry import judged
from pipeguard.transports.channel import AsyncChannel, ChannelClosed

UNHEARD_FRAMES = 256  # that wait for a client which listens to nothing
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_GONE = "the server is gone"

Judge = Callable[[Session, bytes], Awaitable[bytes | None]]


class Stream:
    """Frames on their way to one HTTP response."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    def tell(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""
        for frame in frames:
            self._frames.put_nowait(frame)

    def end(self) -> None:
        """Nothing comes any more."""
        self._frames.put_nowait(None)

    async def next(self, awake_seconds: float) -> bytes | None:
        """The next frame; nothing after so long a silence; None at the end."""
        try:
            async with asyncio.timeout(awake_seconds):
                return await self._frames.get()
        except TimeoutError:
            return b""


class Exchange(Stream):
    """A POST that asked something.

    Args:
        session: judges what is said in it.
        hosted: where it is asked.
        lasting: False where a client that leaves gives up what it asked (MCP 2026-07-28).
    """

    def __init__(self, session: Session, hosted: Hosted, *, lasting: bool) -> None:
        super().__init__()
        self.session = session
        self.hosted = hosted
        self.lasting = lasting
        self._left: set[str] = set()

    @property
    def is_answered(self) -> bool:
        """True once all that was asked was answered, and the answers are taken."""
        return not self._left and self._frames.empty()

    @contextmanager
    def under_way(self, verdict: Verdict) -> Iterator[bytes]:
        """While it is answered; gives the frame that goes up."""
        frame = verdict.forward or b""
        value = parse_json(frame)
        asked = asked_in(value)
        self._left = set(asked)
        tickets = [self.hosted.admit(self, token) for token in asked]
        if tickets != asked and isinstance(value, dict):
            frame = serialise({**value, "id": _id(tickets[0])})
        token = _progress_token(value)
        if token is not None:
            self.hosted.progress[token] = self
        try:
            yield frame
        finally:
            if token is not None and self.hosted.progress.get(token) is self:
                del self.hosted.progress[token]
            self.hosted.leave(self, tickets, given_up=not self.lasting)
            self.session.leave()

    async def take(self, frame: bytes, token: str, judge: Judge) -> None:
        """An answer came."""
        told = await judge(self.session, frame)
        self._left.discard(token)
        if told is not None:
            self.tell([told])
        elif not self._left:
            self.end()

    def expire(self) -> None:
        """What still waits has waited for too long."""
        self.tell(self.session.expire(monotonic() + 1))
        self._left.clear()

    async def lose(self, judge: Judge) -> None:
        """No answer will come."""
        for token in sorted(self._left):
            await self.take(Lost.of(token, _GONE), token, judge)


class Hosted:
    """One channel to a server.

    Attributes:
        session: the conversation that it is, or that stands for messages which stand alone.
        progress: who asked with which progress token.
    """

    def __init__(
        self, channel: AsyncChannel, session: Session, record: Callable[[Verdict], None]
    ) -> None:
        self.session = session
        self.progress: dict[str, Exchange] = {}
        self._channel = channel
        self._record = record
        self._asked: dict[str, tuple[Exchange, str]] = {}  # by the id that went up
        self._renamed: dict[str, str] = {}
        self._streams: list[Stream] = []
        self._unheard: deque[bytes] = deque(maxlen=UNHEARD_FRAMES)
        self._count = 0
        self._used = monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._replies: set[asyncio.Task[None]] = set()

    def begin(self, ended: Callable[[], object]) -> None:
        """Read what the server says, until it ends."""
        self._reading = asyncio.create_task(self._read(ended))

    def idle_since(self, now: float) -> float:
        """For how many seconds nobody has used it."""
        return 0.0 if self._asked or self._streams else now - self._used

    async def write(self, frame: bytes) -> None:
        """Send a frame up.

        Raises:
            ChannelClosed: the server is gone.
        """
        self._used = monotonic()
        await self._channel.write(self._under_our_ids(frame) if self._renamed else frame)

    async def close(self) -> None:
        """End it; what waits is answered."""
        await self._channel.close()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def admit(self, exchange: Exchange, token: str) -> str:
        """Let a request wait for its answer; return the id under which it goes up."""
        ticket = token
        if token in self._asked:
            self._count += 1
            ticket = f'"pipeguard-{self._count}"'
            self._renamed[token] = ticket
        self._asked[ticket] = exchange, token
        return ticket

    def leave(self, exchange: Exchange, tickets: list[str], *, given_up: bool) -> None:
        """An exchange is over; its client may have left before the answer."""
        self._used = monotonic()
        for ticket in tickets:
            entry = self._asked.get(ticket)
            if entry is None or entry[0] is not exchange:
                continue
            if given_up:
                del self._asked[ticket]
                self._tell_server(answers.cancelled(ticket, "the client is gone"))
            if self._renamed.get(entry[1]) == ticket:
                del self._renamed[entry[1]]

    async def lose(self, exchange: Exchange) -> None:
        """The server is gone before it was asked."""
        await exchange.lose(self._judge)

    @contextmanager
    def listening(self) -> Iterator[Stream]:
        """While a client hears what it did not ask for."""
        stream = Stream()
        stream.tell(list(self._unheard))
        self._unheard.clear()
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)
            self._used = monotonic()

    # --- what the server says -----------------------------------------------------------

    async def _read(self, ended: Callable[[], object]) -> None:
        while (frame := await self._channel.read()) is not None:
            await self._take(frame)
        ended()
        for exchange in dict.fromkeys(exchange for exchange, _ in self._asked.values()):
            await exchange.lose(self._judge)
        self._asked.clear()
        for stream in self._streams:
            stream.end()
        await self._channel.close()

    async def _take(self, frame: bytes) -> None:
        value: JsonValue = None
        if not isinstance(frame, Lost):
            with suppress(Refusal):
                value = parse_json(frame)
        ticket = frame.id_token if isinstance(frame, Lost) else _answered(value)
        if ticket is not None:
            exchange, token = self._asked.pop(ticket, (None, ""))
            if exchange is not None:
                await exchange.take(_restored(frame, value, ticket, token), token, self._judge)
                return
        exchange = self._owner(value)
        told = await self._judge(exchange.session if exchange else self.session, frame)
        if told is not None:
            self._deliver(told, exchange)

    async def _judge(self, session: Session, frame: bytes) -> bytes | None:
        verdict = await judged(session, Direction.TO_CLIENT, frame)
        self._record(verdict)
        if verdict.reply is not None:
            self._tell_server(verdict.reply)
        return verdict.forward

    def _owner(self, value: JsonValue) -> Exchange | None:
        """Of what was not asked for, the exchange that it belongs to; None where none is named."""
        params = value.get("params") if isinstance(value, dict) else None
        if not isinstance(params, dict):
            return None
        token = id_token_of(params.get("progressToken"))
        if token is not None:
            return self.progress.get(token)
        meta = params.get("_meta")
        named = id_token_of(meta.get(SUBSCRIPTION)) if isinstance(meta, dict) else None
        entry = self._asked.get(named) if named is not None else None
        return entry[0] if entry is not None else None

    def _deliver(self, frame: bytes, exchange: Exchange | None) -> None:
        """To the one stream that it belongs on; a message goes to no two."""
        if exchange is None and self._streams:
            self._streams[0].tell([frame])
            return
        if exchange is None and self._asked:
            exchange = next(reversed(self._asked.values()))[0]
        if exchange is not None:
            exchange.tell([frame])
        else:
            self._unheard.append(frame)

    # --- ids ----------------------------------------------------------------------------

    def _under_our_ids(self, frame: bytes) -> bytes:
        """A cancellation names the request as it went up."""
        value = parse_json(frame)
        params = value.get("params") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(params, dict):
            return frame
        ticket = self._renamed.get(id_token_of(params.get("requestId")) or "")
        if value.get("method") != "notifications/cancelled" or ticket is None:
            return frame
        return serialise({**value, "params": {**params, "requestId": _id(ticket)}})

    def _tell_server(self, frame: bytes) -> None:
        task = asyncio.create_task(self._write_quietly(frame))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _write_quietly(self, frame: bytes) -> None:
        with suppress(ChannelClosed):
            await self._channel.write(frame)


def _answered(value: JsonValue) -> str | None:
    member = value[0] if isinstance(value, list) and value else value
    if isinstance(member, dict) and "method" not in member:
        return id_token_of(member.get("id"))
    return None


def _restored(frame: bytes, value: JsonValue, ticket: str, token: str) -> bytes:
    """An answer under the id that the client gave."""
    if ticket == token:
        return frame
    if isinstance(frame, Lost):
        return Lost.of(token, frame.why, frame.code)
    if isinstance(value, dict):
        changed: JsonObject = {**value, "id": _id(token)}
        return serialise(changed)
    return frame


def _id(token: str) -> JsonValue:
    """An id's value, of its token."""
    return parse_json(token.encode()) if token.startswith('"') else Number(token)


def _progress_token(value: JsonValue) -> str | None:
    params = value.get("params") if isinstance(value, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return id_token_of(meta.get("progressToken")) if isinstance(meta, dict) else None

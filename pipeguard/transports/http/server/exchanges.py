"""One channel to a server, and the exchanges over HTTP that share it.

Every answer finds the exchange that asked, also where clients use one id twice: what is in use
goes up under an id of ours, and comes back under the client's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic

from pipeguard.core.finding import Direction
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import is_request_shaped, legible_ids
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.ids import request_ids
from pipeguard.core.protocol.json_values import JsonValue, serialise
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import replies
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.transports.backlog import Backlog
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.server.streams import Stream
from pipeguard.transports.http.shared_ids import (
    answered_id,
    cancelled_id,
    progress_token_of,
    progress_tokens_in,
    subscription_id_of,
    with_answered_id,
    with_cancelled_id,
    with_progress_token,
    with_request_ids,
    with_subscription_id,
)
from pipeguard.transports.judging import Judge
from pipeguard.transports.tasks import Tasks

UNHEARD_FRAMES = 256  # that wait for a client which listens to nothing
UNHEARD_BYTES = 2**18
LATE_IDS = 256  # of which an answer may still come, for nobody
STUCK_SECONDS = 10.0  # after which a server that reads nothing is not well
_GONE = "the server is gone"
_SEVERAL = 2

JudgeAnswer = Callable[[Session, bytes], Awaitable[bytes | None]]


class Exchange(Stream):
    """A POST that asked something.

    Args:
        session: judges what is said in it.
        hosted: where it is asked.
        lasting: False where a client that leaves gives up what it asked (MCP 2026-07-28).

    Attributes:
        is_present: True while the client waits for what comes.
    """

    def __init__(self, session: Session, hosted: Hosted, *, lasting: bool) -> None:
        super().__init__(hosted.backlog)
        self.session = session
        self.hosted = hosted
        self.is_present = False
        self.lasting = lasting
        self._left: set[str] = set()

    @property
    def is_answered(self) -> bool:
        """True once all that was asked was answered, and the answers are taken."""
        return not self._left and self.is_taken

    @contextmanager
    def under_way(self, frame: bytes) -> Iterator[bytes]:
        """While it is answered; gives the frame that goes up."""
        value = parse_json(frame)
        self._left = set(request_ids(value))
        self.is_present = True
        tickets = [self.hosted.admit(self, token) for token in request_ids(value)]
        tokens = [self.hosted.admit_progress(self, token) for token in progress_tokens_in(value)]
        changed = [with_request_ids(frame, value, tickets, tokens)]
        del frame, value  # or they were kept for as long as the answer is waited for
        try:
            yield changed.pop()
        finally:
            self.is_present = False
            self.untaken()
            self.hosted.leave(self, given_up=not self.lasting or self.is_cut)
            self.session.leave()

    def send(self, frames: list[bytes]) -> None:
        """Send these, without waiting; a client that is gone gets nothing."""
        if self.is_present:
            super().send(frames)

    async def take(self, frame: bytes, tokens: list[str], judge: JudgeAnswer) -> None:
        """An answer came to these of what was asked."""
        told = [await judge(self.session, frame)]
        # What came may be no such answer; another will not come.
        for token in sorted(set(tokens) & set(self.session.waiting())):
            lost = Lost.of(token, "the server broke the protocol", codes.PEER_BROKE_PROTOCOL)
            told.append(await judge(self.session, lost))
        self._left.difference_update(tokens)
        self.send([one for one in told if one is not None])
        if not self._left and self.is_taken:
            self.end()

    def expire(self) -> None:
        """What still waits has waited for too long."""
        self.send(self.session.expire(monotonic() + 1))
        self._left.clear()

    async def lose(self, judge: JudgeAnswer, why: str = _GONE, code: int = codes.PEER_GONE) -> None:
        """No answer will come."""
        for token in sorted(self._left):
            await self.take(Lost.of(token, why, code), [token], judge)

    def give_up(self, token: str) -> None:
        """The client does not want this answer any more."""
        self._left.discard(token)
        if not self._left:
            self.end()

    def abandon(self) -> None:
        """Nothing can be told any more."""
        if self._left:
            self._left.clear()
            self.end()


class Hosted:
    """One channel to a server.

    Args:
        channel: it.
        session: the conversation that it is, or that stands for messages which stand alone.
        judge: judges each message, and records the verdict.
        backlog: of all that clients do not take.
        is_shared: True where clients share it who know nothing of each other.
        waits: False where the server is not made to wait for a client that does not read, since
            others would have to wait as well.

    Attributes:
        session: as it was given.
        backlog: as it was given.
    """

    def __init__(
        self,
        channel: AsyncChannel,
        session: Session,
        judge: Judge,
        backlog: Backlog,
        *,
        is_shared: bool = False,
        waits: bool = True,
    ) -> None:
        self._waits = waits
        self.session = session
        self.backlog = backlog
        self._channel = channel
        self._ask_session = judge
        self._is_shared = is_shared
        self._asked: dict[str, tuple[Exchange, str]] = {}  # by the id that went up
        self._progress: dict[str, tuple[Exchange, str]] = {}  # by the token that went up
        self._late: deque[str] = deque(maxlen=LATE_IDS)  # that were given up
        self._streams: list[Stream] = []
        self._unheard: deque[tuple[bytes, bool]] = deque()  # True where it was judged
        self._unheard_bytes = 0
        self._count = 0
        self._used = monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._replies = Tasks()
        self._writing: dict[object, float] = {}  # since when, the oldest first
        self._is_deaf = self._is_closing = False
        self._has_spoken = False

    @property
    def was_stillborn(self) -> bool:
        """True where the server ended by itself, and never said anything."""
        return not self._has_spoken and not self._is_closing

    @property
    def is_well(self) -> bool:
        """True while the server takes what it is sent, as far as can be told."""
        oldest = next(iter(self._writing.values()), None)
        return not self._is_deaf and (oldest is None or monotonic() - oldest < STUCK_SECONDS)

    def begin(self, ended: Callable[[], object]) -> None:
        """Read what the server says, until it ends."""
        self._reading = asyncio.create_task(self._read(ended))

    def idle_since(self, now: float) -> float:
        """For how many seconds nobody has used it."""
        return 0.0 if self._streams or self._present() else now - self._used

    def use(self) -> None:
        """Somebody is about to use it."""
        self._used = monotonic()

    async def write(self, frame: bytes) -> None:
        """Send a frame of an exchange up.

        Raises:
            ChannelClosed: the server is gone.
        """
        self._used = monotonic()
        await self._write(frame)

    async def notify(self, frame: bytes) -> None:
        """Send up what needs no answer; a cancellation names the request as it went up.

        Raises:
            ChannelClosed: the server is gone.
        """
        self._used = monotonic()
        value = parse_json(frame)
        if isinstance(value, list):
            changed: JsonValue = [self._cancelling(member) for member in value]
        else:
            changed = self._cancelling(value)
        await self._write(frame if changed == value else serialise(changed))

    async def _write(self, frame: bytes) -> None:
        entry = object()
        self._writing[entry] = monotonic()
        try:
            await self._channel.write(frame)
        except ChannelClosed:
            self._is_deaf = True
            raise
        finally:
            del self._writing[entry]

    async def close(self) -> None:
        """End it; what waits is answered."""
        self._is_closing = True
        await self._channel.close()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    def admit(self, exchange: Exchange, token: str) -> str:
        """Let a request wait for its answer; return the id under which it goes up."""
        ticket = self._free(token, self._asked)
        self._asked[ticket] = exchange, token
        return ticket

    def admit_progress(self, exchange: Exchange, token: str) -> str:
        """Let progress be told; return the token by which it is."""
        ticket = self._free(token, self._progress)
        self._progress[ticket] = exchange, token
        return ticket

    def _free(self, token: str, used: Mapping[str, object]) -> str:
        if token not in used and token not in self._late:
            return token
        self._count += 1
        return f'"pipeguard-{self._count}"'

    def _forget(self, exchange: Exchange) -> None:
        for ticket, (owner, _) in list(self._asked.items()):
            if owner is exchange:
                del self._asked[ticket]
                self._late.append(ticket)

    def leave(self, exchange: Exchange, *, given_up: bool) -> None:
        """An exchange is over; its client may have left before the answer."""
        self._used = monotonic()
        for ticket, (owner, _) in list(self._progress.items()):
            if owner is exchange:
                del self._progress[ticket]
        for ticket, (owner, _) in list(self._asked.items()):
            if owner is exchange and given_up:
                del self._asked[ticket]
                self._late.append(ticket)
                self._tell_server(replies.cancelled(ticket, "the client is gone"))

    async def lose(self, exchange: Exchange, why: str = _GONE, code: int = codes.PEER_GONE) -> None:
        """What it asked will not be answered: the server is gone, or was never asked."""
        self._forget(exchange)
        await exchange.lose(self._judge, why, code)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Stream]:
        """While a client hears what it did not ask for."""
        stream = Stream(self.backlog)
        try:
            while self._unheard:
                frame, is_judged = self._oldest()
                told = frame if is_judged else await self._judge(self.session, frame)
                stream.send([] if told is None else [told])
            self._streams.append(stream)
            yield stream
        finally:
            if stream in self._streams:
                self._streams.remove(stream)
            if left := stream.untaken():
                self._replies.begin(self._pass_on(left))
            self._used = monotonic()

    async def _pass_on(self, frames: list[bytes]) -> None:
        for frame in frames:
            await self._deliver(frame, None)

    # --- what the server says -----------------------------------------------------------

    async def _read(self, ended: Callable[[], object]) -> None:
        try:
            with suppress(PipeGuardError):  # nothing can be written down, so nothing passes
                while (frame := await self._channel.read()) is not None:
                    self._has_spoken = True
                    await self._take(frame)
                    if self._waits:
                        for stream in [*self._streams, *self._present()]:
                            await stream.make_room()
        finally:  # whatever happened, nobody waits for this server any more
            ended()
            await self._answer_all()

    async def _answer_all(self) -> None:
        """The server is gone: answer what waits, and end the streams."""
        self._is_deaf = True
        exchanges = dict.fromkeys(exchange for exchange, _ in self._asked.values())
        with suppress(PipeGuardError):
            for exchange in exchanges:
                await exchange.lose(self._judge)
        for exchange in exchanges:
            exchange.abandon()
        self._asked.clear()
        for stream in self._streams:
            stream.end()
        await self._channel.close()

    async def _take(self, frame: bytes) -> None:
        value, ticket = _answered(frame)
        if isinstance(value, list):
            await self._take_many(frame, value)
            return
        if value is None and await self._take_unread(frame):
            return
        asked = self._asked.get(ticket or "")
        if asked is not None and ticket is not None:
            exchange, token = asked
            await exchange.take(_restored(frame, value, ticket, token), [token], self._judge)
            self._asked.pop(ticket, None)
            return
        if ticket is not None and ticket in self._late:
            self._late.remove(ticket)
            return
        owner, frame = self._owner(frame, value)
        if owner is None and _is_notification(value) and not self._is_heard():
            if not self._is_shared:
                await self._keep(frame, is_judged=False)
            return
        told = await self._judge(self.session if owner is None else owner.session, frame)
        if told is not None:
            await self._deliver(told, owner)

    async def _take_unread(self, frame: bytes) -> bool:
        """What cannot be read; True where it held several answers to what was asked."""
        tickets = [
            ticket for ticket, asks in legible_ids(frame) if not asks and ticket in self._asked
        ]
        if len(tickets) < _SEVERAL:
            return False
        for ticket in tickets:
            if ticket in self._asked:
                await self._give_up(ticket)
        return True

    async def _give_up(self, ticket: str) -> None:
        """Its answer cannot be read; one that comes later is for nobody."""
        exchange, token = self._asked.pop(ticket)
        self._late.append(ticket)
        lost = Lost.of(token, "the answer cannot be read", codes.UNSCANNABLE)
        await exchange.take(lost, [token], self._judge)

    async def _take_many(self, frame: bytes, members: list[JsonValue]) -> None:
        """A batch; of answers to several exchanges, to each its own."""
        parts: dict[Exchange | None, tuple[list[JsonValue], dict[str, str]]] = {}
        for member in members:
            ticket = answered_id(member)
            exchange, token = self._asked.get(ticket or "", (None, ""))
            own, tickets = parts.setdefault(exchange, ([], {}))
            own.append(with_answered_id(member, ticket, token) if ticket and exchange else member)
            if ticket is not None:
                tickets[ticket] = token
        for exchange, (own, tickets) in parts.items():
            part = frame if own == members else serialise(own)
            if exchange is not None:
                await exchange.take(part, list(tickets.values()), self._judge)
                for ticket in tickets:
                    self._asked.pop(ticket, None)
            elif (told := await self._judge(self.session, part)) is not None:
                await self._deliver(told, None)

    async def _judge(self, session: Session, frame: bytes) -> bytes | None:
        verdict = await self._ask_session(session, Direction.TO_CLIENT, frame)
        if verdict.reply is not None:
            self._tell_server(verdict.reply)
        if verdict.is_astray:
            for ticket, (exchange, token) in list(self._asked.items()):
                if ticket in self._asked and exchange.session.is_due(token):
                    await self._give_up(ticket)
        return verdict.forward

    def _owner(self, frame: bytes, value: JsonValue) -> tuple[Exchange | None, bytes]:
        """Of what was not asked for, the exchange that it belongs to, and as that knows it."""
        if not isinstance(value, dict):
            return None, frame
        if (told := progress_token_of(value)) is not None:
            exchange, token = self._progress.get(told, (None, told))
            changed = with_progress_token(value, token)
        elif (named := subscription_id_of(value)) is not None:
            exchange, token = self._asked.get(named, (None, named))
            changed = with_subscription_id(value, token)
        else:
            return None, frame
        return exchange, frame if changed == value else serialise(changed)

    def _present(self) -> list[Exchange]:
        """The exchanges whose clients wait, the latest last."""
        waiting = dict.fromkeys(exchange for exchange, _ in self._asked.values())
        return [exchange for exchange in waiting if exchange.is_present]

    def _is_heard(self) -> bool:
        """True where somebody hears at once what belongs to nothing that was asked."""
        if self._is_shared:  # of several, nobody can tell whose it is
            return bool(self._streams) or len(self._present()) == 1
        return bool(self._streams or self._present())

    async def _keep(self, frame: bytes, *, is_judged: bool = True) -> None:
        """Keep what nobody hears yet; of too much, the oldest goes, and what asks is answered.

        A notification is judged when somebody hears it: one server may have many clients, and
        what it says to all of them costs nothing where nobody listens.
        """
        self._unheard.append((frame, is_judged))
        self._unheard_bytes += len(frame)
        while len(self._unheard) > UNHEARD_FRAMES or self._unheard_bytes > UNHEARD_BYTES:
            oldest, _ = self._oldest()
            for token in request_ids(parse_json(oldest)):
                why = "PipeGuard: the client does not listen"
                answer = replies.error(token, codes.METHOD_NOT_FOUND, why)
                verdict = await self._ask_session(self.session, Direction.TO_SERVER, answer)
                if verdict.forward is not None:
                    self._tell_server(verdict.forward)

    def _oldest(self) -> tuple[bytes, bool]:
        """Take what nobody has heard for the longest time."""
        frame, is_judged = self._unheard.popleft()
        self._unheard_bytes -= len(frame)
        return frame, is_judged

    async def _deliver(self, frame: bytes, exchange: Exchange | None) -> None:
        """To the one stream that it belongs on; a message goes to no two."""
        if exchange is None and not self._is_shared and _may_belong(frame):
            waiting = self._present()
            exchange = waiting[0] if len(waiting) == 1 else None  # else nobody can tell of which
        if exchange is None and self._streams:
            # An older stream may be of a connection that is lost.
            self._tell(self._streams[-1], frame)
            return
        if exchange is None:
            present = self._present()
            if self._is_shared and len(present) != 1:
                return  # nobody can tell whose it is, and it is not everybody's
            exchange = present[-1] if present else None
        if exchange is not None:
            self._tell(exchange, frame)
        elif not self._is_shared:
            await self._keep(frame)

    def _tell(self, stream: Stream, frame: bytes) -> None:
        """Send what is no answer; where no server waits, who does not read misses notifications.

        Else they would fill the stream until it is cut, and the answer that comes after them with
        it.
        """
        if self._waits or not stream.is_full or not _is_notification(parse_json(frame)):
            stream.send([frame])

    # --- ids ----------------------------------------------------------------------------

    def _cancelling(self, value: JsonValue) -> JsonValue:
        """A cancellation of what it names first; that waits for no answer any more."""
        named = cancelled_id(value)
        if named is None or not isinstance(value, dict):
            return value
        for ticket, (exchange, token) in self._asked.items():
            if token == named:
                del self._asked[ticket]
                self._late.append(ticket)
                exchange.give_up(token)
                return with_cancelled_id(value, ticket)
        return value

    def _tell_server(self, frame: bytes) -> None:
        self._replies.begin(self._write_quietly(frame))

    async def _write_quietly(self, frame: bytes) -> None:
        with suppress(ChannelClosed):
            await self._write(frame)


def _is_notification(value: JsonValue) -> bool:
    return isinstance(value, dict) and "method" in value and "id" not in value


def _may_belong(frame: bytes) -> bool:
    """True for what a server says because it was asked something: requests, and its log.

    What it says unasked is told on the stream for that (MCP 2025-11-25, basic/transports,
    "Sending Messages to the Server" and "Listening for Messages from the Server").
    """
    value = parse_json(frame)
    said = value.get("method") if isinstance(value, dict) else None
    return bool(request_ids(value)) or said == "notifications/message"


def _answered(frame: bytes) -> tuple[JsonValue, str | None]:
    """What a frame says where it can be read, and the id of what it answers."""
    if isinstance(frame, Lost):
        return None, frame.id_token
    try:
        value = parse_json(frame)
    except Refusal as refusal:
        return None, None if is_request_shaped(frame) else refusal.id_token
    return value, answered_id(value)


def _restored(frame: bytes, value: JsonValue, ticket: str, token: str) -> bytes:
    """An answer under the id that the client gave."""
    if ticket == token:
        return frame
    if not isinstance(value, dict):  # one that cannot be read has no id that could be changed
        if isinstance(frame, Lost):
            return Lost.of(token, frame.why, frame.code)
        return Lost.of(token, "the answer cannot be read", codes.UNSCANNABLE)
    return serialise(with_answered_id(value, ticket, token))

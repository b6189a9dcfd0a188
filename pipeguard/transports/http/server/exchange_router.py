"""Routes the frames of one channel between a server and the exchanges over HTTP that share it.

Every answer reaches the exchange that waits for it, even if clients use one id twice. Any other
message of the server's is sent on a single stream. A progress report or a subscription determines
it; otherwise it is a client's stream for unrequested messages, or the stream of a request in
progress. While no client listens, the message is stored.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.ids import request_ids
from pipeguard.firewall.protocol.json_values import JsonValue, as_object
from pipeguard.firewall.protocol.strict_json import parse_json, without_value
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Backlog, Outbox
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, Failure, leave
from pipeguard.transports.http.correlator import (
    Correlator,
    cancelled_id,
    find_answers,
    with_answered_id,
    with_cancelled_id,
    with_owners_token,
)
from pipeguard.transports.judging import (
    Judge,
    is_notification,
    offload,
    parse_value,
    read_frame,
    to_frame,
)
from pipeguard.transports.tasks import Tasks

JudgeAnswer = Callable[[Session, bytes], Awaitable[bytes | None]]
STREAM_BYTES = 2**18  # unsent to one client; above that its server is not read


class Stream:
    """Frames on their way to one HTTP response.

    Args:
        backlog: counts the unsent bytes of all clients; above its limit, it cuts the stream of the
            client that has taken nothing for the longest time.

    Attributes:
        is_cut: True once it was given up: its frames are dropped, and none are added.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._outbox = Outbox(STREAM_BYTES)
        self.end = self._outbox.end
        self._backlog = backlog
        self.is_cut = False

    @property
    def is_full(self) -> bool:
        """True while its client is too slow for its server."""
        return self._outbox.is_full

    def send(self, frames: list[bytes]) -> None:
        """Send these without waiting."""
        for frame in frames:
            if not self.is_cut:
                self._outbox.put(without_value(frame))
                self._count()

    def cut(self) -> None:
        """Drop the unsent frames, and end."""
        self.is_cut = True
        self.clear()
        self.end()

    def clear(self) -> list[bytes]:
        """Take back the unsent frames."""
        frames = self._outbox.clear()
        self._count()
        return frames

    async def next(self, awake_seconds: float) -> bytes | None:
        """The next frame; empty after a silence, None at the end."""
        try:
            async with asyncio.timeout(awake_seconds):
                frame = await self._outbox.get()
        except TimeoutError:
            return b""
        self._count()
        return frame

    async def make_room(self) -> None:
        """Wait while the stream is full; cut it once its client reads nothing for too long."""
        try:
            while self.is_full:
                async with asyncio.timeout(UNTAKEN_SECONDS):
                    await self._outbox.wait_taken()
        except TimeoutError:
            self.cut()

    def _count(self) -> None:
        self._backlog.note(self, self._outbox.size_bytes, self.cut)


class Exchange(Stream):
    """A POST with requests, until they are answered.

    Args:
        session: judges its messages.
        backlog: counts the unsent bytes of all clients.
        lasting: False if a client that leaves cancels its requests (MCP 2026-07-28).

    Attributes:
        is_present: True while the client waits.
    """

    def __init__(self, session: Session, backlog: Backlog, *, lasting: bool) -> None:
        super().__init__(backlog)
        self.session = session
        self.lasting = lasting
        self.is_present = False
        self._unanswered: set[str] = set()

    @property
    def is_answered(self) -> bool:
        """True once all requests are answered, and the answers sent."""
        return not self._unanswered and not len(self._outbox)

    def begin(self, ids: Iterable[str]) -> None:
        """Wait for the answers to these requests."""
        self._unanswered = set(ids)
        self.is_present = True

    def leave(self) -> None:
        """Drop the unsent frames: the client no longer waits."""
        self.is_present = False
        self.clear()

    def send(self, frames: list[bytes]) -> None:
        """Send frames without waiting; drop them if the client is gone."""
        if self.is_present:
            super().send(frames)

    async def take(self, frame: bytes, token: str, judge: JudgeAnswer) -> None:
        """Pass on the answer to one of the requests."""
        frames = [await judge(self.session, frame)]
        if token in self.session.state.waiting_ids():  # the frame does not answer it; no other will
            failure = Failure("the server broke the protocol", codes.PEER_BROKE_PROTOCOL)
            frames.append(await judge(self.session, failure.to_frame(token)))
        self._unanswered.discard(token)
        self.send([frame for frame in frames if frame is not None])
        if self.is_answered:
            self.end()

    def expire(self, judge: Judge) -> None:
        """Answer the requests that have waited for too long."""
        self.send(judge.answer_overdue(self.session, early_seconds=1))
        self._unanswered.clear()

    async def lose(self, failure: Failure, judge: JudgeAnswer) -> None:
        """Tell the client that no further answer will come."""
        for token in sorted(self._unanswered):
            await self.take(failure.to_frame(token), token, judge)

    def cancel(self, token: str) -> None:
        """Stop waiting for an answer that the client no longer wants."""
        self._unanswered.discard(token)
        if not self._unanswered:
            self.end()

    def abandon(self) -> None:
        """End without answers, because no answer can be sent any more."""
        if self._unanswered:
            self._unanswered.clear()
            self.end()


# --- routing --------------------------------------------------------------------------

UNHEARD_FRAMES = 256
UNHEARD_BYTES = 2**18
GONE = Failure("the server hung up")


def present(ids: Correlator[Exchange]) -> list[Exchange]:
    """The exchanges that wait for answers with their clients connected, the latest last."""
    return [exchange for exchange in ids.owners() if exchange.is_present]


def _may_belong_to_a_request(frame: bytes) -> bool:
    """True for messages of a server while it handles a request: its own requests, and its log.

    Other unrequested messages are sent on their own stream (MCP 2025-11-25, basic/transports,
    "Sending Messages to the Server" and "Listening for Messages from the Server").
    """
    value = parse_json(frame)
    return bool(request_ids(value)) or as_object(value).get("method") == "notifications/message"


class ExchangeRouter:
    """One channel to a server, and the exchanges that share it.

    Args:
        channel: to the server.
        session: the conversation, or a stand-in for messages without a session.
        judge: judges each message, and records the verdict.
        backlog: counts the unsent bytes of all clients.
        is_shared: True if the clients know nothing of each other.
        waits: False if the server must not wait for a client that does not read, because other
            clients would have to wait as well.

    Attributes:
        session: as it was given.
        streams: of clients that listen to unrequested messages, the latest last.
        unheard_bytes: of the stored frames.
    """

    def __init__(
        self,
        channel: AsyncChannel,
        session: Session,
        judge: Judge,
        *,
        backlog: Backlog,
        is_shared: bool = False,
        waits: bool = True,
    ) -> None:
        self.session = session
        self._backlog = backlog
        self._waits = waits
        self._channel = channel
        self._judge = judge
        self._is_shared = is_shared
        self._ids: Correlator[Exchange] = Correlator(is_unique=False)
        self.streams: list[Stream] = []
        self._unheard: deque[tuple[bytes, bool]] = deque()  # frames, and if they were judged
        self.unheard_bytes = 0
        self._used_at = monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._has_ended = self._is_closing = self._has_spoken = False

    @property
    def was_stillborn(self) -> bool:
        """True if the server ended by itself before it sent a frame."""
        return not self._has_spoken and not self._is_closing

    def begin(self, ended: Callable[[], object]) -> None:
        """Read the server's frames until it ends."""
        self._reading = asyncio.create_task(self._read(ended))

    def idle_seconds(self, now: float) -> float:
        """The seconds after its last use."""
        return 0.0 if self.streams or present(self._ids) else now - self._used_at

    def use(self) -> None:
        """Record a use that begins."""
        self._used_at = monotonic()

    async def close(self) -> None:
        """End the server; answer all waiting requests."""
        self._is_closing = True
        await self._channel.close()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    # --- exchanges ----------------------------------------------------------------------

    @contextmanager
    def answering(self, exchange: Exchange, value: JsonValue) -> Iterator[list[JsonValue]]:
        """Route answers to an exchange; yields its messages as they are sent."""
        exchange.begin(request_ids(value))
        members = value if isinstance(value, list) else [value]
        sent = [self._ids.add(exchange, member) for member in members]
        del value, members  # otherwise it would be kept until the answer comes
        try:
            yield sent
        finally:
            exchange.leave()
            self._end(exchange)
            exchange.session.leave()

    def _end(self, exchange: Exchange) -> None:
        """Forget an exchange; cancel the requests of a client that left, if it cannot come back."""
        self._used_at = monotonic()
        self._ids.forget_progress(exchange)
        for sent_id in self._ids.owned_ids(exchange):
            if exchange.lasting and not exchange.is_cut:
                leave(self._channel, sent_id)
            else:
                self._ids.give_up(sent_id)
                self._send_soon(replies.make_cancellation(sent_id, "the client hung up"))

    async def lose(self, exchange: Exchange, failure: Failure = GONE) -> None:
        """Tell an exchange that its answers will not come."""
        for sent_id in self._ids.owned_ids(exchange):
            self._ids.give_up(sent_id)
        await exchange.lose(failure, self._judge_answer)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Stream]:
        """A stream for unrequested messages, while a client reads it."""
        stream = Stream(self._backlog)
        try:
            while self._unheard:
                frame, is_judged = self._take_oldest()
                judged = frame if is_judged else await self._judge_answer(self.session, frame)
                stream.send([] if judged is None else [judged])
            self.streams.append(stream)
            yield stream
        finally:
            if stream in self.streams:
                self.streams.remove(stream)
            for frame in stream.clear():
                self._tasks.begin(self._deliver(frame, None))
            self._used_at = monotonic()

    # --- to the server ------------------------------------------------------------------

    async def notify(self, frame: bytes) -> None:
        """Send notifications; a cancellation names the request as it was sent.

        Raises:
            ChannelClosed: the server is gone.
        """
        value = await parse_value(frame)
        for member in value if isinstance(value, list) else [value]:
            changed, token = member, cancelled_id(member)
            sent_id = None if token is None else self._ids.find(token)
            if sent_id is not None and isinstance(member, dict):
                given_up = self._ids.give_up(sent_id)  # its answer is no longer expected
                given_up.owner.cancel(given_up.token)
                changed = with_cancelled_id(member, sent_id)
            await self.send(frame if changed is value else await to_frame(changed))

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the server is gone.
        """
        await self._channel.write(frame)
        # The pipe of a server that has ended takes frames until it is closed. Whoever was waiting
        # is answered by then, and this one would get no answer.
        if self._has_ended:
            raise ChannelClosed("the server hung up")

    def _send_soon(self, frame: bytes) -> None:
        self._tasks.begin(self._write_quietly(frame))

    async def _write_quietly(self, frame: bytes) -> None:
        with suppress(ChannelClosed):
            await self.send(frame)

    # --- from the server ----------------------------------------------------------------

    async def _read(self, ended: Callable[[], object]) -> None:
        try:
            with suppress(PipeGuardError):  # a verdict cannot be recorded, so nothing may pass
                while (frame := await self._channel.read()) is not None:
                    self._has_spoken = True
                    await self._take(await read_frame(frame))
                    await self._wait_for_clients()
        finally:  # whatever happened, no client waits for this server any more
            self._has_ended = True
            ended()
            await self._answer_all()

    async def _wait_for_clients(self) -> None:
        if self._waits:
            for stream in [*self.streams, *present(self._ids)]:
                await stream.make_room()

    async def _answer_all(self) -> None:
        """Answer all requests that wait for a server that is gone, and end the streams."""
        exchanges = self._ids.owners()
        failure = Failure(self._judge.ending) if self._judge.ending else GONE
        with suppress(PipeGuardError):
            for exchange in exchanges:
                await exchange.lose(failure, self._judge_answer)
        for exchange in exchanges:
            exchange.abandon()
        self._ids.clear()
        for stream in self.streams:
            stream.end()
        await self._channel.close()

    async def _take(self, frame: bytes) -> None:
        value, tokens = await offload(frame, find_answers, frame)
        answered = [self._ids.match_answer(token) for token in tokens]
        sent_ids = [own for own in dict.fromkeys(answered) if self._ids.get(own) is not None]
        if sent_ids and (isinstance(value, list) or len(sent_ids) > 1):
            for sent_id in sent_ids:  # in a batch, which was not asked for: none of them will come
                lost = self._ids.give_up(sent_id)
                failed = Failure.of(frame).to_frame(lost.token)
                await lost.owner.take(failed, lost.token, self._judge_answer)
            if isinstance(value, list):
                for member in filter(request_ids, value):  # the server waits for its answer
                    await self._take_unrequested(await to_frame(member), member)
        elif sent_ids and (origin := self._ids.get(sent_id := sent_ids[0])) is not None:
            answer = await _with_client_id(frame, value, sent_id, origin.token)
            await origin.owner.take(answer, origin.token, self._judge_answer)
            self._ids.pop(sent_id)
        elif not any(map(self._ids.is_late, answered)):
            await self._take_unrequested(frame, value)

    async def _take_unrequested(self, frame: bytes, value: JsonValue) -> None:
        origin = self._ids.origin(value)
        if origin is None and is_notification(value) and self._choose_stream(frame) is None:
            if not self._is_shared:
                await self._store(frame, is_judged=False)
            return
        owner = None if origin is None else origin.owner
        if origin is not None and isinstance(value, dict):
            changed = with_owners_token(value, origin.token)
            frame = frame if changed == value else await to_frame(changed)
        session = self.session if owner is None else owner.session
        judged = await self._judge_answer(session, frame)
        if judged is not None:
            await self._deliver(judged, owner)

    # --- unrequested messages -----------------------------------------------------------

    async def _deliver(self, frame: bytes, exchange: Exchange | None) -> None:
        """Send a message, or store it.

        Args:
            frame: was judged.
            exchange: that it certainly belongs to, or None.
        """
        stream = self._choose_stream(frame, exchange)
        if stream is None:
            if not self._is_shared:  # otherwise its owner is unknown
                await self._store(frame, is_judged=True)
        # If the server does not wait, a full stream misses notifications: they would fill it until
        # it is cut, together with the answer behind them.
        elif self._waits or not stream.is_full or not is_notification(parse_json(frame)):
            stream.send([frame])

    async def _store(self, frame: bytes, *, is_judged: bool) -> None:
        """Store a frame that no client hears yet; drop the oldest ones beyond the limits.

        A notification is judged when a client hears it: a server may have many clients, and its
        messages to all of them cost nothing while no client listens.
        """
        self._unheard.append((without_value(frame), is_judged))
        self.unheard_bytes += len(frame)
        while len(self._unheard) > UNHEARD_FRAMES or self.unheard_bytes > UNHEARD_BYTES:
            await self._refuse(self._take_oldest()[0])

    def _take_oldest(self) -> tuple[bytes, bool]:
        frame, is_judged = self._unheard.popleft()
        self.unheard_bytes -= len(frame)
        return frame, is_judged

    def _choose_stream(self, frame: bytes, exchange: Exchange | None = None) -> Stream | None:
        if exchange is not None:
            return exchange
        waiting = present(self._ids)
        if not self._is_shared and len(waiting) == 1 and _may_belong_to_a_request(frame):
            return waiting[0]  # with two, the right one would be unknown
        if self.streams:
            return self.streams[-1]  # an older stream's connection may be lost
        if self._is_shared and len(waiting) != 1:
            return None
        return waiting[-1] if waiting else None

    async def _judge_answer(self, session: Session, frame: bytes) -> bytes | None:
        """Judge a frame of the server's; return the frame for the client."""
        verdict = await self._judge(session, Direction.TO_CLIENT, frame)
        if verdict.reply is not None:
            self._send_soon(verdict.reply)
        return verdict.forward

    async def _refuse(self, frame: bytes) -> None:
        """Answer the server's requests in a frame that is dropped because no client listens."""
        for token in request_ids(await parse_value(frame)):
            why = "PipeGuard: the client does not listen"
            answer = replies.error(token, codes.METHOD_NOT_FOUND, why)
            verdict = await self._judge(self.session, Direction.TO_SERVER, answer)
            if verdict.forward is not None:
                self._send_soon(verdict.forward)


async def _with_client_id(frame: bytes, value: JsonValue, sent_id: str, token: str) -> bytes:
    """An answer with the client's id."""
    if sent_id == token:
        return frame
    if isinstance(value, dict):
        return await to_frame(with_answered_id(value, sent_id, token))
    return Failure.of(frame).to_frame(token)  # an unreadable answer has no id to change

"""One client's conversation with one server: a Session between the gateway and a channel.

Both directions are judged as `wrap` judges them; the gateway only gets messages that passed.
Requests are sent under ids of ours, so that answers cannot be mistaken. Knows no tools and no menu.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import NamedTuple, Protocol

from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.protocol import codes, framing
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_list,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.methods import LISTEN
from pipeguard.firewall.session.lifecycle import NEVER_OVERDUE
from pipeguard.firewall.session.own_frames import ServerGone
from pipeguard.firewall.session.replies import MARK, MAY_HAVE_ACTED
from pipeguard.firewall.session.session import Session
from pipeguard.gateway.eras import Opening, find_meta, refusal, with_envelope, write_message
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE, UNSUBSCRIBE
from pipeguard.transports.judging import (
    Judge,
    read_frame,
    read_message,
    to_frame,
    wait_for_decision,
)
from pipeguard.transports.pump import take_event

MOST_PAGES = 100  # of a list of tools; the largest servers give one
MOST_LISTED_BYTES = 16 * 2**20  # of all of its pages, as much as is pinned of a server
LISTING_SECONDS = 30.0  # for all of its pages
_NUMBERS = count(1)  # of all requests: a channel that clients share need not change them
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


class LegListener(Protocol):
    """The listener for a server's unsolicited messages."""

    def receive_request(self, leg: Leg, message: Message) -> None:
        """Take a server's request to the client; answer with `Leg.send`."""

    def receive_notification(self, leg: Leg, message: Message) -> None:
        """Take a server's notification."""

    def lose_server(self, leg: Leg) -> None:
        """Note the server's end: all waiting requests are answered."""


class ListedTools(NamedTuple):
    """The tools of a server that its Session passed.

    Attributes:
        definitions: of the tools.
        is_whole: True if the list is complete.
        is_late: True if the server did not list them all in time.
    """

    definitions: list[JsonValue]
    is_whole: bool = True
    is_late: bool = False


class Leg:
    """A conversation with one server.

    Args:
        server: its name.
        session: judges both directions.
        channel: to the server.
        judge: judges each frame, and records the verdict.
        listener: receives the server's unsolicited messages.

    Attributes:
        described: its answer to `initialize` or `server/discover`; empty before.
        is_open: False once it is gone.
        loss: why the server is gone, for a client that waits.
        again: PipeGuard's reaction to that, as a sentence; empty if there is none.
        ended: set once it is gone.
        is_stateless: True if there was no handshake, so that each request describes its sender.
        has_listed_tools: True once its tools were listed here.
        asks_in_results: True if the client is asked only in the results of waiting calls.
    """

    def __init__(
        self,
        server: str,
        session: Session,
        channel: AsyncChannel,
        judge: Judge,
        listener: LegListener,
    ) -> None:
        self.server = server
        self.described: JsonObject = {}
        self.is_open = True
        self.loss = "the server hung up"
        self.again = ""
        self.ended = asyncio.Event()
        self.is_stateless = False
        self.has_listed_tools = self.asks_in_results = False
        self._opening = Opening({}, {})
        self.session = session
        session.keeps_values = True
        self._channel = channel
        self._judge = judge
        self._listener = listener
        self._waiting: dict[str, asyncio.Future[Message | JsonObject]] = {}
        self._events: dict[str, str] = {}  # of the verdicts on requests that wait
        self._sent_calls: set[str] = set()  # of them, calls that the server may have read
        self._listening: set[str] = set()  # the waiting requests that are subscriptions to lists
        self._subscribed: set[str] = set()  # to these resources, after a handshake
        self._reading = asyncio.create_task(self._read())

    async def open(self, opening: Opening) -> JsonObject:
        """Begin the conversation (MCP 2025-11-25, basic/lifecycle).

        Returns:
            The answer, with `result` or `error`.
        """
        answer = await self.request("initialize", opening.params())
        self.described = read_object(answer, "result")
        if isinstance(answer.get("result"), dict):
            await self.notify("notifications/initialized")
        return answer

    async def discover(self, opening: Opening) -> JsonObject:
        """Ask the server to describe itself, without a handshake (MCP 2026-07-28, server/discover).

        Returns:
            The answer, with `result` or `error`.
        """
        self.go_without_handshake(opening, {})
        answer = await self.request("server/discover")
        self.described = read_object(answer, "result")
        return answer

    def go_without_handshake(self, opening: Opening, described: JsonObject) -> None:
        """Add the sender's description to each request that lacks it.

        Args:
            opening: of the client.
            described: the server's known description.
        """
        self.is_stateless, self._opening, self.described = True, opening, described

    def offers(self, *path: str) -> bool:
        """True if the server declared a capability, as `offers("resources", "subscribe")`."""
        value: JsonValue = self.described.get("capabilities")
        for step in path:
            value = as_object(value).get(step)
        return value is not None and value is not False

    @property
    def is_busy(self) -> bool:
        """True while requests are unanswered, or subscriptions to resources exist."""
        return bool(self._subscribed) or len(self._waiting) > len(self._listening)

    async def request(
        self,
        method: str,
        params: JsonObject | None = None,
        began: Callable[[Number], None] | None = None,
        *,
        answered: Callable[[Message], None] | None = None,
        with_progress: bool = False,
    ) -> JsonObject:
        """Send the server a request, and wait for its answer.

        Args:
            method: of the request.
            params: of the request.
            began: called with the request's id at the server, before it is sent.
            answered: called with the server's answer, as it passed.
            with_progress: request progress notifications, under that id.

        Returns:
            The answer, with `result` or `error`, under our id.
        """
        token = str(next(_NUMBERS))
        params = self._complete(params, Number(token) if with_progress else None)
        value = {**write_message(method, params), "id": Number(token)}
        waiting = self._waiting[token] = asyncio.get_running_loop().create_future()
        wanted = read_object(params or {}, "notifications")
        if method == LISTEN and "resourceSubscriptions" not in wanted:
            self._listening.add(token)
        is_sent = False
        most = self.session.guard.policy.limits.timeout_seconds
        seconds = None if method in NEVER_OVERDUE else most
        try:
            async with asyncio.timeout(seconds) as limit:
                verdict = await self._judge_request(await to_frame(value), token, limit, seconds)
                is_sent = verdict.forward is not None
                if is_sent and method == "tools/call":
                    self._sent_calls.add(token)
                if is_sent and began is not None:
                    began(Number(token))
                await self._pass(verdict)
                await waiting
        except TimeoutError:
            await self.notify("notifications/cancelled", {"requestId": Number(token)})
            return self._lose(token, codes.PEER_SILENT, f"no answer within {seconds:g} s")
        except asyncio.CancelledError:
            if method == LISTEN and is_sent and self.is_open:
                await self.notify("notifications/cancelled", {"requestId": Number(token)})
            raise
        else:
            said = waiting.result()
            answer = said.value if isinstance(said, Message) else said
            if isinstance(said, Message) and answered is not None:
                answered(said)
            self._note_subscription(method, params, answer)
            return answer
        finally:
            del self._waiting[token]
            self._events.pop(token, None)
            self._sent_calls.discard(token)
            self._listening.discard(token)

    def _complete(self, params: JsonObject | None, progress: Number | None) -> JsonObject | None:
        """Add the sender to params, if the server knows no handshake, and a token for progress."""
        if self.is_stateless:
            params = with_envelope(params or {}, self._opening)
        if progress is not None:
            meta = find_meta(params or {})
            params = {**(params or {}), "_meta": {**meta, "progressToken": progress}}
        return params

    def _note_subscription(
        self, method: str, params: JsonObject | None, answer: JsonObject
    ) -> None:
        """Update the subscriptions after an answer, for a server with a handshake."""
        uri = (params or {}).get("uri")
        if type(uri) is str and method == UNSUBSCRIBE:
            self._subscribed.discard(uri)
        elif type(uri) is str and method == SUBSCRIBE and "error" not in answer and self.is_open:
            self._subscribed.add(uri)

    async def listen(
        self, notifications: JsonObject, began: Callable[[Number], None] | None = None
    ) -> JsonObject:
        """Listen to the announcements of a server without handshakes, until it ends them.

        Args:
            notifications: the announcements to ask for (MCP 2026-07-28, server/utilities).
            began: called with the id that the announcements name.

        Returns:
            The answer, with `result` or `error`.
        """
        return await self.request(LISTEN, {"notifications": notifications}, began)

    async def list_tools(self) -> ListedTools:
        """The definitions of all tools, page by page, within limits of bytes and time."""
        definitions: list[JsonValue] = []
        before: str | None = None
        after: str | None = ""
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                async for result in self.read_list("tools/list", MOST_PAGES, MOST_LISTED_BYTES):
                    definitions += as_list(result.get("tools"))
                    before, after = after, _next_cursor(result)
        except TimeoutError:
            return ListedTools(definitions, is_whole=False, is_late=True)
        is_whole = after in (None, before)
        self.has_listed_tools |= is_whole
        return ListedTools(definitions, is_whole)

    async def read_list(
        self, method: str, most_pages: int, most_bytes: int
    ) -> AsyncIterator[JsonObject]:
        """The results of a list, page by page, within the limits."""
        cursor: JsonValue = None
        for _ in range(most_pages):
            answer = await self.request(method, {} if cursor is None else {"cursor": cursor})
            result = answer.get("result")
            most_bytes -= len(await to_frame(result))
            if not isinstance(result, dict) or most_bytes < 0:
                return
            yield result
            before, cursor = cursor, _next_cursor(result)
            if cursor is None or cursor == before:
                return

    async def notify(self, method: str, params: JsonObject | None = None) -> None:
        """Send the server a notification."""
        await self.send(write_message(method, params))

    async def send(self, value: JsonObject) -> None:
        """Send the server a message that is not answered, such as the answer to its request."""
        await self._pass(await self._judge(self.session, TO_SERVER, await to_frame(value)))

    def tell_client(self, frames: list[bytes]) -> None:
        """Send the client PipeGuard's own messages, as if they came from the server."""
        for frame in frames:
            self._dispatch(parse(frame))

    async def decline(self, message: Message, why: str) -> None:
        """Decline a server's request, because the client is not asked; answer a ping."""
        answer: JsonObject = {"jsonrpc": "2.0", "id": message.value["id"]}
        if message.method == "ping":
            await self.send({**answer, "result": {}})
            return
        await self.send({**answer, **refusal(codes.METHOD_NOT_FOUND, why)})

    async def finish(self) -> None:
        """Hang up once all waiting requests are answered."""
        if self._waiting:
            await asyncio.wait(self._waiting.values())
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        self._mark_closed()
        await self._channel.close()
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        self._end()

    async def _judge_request(
        self, frame: bytes, token: str, limit: asyncio.Timeout, seconds: float | None
    ) -> Verdict:
        """The verdict on a request after any wait for a person; then its time limit starts again.

        It forwards nothing if the request was already answered, because then the server is gone.
        """
        waiting, session = self._waiting[token], self.session.fork()
        try:
            verdict = await self._judge(session, TO_SERVER, frame)
            self._events[token] = verdict.event
            if verdict.action is Action.ASK:
                limit.reschedule(None)
                verdict = await wait_for_decision(session, verdict, self._judge.record, waiting)
                loop = asyncio.get_running_loop()
                limit.reschedule(None if seconds is None else loop.time() + seconds)
                self._events[token] = verdict.event
        except asyncio.CancelledError:
            session.leave(is_sent=False)
            raise
        finally:
            session.leave()  # a frame still in judgement is neither sent nor waits
        return verdict._replace(forward=None) if waiting.done() else verdict

    async def _pass(self, verdict: Verdict) -> None:
        """Send a frame if it passed, and dispatch PipeGuard's reply."""
        if verdict.reply is not None:
            self._dispatch(parse(verdict.reply))
        if verdict.forward is not None:
            try:
                await self._channel.write(verdict.forward)
            except ChannelClosed:
                self._end()

    async def _read(self) -> None:
        try:
            while (frame := await self._channel.read()) is not None:
                await self._take(await read_frame(frame))
        finally:
            if self.is_open:
                self._mark_closed()
                self._end()
                self._listener.lose_server(self)

    async def _take(self, frame: bytes) -> None:
        """Judge a frame from the server, and dispatch the part that passes."""
        verdict = await self._judge(self.session, TO_CLIENT, frame)
        if verdict.reply is not None:
            with suppress(ChannelClosed):
                await self._channel.write(verdict.reply)
        if verdict.forward is not None:
            self._dispatch(await read_message(verdict.forward))

    def _dispatch(self, parsed: Message | list[JsonValue]) -> None:
        """Dispatch messages to their receivers."""
        for message in parsed if isinstance(parsed, list) else [parsed]:
            if not isinstance(message, Message):
                continue
            if message.kind is MessageKind.REQUEST:
                self._listener.receive_request(self, message)
            elif message.kind is MessageKind.NOTIFICATION:
                self._listener.receive_notification(self, message)
            else:
                waiting = self._waiting.get(message.id_token or "")
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)

    def _mark_closed(self) -> None:
        self.is_open = False
        self.ended.set()
        self._subscribed.clear()

    def _end(self) -> None:
        """Answer all waiting requests: the server is gone."""
        for token, waiting in list(self._waiting.items()):
            if not waiting.done():
                waiting.set_result(self._lose(token, codes.PEER_GONE, self.loss))
        gone = take_event(self.session, ServerGone(monotonic()), self._record_own)
        self.tell_client(gone.own_frames)

    def _record_own(self, own: Verdict) -> None:
        """Record a message of PipeGuard's own: of an answer, the one that the client gets."""
        token = framing.legible_id(own.frame)
        if token in self._waiting:
            frame = serialise(self._lose(token, codes.PEER_GONE, self.loss))
            self._judge.record(own._replace(frame=frame, forward=frame))
        elif token is None:  # else it was answered before, as an opening that took too long
            self._judge.record(own)

    def _lose(self, token: str, code: int, why: str) -> JsonObject:
        """The answer to an unanswered request, with its event in the audit."""
        data: JsonObject = {"source": MARK}
        event = self._events.get(token, "")
        if token in self._sent_calls:
            why = f"{why}; {MAY_HAVE_ACTED}"
        if event:
            data["event"] = event
            why = f"{why} (event {event})"
        if token in self._sent_calls and code == codes.PEER_GONE and self.again:
            why = f"{why}. {self.again}"
        return {"jsonrpc": "2.0", "id": Number(token), **refusal(code, why, data)}


def _next_cursor(result: JsonObject) -> str | None:
    after = result.get("nextCursor")
    return after if type(after) is str else None

"""Passes the answers of a Streamable HTTP server on to its clients, each message judged.

Status, session and cursors are the server's own. Whatever does not pass, or never comes, is
replaced by an answer of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from time import monotonic

import aiohttp
from aiohttp import web

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Direction, MessageKind, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import Crowded
from pipeguard.transports.channel import CONNECTION_LOST, Failure
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.challenge import UNAUTHORIZED
from pipeguard.transports.http.client.bodies import Unreadable, body_pieces, read_body
from pipeguard.transports.http.client.upstream import (
    LOGIN,
    Remote,
    describe_answer,
    describe_status,
)
from pipeguard.transports.http.headers import (
    EVENTS,
    JSON,
    headers_to_client,
    is_session_id,
    media_type,
)
from pipeguard.transports.http.server.backend import Service
from pipeguard.transports.http.server.client_headers import ClientHeaders
from pipeguard.transports.judging import judge_frame, offload
from pipeguard.transports.sse import MESSAGE, EventStream, ServerSentEvent, to_bytes
from pipeguard.transports.tasks import Tasks

TO_CLIENT = Direction.TO_CLIENT
OVERLOADED = Failure(
    "too many large messages are in progress; ask again a little later", codes.OVERLOADED
)
_BAD_REQUEST = web.HTTPBadRequest.status_code


class RelayedRequest:
    """A client's request, while the server answers it.

    Args:
        request: as it came over HTTP.
        session: judges its messages.
        conversation: that it belongs to.
        verdict: on its message; None without one.
        lasting: True if the answer may still come on another stream.

    Attributes:
        method: of its message, or None.
        waits: True if the message waits for an answer here.
        reply: for the members of a batch that did not go on.
        is_batch: True if it has more than one message.
        is_resumable: True once the client was given a cursor, with which it can resume the stream.
    """

    __slots__ = (
        *("conversation", "is_batch", "is_resumable", "lasting", "method", "reply", "request"),
        *("session", "waits"),
    )

    def __init__(
        self,
        request: web.BaseRequest,
        session: Session,
        conversation: Session,
        verdict: Verdict | None,
        *,
        lasting: bool,
    ) -> None:
        self.request = request
        self.session = session
        self.conversation = conversation
        self.method = verdict.method if verdict is not None else None
        self.waits = verdict is not None and bool(session.waiting())
        self.reply = verdict.reply if verdict is not None else None
        self.lasting = lasting
        self.is_batch = verdict is not None and verdict.method == "batch"
        self.is_resumable = False


class RelayedAnswers:
    """Passes answers on.

    Args:
        remote: the server.
        service: judges.
        headers: learns the ids of events.
        reply: sends the server our own answer to one of its requests, without waiting.

    Attributes:
        tasks: that write to clients.
    """

    def __init__(
        self,
        remote: Remote,
        service: Service,
        headers: ClientHeaders,
        reply: Callable[[RelayedRequest, bytes], None],
    ) -> None:
        self._remote = remote
        self._service = service
        self._headers = headers
        self._reply = reply
        self.tasks = Tasks()

    def without_body(self, answer: aiohttp.ClientResponse) -> web.Response:
        """Pass on status and headers."""
        if answer.status in LOGIN and not self._remote.passes_credentials:
            # The client has no part in that login, and could not finish one.
            why = describe_status(answer).partition("\n")[0].removesuffix(".")
            return web.Response(status=502, text=f"PipeGuard: {why}\n")
        return web.Response(status=answer.status, headers=headers_to_client(answer))

    # --- an answer in one piece -----------------------------------------------------------

    async def forward(
        self, relayed: RelayedRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Pass on an answer to a POST that is not a stream."""
        if not relayed.waits and relayed.reply is None:
            return self.without_body(answer)
        if not relayed.waits:
            return web.Response(body=relayed.reply, content_type=JSON)
        status, headers = answer.status, headers_to_client(answer)
        if status in LOGIN:
            why = await describe_answer(answer)
            lost = self.lose(relayed, Failure(why, sent=status != UNAUTHORIZED))
            return self.without_body(answer) if self._remote.passes_credentials else lost
        body = await self._read(relayed, answer)
        if isinstance(body, bytes):
            return web.Response(status=status, headers=headers, body=body, content_type=JSON)
        response = self.lose(relayed, body)
        if status >= _BAD_REQUEST:
            response.set_status(status)  # 404 asks for a new session, 405 for an older transport
            response.headers.extend(headers)
        return response

    async def _read(
        self, relayed: RelayedRequest, answer: aiohttp.ClientResponse
    ) -> bytes | Failure:
        """Read and judge an answer; return what the client gets, or why it gets none."""
        try:
            if media_type(answer) == JSON:
                with self._service.backlog.holding() as hold:
                    body = await read_body(answer, self._remote.limit_bytes, hold)
                    passed = await self._judge(relayed, body, answer.status)
                if passed is not None:
                    return passed
        except Unreadable as error:
            return Failure(str(error), codes.UNSCANNABLE)
        except Crowded:
            return OVERLOADED
        except (aiohttp.ClientError, OSError):
            return Failure(CONNECTION_LOST)
        return Failure(await describe_answer(answer), codes.PEER_BROKE_PROTOCOL)

    async def _judge(self, relayed: RelayedRequest, body: bytes, status: int) -> bytes | None:
        """Judge an answer in one piece; None where it cannot be passed on."""
        session = relayed.session
        frame: bytes | None = body
        if status >= _BAD_REQUEST:
            frame = await offload(body, replies.set_id, body, session.waiting())
        if frame is None:
            return None
        record = self._service.judge.record
        verdict = await judge_frame(session, TO_CLIENT, frame, record)
        if verdict.forward is None and verdict.kind is MessageKind.ERROR:  # it may lack its id
            frame = await offload(body, replies.set_id, body, session.waiting()) or frame
            verdict = await judge_frame(session, TO_CLIENT, frame, record)
        record(verdict)
        if verdict.forward is None:
            return None
        unanswered = self._answer_waiting(session, Failure("the server did not answer"))
        if not unanswered and relayed.reply is None:
            # An HTTP error is recognised by its status, and may stay without an id.
            is_unchanged = verdict.forward is frame and status >= _BAD_REQUEST
            return body if is_unchanged else verdict.forward
        if not relayed.is_batch:  # it answers nothing, and nothing else will come
            return unanswered[0]
        return _array(relayed.reply, verdict.forward, *unanswered)

    # --- a stream -------------------------------------------------------------------------

    async def stream(
        self, relayed: RelayedRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Pass on events, each judged as it arrives."""
        headers = headers_to_client(answer)
        headers["Content-Type"] = EVENTS
        headers.setdefault("Cache-Control", "no-cache")
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(relayed.request)
        if relayed.reply is not None:
            await response.write(as_event(relayed.reply))
        unanswered: list[bytes] = []
        with self._subscribing(relayed, _ResponseSubscriber(response, self.tasks)):
            failure = await self._stream_events(relayed, answer, response)
            if relayed.waits and not relayed.is_resumable:
                unanswered = self._answer_waiting(relayed.session, failure)
        if unanswered:
            await response.write(as_events(unanswered))
        await response.write_eof()
        return response

    async def _stream_events(
        self,
        relayed: RelayedRequest,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
    ) -> Failure:
        """Pass on events to the end of the stream; return why nothing follows."""
        stream = EventStream(self._remote.limit_bytes)
        try:
            async for piece in body_pieces(answer):
                events = [_with_valid_id(event) for event in stream.feed(piece)]
                if relayed.lasting and any(event.id for event in events):
                    relayed.is_resumable = True
                passed = b"".join([await self._pass_event(relayed, event) for event in events])
                if passed:
                    await response.write(passed)
                if stream.overrun:
                    raise Unreadable("an event is larger than the limit")  # noqa: TRY301  as below
        except Unreadable as error:
            relayed.is_resumable = False
            return Failure(str(error), codes.UNSCANNABLE)
        except (aiohttp.ClientError, OSError):
            pass  # as at the end of a stream
        return Failure(CONNECTION_LOST)

    def _subscribing(
        self, relayed: RelayedRequest, subscriber: _ResponseSubscriber
    ) -> AbstractContextManager[None]:
        sessions = self._service.sessions
        if relayed.session is relayed.conversation:
            return sessions.subscribing(relayed.conversation, subscriber)
        return sessions.answering(relayed.method, relayed.session, subscriber)

    async def _pass_event(self, relayed: RelayedRequest, event: ServerSentEvent) -> bytes:
        """The events for the client, as they are written."""
        if event.id:
            self._headers.learn_event(event.id)
        if event.comment is not None:
            return KEEP_AWAKE
        if event.data and event.name == MESSAGE:
            verdict = await self._service.judge(relayed.session, TO_CLIENT, event.data)
            if verdict.reply is not None:
                self._reply(relayed, verdict.reply)
            if verdict.forward is not None:
                *first, last = verdict.forwards
                return as_events(first) + to_bytes(event._replace(data=last))
        if event.id is None and event.retry_ms is None:
            return b""
        data = None if event.data is None else b""
        return to_bytes(ServerSentEvent(data, id=event.id, retry_ms=event.retry_ms))  # its cursor

    # --- without an answer ----------------------------------------------------------------

    def lose(self, relayed: RelayedRequest, failure: Failure) -> web.Response:
        """Answer a request whose answer will not come.

        The status is 200, since other codes mean something to clients: 400 can start a fallback to
        an older transport, 401 a login, 404 a new session.
        """
        frames = self._answer_waiting(relayed.session, failure)
        if not frames and relayed.reply is None:
            return web.Response(status=502)
        body = frames[0] if not relayed.is_batch else _array(relayed.reply, *frames)
        return web.Response(body=body, content_type=JSON)

    def drop(self, relayed: RelayedRequest, failure: Failure) -> None:
        """Answer a request whose client is gone, for the audit alone."""
        self._answer_waiting(relayed.session, failure)

    def _answer_waiting(self, session: Session, failure: Failure) -> list[bytes]:
        """Answer what waits in an exchange that is over."""
        frames = session.expire(monotonic())
        for token in session.waiting():
            verdict = session.receive(TO_CLIENT, failure.to_frame(token), monotonic())
            self._service.judge.record(verdict)
            if verdict.forward is not None:
                frames.append(verdict.forward)
        return frames


class _ResponseSubscriber:
    """Sends messages of our own on a client's stream."""

    def __init__(self, response: web.StreamResponse, tasks: Tasks) -> None:
        self._response = response
        self._tasks = tasks

    def send(self, frames: list[bytes]) -> None:
        """Send frames without waiting."""
        self._tasks.begin(self._write(frames))

    async def _write(self, frames: list[bytes]) -> None:
        with suppress(ConnectionError, RuntimeError):  # the stream has just ended
            await self._response.write(as_events(frames))


def _with_valid_id(event: ServerSentEvent) -> ServerSentEvent:
    """The event; without an id that could not be one: a client sends it back in a header."""
    return event if not event.id or is_session_id(event.id) else event._replace(id=None)


def _array(*frames: bytes | None) -> bytes:
    """One batch of messages and batches."""
    texts = [frame.strip() for frame in frames if frame is not None]
    members = [text[1:-1] if text.startswith(b"[") else text for text in texts]
    return b"[" + b",".join(members) + b"]"


# --- responses --------------------------------------------------------------------------
# HTTP responses that several endpoints give.

AWAKE_SECONDS = 25.0  # between two comments on a silent stream: less than proxies wait
KEEP_AWAKE = to_bytes(ServerSentEvent(None, comment=b""))
STREAM_HEADERS = {
    "Content-Type": EVENTS,
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
_VERSION_BYTES = request_headers.VERSION_META.encode()
_STATUSES = {"-32601": 404, **dict.fromkeys(("-32602", "-32020", "-32021", "-32022"), 400)}
_UNPARSED = frozenset({"protocol.invalid-json", "protocol.invalid-utf8"})


def as_event(frame: bytes) -> bytes:
    """A frame as a server-sent event; empty, a comment that keeps the connection awake."""
    return to_bytes(ServerSentEvent(frame)) if frame else KEEP_AWAKE


def as_events(frames: list[bytes]) -> bytes:
    """Frames as server-sent events."""
    return b"".join([to_bytes(ServerSentEvent(frame)) for frame in frames])


def refusal_response(verdict: Verdict) -> web.Response:
    """The response to a message that does not go on."""
    is_readable = verdict.kind is not None or verdict.method is not None
    if verdict.reply is not None:
        # A blocked message is answered as the server would answer it.
        status = 200 if is_readable else 400
        return web.Response(status=status, body=verdict.reply, content_type=JSON)
    if verdict.kind is MessageKind.REQUEST:  # it was cancelled while it waited for a person
        return web.Response(headers=STREAM_HEADERS)
    if is_readable:
        return web.Response(status=202)
    finding = verdict.findings[0]
    code = codes.PARSE_ERROR if finding.rule in _UNPARSED else codes.INVALID_REQUEST
    body = replies.error(None, code, f"PipeGuard: {finding.note}")
    return web.Response(status=400, body=body, content_type=JSON)


def choose_status(frame: bytes) -> int:
    """The status that goes with an answer (2026-07-28, basic/transports/streamable-http)."""
    with suppress(Refusal):
        value = parse_json(frame)
        error = value.get("error") if isinstance(value, dict) else None
        if isinstance(error, dict):
            return _STATUSES.get(str(error.get("code")), 200)
    return 200


def is_stateless(request: web.BaseRequest, body: bytes) -> bool:
    """True for a message of a revision that has no sessions."""
    if request.headers.get(request_headers.VERSION, "") >= request_headers.STATELESS:
        return True
    if _VERSION_BYTES not in body:
        return False
    with suppress(Refusal):
        value = parse_json(body)  # the words may stand anywhere in it
        return isinstance(value, dict) and request_headers.find_revision(value) is not None
    return False

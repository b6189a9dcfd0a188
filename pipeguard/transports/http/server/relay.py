"""Streamable HTTP to Streamable HTTP: each request of a client's is one of ours to the server.

So status, sessions, streams, cursors and resumption are the server's own, and nothing of them is
invented here (MCP 2025-06-18 and 2026-07-28, basic/transports). What is judged is every message:
the body that goes up, the body or the events that come down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from time import monotonic

import aiohttp
from aiohttp import web

from pipeguard.core.finding import Direction, MessageKind, Verdict
from pipeguard.core.protocol import codes, request_headers
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.sse import EventStream, ServerSentEvent, written
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import replies
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.transports.backlog import Backlog, Crowded
from pipeguard.transports.http.client.bodies import Unreadable, body_pieces, read_body
from pipeguard.transports.http.client.upstream import (
    LOGIN,
    Remote,
    RemoteEndpoint,
    describe_unreachable,
)
from pipeguard.transports.http.headers import (
    BOTH,
    EVENTS,
    JSON,
    LAST_EVENT_ID,
    SESSION_ID,
    headers_to_client,
    is_session_id,
    media_type,
)
from pipeguard.transports.http.server.admission import WHO, Refused, crowded
from pipeguard.transports.http.server.client_headers import ClientHeaders
from pipeguard.transports.http.server.header_mirroring import check_headers, message_in, repeated_by
from pipeguard.transports.http.server.refusals import Ground
from pipeguard.transports.http.server.sessions import Conversations
from pipeguard.transports.judging import Judge, judged
from pipeguard.transports.tasks import Tasks

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
_VERSION_BYTES = request_headers.VERSION_META.encode()
_NO_SESSION = "the server gave a session id that is none"
_UNKNOWN = "there is no such session; begin a new one"
_CROWDED = "too many large messages are under way; ask again a little later"
_LEFT = "the client left before the answer came"
_LOST = "the connection to the server was lost before the answer came"


class _Post:
    """One request of a client's while it is being answered.

    Attributes:
        request: as it came over HTTP.
        session: judges what is said in it.
        whole: the conversation that it belongs to.
        method: of what it asks, or None.
        waits: True where something that went up is to be answered here.
        reply: what is told of the members of a batch that did not go up.
        lasting: True where the answer may still come on another stream.
        is_batch: True where it held more than one message.
        lasts: True once the client was given a cursor, by which it can take up the stream.
    """

    __slots__ = (
        *("is_batch", "lasting", "lasts", "method", "reply", "request", "session", "waits"),
        "whole",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        session: Session,
        whole: Session,
        verdict: Verdict | None,
        *,
        lasting: bool,
    ) -> None:
        self.request = request
        self.session = session
        self.whole = whole
        self.method = verdict.method if verdict is not None else None
        self.waits = verdict is not None and bool(session.waiting())
        self.reply = verdict.reply if verdict is not None else None
        self.lasting = lasting
        self.is_batch = verdict is not None and verdict.method == "batch"
        self.lasts = False


class Relay:
    """Answers a client's requests with what a server answers, each message judged.

    Args:
        remote: the server.
        http: connections to it.
        conversations: the Sessions, by the server's session ids.
        judge: judges each message, and records the verdict.
        backlog: of all that peers make us keep.
    """

    def __init__(
        self,
        remote: Remote,
        http: aiohttp.ClientSession,
        conversations: Conversations,
        judge: Judge,
        backlog: Backlog,
    ) -> None:
        self._backlog = backlog
        self._remote = remote
        self._door = RemoteEndpoint(remote, http)
        self._conversations = conversations
        self._judge = judge
        self._headers = ClientHeaders(remote, judge.record)
        self._tasks = Tasks()

    # --- what a client may do -----------------------------------------------------------

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message of the client's, and all that answers it."""
        stateless = is_stateless(request, body)
        if stateless:
            message = message_in(body)
            if message is not None:
                check_headers(self._conversations, request.headers, message, all_of_them=False)
        session_id = None if stateless else request.headers.get(SESSION_ID)
        session = self._conversation(request, session_id)
        exchange = session.fork()
        try:
            async with self._backlog.holding() as hold:
                hold(len(body))
                verdict = await self._judge(exchange, TO_SERVER, body)
            del body  # or it were kept for as long as the answer is waited for
            if verdict.forward is None:
                return refused(verdict)
            asked = _Post(request, exchange, session, verdict, lasting=not stateless)
            frames, is_rewritten = [verdict.forward], verdict.forward is not verdict.frame
            del verdict
            repeated = (
                repeated_by(self._conversations, frames[0]) if stateless and is_rewritten else {}
            )
            return await self._sent(asked, session_id, frames, repeated)
        except Crowded:
            raise crowded() from None
        finally:
            exchange.leave()

    async def _sent(
        self,
        asked: _Post,
        session_id: str | None,
        frames: list[bytes],
        repeated: Mapping[str, str],
    ) -> web.StreamResponse:
        headers = self._headers.passed(asked.request, asked.session, mirrors_body=not asked.lasting)
        if session_id is not None and SESSION_ID not in headers:
            gone = self._gone(asked, _UNKNOWN, codes.PEER_GONE, sent=False)
            gone.set_status(_NOT_FOUND)
            return gone
        headers.update(repeated)  # as what was redacted says now
        headers.setdefault("Accept", BOTH)
        headers["Content-Type"] = JSON
        try:
            async with (
                self._conversations.patience(asked.method),
                await self._posted(headers, frames.pop()) as answer,
            ):
                if not self._keep(asked.request, asked.whole, session_id, asked.method, answer):
                    return self._gone(asked, _NO_SESSION, codes.PEER_BROKE_PROTOCOL)
                if media_type(answer) == EVENTS and answer.ok:
                    return await self._streamed(asked, answer)
                return await self._answered(asked, answer)
        except (PipeGuardError, aiohttp.ClientError, OSError) as error:
            code = codes.PEER_GONE
            if isinstance(error, aiohttp.ClientResponseError):  # a head that cannot be read
                code = codes.PEER_BROKE_PROTOCOL
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            return self._gone(asked, _fault(error), code, sent=sent)
        except Crowded:
            return self._gone(asked, _CROWDED, codes.OVERLOADED, sent=False)
        except asyncio.CancelledError:
            if not asked.lasts:  # its client is gone, for good
                self._lost(asked.session, _LEFT)
            raise

    async def _posted(self, headers: Mapping[str, str], frame: bytes) -> aiohttp.ClientResponse:
        """A POST, once it is answered; it is kept until then, for a redirection or a login."""
        async with self._backlog.holding() as hold:
            hold(len(frame))
            return await self._door.send("POST", headers, frame)

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of what the server says unasked, or a stream that is taken up again."""
        session_id = request.headers.get(SESSION_ID)
        session = self._conversation(request, session_id)
        headers = self._headers.passed(request, session)
        if session_id is not None and SESSION_ID not in headers:
            return web.Response(status=_NOT_FOUND, text=f"PipeGuard: {_UNKNOWN}\n")
        asked = _Post(request, session, session, None, lasting=True)
        try:
            async with await self._door.send("GET", headers, None) as answer:
                if answer.status == web.HTTPOk.status_code and media_type(answer) == EVENTS:
                    self._keep(request, session, session_id, None, answer)
                    return await self._streamed(asked, answer)
                if answer.status >= _FAULT:
                    why = f"the server answered with HTTP {answer.status}"
                    raise Refused(Ground.NO_STREAM, answer.status, why, headers_to_client(answer))
                return self._told(answer)
        except PipeGuardError as error:
            why = replies.what_happened(str(error))
            raise Refused(Ground.NO_STREAM, 502, why) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(Ground.NO_STREAM, 502, describe_unreachable(error)) from None

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """The end of a session."""
        session = self._conversation(request, request.headers.get(SESSION_ID))
        headers = self._headers.passed(request, session)
        if SESSION_ID in request.headers and SESSION_ID not in headers:
            return web.Response(status=_NOT_FOUND, text=f"PipeGuard: {_UNKNOWN}\n")
        try:
            async with await self._door.send("DELETE", headers, None) as answer:
                session_id = request.headers.get(SESSION_ID, "")
                if answer.status < _BAD or answer.status == _NOT_FOUND:
                    self._conversations.owners.drop(session_id)
                if answer.status < _BAD:
                    self._conversations.forget(session_id)
                return self._told(answer)
        except (PipeGuardError, aiohttp.ClientError, OSError) as error:
            self._conversations.forget(request.headers.get(SESSION_ID))
            return web.Response(status=502, text=f"PipeGuard: {describe_unreachable(error)}\n")

    async def close(self) -> None:
        """End what is still under way."""
        await self._tasks.end()

    def _conversation(self, request: web.BaseRequest, session_id: str | None) -> Session:
        version = request.headers.get(request_headers.VERSION)
        return self._conversations.of(session_id, version, request.get(WHO, ""))

    def _keep(
        self,
        request: web.BaseRequest,
        session: Session,
        session_id: str | None,
        method: str | None,
        answer: aiohttp.ClientResponse,
    ) -> bool:
        """Remember a session that the server knows; False where it gave an id that is none."""
        self._headers.learn(answer)
        if answer.status == _NOT_FOUND and session_id is not None:
            self._conversations.owners.drop(session_id)
        if answer.status >= _BAD:
            return True
        if method == "initialize":
            session_id = answer.headers.get(SESSION_ID)
            if session_id is not None and not is_session_id(session_id):
                return False
            if session_id is not None:
                self._conversations.owners.own(session_id, request.get(WHO, ""))
        self._conversations.keep(session_id, session)
        return True

    # --- up -----------------------------------------------------------------------------

    def _say(self, asked: _Post, frame: bytes) -> None:
        """Tell the server something of our own, as the answer to a request that was stopped."""

        async def tell() -> None:
            headers = self._headers.passed(asked.request, asked.session)
            headers["Content-Type"], headers["Accept"] = JSON, BOTH
            headers.pop(LAST_EVENT_ID, None)
            try:
                async with await self._door.send("POST", headers, frame):
                    pass
            except (PipeGuardError, aiohttp.ClientError, OSError):
                return  # it waits for its answer as it would for a client that is gone

        self._tasks.begin(tell())

    # --- down ---------------------------------------------------------------------------

    def _told(self, answer: aiohttp.ClientResponse) -> web.Response:
        """What a server answered, without its body."""
        if answer.status in LOGIN and not self._remote.passes_credentials:
            # The client has no part in that login, and could not finish one.
            return web.Response(status=502, text=f"PipeGuard: {_no_login(answer)}\n")
        return web.Response(status=answer.status, headers=headers_to_client(answer))

    async def _answered(self, asked: _Post, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        if not asked.waits and asked.reply is None:
            return self._told(answer)
        if not asked.waits:
            return web.Response(body=asked.reply, content_type=JSON)
        status, headers = answer.status, headers_to_client(answer)
        if status in LOGIN:
            lost = self._gone(asked, _no_login(answer))
            return self._told(answer) if self._remote.passes_credentials else lost
        told, fault = None, f"the server answered with HTTP {status}, not with MCP"
        code = codes.PEER_BROKE_PROTOCOL
        try:
            if media_type(answer) == JSON:
                async with self._backlog.holding() as hold:
                    body = await read_body(answer, self._remote.limit_bytes, hold)
                    told = await self._judged(asked, body, status)
        except Unreadable as error:
            fault, code = str(error), codes.UNSCANNABLE
        except Crowded:
            fault, code = _CROWDED, codes.OVERLOADED
        except (aiohttp.ClientError, OSError):
            fault, code = _LOST, codes.PEER_GONE
        if told is not None:
            return web.Response(status=status, headers=headers, body=told, content_type=JSON)
        gone = self._gone(asked, fault, code)
        if status >= _BAD:
            gone.set_status(status)  # 404 asks for a new session, 405 for an older transport
            gone.headers.extend(headers)
        return gone

    async def _judged(self, asked: _Post, body: bytes, status: int) -> bytes | None:
        """An answer in one piece; None where it is none that could be passed on."""
        frame = body if status < _BAD else replies.addressed(body, asked.session.waiting())
        if frame is None:
            return None
        verdict = await judged(asked.session, TO_CLIENT, frame)
        if verdict.forward is None and verdict.kind is MessageKind.ERROR:  # it may lack its id
            frame = replies.addressed(body, asked.session.waiting()) or frame
            verdict = await judged(asked.session, TO_CLIENT, frame)
        self._judge.record(verdict)
        if verdict.forward is None:
            return None
        left = self._lost(asked.session, "the server did not answer")
        if not left and not verdict.more and asked.reply is None:
            # An error of HTTP is found by its status, and may stay without the id.
            return body if verdict.forward is frame and status >= _BAD else verdict.forward
        if not asked.is_batch:  # what came answers nothing, and nothing else can come here
            return left[0]
        return _array(asked.reply, verdict.forward, *verdict.more, *left)

    async def _streamed(self, asked: _Post, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Events, each judged as it comes and sent on at once."""
        headers = headers_to_client(answer)
        headers["Content-Type"] = EVENTS
        headers.setdefault("Cache-Control", "no-cache")
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(asked.request)
        stream = EventStream(self._remote.limit_bytes)
        left: list[bytes] = []
        why, code = _LOST, codes.PEER_GONE
        if asked.reply is not None:
            await response.write(written(ServerSentEvent(asked.reply)))
        told = _ClientStream(response, self._tasks)
        with self._hearing(asked, told):
            try:
                async for piece in body_pieces(answer):
                    events = stream.feed(piece)
                    cursors = asked.lasting and any(event.id for event in events)
                    asked.lasts = asked.lasts or cursors
                    said = b"".join([await self._event(asked, event) for event in events])
                    if said:
                        await response.write(said)
                    if stream.overrun:
                        raise Unreadable("an event is larger than the limit")  # noqa: TRY301  told below
            except Unreadable as error:
                why, code, asked.lasts = str(error), codes.UNSCANNABLE, False
            except (aiohttp.ClientError, OSError):
                pass  # lost; what waits is told below
            if asked.waits and not asked.lasts:
                left = self._lost(asked.session, why, code)
        if left:
            await response.write(b"".join([written(ServerSentEvent(frame)) for frame in left]))
        await response.write_eof()
        return response

    def _hearing(self, asked: _Post, told: _ClientStream) -> AbstractContextManager[None]:
        """While the client hears on a stream what it did not ask for, or what it subscribed to."""
        if asked.session is asked.whole:
            return self._conversations.listening(asked.whole, told)
        return self._conversations.subscribed(asked.method, asked.session, told)

    async def _event(self, asked: _Post, event: ServerSentEvent) -> bytes:
        if event.id:
            self._headers.learn_event(event.id)
        if not event.data or event.comment is not None:
            return written(event)
        if event.name == "message":
            verdict = await self._judge(asked.session, TO_CLIENT, event.data)
            if verdict.reply is not None:
                self._say(asked, verdict.reply)
            if verdict.forward is not None:
                first = written(event._replace(data=verdict.forward))
                return first + b"".join([written(ServerSentEvent(frame)) for frame in verdict.more])
        if event.id is None and event.retry_ms is None:
            return b""
        return written(
            ServerSentEvent(b"", id=event.id, retry_ms=event.retry_ms)
        )  # its place stays

    def _gone(
        self, asked: _Post, why: str, code: int = codes.PEER_GONE, *, sent: bool = True
    ) -> web.Response:
        """In place of the answer; 200, since other codes have a meaning of their own for clients.

        400 can start a fallback to an older transport, 401 a login, 404 a new session.
        """
        frames = self._lost(asked.session, why, code, sent=sent)
        if not frames and asked.reply is None:
            return web.Response(status=502)
        body = frames[0] if not asked.is_batch else _array(asked.reply, *frames)
        return web.Response(body=body, content_type=JSON)

    def _lost(
        self, session: Session, why: str, code: int = codes.PEER_GONE, *, sent: bool = True
    ) -> list[bytes]:
        """Answer what waits in an exchange that is over."""
        frames = session.expire(monotonic())
        for token in session.waiting():
            lost = Lost.of(token, why, code, sent=sent)
            verdict = session.receive(TO_CLIENT, lost, monotonic())
            self._judge.record(verdict)
            if verdict.forward is not None:
                frames.append(verdict.forward)
        return frames


class _ClientStream:
    """A stream to a client, on which something of our own can be said."""

    def __init__(self, response: web.StreamResponse, tasks: Tasks) -> None:
        self._response = response
        self._tasks = tasks

    def send(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""

        async def write() -> None:
            with suppress(ConnectionError, RuntimeError):  # it has just ended
                await self._response.write(b"".join([written(ServerSentEvent(f)) for f in frames]))

        self._tasks.begin(write())


_BAD = web.HTTPBadRequest.status_code
_FAULT = web.HTTPInternalServerError.status_code
_NOT_FOUND = web.HTTPNotFound.status_code


def _fault(error: Exception) -> str:
    if isinstance(error, PipeGuardError):
        return str(error)
    if isinstance(error, aiohttp.ClientResponseError):
        return "the server does not speak HTTP as it should"
    return _LOST if isinstance(error, TimeoutError) else describe_unreachable(error)


_UNPARSED = frozenset({"protocol.invalid-json", "protocol.invalid-utf8"})


def refused(verdict: Verdict) -> web.Response:
    """What a client is told of a message that did not go on."""
    if verdict.reply is not None:
        # What was read, and stopped, is answered as the server would answer it.
        status = 200 if verdict.kind is not None or verdict.method is not None else 400
        return web.Response(status=status, body=verdict.reply, content_type=JSON)
    if verdict.kind is not None or verdict.method is not None:
        return web.Response(status=202)
    finding = verdict.findings[0]
    code = codes.PARSE_ERROR if finding.rule in _UNPARSED else codes.INVALID_REQUEST
    body = replies.error(None, code, f"PipeGuard: {finding.note}")
    return web.Response(status=400, body=body, content_type=JSON)


def is_stateless(request: web.BaseRequest, body: bytes) -> bool:
    """True for a message of a revision in which each stands alone."""
    if request.headers.get(request_headers.VERSION, "") >= request_headers.STATELESS:
        return True
    if _VERSION_BYTES not in body:
        return False
    with suppress(Refusal):
        value = parse_json(body)  # it may only be spoken of
        return isinstance(value, dict) and request_headers.revision_of(value) is not None
    return False


def _no_login(answer: aiohttp.ClientResponse) -> str:
    return f"the server takes no such login (HTTP {answer.status})"


def _array(*frames: bytes | None) -> bytes:
    """One batch of messages and batches."""
    stripped = [frame.strip() for frame in frames if frame is not None]
    members = [one[1:-1] if one.startswith(b"[") else one for one in stripped]
    return b"[" + b",".join(members) + b"]"

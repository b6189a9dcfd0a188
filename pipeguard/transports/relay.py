"""Streamable HTTP to Streamable HTTP: each request of a client's is one of ours to the server.

So status, sessions, streams, cursors and resumption are the server's own, and nothing of them is
invented here (MCP 2025-06-18 and 2026-07-28, basic/transports). What is judged is every message:
the body that goes up, the body or the events that come down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext, suppress
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web

from pipeguard.core import answers, codes, mirrors
from pipeguard.core.events import Event, EventStream, written
from pipeguard.core.finding import Direction, Kind, Verdict
from pipeguard.core.framing import Lost
from pipeguard.core.message import Message, parse
from pipeguard.core.session import Session
from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.transports.carry import judged
from pipeguard.transports.conversations import Conversations, is_session_id
from pipeguard.transports.entrance import Refused
from pipeguard.transports.metadata import pointing_here
from pipeguard.transports.remote import (
    BOTH,
    EVENTS,
    JSON,
    LAST_EVENT_ID,
    LOGIN,
    SESSION_ID,
    Door,
    Remote,
    TooLarge,
    downwards,
    kind_of,
    unreached,
    upwards,
    whole,
)

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
HEADER_MISMATCH = -32020  # MCP 2026-07-28, basic/transports/streamable-http
_VERSION_BYTES = mirrors.VERSION_META.encode()
_LEFT = "the client left before the answer came"
_LOST = "the connection to the server was lost before the answer came"


class _Asked:
    """One request of a client's while it is being answered.

    Attributes:
        request: as it came over HTTP.
        session: judges what is said in it.
        kind: of the message that went up; None for a stream of what is said unasked.
        reply: what is told of the members of a batch that did not go up.
        may_last: True where the answer may still come on another stream.
        lasts: True once the client was given a cursor, by which it can take up the stream.
    """

    __slots__ = ("kind", "lasts", "may_last", "reply", "request", "session")

    def __init__(
        self,
        request: web.BaseRequest,
        session: Session,
        kind: Kind | None,
        reply: bytes | None,
        *,
        may_last: bool,
    ) -> None:
        self.request = request
        self.session = session
        self.kind = kind
        self.reply = reply
        self.may_last = may_last
        self.lasts = False


class Relay:
    """Answers a client's requests with what a server answers, each message judged.

    Args:
        remote: the server.
        http: connections to it.
        conversations: the Sessions, by the server's session ids.
        record: takes each verdict; hands over and returns.
    """

    def __init__(
        self,
        remote: Remote,
        http: aiohttp.ClientSession,
        conversations: Conversations,
        record: Callable[[Verdict], None],
    ) -> None:
        self._remote = remote
        self._door = Door(remote, http)
        self._conversations = conversations
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what a client may do -----------------------------------------------------------

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message of the client's, and all that answers it."""
        stateless = is_stateless(request, body)
        if stateless:
            check_headers(self._conversations, request.headers, body)
        session_id = None if stateless else request.headers.get(SESSION_ID)
        session = self._conversations.of(session_id, request.headers.get(mirrors.VERSION))
        exchange = session.fork()
        verdict = await judged(exchange, TO_SERVER, body)
        self._record(verdict)
        if verdict.forward is None:
            return refused(verdict)
        asked = _Asked(request, exchange, verdict.kind, verdict.reply, may_last=not stateless)
        try:
            async with self._conversations.patience(verdict.method):
                return await self._answered(asked, session_id, session, verdict)
        except PipeGuardError as error:
            return self._gone(asked, str(error))
        except TimeoutError:
            return self._gone(asked, _LOST)  # what is overdue is told to be
        except (aiohttp.ClientError, OSError) as error:
            return self._gone(asked, unreached(error))
        finally:
            if not asked.lasts:  # then its client is gone, for good
                self._lost(exchange, _LEFT)
            exchange.leave()

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of what the server says unasked, or a stream that is taken up again."""
        session_id = request.headers.get(SESSION_ID)
        session = self._conversations.of(session_id, request.headers.get(mirrors.VERSION))
        headers = upwards(request.headers.items(), self._remote)
        asked = _Asked(request, session, None, None, may_last=True)
        try:
            async with await self._door.send("GET", headers, None) as answer:
                if answer.status == web.HTTPOk.status_code and kind_of(answer) == EVENTS:
                    self._keep(session, session_id, None, answer)
                    return await self._streamed(asked, answer)
                return web.Response(status=answer.status, headers=downwards(answer))
        except PipeGuardError as error:
            return web.Response(status=502, text=f"PipeGuard: {error}\n")
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=502, text=f"PipeGuard: {unreached(error)}\n")

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """The end of a session."""
        headers = upwards(request.headers.items(), self._remote)
        try:
            async with await self._door.send("DELETE", headers, None) as answer:
                if answer.status < _BAD:
                    self._conversations.forget(request.headers.get(SESSION_ID))
                return web.Response(status=answer.status, headers=downwards(answer))
        except (PipeGuardError, aiohttp.ClientError, OSError) as error:
            self._conversations.forget(request.headers.get(SESSION_ID))
            return web.Response(status=502, text=f"PipeGuard: {unreached(error)}\n")

    async def close(self) -> None:
        """End what is still under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(
        self,
        session: Session,
        session_id: str | None,
        method: str | None,
        answer: aiohttp.ClientResponse,
    ) -> bool:
        """Remember a session that the server knows; False where it gave an id that is none."""
        if answer.status >= _BAD:
            return True
        if method == "initialize":
            session_id = answer.headers.get(SESSION_ID)
            if session_id is not None and not is_session_id(session_id):
                return False
        self._conversations.keep(session_id, session)
        return True

    # --- up -----------------------------------------------------------------------------

    def _say(self, session: Session, request: web.BaseRequest, frame: bytes) -> None:
        """Tell the server something of our own, as the answer to a request that was stopped."""

        async def tell() -> None:
            headers = upwards(request.headers.items(), self._remote)
            headers["Content-Type"], headers["Accept"] = JSON, BOTH
            headers.pop(LAST_EVENT_ID, None)
            try:
                async with await self._door.send("POST", headers, frame):
                    pass
            except (PipeGuardError, aiohttp.ClientError, OSError):
                return  # it waits for its answer as it would for a client that is gone

        self._begin(tell())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- down ---------------------------------------------------------------------------

    async def _answered(
        self, asked: _Asked, session_id: str | None, session: Session, verdict: Verdict
    ) -> web.StreamResponse:
        headers = upwards(asked.request.headers.items(), self._remote)
        headers.setdefault("Accept", BOTH)
        headers["Content-Type"] = JSON
        async with await self._door.send("POST", headers, verdict.forward) as answer:
            if not self._keep(session, session_id, verdict.method, answer):
                return self._gone(asked, "the server gave a session id that is none")
            if kind_of(answer) == EVENTS:
                return await self._streamed(asked, answer)
            return await self._whole(asked, answer)

    async def _whole(self, asked: _Asked, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = downwards(answer)
        if asked.kind in _UNANSWERED:
            return web.Response(status=answer.status, headers=headers)
        body, fault = await self._body(answer)
        if body is None:
            return self._gone(asked, fault)
        if answer.status in LOGIN and not self._remote.passes_credentials:
            return self._gone(asked, f"the server takes no such login (HTTP {answer.status})")
        if answer.status in LOGIN:
            pointing_here(headers, asked.request, asked.request.path)
        if answer.status in LOGIN or (not body and answer.status >= _BAD):
            self._lost(asked.session, f"the server answered with HTTP {answer.status}")
            return web.Response(status=answer.status, headers=headers)
        told = await self._judged(asked, body, answer.status) if kind_of(answer) == JSON else None
        if told is None:  # no JSON-RPC: nothing, a page of HTML, the error of another hop
            return self._gone(asked, f"the server answered with HTTP {answer.status}, not with MCP")
        return web.Response(status=answer.status, headers=headers, body=told, content_type=JSON)

    async def _body(self, answer: aiohttp.ClientResponse) -> tuple[bytes | None, str]:
        try:
            return await whole(answer, self._remote.limit_bytes), ""
        except TooLarge:
            return None, "the answer is larger than the limit"
        except (aiohttp.ClientError, OSError):
            return None, _LOST

    async def _judged(self, asked: _Asked, body: bytes, status: int) -> bytes | None:
        """An answer in one piece; None where it is none that could be passed on."""
        # Only an error may lack the id of what it answers.
        frame = body if status < _BAD else answers.addressed(body, asked.session.waiting())
        if frame is None:
            return None
        verdict = await judged(asked.session, TO_CLIENT, frame)
        self._record(verdict)
        if verdict.forward is None:
            return None
        self._lost(asked.session, "the server did not answer")  # of a batch
        return _joined(asked.reply, body if verdict.forward is frame else verdict.forward)

    async def _streamed(self, asked: _Asked, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Events, each judged as it comes and sent on at once."""
        headers = downwards(answer)
        headers["Content-Type"] = EVENTS
        headers.setdefault("Cache-Control", "no-cache")
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(asked.request)
        stream = EventStream(self._remote.limit_bytes)
        left: list[bytes] = []
        if asked.reply is not None:
            await response.write(written(Event(asked.reply)))
        told = _Told(response, self._begin)
        unasked = asked.kind is None
        with self._conversations.listening(asked.session, told) if unasked else nullcontext():
            try:
                async for piece in answer.content.iter_any():
                    events = stream.feed(piece)
                    cursors = asked.may_last and any(event.id for event in events)
                    asked.lasts = asked.lasts or cursors
                    said = b"".join([await self._event(asked, event) for event in events])
                    if said:
                        await response.write(said)
                    if stream.overrun:
                        break
            except (aiohttp.ClientError, OSError):
                pass  # lost; what waits is told below
            if not unasked and not asked.lasts:
                left = self._lost(asked.session, _LOST)
        if left:
            await response.write(b"".join([written(Event(frame)) for frame in left]))
        await response.write_eof()
        return response

    async def _event(self, asked: _Asked, event: Event) -> bytes:
        if not event.data or event.comment is not None:
            return written(event)
        if event.name != "message":
            return b""
        verdict = await judged(asked.session, TO_CLIENT, event.data)
        self._record(verdict)
        if verdict.reply is not None:
            self._say(asked.session, asked.request, verdict.reply)
        if verdict.forward is not None:
            return written(event._replace(data=verdict.forward))
        if event.id is None and event.retry_ms is None:
            return b""
        return written(event._replace(data=b""))  # its place in the stream stays

    def _gone(self, asked: _Asked, why: str) -> web.Response:
        """In place of the answer; 200, since other codes have a meaning of their own for clients.

        400 can start a fallback to an older transport, 401 a login, 404 a new session.
        """
        frames = self._lost(asked.session, why)
        if not frames:
            return web.Response(status=502)
        body = frames[0] if len(frames) == 1 else b"[" + b",".join(frames) + b"]"
        return web.Response(body=body, content_type=JSON)

    def _lost(self, session: Session, why: str) -> list[bytes]:
        """Answer what waits in an exchange that is over."""
        frames = session.expire(monotonic())
        for token in session.waiting():
            verdict = session.receive(TO_CLIENT, Lost.of(token, why), monotonic())
            self._record(verdict)
            if verdict.forward is not None:
                frames.append(verdict.forward)
        return frames


class _Told:
    """A stream to a client, on which something of our own can be said."""

    def __init__(
        self,
        response: web.StreamResponse,
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._response = response
        self._begin = begin

    def tell(self, frames: list[bytes]) -> None:
        """Send these, without waiting."""

        async def write() -> None:
            with suppress(ConnectionError):
                await self._response.write(b"".join([written(Event(f)) for f in frames]))

        self._begin(write())


_UNANSWERED = (Kind.NOTIFICATION, Kind.RESULT, Kind.ERROR)
_BAD = web.HTTPBadRequest.status_code


def refused(verdict: Verdict) -> web.Response:
    """What a client is told of a message that did not go on."""
    if verdict.reply is not None:
        # What was read, and stopped, is answered as the server would answer it.
        status = 200 if verdict.kind is not None or verdict.method is not None else 400
        return web.Response(status=status, body=verdict.reply, content_type=JSON)
    if verdict.kind is not None:
        return web.Response(status=202)
    why = verdict.findings[0].note if verdict.findings else "it is not a message"
    body = answers.error(None, codes.PARSE_ERROR, f"PipeGuard: {why}")
    return web.Response(status=400, body=body, content_type=JSON)


def check_headers(conversations: Conversations, headers: Mapping[str, str], body: bytes) -> None:
    """Look whether headers repeat what the body says (2026-07-28), before it is sent.

    Raises:
        Refused: they say something else: with -32020.
    """
    try:
        message = parse(body)
    except Refusal:
        return  # the Session refuses it as well, and says so to the right one
    if not isinstance(message, Message):
        return
    params = message.value.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    calls = message.method == "tools/call" and type(name) is str
    mirrored = conversations.mirrored(str(name)) if calls else {}
    wrong = mirrors.disagreement(message.value, headers, mirrored)
    if wrong is not None:
        why = f"Header mismatch: {wrong}"
        raise Refused(400, why, frame=answers.error(message.id_token, HEADER_MISMATCH, why))


def is_stateless(request: web.BaseRequest, body: bytes) -> bool:
    """True for a message of a revision in which each stands alone."""
    version = request.headers.get(mirrors.VERSION, "")
    return version >= mirrors.STATELESS or _VERSION_BYTES in body


def _joined(reply: bytes | None, told: bytes) -> bytes:
    """Of a batch, what was answered here and what the server answered."""
    if reply is None:
        return told
    return reply.rstrip()[:-1] + b"," + told.strip().removeprefix(b"[").removesuffix(b"]") + b"]"

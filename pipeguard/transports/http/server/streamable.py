"""Streamable HTTP for a server that speaks another transport: our sessions, its channel.

A session is a channel of its own to the server. A message without a session (MCP 2026-07-28)
goes to a channel that such messages share, under an id that no other one there has; where clients
have tokens, those of one name share one. Sources: MCP 2025-03-26 to 2026-07-28, basic/transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from secrets import token_urlsafe
from time import monotonic

from aiohttp import web

from pipeguard.core.finding import Direction, Verdict
from pipeguard.core.protocol import codes, request_headers
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.sse import ServerSentEvent, written
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import replies
from pipeguard.errors import Refusal
from pipeguard.transports.backlog import Backlog, Crowded
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.headers import EVENTS, JSON, SESSION_ID
from pipeguard.transports.http.server.admission import WHO, Refused, crowded
from pipeguard.transports.http.server.exchanges import Exchange, Hosted
from pipeguard.transports.http.server.header_mirroring import check_headers, message_in
from pipeguard.transports.http.server.refusals import Ground
from pipeguard.transports.http.server.relay import is_stateless, refused
from pipeguard.transports.http.server.sessions import Conversations
from pipeguard.transports.judging import Judge

SESSION_BYTES = 24
CROWDED = "too much waits for the server; ask again a little later"
INVALID_PARAMS, NOT_FOUND = -32602, codes.METHOD_NOT_FOUND
_STATUSES = {"-32601": 404, **dict.fromkeys(("-32602", "-32020", "-32021", "-32022"), 400)}
SESSION_UNKNOWN = -32001  # as the official SDKs say it
AWAKE_SECONDS = 25.0
SWEEP_SECONDS = 15.0
RETRY_SECONDS = 10.0  # for which a server that did not start is not ready
_KEEP_AWAKE = written(ServerSentEvent(None, comment=b""))
_HEADERS = {"Content-Type": EVENTS, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Posted:
    """Answers clients of Streamable HTTP out of channels.

    Args:
        conversations: makes their Sessions.
        dial: opens a channel to the server; raises ChannelClosed where that fails.
        judge: judges each message, and records the verdict.
        most: sessions at once.
        idle_seconds: after which one is ended.
        backlog: of all that peers make us keep.
        waits: False where several sessions have one server, which then waits for no client.
    """

    def __init__(  # noqa: PLR0913  so many parts of the outside
        self,
        conversations: Conversations,
        dial: Callable[[], Awaitable[AsyncChannel]],
        judge: Judge,
        most: int,
        idle_seconds: float,
        backlog: Backlog,
        *,
        waits: bool = True,
    ) -> None:
        self._waits = waits
        self._backlog = backlog
        self._conversations = conversations
        self._dial = dial
        self._judge = judge
        self._most = most
        self._idle_seconds = idle_seconds
        self._hosted: dict[str, Hosted] = {}
        self._common: dict[str, Hosted] = {}  # by the names of tokens
        self._opening: dict[str, asyncio.Lock] = {}
        self._beginning = 0
        self._failed = float("-inf")  # when a server could last not be started
        self._sweeping = asyncio.create_task(self._sweep())

    def __len__(self) -> int:
        return len(self._hosted)

    def is_ready(self) -> bool:
        """True while a new conversation could begin, as far as can be told.

        A server that could not be started may start the next time, so it is tried again before
        long.
        """
        if monotonic() - self._failed < RETRY_SECONDS:
            return False
        return all(hosted.is_well for hosted in self._common.values())

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message of the client's, and all that answers it."""
        alone = is_stateless(request, body)
        if alone:
            self._check_alone(request, body)
        opened, hosted = await self._place(request, body, alone=alone)
        version = request.headers.get(request_headers.VERSION, request_headers.STATELESS)
        who = request.get(WHO, "")
        session = self._conversations.new(version, who) if alone else hosted.session
        exchange = Exchange(session.fork(), hosted, lasting=not alone)
        try:
            async with self._backlog.holding() as hold:
                hold(len(body))
                verdict = await self._judge(exchange.session, Direction.TO_SERVER, body)
            del body  # or it were kept for as long as the answer is waited for
            if verdict.forward is None:
                if opened is not None:
                    await self._end(opened)
                return refused(verdict)
            if not exchange.session.waiting():
                return await _notified(hosted, verdict)
            answering = self._answered(request, exchange, verdict, opened)
            del verdict
            return await answering
        except Crowded:
            if opened is not None:
                await self._end(opened)
            raise crowded() from None
        finally:
            exchange.session.leave()

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of what the server says unasked."""
        hosted = self._of(request)
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        async with hosted.listening() as stream:
            with self._conversations.listening(hosted.session, stream):
                while (frame := await stream.next(AWAKE_SECONDS)) is not None:
                    await response.write(written(ServerSentEvent(frame)) if frame else _KEEP_AWAKE)
        await response.write_eof()
        return response

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """The end of a session."""
        self._of(request)
        await self._end(request.headers[SESSION_ID])
        return web.Response(status=204)

    async def close(self) -> None:
        """End all sessions."""
        self._sweeping.cancel()
        hosted = [*self._hosted.values(), *self._common.values()]
        await asyncio.gather(*(one.close() for one in hosted))
        self._hosted.clear()

    def _check_alone(self, request: web.BaseRequest, body: bytes) -> None:
        """Look whether a message that stands alone is what it and its headers say it is."""
        message = message_in(body)
        if message is not None:
            _check_version(message, body)
            check_headers(self._conversations, request.headers, message, all_of_them=True)

    # --- sessions -----------------------------------------------------------------------

    def _of(self, request: web.BaseRequest) -> Hosted:
        if request.headers.get(request_headers.VERSION, "") >= request_headers.STATELESS:
            raise Refused(Ground.NOWHERE, 405, "this revision has no sessions", {"Allow": "POST"})
        session_id = request.headers.get(SESSION_ID)
        if session_id is None:
            raise Refused(Ground.NO_SESSION, 400, f"{SESSION_ID} is missing")
        hosted = self._hosted.get(session_id)
        if hosted is None:
            raise Refused(Ground.NO_SESSION, 404, "there is no such session")
        return hosted

    async def _place(
        self, request: web.BaseRequest, body: bytes, *, alone: bool
    ) -> tuple[str | None, Hosted]:
        """Where a message goes, with the id of a session that begins with it.

        Raises:
            Refused: there is no such session, or none could begin.
        """
        session_id = request.headers.get(SESSION_ID)
        if alone:
            return None, await self._shared(request.get(WHO, ""), body)
        if session_id is None:
            return await self._begun(request.get(WHO, ""), body)
        hosted = self._hosted.get(session_id)
        if hosted is None:
            raise _told(Ground.NO_SESSION, 404, body, SESSION_UNKNOWN, "Session not found")
        return None, hosted

    async def _begun(self, who: str, body: bytes) -> tuple[str, Hosted]:
        """A session for a client that opens one."""
        if _asks(body) != "initialize":
            why = f"{SESSION_ID} is missing"
            raise _told(Ground.NO_SESSION, 400, body, codes.INVALID_REQUEST, why)
        if len(self._hosted) + self._beginning >= self._most:
            await self._expire()
        if len(self._hosted) + self._beginning >= self._most:
            why = f"PipeGuard: {Ground.SESSIONS.words}"
            full = _told(Ground.SESSIONS, 503, body, codes.OVERLOADED, why)
            full.headers["Retry-After"] = "5"
            raise full
        self._beginning += 1
        try:
            hosted = await self._dialled(who, body)
        finally:
            self._beginning -= 1
        session_id = token_urlsafe(SESSION_BYTES)
        self._hosted[session_id] = hosted
        self._conversations.owners.own(session_id, who)
        self._begin(hosted, partial(self._forget, session_id))
        return session_id, hosted

    async def _shared(self, who: str, body: bytes) -> Hosted:
        """The channel for messages that stand alone, of one name."""
        async with self._opening.setdefault(who, asyncio.Lock()):
            hosted = self._common.get(who)
            if hosted is None:
                hosted = self._common[who] = await self._dialled(who, body, is_shared=True)
                self._begin(hosted, partial(self._forget_common, who, hosted))
            hosted.use()
            return hosted

    async def _dialled(self, who: str, body: bytes, *, is_shared: bool = False) -> Hosted:
        try:
            channel = await self._dial()
        except ChannelClosed as error:
            self._failed = monotonic()
            raise _told(None, 200, body, codes.PEER_GONE, f"PipeGuard: {error}") from None
        session = self._conversations.new(request_headers.STATELESS if is_shared else None, who)
        waits = self._waits and not is_shared
        return Hosted(
            channel, session, self._judge, self._backlog, is_shared=is_shared, waits=waits
        )

    def _begin(self, hosted: Hosted, forget: Callable[[], object]) -> None:
        def ended() -> None:
            forget()
            if hosted.was_stillborn:
                self._failed = monotonic()

        hosted.begin(ended)

    def _forget_common(self, who: str, hosted: Hosted) -> None:
        if self._common.get(who) is hosted:
            del self._common[who]

    def _forget(self, session_id: str) -> Hosted | None:
        self._conversations.owners.drop(session_id)
        return self._hosted.pop(session_id, None)

    async def _end(self, session_id: str) -> None:
        hosted = self._forget(session_id)
        if hosted is not None:
            await hosted.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._expire()

    async def _expire(self) -> None:
        now = monotonic()
        for session_id, hosted in list(self._hosted.items()):
            if hosted.idle_since(now) > self._idle_seconds:
                await self._end(session_id)
        for who, hosted in list(self._common.items()):
            if hosted.idle_since(now) > self._idle_seconds:
                self._forget_common(who, hosted)
                await hosted.close()

    # --- answers ------------------------------------------------------------------------

    async def _answered(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        verdict: Verdict,
        opened: str | None,
    ) -> web.StreamResponse:
        """What comes for a request: one JSON where that is all, else a stream."""
        headers = {} if opened is None else {SESSION_ID: opened}
        method, reply = verdict.method, verdict.reply
        with (
            exchange.under_way(verdict.forward or b"") as frame,
            self._conversations.expiring(method, exchange.expire),
            self._conversations.subscribed(method, exchange.session, exchange),
        ):
            del verdict
            try:
                async with self._backlog.holding() as hold:
                    hold(len(frame))
                    await exchange.hosted.write(frame)
            except ChannelClosed:
                await exchange.hosted.lose(exchange)
            except Crowded:
                await exchange.hosted.lose(exchange, CROWDED, codes.OVERLOADED)
            del frame
            first = await exchange.next(AWAKE_SECONDS)
            if first and exchange.is_answered and method != "batch":
                status = 200 if exchange.lasting else _status(first)
                return web.Response(body=first, status=status, content_type=JSON, headers=headers)
            response = web.StreamResponse(headers=_HEADERS | headers)
            await response.prepare(request)
            if reply is not None:
                await response.write(written(ServerSentEvent(reply)))
            while first is not None:
                await response.write(written(ServerSentEvent(first)) if first else _KEEP_AWAKE)
                if first and exchange.is_answered:
                    break
                first = await exchange.next(AWAKE_SECONDS)
            if exchange.is_cut:
                await exchange.hosted.lose(exchange)
            await response.write_eof()
            return response


async def _notified(hosted: Hosted, verdict: Verdict) -> web.Response:
    """Pass on what nothing answers but what is said of the members of a batch."""
    if verdict.forward is not None:
        with suppress(ChannelClosed):
            await hosted.notify(verdict.forward)
    if verdict.reply is not None:
        return web.Response(body=verdict.reply, content_type=JSON)
    return web.Response(status=202)


def _check_version(message: Message, body: bytes) -> None:
    """Look whether a message that stands alone says of which revision it is.

    The server behind takes one that does not for the opening of a session, for all who share it.

    Raises:
        Refused: it does not, or opens a session: with -32602 or -32601 (MCP 2026-07-28,
            basic/index, "Meta").
    """
    if message.method == "initialize":
        raise _told(Ground.BODY, 404, body, NOT_FOUND, "this revision has no initialize")
    if request_headers.revision_of(message.value) is None:
        why = f"_meta lacks {request_headers.VERSION_META}"
        raise _told(Ground.BODY, 400, body, INVALID_PARAMS, why)


def _status(frame: bytes) -> int:
    """The status that goes with an answer (2026-07-28, basic/transports/streamable-http)."""
    with suppress(Refusal):
        value = parse_json(frame)
        error = value.get("error") if isinstance(value, dict) else None
        if isinstance(error, dict):
            return _STATUSES.get(str(error.get("code")), 200)
    return 200


def _asks(body: bytes) -> str | None:
    """The method of a message.

    Raises:
        Refused: it is no message.
    """
    try:
        message = parse(body)
    except Refusal as refusal:
        why = f"PipeGuard: {refusal.why}"
        frame = replies.error(refusal.id_token, refusal.code, why)
        raise Refused(Ground.BODY, 400, why, frame=frame) from None
    return message.method if isinstance(message, Message) else None


def _told(ground: Ground | None, status: int, body: bytes, code: int, why: str) -> Refused:
    """An error of ours, under the id of the message that it is about."""
    token = None
    with suppress(Refusal):
        message = parse(body)
        token = message.id_token if isinstance(message, Message) else None
    return Refused(ground, status, why, frame=replies.error(token, code, why))

"""Streamable HTTP for a server of another transport: the sessions are ours, the channel is its own.

A session is a channel of its own to the server. Messages without a session (MCP 2026-07-28) share
one channel, under ids of ours; clients with different tokens share none. Sources: MCP 2025-03-26
to 2026-07-28, basic/transports.
"""

import asyncio
from contextlib import suppress
from functools import partial
from time import monotonic
from weakref import WeakValueDictionary

from aiohttp import web

from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object, serialise
from pipeguard.firewall.protocol.methods import INITIALIZED
from pipeguard.firewall.session import replies
from pipeguard.transports.bounded import Crowded
from pipeguard.transports.channel import ChannelClosed, Failure
from pipeguard.transports.http.headers import JSON, SESSION_ID
from pipeguard.transports.http.request_headers import (
    STATELESS,
    VERSION,
    VERSION_META,
    find_revision,
)
from pipeguard.transports.http.server.admission import (
    WHO,
    RefusalReason,
    RequestRefused,
    refuse_overload,
)
from pipeguard.transports.http.server.backend import (
    AWAKE_SECONDS,
    STREAM_HEADERS,
    Backend,
    Endpoint,
    as_event,
    choose_status,
    is_stateless,
    mcp_routes,
    refusal_response,
)
from pipeguard.transports.http.server.client_headers import check_headers, read_one_message
from pipeguard.transports.http.server.exchange_router import Exchange, ExchangeRouter
from pipeguard.transports.http.server.sealed_sessions import SealedSessions, is_bound_to_replica
from pipeguard.transports.http.server.sessions import Sessions, make_session_id
from pipeguard.transports.judging import offload, parse_value, read_frame, to_frame

INVALID_PARAMS = -32602
SESSION_UNKNOWN = -32001  # as in the official SDKs
SWEEP_SECONDS = 15.0
LOOK_SECONDS = 1.0  # between two looks at the sessions that ended at other replicas
RETRY_SECONDS = 10.0  # for which we are not ready after a server failed to start
_Key = tuple[str, str | None]  # a session id; or empty, and the token of messages without one
_INITIALIZED = serialise({"jsonrpc": "2.0", "method": INITIALIZED})
OVERLOADED = Failure("too much waits for the server; ask again a little later", codes.OVERLOADED)


class StreamableEndpoint(Endpoint):
    """Answers clients of Streamable HTTP out of channels.

    Args:
        backend: the server behind.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sessions, self._judge = backend.sessions, backend.judge
        self._backlog = backend.backlog
        self._routers: dict[_Key, ExchangeRouter] = {}
        self._opening = WeakValueDictionary[str, asyncio.Lock]()  # while somebody waits for it
        self._restoring: dict[tuple[str, str], asyncio.Task[ExchangeRouter | None]] = {}
        self._beginning = 0
        self._failed_at = float("-inf")  # when a server last failed to start
        self._sweeping = asyncio.create_task(self._sweep())
        self.routes = mcp_routes(self._post, self._get, self._delete)

    def is_ready(self) -> bool:
        """False for a while after a server failed to start."""
        return monotonic() - self._failed_at >= RETRY_SECONDS

    async def _post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a message."""
        body = await read_frame(body)
        stateless = await is_stateless(request, body)
        if stateless:
            await _check_stateless(self._sessions, request, body)
        opened, router = await self._find_router(request, body, stateless=stateless)
        session = router.session
        if stateless:
            revision = request.headers.get(VERSION, STATELESS)
            session = self._sessions.new(revision, request.get(WHO, ""))
        exchange = Exchange(session.fork(), self._backlog, lasting=not stateless)
        try:
            judging = self._backend.judge_post(router.session, exchange.session, body)
            del body  # otherwise it would be kept until the answer comes
            verdict = await judging
            router.use()
            if verdict.forward is None:
                await self._end((opened, None))
                return refusal_response(verdict)
            if not exchange.session.state.waiting_ids():
                return await _notify(router, verdict)
            answering = self._answer(request, router, exchange, verdict=verdict, opened=opened)
            del verdict
            return await answering
        except Crowded:
            await self._end((opened, None))
            raise refuse_overload() from None
        finally:
            exchange.session.leave()

    async def _get(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Answer with the stream of unrequested messages."""
        router = await self._get_router(request)
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        async with router.listening() as stream:
            with self._sessions.subscribing(router.session, stream.send):
                while (frame := await stream.next(AWAKE_SECONDS)) is not None:
                    await response.write(as_event(frame))
        await response.write_eof()
        return response

    async def _delete(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """End a session."""
        await self._get_router(request)
        session_id = request.headers[SESSION_ID]
        await self._end((session_id, None))
        if self._backend.sealed is not None:
            await self._backend.sealed.end(session_id)
        return web.Response(status=204)

    async def close(self) -> None:
        """End all sessions."""
        self._sweeping.cancel()
        self._sessions.end_holds()
        await asyncio.gather(*(router.close() for router in self._routers.values()))
        self._routers.clear()

    # --- sessions -----------------------------------------------------------------------

    async def _get_router(self, request: web.BaseRequest) -> ExchangeRouter:
        """The router of a request's session.

        Raises:
            RequestRefused: the session does not exist.
        """
        if request.headers.get(VERSION, "") >= STATELESS:
            raise RequestRefused(
                RefusalReason.NOWHERE, 405, "this revision has no sessions", {"Allow": "POST"}
            )
        session_id = request.headers.get(SESSION_ID)
        if session_id is None:
            raise RequestRefused(RefusalReason.NO_SESSION, 400, f"{SESSION_ID} is missing")
        router = await self._find_session(session_id, request.get(WHO, ""))
        if router is None:
            raise RequestRefused(RefusalReason.NO_SESSION, 404, "there is no such session")
        return router

    async def _find_router(
        self, request: web.BaseRequest, body: bytes, *, stateless: bool
    ) -> tuple[str, ExchangeRouter]:
        """The destination of a message, and the id of the session that it begins, or "".

        Raises:
            RequestRefused: the session does not exist, or cannot begin.
        """
        session_id = request.headers.get(SESSION_ID)
        if stateless:
            return "", await self._shared_router(request.get(WHO, ""), body)
        if session_id is None:
            return await self._begin_session(request.get(WHO, ""), body)
        router = await self._find_session(session_id, request.get(WHO, ""))
        if router is None:
            raise await _refuse_session(body)
        return "", router

    async def _find_session(self, session_id: str, who: str) -> ExchangeRouter | None:
        """The router of a session, which another replica may have begun; None without one."""
        sealed, key = self._backend.sealed, (session_id, who)
        router = self._routers.get((session_id, None))
        if sealed is None:
            return router
        if sealed.has_ended(session_id):
            await self._end((session_id, None))
            return None
        if router is None and key not in self._restoring:
            restoring = asyncio.create_task(self._restore(sealed, session_id, who))
            self._restoring[key] = restoring
            restoring.add_done_callback(lambda _: self._restoring.pop(key))
        if key in self._restoring:
            router = await asyncio.shield(self._restoring[key])
        return router if self._sessions.owners.allow(session_id, who) else None

    async def _begin_session(self, who: str, body: bytes) -> tuple[str, ExchangeRouter]:
        message = await offload(body, read_one_message, body)
        if message is None or message.method != "initialize":
            raise await _refusal(
                RefusalReason.NO_SESSION,
                400,
                body,
                codes.INVALID_REQUEST,
                f"{SESSION_ID} is missing",
            )
        sealed = self._backend.sealed
        session_id = make_session_id() if sealed is None else sealed.make_id(message.params, who)
        return session_id, await self._open_session(session_id, who, body)

    async def _open_session(self, session_id: str, who: str, body: bytes) -> ExchangeRouter:
        """The router of a session that begins, or continues here.

        Raises:
            RequestRefused: there are too many, or its server is gone.
        """
        if self._is_full():
            await self._end_idle()
        if self._is_full():
            reason = RefusalReason.SESSIONS
            raise await _refusal(reason, 503, body, codes.OVERLOADED, f"PipeGuard: {reason.words}")
        self._beginning += 1
        try:
            router = await self._open_router((session_id, None), who, body)
        finally:
            self._beginning -= 1
        self._sessions.owners.own(session_id, who)
        return router

    async def _restore(
        self, sealed: SealedSessions, session_id: str, who: str
    ) -> ExchangeRouter | None:
        """Continue a session that another replica began, or that was idle; None if it is over.

        None, too, if it cannot continue here: its client begins again, and is told why.
        """
        opening = await sealed.find_opening(session_id, who)
        if opening is None:
            return None
        with suppress(RequestRefused):
            router = await self._open_session(session_id, who, b"")
            if await self._replay(router, opening):
                return router
            await self._end((session_id, None))
        return None

    async def _replay(self, router: ExchangeRouter, opening: JsonObject) -> bool:
        """Open a session as its client did, with nobody to read the answers; False if it fails."""
        initialize: JsonObject = {"jsonrpc": "2.0", "id": "pipeguard", "method": "initialize"}
        asked = serialise({**initialize, "params": opening})
        exchange = Exchange(router.session.fork(), self._backlog, lasting=True)
        try:
            verdict = await self._judge(exchange.session, Direction.TO_SERVER, asked)
            value = await parse_value(verdict.forward or b"null")
            expire = partial(exchange.expire, self._judge)
            with (
                router.answering(exchange, value) as sent,
                self._sessions.expiring(verdict.method, expire),
            ):
                await self._send(router, exchange, [await to_frame(each) for each in sent])
                told: bytes | None = b""
                while told is not None and not (told and exchange.is_answered):
                    told = await exchange.next(AWAKE_SECONDS)
            if "result" not in as_object(await parse_value(told or b"null")):
                return False
            verdict = await self._judge(exchange.session, Direction.TO_SERVER, _INITIALIZED)
            await _notify(router, verdict)
            return True
        finally:
            exchange.session.leave()

    async def _claim(self, request: web.BaseRequest, value: JsonValue) -> None:
        """Note before a request that leaves something here that its session stays here.

        Raises:
            RequestRefused: the session is another replica's by now, or has ended.
        """
        sealed, session_id = self._backend.sealed, request.headers.get(SESSION_ID)
        if sealed is None or session_id is None or not is_bound_to_replica(value):
            return
        if not await sealed.claim(session_id):
            await self._end((session_id, None))
            raise await _refuse_session(serialise(value))

    def _is_full(self) -> bool:
        sessions = sum(bool(session_id) for session_id, _ in self._routers)
        return sessions + self._beginning >= self._backend.most

    async def _shared_router(self, who: str, body: bytes) -> ExchangeRouter:
        """The router for messages without a session, of clients with the same token."""
        async with self._opening.setdefault(who, asyncio.Lock()):
            router = self._routers.get(("", who))
            if router is None:
                await self._make_room_to_share()
                router = await self._open_router(("", who), who, body)
            router.use()
            return router

    async def _make_room_to_share(self) -> None:
        """End the shared router that is idle for longest, if there are too many of them."""
        now = monotonic()
        idle = {
            key: 0.0 if self._sessions.holds(router.session) else router.idle_seconds(now)
            for key, router in self._routers.items()
            if not key[0]
        }
        if len(idle) >= self._backend.most:
            key = max(idle, key=idle.__getitem__)
            if idle[key]:
                await self._end(key)

    async def _open_router(self, key: _Key, who: str, body: bytes) -> ExchangeRouter:
        is_shared = not key[0]
        try:
            channel = await self._backend.dial(who, key[0])
        except ChannelClosed as error:
            self._failed_at = monotonic()
            raise await _refusal(None, 200, body, codes.PEER_GONE, f"PipeGuard: {error}") from None
        session = self._sessions.new(STATELESS if is_shared else None, who)
        waits = self._backend.waits and not is_shared
        router = ExchangeRouter(
            channel, session, self._judge, backlog=self._backlog, is_shared=is_shared, waits=waits
        )

        def end_session() -> None:
            self._forget(key, router)
            if router.was_stillborn:
                self._failed_at = monotonic()

        self._routers[key] = router
        router.begin(end_session)
        return router

    def _forget(self, key: _Key, router: ExchangeRouter) -> None:
        if self._routers.get(key) is router:
            del self._routers[key]
            self._sessions.end_conversation(router.session)
            self._sessions.owners.drop(key[0])

    async def _end(self, key: _Key) -> None:
        """End the server of a session."""
        router = self._routers.get(key)
        if router is not None:
            self._forget(key, router)
            await router.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS if self._backend.sealed is None else LOOK_SECONDS)
            await self._end_idle()

    async def _end_idle(self) -> None:
        now, most = monotonic(), self._backend.idle_seconds
        for key, router in list(self._routers.items()):
            is_held = self._sessions.holds(router.session)
            is_idle = not is_held and router.idle_seconds(now) > most
            sealed = self._backend.sealed
            if is_idle or (sealed is not None and sealed.has_ended(key[0])):
                self._forget(key, router)  # not a newer one with its key
                await router.close()

    # --- answers ------------------------------------------------------------------------

    async def _answer(
        self,
        request: web.BaseRequest,
        router: ExchangeRouter,
        exchange: Exchange,
        *,
        verdict: Verdict,
        opened: str,
    ) -> web.StreamResponse:
        """Send a request to the server, and answer it: in one JSON text, or in a stream."""
        method, reply = verdict.method, verdict.reply
        frame = verdict.forward or b""
        del verdict
        try:
            value = await parse_value(frame)
            await self._claim(request, value)
        except (asyncio.CancelledError, RequestRefused):
            exchange.session.leave(is_sent=False)
            raise
        with (
            router.answering(exchange, value) as sent,
            self._sessions.expiring(method, partial(exchange.expire, self._judge)),
            self._sessions.answering(method, exchange.session, exchange.send),
        ):
            frames = [frame if each is value else await to_frame(each) for each in sent]
            del frame, value, sent[:]  # otherwise they would be kept until the answer comes
            await self._send(router, exchange, frames)
            headers = {SESSION_ID: opened} if opened else {}
            told = await exchange.next(AWAKE_SECONDS)
            if told and exchange.is_answered and method != "batch":
                status = 200 if exchange.lasting else await offload(told, choose_status, told)
                return web.Response(body=told, status=status, content_type=JSON, headers=headers)
            response = web.StreamResponse(headers=STREAM_HEADERS | headers)
            await response.prepare(request)
            if reply is not None:
                await response.write(as_event(reply))
            while told is not None:
                await response.write(as_event(told))
                if told and exchange.is_answered:
                    break
                told = await exchange.next(AWAKE_SECONDS)
            if exchange.is_cut:
                await router.lose(exchange)
            await response.write_eof()
            return response

    async def _send(self, router: ExchangeRouter, exchange: Exchange, frames: list[bytes]) -> None:
        try:
            with self._backlog.holding() as hold:
                while frames:
                    hold(sum(map(len, frames)))
                    await router.send(frames.pop(0))
        except ChannelClosed:
            await router.lose(exchange)
        except Crowded:
            await router.lose(exchange, OVERLOADED)


async def _notify(router: ExchangeRouter, verdict: Verdict) -> web.Response:
    """Pass on notifications; answer the stopped members of a batch."""
    if verdict.forward is not None:
        with suppress(ChannelClosed):
            await router.notify(verdict.forward)
    if verdict.reply is not None:
        return web.Response(body=verdict.reply, content_type=JSON)
    return web.Response(status=202)


async def _check_stateless(sessions: Sessions, request: web.BaseRequest, body: bytes) -> None:
    """Check that a message without a session has the revision and headers that it needs.

    The server behind would take a message without a revision for the opening of a session, and all
    clients share that server.

    Raises:
        RequestRefused: it has no revision, or opens a session; with -32602 or -32601 (MCP
            2026-07-28, basic/index, "Meta"). Or its headers differ from it.
    """
    message = await offload(body, read_one_message, body)
    if message is None:
        return  # the Session refuses it
    if message.method == "initialize":
        raise await _refusal(
            RefusalReason.BODY, 404, body, codes.METHOD_NOT_FOUND, "this revision has no initialize"
        )
    if find_revision(message.value) is None:
        raise await _refusal(
            RefusalReason.BODY, 400, body, INVALID_PARAMS, f"_meta lacks {VERSION_META}"
        )
    who = request.get(WHO, "")
    check_headers(sessions, request.headers, message, who=who, all_of_them=True)


async def _refuse_session(body: bytes) -> RequestRefused:
    """The refusal of a message of a session that does not exist."""
    reason = RefusalReason.NO_SESSION
    return await _refusal(reason, 404, body, SESSION_UNKNOWN, "Session not found")


async def _refusal(
    reason: RefusalReason | None, status: int, body: bytes, code: int, why: str
) -> RequestRefused:
    """A refusal whose body is a JSON-RPC error, under the id of the message in the request."""
    message = await offload(body, read_one_message, body)
    frame = replies.error(None if message is None else message.id_token, code, why)
    headers = {"Retry-After": "5"} if code == codes.OVERLOADED else None
    return RequestRefused(reason, status, why, headers, frame)

"""Relays Streamable HTTP to a server of Streamable HTTP: one request to it for each of a client's.

Status, sessions, streams, cursors and resumption are the server's own, and none of them is made up
here (MCP 2025-06-18 and 2026-07-28, basic/transports). Every message is judged: the body of a
request, and the body or the events of its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Direction
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.strict_json import without_value
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import Crowded
from pipeguard.transports.channel import CONNECTION_LOST, Failure
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.client.upstream import (
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
from pipeguard.transports.http.server.admission import WHO, RequestRefused, refuse_overload
from pipeguard.transports.http.server.backend import Service
from pipeguard.transports.http.server.client_headers import (
    ClientHeaders,
    check_headers,
    headers_repeating,
    read_one_message,
)
from pipeguard.transports.http.server.refusals import RefusalReason
from pipeguard.transports.http.server.relayed_answers import (
    OVERLOADED,
    RelayedAnswers,
    RelayedRequest,
    is_stateless,
    refusal_response,
)
from pipeguard.transports.judging import judge_frame, offload, read_frame
from pipeguard.transports.tasks import Tasks

_BAD_REQUEST = web.HTTPBadRequest.status_code
_SERVER_ERROR = web.HTTPInternalServerError.status_code
_NOT_FOUND = web.HTTPNotFound.status_code
_UNKNOWN_SESSION = "there is no such session; begin a new one"
_BAD_SESSION_ID = Failure("the server gave an invalid session id", codes.PEER_BROKE_PROTOCOL)
_CLIENT_LEFT = Failure("the client left before the answer came")


class _Outgoing(NamedTuple):
    """A message on its way to the server.

    Attributes:
        session_id: that the client named, or None.
        frames: the message alone; taken out when it is sent, so that it is not kept until then.
        headers: of the request that go on.
        repeated: headers that repeat it, where it was changed.
    """

    session_id: str | None
    frames: list[bytes]
    headers: CIMultiDict[str]
    repeated: Mapping[str, str]


class Relay:
    """Answers a client's requests with what a server answers, each message judged.

    Args:
        remote: the server.
        http: connections to it.
        service: sessions by the server's session ids, and what judges.
    """

    def __init__(self, remote: Remote, http: aiohttp.ClientSession, service: Service) -> None:
        self._service = service
        self._endpoint = RemoteEndpoint(remote, http)
        self._headers = ClientHeaders(remote, service.judge.record)
        self._answers = RelayedAnswers(remote, service, self._headers, self._reply)
        self._tasks = Tasks()

    # --- what a client may do -------------------------------------------------------------

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Relay a message."""
        body = await read_frame(body)
        stateless = await offload(body, is_stateless, request, body)
        compared = await self._check_headers(request, body) if stateless else frozenset[str]()
        session_id = None if stateless else request.headers.get(SESSION_ID)
        conversation = self._conversation(request, session_id)
        session = conversation.fork()
        try:
            with self._service.backlog.holding() as hold:
                hold(len(body))
                headers = await self._headers.select(request, session, compared)
                record = self._service.judge.record
                verdict = await judge_frame(session, Direction.TO_SERVER, body, record)
                record(verdict)
            del body  # otherwise it would be kept until the answer comes
            verdict = await self._service.decide(conversation, session, verdict)
            if verdict.forward is None:
                await asyncio.sleep(0)  # nothing else waits: others have their turn
                return refusal_response(verdict)
            relayed = RelayedRequest(request, session, conversation, verdict, lasting=not stateless)
            is_changed = verdict.forward is not verdict.frame
            frames = [without_value(verdict.forward)]
            del verdict
            repeated: Mapping[str, str] = {}
            if stateless and is_changed:
                sessions = self._service.sessions
                repeated = await offload(frames[0], headers_repeating, sessions, frames[0])
            return await self._relay(relayed, _Outgoing(session_id, frames, headers, repeated))
        except Crowded:
            raise refuse_overload() from None
        finally:
            session.leave()

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """Relay the stream of unrequested messages, or one that is resumed."""
        session_id = request.headers.get(SESSION_ID)
        session = self._conversation(request, session_id)
        headers = await self._headers.select(request, session)
        if session_id is not None and SESSION_ID not in headers:
            return _unknown_session()
        relayed = RelayedRequest(request, session, session, None, lasting=True)
        try:
            async with await self._endpoint.send("GET", headers, None) as answer:
                if answer.status == web.HTTPOk.status_code and media_type(answer) == EVENTS:
                    self._keep_session(relayed, session_id, answer)
                    return await self._answers.stream(relayed, answer)
                if answer.status >= _SERVER_ERROR:
                    why = f"the server answered with HTTP {answer.status}"
                    reason = RefusalReason.NO_STREAM
                    raise RequestRefused(reason, answer.status, why, headers_to_client(answer))
                return self._answers.without_body(answer)
        except PipeGuardError as error:
            why = replies.what_happened(str(error))
            raise RequestRefused(RefusalReason.NO_STREAM, 502, why) from None
        except (aiohttp.ClientError, OSError) as error:
            why = describe_unreachable(error)
            raise RequestRefused(RefusalReason.NO_STREAM, 502, why) from None

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """Relay the end of a session."""
        session_id = request.headers.get(SESSION_ID, "")
        session = self._conversation(request, request.headers.get(SESSION_ID))
        headers = await self._headers.select(request, session)
        if SESSION_ID in request.headers and SESSION_ID not in headers:
            return _unknown_session()
        sessions = self._service.sessions
        try:
            async with await self._endpoint.send("DELETE", headers, None) as answer:
                if answer.status < _BAD_REQUEST or answer.status == _NOT_FOUND:
                    sessions.owners.drop(session_id)
                if answer.status < _BAD_REQUEST:
                    sessions.forget(session_id)
                return self._answers.without_body(answer)
        except (PipeGuardError, aiohttp.ClientError, OSError) as error:
            sessions.forget(session_id)
            return web.Response(status=502, text=f"PipeGuard: {describe_unreachable(error)}\n")

    async def close(self) -> None:
        """End what is in progress."""
        self._service.sessions.end_holds()
        await self._tasks.end()
        await self._answers.tasks.end()

    def _conversation(self, request: web.BaseRequest, session_id: str | None) -> Session:
        version = request.headers.get(request_headers.VERSION)
        return self._service.sessions.of(session_id, version, request.get(WHO, ""))

    async def _check_headers(self, request: web.BaseRequest, body: bytes) -> frozenset[str]:
        message = await offload(body, read_one_message, body)
        if message is None:
            return frozenset()
        sessions = self._service.sessions
        return check_headers(sessions, request.headers, message, all_of_them=False)

    # --- to the server --------------------------------------------------------------------

    async def _relay(self, relayed: RelayedRequest, outgoing: _Outgoing) -> web.StreamResponse:
        """Send a message, and pass on what answers it."""
        headers = outgoing.headers
        if outgoing.session_id is not None and SESSION_ID not in headers:
            response = self._answers.lose(relayed, Failure(_UNKNOWN_SESSION, sent=False))
            response.set_status(_NOT_FOUND)
            return response
        headers.update(outgoing.repeated)
        headers.setdefault("Accept", BOTH)
        headers["Content-Type"] = JSON
        try:
            async with (
                self._service.sessions.patience(relayed.method),
                await self._post(headers, outgoing.frames.pop()) as answer,
            ):
                if not self._keep_session(relayed, outgoing.session_id, answer):
                    return self._answers.lose(relayed, _BAD_SESSION_ID)
                if media_type(answer) == EVENTS and answer.ok:
                    return await self._answers.stream(relayed, answer)
                return await self._answers.forward(relayed, answer)
        except (PipeGuardError, aiohttp.ClientError, OSError) as error:
            return self._answers.lose(relayed, _to_failure(error))
        except Crowded:
            return self._answers.lose(relayed, OVERLOADED._replace(sent=False))
        except asyncio.CancelledError:
            if not relayed.is_resumable:
                self._answers.drop(relayed, _CLIENT_LEFT)
            raise

    async def _post(self, headers: Mapping[str, str], frame: bytes) -> aiohttp.ClientResponse:
        """Send a POST; its frame is kept until it is answered, for a redirect or a login."""
        with self._service.backlog.holding() as hold:
            hold(len(frame))
            return await self._endpoint.send("POST", headers, frame)

    def _reply(self, relayed: RelayedRequest, frame: bytes) -> None:
        """Send the server our own answer to a request of its that was stopped."""
        self._tasks.begin(self._post_reply(relayed, frame))

    async def _post_reply(self, relayed: RelayedRequest, frame: bytes) -> None:
        headers = await self._headers.select(relayed.request, relayed.session)
        headers["Content-Type"], headers["Accept"] = JSON, BOTH
        headers.pop(LAST_EVENT_ID, None)
        try:
            async with await self._endpoint.send("POST", headers, frame):
                pass
        except (PipeGuardError, aiohttp.ClientError, OSError):
            return  # the server waits for its answer, as for a client that is gone

    def _keep_session(
        self, relayed: RelayedRequest, session_id: str | None, answer: aiohttp.ClientResponse
    ) -> bool:
        """Store a session that the server knows; False if it gave an invalid id."""
        self._headers.learn(answer)
        sessions = self._service.sessions
        if answer.status == _NOT_FOUND and session_id is not None:
            sessions.owners.drop(session_id)
            sessions.end_holds(relayed.conversation)
        if answer.status >= _BAD_REQUEST:
            return True
        if relayed.method == "initialize":
            session_id = answer.headers.get(SESSION_ID)
            if session_id is not None and not is_session_id(session_id):
                return False
            if session_id is not None:
                sessions.owners.own(session_id, relayed.request.get(WHO, ""))
        sessions.keep(session_id, relayed.conversation)
        return True


def _unknown_session() -> web.Response:
    return web.Response(status=_NOT_FOUND, text=f"PipeGuard: {_UNKNOWN_SESSION}\n")


def _to_failure(error: Exception) -> Failure:
    """Why a request was not answered."""
    sent = not isinstance(error, aiohttp.ClientConnectorError)
    if isinstance(error, PipeGuardError):
        return Failure(str(error), sent=sent)
    if isinstance(error, aiohttp.ClientResponseError):  # its head cannot be read
        why = "the server does not speak HTTP as it should"
        return Failure(why, codes.PEER_BROKE_PROTOCOL, sent=sent)
    if isinstance(error, TimeoutError):
        return Failure(CONNECTION_LOST, sent=sent)
    return Failure(describe_unreachable(error), sent=sent)

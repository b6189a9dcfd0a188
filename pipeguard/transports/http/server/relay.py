"""Relays Streamable HTTP to a server of Streamable HTTP: one request to it for each of a client's.

Status, sessions, streams, cursors and resumption are the server's own, never made up here (MCP
2025-06-18 and 2026-07-28, basic/transports). Every message is judged: the body of a request, and
the body or the events of its answer. A message that does not pass, or never comes, is replaced by
an answer of ours.
"""

from asyncio import CancelledError, timeout, timeout_at
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import TO_CLIENT
from pipeguard.firewall.protocol import codes, methods, strict_json
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import SMALL_BYTES, Crowded
from pipeguard.transports.channel import CONNECTION_LOST, Failure
from pipeguard.transports.http import challenge, request_headers
from pipeguard.transports.http.client.bodies import (
    NETWORK_ERRORS,
    Unreadable,
    read_body,
    read_events,
)
from pipeguard.transports.http.client.upstream import (
    LOGIN,
    RemoteEndpoint,
    describe_status,
    to_failure,
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
from pipeguard.transports.http.server.admission import (
    WHO,
    RefusalReason,
    RequestRefused,
    refuse_overload,
)
from pipeguard.transports.http.server.backend import (
    KEEP_AWAKE,
    STREAM_HEADERS,
    Backend,
    Endpoint,
    Upstream,
    answer_frames,
    as_event,
    as_events,
    is_stateless,
    mcp_routes,
    refusal_response,
)
from pipeguard.transports.http.server.client_headers import (
    ClientHeaders,
    check_headers,
    headers_repeating,
    read_one_message,
)
from pipeguard.transports.http.server.sessions import subscriber
from pipeguard.transports.judging import offload, read_frame
from pipeguard.transports.pump import take_frame
from pipeguard.transports.sse import MESSAGE, ServerSentEvent, to_bytes
from pipeguard.transports.tasks import Tasks

_BAD_REQUEST = web.HTTPBadRequest.status_code
_NOT_FOUND = web.HTTPNotFound.status_code
_ENDED = frozenset({*range(200, _BAD_REQUEST), _NOT_FOUND})  # answers to DELETE
_UNKNOWN_SESSION = "there is no such session; begin a new one"
_BAD_SESSION_ID = Failure("the server gave an invalid session id", codes.PEER_BROKE_PROTOCOL)
_CLIENT_LEFT = Failure("the client left before the answer came")
_ANSWER, _RESULT = b'{"jsonrpc":', b'"result":'  # only an error may lack its id
_OVERLOADED = "too many large messages are in progress; ask again a little later"


class _Stream(web.StreamResponse):
    """Sends its head with the first bytes, and the last ones with its end.

    Attributes:
        last: bytes that are not sent yet.
    """

    _send_headers_immediately = False
    last = b""

    async def send(self, events: bytes, *, is_last: bool) -> None:
        """Send events, unless they are the last and few."""
        self.last += events
        if not is_last or len(self.last) > SMALL_BYTES:
            sent, self.last = self.last, b""
            await self.write(sent)


@dataclass(slots=True)
class _Relayed:
    """A client's request, while the server answers it.

    Attributes:
        conversation: that it belongs to.
        session: judges its messages.
        session_id: that the client named, or None.
        lasting: True if the answer may still come on another stream.
        method: of its message, or None.
        waits: True if the message waits for an answer here.
        is_resumable: True once the client was given a cursor, with which it can resume the stream.
        replies: to the members of a batch that were not forwarded.
        ends_at: the time of the loop when a stream that answers it is overdue; None for no limit.
    """

    request: web.BaseRequest
    conversation: Session
    session: Session
    session_id: str | None
    lasting: bool
    method: str | None = None
    waits: bool = False
    is_resumable: bool = False
    replies: list[bytes] = field(default_factory=list)
    ends_at: float | None = None


class Relay(Endpoint):
    """Answers a client's requests with a server's answers, each message judged.

    Args:
        backend: sessions by the server's session ids, and the judge.
        upstream: the server.
    """

    def __init__(self, backend: Backend, upstream: Upstream) -> None:
        self._remote = upstream.remote
        self._backend = backend
        self._sessions, self._judge = backend.sessions, backend.judge
        self._backlog = backend.backlog
        self._endpoint = RemoteEndpoint(upstream.remote, upstream.http)
        self._headers = ClientHeaders(upstream.remote, backend.judge.record)
        self._tasks = Tasks()
        self.routes = mcp_routes(self._post, self._get, self._get)

    # --- requests of a client -------------------------------------------------------------

    async def _post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Relay a message."""
        stateless = await is_stateless(request, body)
        compared = frozenset[str]()
        body = await read_frame(body) if stateless else body
        if stateless and (message := await offload(body, read_one_message, body)) is not None:
            compared = check_headers(self._sessions, request.headers, message, all_of_them=False)
            del message
        relayed = self._begin(request, stateless=stateless)
        session = relayed.session = relayed.conversation.fork()
        try:
            headers = await self._select(relayed, compared)
            judging = self._backend.judge_post(relayed.conversation, session, body)
            del body  # otherwise it would be kept until the answer comes
            verdict = await judging
            if verdict.forward is None:
                return refusal_response(verdict)
            relayed.method, relayed.waits = verdict.method, bool(session.state.waiting_ids())
            relayed.replies = [] if verdict.reply is None else [verdict.reply]
            is_changed = verdict.forward is not verdict.frame
            frames = [strict_json.without_value(verdict.forward)]  # taken out when it is sent
            del verdict
            if stateless and is_changed:
                frame = frames[0]
                headers.update(await offload(frame, headers_repeating, self._sessions, frame))
                del frame
            return await self._relay(relayed, headers, frames)
        except Crowded:
            raise refuse_overload() from None
        finally:
            session.leave()

    async def _get(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Relay the stream of unrequested messages, a resumed one, or the end of a session."""
        relayed = self._begin(request)
        relayed.method = methods.LISTEN  # unrequested messages are for this stream
        headers = await self._select(relayed)
        try:
            async with await self._endpoint.send(request.method, headers) as answer:
                if request.method == "DELETE" and answer.status in _ENDED:
                    self._sessions.owners.drop(relayed.session_id or "")
                    self._sessions.forget(relayed.session_id)
                elif answer.status == web.HTTPOk.status_code and media_type(answer) == EVENTS:
                    self._keep_session(relayed, answer)
                    return await self._stream(relayed, answer)
                return self._without_body(answer)
        except (PipeGuardError, *NETWORK_ERRORS) as error:
            why = replies.what_happened(to_failure(error).why)
            raise RequestRefused(RefusalReason.NO_STREAM, 502, why) from None

    async def close(self) -> None:
        """End the work in progress."""
        self._sessions.end_holds()
        await self._tasks.end()

    def _begin(self, request: web.BaseRequest, *, stateless: bool = False) -> _Relayed:
        session_id = None if stateless else request.headers.get(SESSION_ID)
        version = request.headers.get(request_headers.VERSION)
        conversation = self._sessions.of(session_id, version, request.get(WHO, ""))
        return _Relayed(request, conversation, conversation, session_id, lasting=not stateless)

    async def _select(
        self, relayed: _Relayed, compared: frozenset[str] = frozenset()
    ) -> CIMultiDict[str]:
        """The headers of a request for the server.

        Raises:
            RequestRefused: they name no session that may be passed on.
        """
        headers = await self._headers.select(relayed.request, relayed.session, compared)
        if relayed.session_id is not None and SESSION_ID not in headers:
            raise RequestRefused(None, _NOT_FOUND, _UNKNOWN_SESSION)
        return headers

    # --- to the server --------------------------------------------------------------------

    async def _relay(
        self, relayed: _Relayed, headers: CIMultiDict[str], frames: list[bytes]
    ) -> web.StreamResponse:
        """Send a message, and pass on its answer."""
        headers.setdefault("Accept", BOTH)
        try:
            async with (
                timeout(self._sessions.most_seconds(relayed.method)) as limit,
                await self._send(headers, frames.pop()) as answer,
            ):
                if not self._keep_session(relayed, answer):
                    return self._lose(relayed, _BAD_SESSION_ID)
                if media_type(answer) == EVENTS and answer.ok:
                    relayed.ends_at = limit.when()
                    limit.reschedule(None)  # what is lost is then told on the stream
                    return await self._stream(relayed, answer)
                return await self._forward(relayed, answer)
        except (PipeGuardError, Unreadable, *NETWORK_ERRORS) as error:
            return self._lose(relayed, to_failure(error))
        except Crowded:
            return self._lose(relayed, Failure(_OVERLOADED, codes.OVERLOADED))
        except CancelledError:
            if not relayed.is_resumable:
                self._answer_waiting(relayed.session, _CLIENT_LEFT)
            raise

    async def _send(self, headers: CIMultiDict[str], frame: bytes) -> aiohttp.ClientResponse:
        """Send a POST; its frame is kept until it is answered, for a redirect or a login."""
        headers["Content-Type"] = JSON
        with self._backlog.holding() as hold:
            hold(len(frame))
            return await self._endpoint.send("POST", headers, frame)

    async def _post_reply(self, relayed: _Relayed, frame: bytes) -> None:
        """Send the server our own answer to a request of its that was stopped."""
        headers = await self._headers.select(relayed.request, relayed.session)
        headers["Accept"] = BOTH
        headers.pop(LAST_EVENT_ID, None)
        # Without it the server waits for its answer, as for a client that is gone.
        with suppress(PipeGuardError, Crowded, *NETWORK_ERRORS):
            (await self._send(headers, frame)).release()

    def _keep_session(self, relayed: _Relayed, answer: aiohttp.ClientResponse) -> bool:
        """Store a session that the server knows; False if it gave an invalid id."""
        self._headers.learn(answer)
        session_id = relayed.session_id
        if answer.status == _NOT_FOUND and session_id is not None:
            self._sessions.owners.drop(session_id)
            self._sessions.end_holds(relayed.conversation)
        if answer.status >= _BAD_REQUEST:
            return True
        if relayed.method == "initialize":
            session_id = answer.headers.get(SESSION_ID)
            if session_id is not None and not is_session_id(session_id):
                return False
            if session_id is not None:
                self._sessions.owners.own(session_id, relayed.request.get(WHO, ""))
        self._sessions.keep(session_id, relayed.conversation)
        return True

    # --- an answer in one piece -----------------------------------------------------------

    def _without_body(self, answer: aiohttp.ClientResponse) -> web.Response:
        """Pass on status and headers."""
        if answer.status in LOGIN and not self._remote.passes_credentials:
            # The client has no part in that login, and could not finish one.
            why = describe_status(answer.status)
            return web.Response(status=502, text=f"PipeGuard: {why}\n")
        return web.Response(status=answer.status, headers=headers_to_client(answer))

    async def _forward(self, relayed: _Relayed, answer: aiohttp.ClientResponse) -> web.Response:
        """Pass on an answer to a POST that is not a stream."""
        if not relayed.waits:
            return answer_frames(relayed.replies) if relayed.replies else self._without_body(answer)
        status, why = answer.status, describe_status(answer.status)
        if status in LOGIN:
            told = self._lose(relayed, Failure(why, sent=status != challenge.UNAUTHORIZED))
            return self._without_body(answer) if self._remote.passes_credentials else told
        frames: list[bytes] = []
        if media_type(answer) == JSON:
            with self._backlog.holding() as hold:
                body = await read_body(answer, self._remote.limit_bytes, hold)
                frames = await self._judge_answer(relayed, body)
        lost = Failure(why, codes.PEER_BROKE_PROTOCOL)
        response = answer_frames(frames) if frames else self._lose(relayed, lost)
        if frames or status >= _BAD_REQUEST:
            response.set_status(status)  # 404 asks for a new session, 405 for an older transport
        response.headers.update(headers_to_client(answer))
        return response

    async def _judge_answer(self, relayed: _Relayed, body: bytes) -> list[bytes]:
        """The frames for the client of an answer in one piece; none if it cannot be passed on."""
        session = relayed.session
        has_id = body.startswith(_ANSWER) and _RESULT in body and b'"error"' not in body
        waiting = session.state.waiting_ids()
        frame = body if has_id else await offload(body, replies.set_id, body, waiting)
        if frame is None:
            return []
        verdict = await self._judge(session, TO_CLIENT, frame)
        if verdict.forward is None:
            return []
        unanswered = self._answer_waiting(session, Failure("the server did not answer"))
        if unanswered and relayed.method != "batch":
            return unanswered  # it answers nothing, and nothing else will come
        return [*relayed.replies, verdict.forward, *unanswered]

    # --- a stream -------------------------------------------------------------------------

    async def _stream(
        self, relayed: _Relayed, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Pass on events, each judged as it arrives."""
        headers = CIMultiDict(STREAM_HEADERS)
        headers.update(headers_to_client(answer))
        response = _Stream(status=answer.status, headers=headers)
        await response.prepare(relayed.request)
        if relayed.replies or not answer.content.is_eof():
            await response.write(as_events(relayed.replies))  # or only the head
        unanswered: list[bytes] = []
        send = subscriber(lambda frame: response.write(as_event(frame)))
        with self._sessions.answering(relayed.method, relayed.session, send):
            failure = await self._stream_events(relayed, answer, response)
            if relayed.waits and not relayed.is_resumable:
                unanswered = self._answer_waiting(relayed.session, failure)
        await response.write_eof(response.last + as_events(unanswered))
        return response

    async def _stream_events(
        self, relayed: _Relayed, answer: aiohttp.ClientResponse, response: _Stream
    ) -> Failure:
        """Pass on events to the end of the stream; return why it ended."""
        try:
            async with timeout_at(relayed.ends_at):
                async for read in read_events(answer, self._remote.limit_bytes):
                    passed = [await self._pass_event(relayed, event) for event in read]
                    await response.send(b"".join(passed), is_last=answer.content.is_eof())
        except (Unreadable, TimeoutError) as error:
            relayed.is_resumable = False
            return to_failure(error)
        except NETWORK_ERRORS:
            pass  # as at the end of a stream
        return Failure(CONNECTION_LOST)

    async def _pass_event(self, relayed: _Relayed, event: ServerSentEvent) -> bytes:
        """The events for the client, as they are written."""
        if event.id and not is_session_id(event.id):
            event = event._replace(id=None)  # a client sends it back in a header
        if event.id:
            relayed.is_resumable = relayed.lasting
            self._headers.given_events.add(event.id)
        if event.comment is not None:
            return KEEP_AWAKE
        if event.data and event.name == MESSAGE:
            verdict = await self._judge(relayed.session, TO_CLIENT, event.data)
            if verdict.reply is not None:
                self._tasks.begin(self._post_reply(relayed, verdict.reply))
            if verdict.forward is not None:
                *first, last = verdict.forwards
                return as_events(first) + to_bytes(event._replace(data=last))
        if event.id is None and event.retry_ms is None:
            return b""
        data = None if event.data is None else b""
        return to_bytes(ServerSentEvent(data, id=event.id, retry_ms=event.retry_ms))  # its cursor

    # --- without an answer ----------------------------------------------------------------

    def _lose(self, relayed: _Relayed, failure: Failure) -> web.Response:
        """Answer a request whose answer will not come.

        The status is 200, because other codes mean something to clients: 400 can start a fallback
        to an older transport, 401 a login, 404 a new session.
        """
        return answer_frames([*relayed.replies, *self._answer_waiting(relayed.session, failure)])

    def _answer_waiting(self, session: Session, failure: Failure) -> list[bytes]:
        """Answer the waiting requests in a finished exchange."""
        frames = self._judge.answer_overdue(session)
        for token in session.state.waiting_ids():
            verdict = take_frame(session, TO_CLIENT, failure.to_frame(token))
            self._judge.record(verdict)
            frames += verdict.forwards
        return frames

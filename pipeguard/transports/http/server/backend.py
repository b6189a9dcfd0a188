"""The backend of endpoints: the guarded server, and the parts that a listener's transports share.

A transport of MCP over a network is a `Binding`: how it opens channels to servers, and answers
clients.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web

from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.firewall.finding import Action, Direction, MessageKind, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import as_object
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.bounded import Backlog
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, RemoteChannel
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.headers import EVENTS, JSON
from pipeguard.transports.http.server.admission import RefusalReason, RequestRefused
from pipeguard.transports.http.server.sealed_sessions import SealedSessions
from pipeguard.transports.http.server.sessions import Sessions, make_session_id, subscriber
from pipeguard.transports.judging import Judge, answer_overdue, parse_value, wait_for_decision
from pipeguard.transports.pump import pump
from pipeguard.transports.sse import ServerSentEvent, to_bytes
from pipeguard.transports.tasks import Tasks

# Given the name of the client's token, and the id of its session; each may be empty.
Dial = Callable[[str, str], Awaitable[AsyncChannel]]
MCP = "/mcp"
Answer = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


class Upstream(NamedTuple):
    """A guarded server at an address.

    Attributes:
        transport: the name of the transport that the server speaks.
    """

    remote: Remote
    http: aiohttp.ClientSession
    transport: str


@dataclass(slots=True)
class Backend:
    """The guarded server behind a listener, and the conversations over one connection each.

    Attributes:
        sessions: of the guarded server.
        judge: judges each message, and records the verdict.
        backlog: counts the bytes that peers make us keep.
        dial: opens a channel to the server; raises ChannelClosed if that fails.
        limit_bytes: of one message.
        most: sessions, and conversations, at once.
        idle_seconds: after which a session is ended.
        waits: False if all sessions share one server process, which then waits for no client.
        upstream: the server's address; None if it is started here.
        sealed: the sessions that other replicas continue; None without any.
        servers: the open channels of conversations.
        endpoints: for clients, one for each transport.
    """

    sessions: Sessions
    judge: Judge
    backlog: Backlog
    dial: Dial
    limit_bytes: int
    most: int
    idle_seconds: float
    waits: bool = True
    upstream: Upstream | None = None
    sealed: SealedSessions | None = None
    servers: set[AsyncChannel] = field(default_factory=set)
    conversations: int = 0
    endpoints: "tuple[Endpoint, ...]" = ()

    async def judge_post(self, conversation: Session, session: Session, body: bytes) -> Verdict:
        """The verdict on the body of a POST, once it no longer waits for a person.

        Args:
            conversation: with whose end the wait ends.
            session: of the exchange.
            body: the message.

        Raises:
            Crowded: it was given up to make room for others.
        """
        with self.backlog.holding() as hold:
            hold(len(body))
            verdict = await self.judge(session, Direction.TO_SERVER, body)
        del body  # otherwise it would be kept until a person has decided
        if verdict.action is not Action.ASK:
            return verdict
        with self.sessions.holding(conversation) as over:
            return await wait_for_decision(session, verdict, self.judge.record, over)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Count a conversation.

        Raises:
            RequestRefused: there are too many.
        """
        if self.conversations >= self.most:
            reason = RefusalReason.SESSIONS
            raise RequestRefused(reason, 503, reason.words, {"Retry-After": "5"})
        self.conversations += 1
        try:
            yield
        finally:
            self.conversations -= 1

    async def hold(self, client: AsyncChannel, who: str) -> None:
        """Hold a conversation with a client until a side is gone.

        Args:
            client: its channel.
            who: the name of its token, or empty.
        """
        try:
            server = await self.dial(who, make_session_id())
        except ChannelClosed:  # no server could be started
            await client.close()
            return
        session = self.sessions.new(None, who)
        self.servers.add(server)
        try:
            with self.sessions.subscribing(session, subscriber(client.write)):
                await converse(session, client, server, self.judge)
        finally:
            self.servers.discard(server)
            self.sessions.end_conversation(session)

    async def close(self) -> None:
        """End all conversations; open requests are answered."""
        closing = [endpoint.close() for endpoint in self.endpoints]
        await asyncio.gather(*closing, *(server.close() for server in list(self.servers)))


async def converse(
    session: Session, client: AsyncChannel, server: AsyncChannel, judge: Judge
) -> None:
    """Pump both ways until a side is gone; then answer open requests, and end the other side."""
    session = session.fork()  # its end also ends the judging in a thread
    expiring = asyncio.create_task(answer_overdue(session, client, server, judge))
    waiting = Tasks()

    async def ask(session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a client's frame; a call that waits for a person delays no other frame."""
        verdict = await judge(session, direction, frame)
        if verdict.action is Action.ASK:
            waiting.begin(_deliver(session, verdict, client, server, judge))
        return verdict

    to_server = asyncio.create_task(pump(session, Direction.TO_SERVER, client, server, ask))
    to_client = asyncio.create_task(pump(session, Direction.TO_CLIENT, server, client, judge))
    try:
        await asyncio.wait((to_server, to_client), return_when=asyncio.FIRST_COMPLETED)
        # If a verdict could not be recorded, nothing may pass. Otherwise the server's last frame
        # was passed on, or it accepts no further one.
        error = None if to_client.done() else to_server.exception()
        if to_client.done() or (error and not isinstance(error, PipeGuardError)):
            await _answer_all(session, client, judge)
    finally:
        for task in (to_server, to_client, expiring):
            task.cancel()
        await waiting.end()
        ends = await asyncio.gather(to_server, to_client, expiring, return_exceptions=True)
        session.leave(is_sent=False)
        await server.close()
        await client.close()
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, ChannelClosed):
            raise end


async def _deliver(
    session: Session, verdict: Verdict, client: AsyncChannel, server: AsyncChannel, judge: Judge
) -> None:
    """Send a call, or answer it, once a person has decided."""
    over = asyncio.get_running_loop().create_future()  # never: this task is cancelled then
    decided = await wait_for_decision(session, verdict, judge.record, over)
    if decided.reply is not None:
        with suppress(ChannelClosed):
            await client.write(decided.reply)
    if decided.forward is not None:
        try:
            await server.write(decided.forward)
        except ChannelClosed:
            await _answer_all(session, client, judge)


async def _answer_all(session: Session, client: AsyncChannel, judge: Judge) -> None:
    with suppress(ChannelClosed):
        for frame in judge.answer_all(session):
            await client.write(frame)


class Route(NamedTuple):
    """The handler of one method at one path.

    Attributes:
        method: of HTTP.
        path: without a slash at its end.
        answer: takes the request, and its body or nothing.
        has_body: True if a JSON message is expected as the body.
        upgrades: True if the connection is to become a WebSocket.
        is_for: tells by the name of a token if its client may know of the route.
    """

    method: str
    path: str
    answer: Answer
    has_body: bool = False
    upgrades: bool = False
    is_for: Callable[[str], bool] = lambda _who: True


class RouteTable:
    """The routes of a listener, by path. They may change while it listens."""

    def __init__(self) -> None:
        self._routes: dict[str, list[Route]] = {}

    def add(self, routes: Iterable[Route], prefix: str = "") -> None:
        """Add routes, their paths below a prefix such as `/servers/weather`."""
        for route in routes:
            path = prefix + route.path
            self._routes.setdefault(path, []).append(route._replace(path=path))

    def remove(self, prefix: str) -> None:
        """Remove all routes below a prefix."""
        for path in [path for path in self._routes if path.startswith(f"{prefix}/")]:
            del self._routes[path]

    def at(self, path: str) -> Sequence[Route]:
        """The routes of a path."""
        return self._routes.get(path, ())


def mcp_routes(post: Answer, get: Answer, delete: Answer) -> tuple[Route, ...]:
    """The routes of Streamable HTTP."""
    return (
        Route("POST", MCP, post, has_body=True),
        Route("GET", MCP, get),
        Route("DELETE", MCP, delete),
    )


class Endpoint:
    """Answers the requests of one transport.

    Attributes:
        routes: for its requests.
    """

    routes: tuple[Route, ...]

    async def close(self) -> None:
        """End work in progress."""

    def is_ready(self) -> bool:
        """True while a new conversation could begin."""
        return True


class TransportBinding(NamedTuple):
    """One transport over HTTP; each module of `transports.http.bindings` has its own.

    Attributes:
        help: one line for people.
        schemes: of the addresses of servers that speak it.
        open_channel: opens a channel to a server; nothing is sent before its first frame.
        make_endpoint: makes the endpoint for clients that speak it; None if it has no such clients.
    """

    help: str
    schemes: tuple[str, ...]
    open_channel: Callable[[Remote, aiohttp.ClientSession], RemoteChannel]
    make_endpoint: Callable[[Backend], Endpoint] | None = None


# --- responses that several endpoints give, and server-sent events as they write them ----

AWAKE_SECONDS = 25.0  # between two comments on a silent stream: less than proxies wait
KEEP_AWAKE = to_bytes(ServerSentEvent(None, comment=b""))
STREAM_HEADERS = {"Content-Type": EVENTS, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_VERSION_BYTES = request_headers.VERSION_META.encode()
_STATUSES = {"-32601": 404, **dict.fromkeys(("-32602", "-32020", "-32021", "-32022"), 400)}
_UNPARSED = frozenset({"protocol.invalid-json", "protocol.invalid-utf8"})


def as_event(frame: bytes) -> bytes:
    """A frame as a server-sent event; empty, a comment that keeps the connection awake."""
    return to_bytes(ServerSentEvent(frame)) if frame else KEEP_AWAKE


def as_events(frames: list[bytes]) -> bytes:
    """Frames as server-sent events."""
    return b"".join([to_bytes(ServerSentEvent(frame)) for frame in frames])


def answer_frames(frames: list[bytes]) -> web.Response:
    """The response with these frames: JSON for one, events for several, 502 for none."""
    if len(frames) == 1:
        return web.Response(body=frames[0], content_type=JSON)
    if not frames:
        return web.Response(status=502)
    return web.Response(body=as_events(frames), headers=STREAM_HEADERS)


def refusal_response(verdict: Verdict) -> web.Response:
    """The response to a message that is not forwarded."""
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
    """The status that belongs to an answer (2026-07-28, basic/transports/streamable-http)."""
    with suppress(Refusal):
        error = as_object(as_object(parse_json(frame)).get("error"))
        return _STATUSES.get(str(error.get("code")), 200)
    return 200


async def is_stateless(request: web.BaseRequest, body: bytes) -> bool:
    """True for a message of a revision that has no sessions."""
    if request.headers.get(request_headers.VERSION, "") >= request_headers.STATELESS:
        return True
    if _VERSION_BYTES not in body:
        return False
    with suppress(Refusal):
        value = as_object(await parse_value(body))  # the words may be anywhere in it
        return request_headers.find_revision(value) is not None
    return False

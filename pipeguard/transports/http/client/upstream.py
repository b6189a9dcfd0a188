"""A server at an address: connections to it, logins, redirects.

MCP 2025-06-18, basic/transports, "Streamable HTTP"; RFC 9110, section 15.4. A redirect to another
origin is never followed: the request is meant for the server that the user named. Channels whose
frames arrive in tasks of their own share `InboxChannel`.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import TimerNoop
from aiohttp.http import StreamWriter
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol import codes, framing, json_values
from pipeguard.firewall.protocol.ids import request_ids
from pipeguard.transports.bounded import SMALL_BYTES, Outbox
from pipeguard.transports.channel import CONNECTION_LOST, ChannelClosed, Failure
from pipeguard.transports.http.challenge import FORBIDDEN, UNAUTHORIZED
from pipeguard.transports.http.client.bodies import Unreadable
from pipeguard.transports.judging import parse_value
from pipeguard.transports.tasks import Tasks

CONNECT_SECONDS = 10.0
SUBPROTOCOL = "mcp"  # of WebSocket
REDIRECTS = frozenset({307, 308})  # the ones that keep method and body
LOGIN = frozenset({UNAUTHORIZED, FORBIDDEN})
_ATTEMPTS = 3  # the request, after a redirect and after a renewed login


class Authorization(Protocol):
    """Our credential for a server."""

    async def header(self) -> str | None:
        """The current value of `Authorization`; None without a credential."""

    async def answer_challenge(
        self, status: int, www_authenticate: str, sent: str | None = None
    ) -> bool:
        """Handle a 401 or 403; True if the request may be sent again.

        Args:
            status: of the answer.
            www_authenticate: its challenges, joined by commas.
            sent: the `Authorization` of the request.

        Raises:
            PipeGuardError: a person must log in; the message says how.
        """


class Remote(NamedTuple):
    """A server at an address.

    Attributes:
        url: of its MCP endpoint.
        headers: sent with each request, credentials among them.
        authorization: our own login, or None.
        context: for TLS; None for the system's certificates.
        limit_bytes: of one message.
        passes_credentials: True if the client's own `Authorization` is passed on.
    """

    url: URL
    headers: Mapping[str, str]
    authorization: Authorization | None = None
    context: ssl.SSLContext | None = None
    limit_bytes: int = framing.DEFAULT_LIMIT_BYTES
    passes_credentials: bool = False

    async def add_headers(self, more: Mapping[str, str]) -> CIMultiDict[str]:
        """The headers of one request: the given ones, the server's own, and the login."""
        headers = CIMultiDict(more)
        headers.update(self.headers)
        headers["Accept-Encoding"] = "identity"
        if self.authorization is not None:
            credential = await self.authorization.header()
            if credential is not None:
                headers["Authorization"] = credential
        return headers


class RemoteEndpoint:
    """An address of a server; follows it after a move.

    Args:
        remote: the server.
        http: connections to it.
        url: the address; None for the MCP endpoint.
    """

    def __init__(self, remote: Remote, http: aiohttp.ClientSession, url: URL | None = None) -> None:
        self._remote = remote
        self._http = http
        self._url = remote.url if url is None else url
        self._is_direct = _proxy(self._url)[0] is None
        self._request: aiohttp.ClientRequest | None = None  # names the connections that it can use

    async def send(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request; again only if the server certainly did not accept it.

        Raises:
            PipeGuardError: a person must log in, or the server redirects in circles.
            aiohttp.ClientError: the connection failed.
        """
        for attempt in range(_ATTEMPTS):
            answer = await self._send(method, await self._remote.add_headers(headers), body)
            target = self._redirect_target(answer)
            if target is not None and target != self._url:
                self._url = target  # as from /mcp to /mcp/: later requests go there, too
            elif attempt == _ATTEMPTS - 1 or not await login_renewed(self._remote, answer):
                return answer
            answer.release()
        raise PipeGuardError("the server redirects from one address to the next")

    async def _send(
        self, method: str, headers: CIMultiDict[str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """Send a request once; a short body takes half the library's time: no task writes it."""
        http, connector, url = self._http, self._http.connector, self._url
        if body is None or len(body) > SMALL_BYTES or connector is None or not self._is_direct:
            sending = http.request(method, url, data=body, headers=headers, allow_redirects=False)
            return await sending
        if self._request is None:
            self._request = aiohttp.ClientRequest(method, url, loop=asyncio.get_running_loop())
        headers.setdefault("Host", self._request.headers["Host"])
        headers["Content-Length"] = str(len(body))
        try:
            connection = await connector.connect(self._request, [], http.timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        try:
            protocol = cast(ResponseHandler, connection.protocol)  # there is one until its end
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            writer = StreamWriter(protocol, self._request.loop)
            await writer.write_headers(f"{method} {url.raw_path_qs} HTTP/1.1", headers)
            await writer.write_eof(body)
            sent = aiohttp.RequestInfo(url, method, CIMultiDictProxy(headers), url)
            answer = aiohttp.ClientResponse(
                method, url, writer=None, continue100=None, timer=TimerNoop(), request_info=sent,
                traces=[], loop=self._request.loop, session=http, stream_writer=writer,
            )  # fmt: skip
            return await answer.start(connection)
        except BaseException:
            connection.close()
            raise

    def _redirect_target(self, answer: aiohttp.ClientResponse) -> URL | None:
        """The address to send the request to instead, on the same origin; or None."""
        if answer.status not in REDIRECTS:
            return None
        try:
            target = self._url.join(URL(answer.headers.get("Location", "")))
            return target if target.origin() == self._remote.url.origin() else None
        except ValueError:  # not a URL, or one without an origin
            return None


async def login_renewed(
    remote: Remote, answer: aiohttp.ClientResponse | aiohttp.WSServerHandshakeError
) -> bool:
    """True if our login was refused and is renewed: the request may be sent again.

    Raises:
        PipeGuardError: a person must log in; the message says how.
    """
    login = remote.authorization
    if login is None or answer.status not in LOGIN:
        return False
    sent = answer.request_info.headers.get("Authorization")
    headers = answer.headers
    challenges = "" if headers is None else ", ".join(headers.getall("WWW-Authenticate", []))
    try:
        return await login.answer_challenge(answer.status, challenges, sent)
    except PipeGuardError:
        if isinstance(answer, aiohttp.ClientResponse):
            answer.close()
        raise


def connect(remote: Remote, most: int = 0) -> aiohttp.ClientSession:
    """Connections to a server, kept open between requests; proxies come from the environment.

    Args:
        remote: the server.
        most: connections at once; 0 for as many as necessary.
    """
    connector = aiohttp.TCPConnector(
        limit=most, ssl=remote.context if remote.context is not None else True, keepalive_timeout=30
    )
    proxy, credentials = _proxy(remote.url)
    return aiohttp.ClientSession(
        connector=connector,
        # A person may be answering: only connecting has a limit.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # see bodies.body_pieces
        proxy=proxy,
        proxy_auth=credentials,
        skip_auto_headers=("User-Agent",),
        trace_configs=[_strict_upgrades()] if remote.url.scheme in ("ws", "wss") else None,
    )


def _proxy(url: URL) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """The proxy that the environment names for an address, looked up once.

    aiohttp would look it up in a thread for each request, and credentials in ~/.netrc, too.
    """
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    address = getproxies().get(scheme)
    if not address or proxy_bypass(url.host or ""):
        return None, None
    proxy = URL(address)
    credentials = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), credentials


def describe_status(status: int) -> str:
    """Describe an answer that is not MCP."""
    if status == UNAUTHORIZED:
        return "the server refuses the login (HTTP 401)"
    return f"the server answered with HTTP {status}, not with MCP"


def to_failure(error: Exception) -> Failure:
    """Why a request gets no answer from the server."""
    if isinstance(error, PipeGuardError):
        return Failure(str(error), sent=False)
    if isinstance(error, Unreadable):
        return Failure(str(error), codes.UNSCANNABLE)
    if isinstance(error, aiohttp.ClientResponseError):  # its head cannot be read
        return Failure("the server does not speak HTTP as it should", codes.PEER_BROKE_PROTOCOL)
    sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    if sent and isinstance(error, TimeoutError):
        return Failure(CONNECTION_LOST)
    return Failure(describe_unreachable(error), sent=sent)


def describe_unreachable(error: Exception) -> str:
    """Explain why a server cannot be reached, without its address."""
    if isinstance(error, PipeGuardError):
        return str(error)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return describe_status(error.status)
    why = ""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = ": its name is not known"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = ": its certificate is not trusted"
    elif isinstance(error, aiohttp.ClientSSLError):
        why = ": it does not answer with TLS"
    elif isinstance(error, aiohttp.ClientConnectorError) and error.errno:
        why = f": {os.strerror(error.errno).lower()}"
    return f"the server cannot be reached{why}"


def _strict_upgrades() -> aiohttp.TraceConfig:
    """Refuse redirects and other subprotocols."""

    async def refuse_redirect(*_: object) -> None:
        raise aiohttp.ClientError("redirected")

    async def check_answer(
        _session: object, _context: object, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        answer = ended.response
        chosen = answer.headers.getall("Sec-WebSocket-Protocol", [SUBPROTOCOL])
        if chosen != [SUBPROTOCOL]:
            answer.close()
            raise aiohttp.ClientError("another protocol")

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse_redirect)
    config.on_request_end.append(check_answer)
    return config


class SentFrame(NamedTuple):
    """A frame for a server, with its value and the ids of its requests.

    Attributes:
        before: the notification that is sent before it, or None.
    """

    data: bytes
    value: json_values.JsonValue
    ids: list[str]
    before: asyncio.Task[None] | None

    @property
    def method(self) -> json_values.JsonValue:
        """The method of a single message."""
        return self.value.get("method") if isinstance(self.value, dict) else None

    async def wait_turn(self) -> None:
        """Wait until the notification before it is sent."""
        if self.before is not None:
            await asyncio.wait([self.before])


class InboxChannel:
    """A conversation with a server whose frames arrive in tasks, and wait in an inbox.

    An unexpected error in one of its tasks ends the channel, so that no client waits in vain.
    """

    def __init__(self) -> None:
        self._inbox = Outbox()
        self._tasks = Tasks(self._fail)
        self._closed = False
        self._opening: SentFrame | None = None  # the client's `initialize`, once it was sent
        self._initialized: SentFrame | None = None
        self._last_notified: asyncio.Task[None] | None = None

    async def read(self) -> bytes | None:
        """Wait for the server's next frame; a Lost replaces an answer that will not come."""
        return None if self._closed and not len(self._inbox) else await self._inbox.get()

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._closed = True
            await self._tasks.end()
            await self._hang_up()
            self._inbox.end()

    async def _hang_up(self) -> None:
        """Let the server see the end."""

    async def _parse(self, frame: bytes) -> SentFrame:
        """Parse a frame that was judged.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        value = await parse_value(frame)
        return SentFrame(frame, value, request_ids(value), self._last_notified)

    def _fail(self) -> None:
        self._closed = True
        self._inbox.end()

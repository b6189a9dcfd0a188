"""A server at an address: what a connection to it needs, and which headers go there and back.

MCP 2025-06-18, basic/transports, "Streamable HTTP"; RFC 9110, sections 7.6 and 15.4. Nothing here
follows a redirect to another origin: what is sent is meant for the server that the user named.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pipeguard.core.protocol.framing import DEFAULT_LIMIT_BYTES
from pipeguard.errors import PipeGuardError
from pipeguard.secrets_in_use import IN_USE

CONNECT_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.2
MOST_PAUSE_SECONDS = 30.0
SESSION_ID = "Mcp-Session-Id"
LAST_EVENT_ID = "Last-Event-ID"
JSON, EVENTS = "application/json", "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
SUBPROTOCOL = "mcp"  # of WebSocket
REDIRECTS = frozenset({307, 308})  # those that keep method and body
LOGIN = frozenset({401, 403})
_ATTEMPTS = 3  # a redirection, a renewed login, and the request itself
_PIECE_BYTES = 2**16
# Of one connection only, or set anew for the next (RFC 9110, section 7.6.1), or checked already.
_NOT_UP = frozenset(
    {
        *("host", "content-length", "accept-encoding", "origin", "connection", "keep-alive"),
        *("te", "trailer", "transfer-encoding", "upgrade", "expect", "content-encoding"),
        *("sec-fetch-mode", "sec-fetch-site", "sec-fetch-dest", "referer", "forwarded"),
    }
)
_DOWN = (
    *("Mcp-Session-Id", "WWW-Authenticate", "Retry-After", "Cache-Control"),
    *("X-Accel-Buffering", "Allow", "Set-Cookie"),
)
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}\Z")


class Authorization(Protocol):
    """A credential of ours for a server."""

    async def header(self) -> str | None:
        """What `Authorization` says now; None where there is no credential yet."""

    async def challenged(self, status: int, www_authenticate: str, sent: str | None = None) -> bool:
        """Take a 401 or 403; True where the request may be sent again.

        Args:
            status: of the answer.
            www_authenticate: its challenges, joined by commas.
            sent: what `Authorization` said in the request.

        Raises:
            PipeGuardError: a person must log in; the message says how.
        """


class Remote(NamedTuple):
    """A server at an address.

    Attributes:
        url: of its MCP endpoint.
        headers: that go with each request, credentials among them.
        authorization: a login of ours, or None.
        context: TLS, or None for what the system trusts.
        limit_bytes: of one message.
        passes_credentials: True where the client's own `Authorization` goes on.
    """

    url: URL
    headers: Mapping[str, str]
    authorization: Authorization | None = None
    context: ssl.SSLContext | None = None
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    passes_credentials: bool = False

    async def sent_with(self, more: Mapping[str, str]) -> CIMultiDict[str]:
        """The headers of one request."""
        headers = CIMultiDict(more)
        headers.update(self.headers)
        headers["Accept-Encoding"] = "identity"  # only what is plain is judged
        if self.authorization is not None:
            told = await self.authorization.header()
            if told is not None:
                headers["Authorization"] = told
        return headers


class Unreadable(Exception):  # noqa: N818  the peer's body is at fault
    """A body that cannot be judged: too large, or packed in a way that is not unpacked here."""


class Door:
    """Where requests to a server go in; knows where it has moved to, and renews a login.

    Args:
        remote: the server.
        http: connections to it.
    """

    def __init__(self, remote: Remote, http: aiohttp.ClientSession) -> None:
        self._remote = remote
        self._http = http
        self._url = remote.url

    async def send(
        self, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """Send a request; once more where it was certainly not taken the first time.

        Raises:
            PipeGuardError: a person must log in, or the server sends its clients in circles.
            aiohttp.ClientError: the connection failed.
        """
        for attempt in range(_ATTEMPTS):
            told = await self._remote.sent_with(headers)
            answer = await self._http.request(
                method, self._url, data=body, headers=told, allow_redirects=False
            )
            target = self._moved(answer)
            if target is not None and target != self._url:
                self._url = target  # as from /mcp to /mcp/: for the next ones, too
            elif attempt == _ATTEMPTS - 1 or not await renewed(self._remote, answer):
                return answer
            answer.release()
        raise PipeGuardError("the server sends its clients from one address to the next")

    def _moved(self, answer: aiohttp.ClientResponse) -> URL | None:
        """Where a request is to go instead, on the same origin; None for nowhere."""
        if answer.status not in REDIRECTS:
            return None
        try:
            target = self._url.join(URL(answer.headers.get("Location", "")))
            return target if target.origin() == self._remote.url.origin() else None
        except ValueError:  # no address, or one of another kind
            return None


async def renewed(
    remote: Remote, answer: aiohttp.ClientResponse | aiohttp.WSServerHandshakeError
) -> bool:
    """True where a login of ours was refused and is a better one now: the request may go again.

    Raises:
        PipeGuardError: a person must log in; the message says how.
    """
    own = remote.authorization
    if own is None or answer.status not in LOGIN:
        return False
    told = answer.headers.getall("WWW-Authenticate", []) if answer.headers is not None else []
    sent = answer.request_info.headers.get("Authorization")
    try:
        return await own.challenged(answer.status, ", ".join(told), sent)
    except PipeGuardError:
        if isinstance(answer, aiohttp.ClientResponse):
            answer.close()
        raise


async def asked(
    remote: Remote,
    http: aiohttp.ClientSession,
    method: str,
    url: URL,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> aiohttp.ClientResponse:
    """Ask at one address of a server's; once more where a login of ours was renewed.

    Raises:
        PipeGuardError: a person must log in.
        aiohttp.ClientError: the connection failed.
    """
    told = await remote.sent_with(headers)
    answer = await http.request(method, url, data=body, headers=told, allow_redirects=False)
    if not await renewed(remote, answer):
        return answer
    answer.release()
    told = await remote.sent_with(headers)
    return await http.request(method, url, data=body, headers=told, allow_redirects=False)


def connect(remote: Remote, most: int = 0) -> aiohttp.ClientSession:
    """Connections to a server, kept open between requests; proxies as the environment says.

    Args:
        remote: the server.
        most: connections at once; 0 for as many as are needed.
    """
    connector = aiohttp.TCPConnector(
        limit=most,
        ssl=remote.context if remote.context is not None else True,
        keepalive_timeout=30,
    )
    proxy, credentials = _proxy(remote.url)
    return aiohttp.ClientSession(
        connector=connector,
        # A person may be answering: only connecting has a limit.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # see `pieces`
        proxy=proxy,
        proxy_auth=credentials,
        skip_auto_headers=("User-Agent",),
        trace_configs=[_strict_upgrades()] if remote.url.scheme in ("ws", "wss") else None,
    )


def _proxy(url: URL) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """The proxy that the environment names for an address, looked up once.

    aiohttp would ask a thread for each request, and for credentials in ~/.netrc as well.
    """
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    found = getproxies().get(scheme)
    if not found or proxy_bypass(url.host or ""):
        return None, None
    proxy = URL(found)
    credentials = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), credentials


def unreached(error: Exception) -> str:
    """What to say of a server to which nothing could be sent, without its address."""
    why = ""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = ": its name is not known"
    elif isinstance(error, aiohttp.ClientSSLError):
        why = ": its certificate is not trusted; see --ca"
    elif isinstance(error, aiohttp.ClientConnectorError) and error.errno:
        why = f": {os.strerror(error.errno).lower()}"
    return f"the server cannot be reached{why}"


def _strict_upgrades() -> aiohttp.TraceConfig:
    """What the library would do for a WebSocket: follow anywhere, and speak any protocol."""

    async def redirected(*_: object) -> None:
        raise aiohttp.ClientError("redirected")

    async def answered(
        _session: object, _context: object, told: aiohttp.TraceRequestEndParams
    ) -> None:
        chosen = told.response.headers.getall("Sec-WebSocket-Protocol", [SUBPROTOCOL])
        if chosen != [SUBPROTOCOL]:
            told.response.close()
            raise aiohttp.ClientError("another protocol")

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(redirected)
    config.on_request_end.append(answered)
    return config


def backoff() -> Iterator[float]:
    """Seconds to wait before each new try: twice as many each time, and never the same."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311  so that clients do not come at once
        pause = min(2 * pause, MOST_PAUSE_SECONDS)


async def pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """A body as it comes, unpacked where it was packed although that was not asked for.

    Raises:
        Unreadable: it is packed otherwise than by gzip or deflate, or not as it says.
        aiohttp.ClientError: the connection was lost.
    """
    unpacker = _unpacker(answer.headers.getall("Content-Encoding", ()))
    async for piece in answer.content.iter_any():
        if unpacker is None:
            yield piece
            continue
        left = piece
        try:
            while left:
                yield unpacker.decompress(left, _PIECE_BYTES)
                if unpacker.unused_data:  # it would be kept, all of it
                    raise Unreadable("something stands behind what is packed in the answer")
                left = unpacker.unconsumed_tail
                await asyncio.sleep(0)  # a few bytes may hold megabytes, and others wait
        except zlib.error:
            raise Unreadable("the answer is not packed as it says") from None
    if unpacker is not None and not unpacker.eof:
        raise Unreadable("the answer is packed, and cut short")


def _unpacker(codings: Iterable[str]) -> zlib._Decompress | None:
    """What unpacks a body, or None (RFC 9110, section 8.4.1)."""
    coded = [one.strip().lower() for line in codings for one in line.split(",")]
    coded = [one for one in coded if one not in ("", "identity")]
    if not coded:
        return None
    if coded in (["gzip"], ["x-gzip"], ["deflate"]):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header is taken
    raise Unreadable("the answer is packed in a way that was not asked for")


async def whole(
    answer: aiohttp.ClientResponse,
    limit_bytes: int,
    hold: Callable[[int], object] = lambda _: None,
) -> bytes:
    """A body in one piece.

    Args:
        answer: whose body it is.
        limit_bytes: of it.
        hold: told how many bytes there are, as they come.

    Raises:
        Unreadable: it has more than `limit_bytes`, which ends the reading, or cannot be unpacked.
        aiohttp.ClientError: the connection was lost.
    """
    parts: list[bytes] = []
    size = 0
    async for piece in pieces(answer):
        size += len(piece)
        if size > limit_bytes:
            answer.close()
            raise Unreadable("the answer is larger than the limit")
        hold(size)
        parts.append(piece)
    return b"".join(parts)


def upwards(headers: Iterable[tuple[str, str]], remote: Remote) -> CIMultiDict[str]:
    """Of a client's headers, those that go on to the server."""
    given = CIMultiDict(headers)
    told = ",".join(given.getall("Connection", ()))
    dropped = {name.strip().lower() for name in told.split(",")}
    passed: CIMultiDict[str] = CIMultiDict()
    for name, value in given.items():
        low = name.lower()
        if low in _NOT_UP or low in dropped or low.startswith(("proxy-", "x-forwarded-")):
            continue
        if low == "authorization" and not remote.passes_credentials:
            continue  # it was for us
        passed.add(name, value)
    return passed


def downwards(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    """Of a server's headers, those that go on to the client."""
    passed: CIMultiDict[str] = CIMultiDict()
    for name in _DOWN:
        for value in answer.headers.getall(name, ()):
            if is_text(value) and (name != SESSION_ID or is_session_id(value)):
                passed.add(name, value if name == SESSION_ID else IN_USE.masked(value))
    return passed


def is_text(value: str) -> bool:
    """True for a header's value that can be sent on: it came as UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(answer: aiohttp.ClientResponse) -> str:
    """The media type of a body, in small letters and without parameters."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_session_id(text: str) -> bool:
    """True for what a session id may be: visible ASCII, and not too long."""
    return _SESSION_ID.match(text) is not None

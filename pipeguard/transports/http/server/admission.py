"""Decides which HTTP requests may come in: by host, origin, token, size and time.

Everything here is checked before a body is read, and for each request, upgrades included: the
server behind cannot do it, because it sees only our address. Sources: MCP 2025-11-25,
basic/transports, "Security Warning"; RFC 9110, sections 7.2 and 11; RFC 6750, section 3.
"""

import asyncio
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from aiohttp import HttpVersion11, web
from yarl import URL

from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.errors import AuthError
from pipeguard.firewall.finding import Finding, Severity
from pipeguard.transports.bounded import Backlog, Crowded
from pipeguard.transports.http import challenge
from pipeguard.transports.http.client.bodies import Unreadable, join_pieces, read_arrived
from pipeguard.transports.http.headers import JSON, SESSION_ID, is_session_id, is_text
from pipeguard.transports.http.server.callers import Caller, Tokens
from pipeguard.transports.http.server.sessions import SessionOwners

BODY_SECONDS = 30.0
HEADER_SECONDS = 10.0
MAX_TARGET_CHARS = 8192
MAX_HEADERS = 100
MAX_HEADER_BYTES = 2**16
MOST_PORT = 65535
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# A repeated header of these could be read in two ways.
_SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"origin",
        b"last-event-id",
    }
)
_MIRRORS = b"mcp-"
_LENGTH = b"Content-Length"
MOST_HEADS, SHORT_HEAD_BYTES = 256, 4096
Head = tuple[tuple[bytes, bytes], ...]
_HOST = re.compile(  # RFC 9110, section 7.2, of names and addresses as they are in use
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z_.-]+))(?::(?P<port>[0-9]{1,5}))?\Z"
)
_UNCOMPRESSED = ("", "identity")
WHO = web.RequestKey("who", str)  # the name of the request's token, or empty
_UTF8 = ("utf-8", "utf8")


class RefusalReason(Enum):
    """Why a request is refused: the rule's name, a description, and the severity.

    LOW is for requests of well-behaved clients, as when they return to a session that ended.
    """

    HOST = "host", "`Host` is not one of our names"
    ORIGIN = "origin", "`Origin` is a web page that may not speak to us"
    NO_TOKEN = "no-token", "the request has no bearer token"
    WRONG_TOKEN = "wrong-token", "the bearer token is not ours, or has ended"
    FOREIGN_SESSION = "foreign-session", "the session belongs to another token"
    NO_SESSION = "no-session", "the session does not exist, or the request names none", Severity.LOW
    MISMATCH = "header-mismatch", "a header contradicts the body"
    HEADERS = "odd-header", "a header is repeated or unreadable"
    MANY_HEADERS = "large-head", "the headers are too many or too long"
    TARGET = "long-target", "the URL is too long"
    HTTP = "malformed", "the request is not valid HTTP/1.1 or WebSocket"
    BODY = "no-message", "the body is not an MCP message in plain JSON"
    LARGE_BODY = "large-body", "the body is larger than a message may be"
    SLOW_BODY = "slow-body", "the body did not arrive in time"
    SILENT = "silent", "a connection sent no request in time", Severity.LOW
    CONNECTIONS = "many-connections", "too many connections are open"
    CROWDED = "many-bytes", "too many large messages are in progress"
    UNTAKEN = "untaken", "a client reads too little of its answers", Severity.LOW
    SESSIONS = "many-sessions", "too many sessions are open"
    NOWHERE = "nowhere", "there is no such path, method or upgrade", Severity.LOW
    SCOPE = "scope", "the token is not for this path"
    NO_STREAM = "no-stream", "the server offers no stream, or cannot be reached", Severity.LOW
    ENDING = "ending", "PipeGuard was ending", Severity.LOW

    def __init__(self, rule: str, words: str, severity: Severity = Severity.MEDIUM) -> None:
        self.rule = f"entrance.{rule}"
        self.words = words
        self.severity = severity


class RequestRefused(Exception):  # noqa: N818  whoever sent the request is at fault
    """A request that may not come in; `response` is the answer.

    Args:
        reason: for the audit; None to leave it out.
        status: of HTTP.
        why: in a few words.
        headers: of the answer.
        frame: a JSON-RPC error as the answer's body, if the request's body was read.
    """

    def __init__(
        self,
        reason: RefusalReason | None,
        status: int,
        why: str,
        headers: Mapping[str, str] | None = None,
        frame: bytes | None = None,
    ) -> None:
        super().__init__(why)
        self.reason = reason
        self._status = status
        self._why = why
        self.headers = dict(headers or {})
        self._frame = frame

    @property
    def response(self) -> web.Response:
        """The answer; the connection is closed if the request's body was not read."""
        response = web.Response(status=self._status, headers=self.headers)
        if self._frame is not None:
            response.body, response.content_type = self._frame, JSON
        else:
            response.text = f"PipeGuard: {self._why}\n"
            response.force_close()
        return response


class Admission(NamedTuple):
    """Conditions for each request.

    Attributes:
        host: our own, as an address or a name.
        hosts: further names that clients may use for us.
        origins: web origins that may speak to us, as `https://app.example`.
        tokens: of which a request must have one; None to admit everyone on this machine.
        limit_bytes: of one body.
        backlog: counts the bytes that peers make us keep.
        port: our own; 0 while it is unknown.
        owners: the token that opened each session; None before the first session.
        passed: heads that passed `check_head`, so that repeated ones are not checked again.
    """

    host: str
    hosts: frozenset[str]
    origins: frozenset[str]
    tokens: Tokens | None
    limit_bytes: int
    backlog: Backlog
    port: int = 0
    owners: SessionOwners | None = None
    passed: set[Head] | None = None

    async def check(self, request: web.BaseRequest) -> Caller:
        """Check a request, and note the name of its token in `request[WHO]`.

        Raises:
            RequestRefused: it may not come in.
        """
        self.check_head(request)
        caller = await self._find_caller(request)
        who = request[WHO] = caller.name
        session_id = request.headers.get(SESSION_ID, "")
        if self.owners is not None and not self.owners.allow(session_id, who):
            raise RequestRefused(RefusalReason.FOREIGN_SESSION, 404, "there is no such session")
        return caller

    def check_head(self, request: web.BaseRequest) -> None:
        """Check size, headers, host and origin of a request.

        Raises:
            RequestRefused: it may not come in.
        """
        if request.version > HttpVersion11:
            raise RequestRefused(RefusalReason.HTTP, 505, "speak HTTP/1.1")
        if len(request.raw_path) > MAX_TARGET_CHARS:
            raise RequestRefused(RefusalReason.TARGET, 414, RefusalReason.TARGET.words)
        raw = request.raw_headers
        # No two messages need to share their length; a second one stays.
        head = tuple([pair for pair in raw if pair[0] != _LENGTH])
        head = head if len(raw) - len(head) == 1 else tuple(raw)
        if self.passed is not None and head in self.passed:
            return
        _check_headers(request)
        if not self._is_our_name(request.headers.get("Host", "")):
            raise RequestRefused(
                RefusalReason.HOST, 403, "this server has another name (Host); see --allow-host"
            )
        origin = request.headers.get("Origin")
        if origin is not None and not self._allows_origin(origin):
            raise RequestRefused(
                RefusalReason.ORIGIN,
                403,
                "this origin may not speak to this server; see --allow-origin",
            )
        size = sum([len(name) + len(value) for name, value in head])  # noqa: C419  faster
        if self.passed is not None and size < SHORT_HEAD_BYTES:  # worth its memory
            if len(self.passed) >= MOST_HEADS:
                self.passed.clear()
            self.passed.add(head)

    async def _find_caller(self, request: web.BaseRequest) -> Caller:
        if self.tokens is None or not self.tokens.are_needed():
            return Caller("")
        given = request.headers.get("Authorization")
        caller = self.tokens.find_caller(given)
        if caller is None and self.tokens.is_for_page(given):
            raise RequestRefused(RefusalReason.SCOPE, 403, "this token only opens the page")
        why_not = "this bearer token is not valid" if given else "a bearer token is needed"
        if caller is None:
            try:
                caller = await self.tokens.find_subject(given)
            except AuthError as error:  # its words are ours, and have nothing of the token
                why_not = f"{why_not}: {error}"
            if caller is not None and not caller.name:
                why = "no key of the issuer of sign-ins is known"
                raise RequestRefused(None, 503, why, {"Retry-After": "10"})
            if caller is not None and not caller.has_groups:
                raise RequestRefused(RefusalReason.SCOPE, 403, "your groups have no access here")
        if caller is None:
            reason = RefusalReason.WRONG_TOKEN if given else RefusalReason.NO_TOKEN
            own = self._make_challenge(is_wrong=bool(given)).header
            raise RequestRefused(reason, 401, why_not, {"WWW-Authenticate": own})
        return caller

    def _make_challenge(self, *, is_wrong: bool) -> challenge.Challenge:
        """The challenge of an answer with 401; clients that log in follow the metadata it names."""
        sign_ins = self.tokens.sign_ins if self.tokens is not None else None
        metadata = sign_ins.metadata_url if sign_ins is not None else ""
        if not metadata:
            return challenge.Challenge(is_gateway=True)
        error = "invalid_token" if is_wrong else ""  # RFC 6750, 3.1
        return challenge.Challenge(resource_metadata=metadata, error=error)

    async def read_body(self, request: web.BaseRequest) -> bytes:
        """Read the JSON body of a request.

        Raises:
            RequestRefused: it is not JSON, compressed, too large, too slow, or given up to make
                room for others.
        """
        if request.content_type != JSON or (request.charset or "utf-8").lower() not in _UTF8:
            raise RequestRefused(RefusalReason.BODY, 415, f"send {JSON}, in UTF-8")
        if request.headers.get("Content-Encoding", "").lower() not in _UNCOMPRESSED:
            raise RequestRefused(RefusalReason.BODY, 415, "send the body uncompressed")
        if (request.content_length or 0) > self.limit_bytes:
            raise self._too_large()
        if (arrived := read_arrived(request.content, self.limit_bytes)) is not None:
            return arrived
        try:
            with self.backlog.holding() as hold:
                async with asyncio.timeout(BODY_SECONDS):
                    return await join_pieces(request.content.iter_any(), self.limit_bytes, hold)
        except Unreadable:
            raise self._too_large() from None
        except Crowded:
            raise refuse_overload() from None
        except TimeoutError:
            raise RequestRefused(
                RefusalReason.SLOW_BODY, 408, f"the body took longer than {BODY_SECONDS:g} s"
            ) from None

    def _too_large(self) -> RequestRefused:
        return RequestRefused(
            RefusalReason.LARGE_BODY, 413, f"a message has at most {self.limit_bytes} bytes"
        )

    def _is_our_name(self, given: str) -> bool:
        name, port = parse_host(given)
        if name is None:
            return False
        if name in self.hosts:
            return True
        if port is not None and self.port and port != self.port:
            return False
        if is_loopback(self.host):
            return name in _LOOPBACK_NAMES or name == self.host
        # Bound to 0.0.0.0 we do not know our host names. A literal IP cannot be DNS-rebound.
        return name == self.host or _is_address(name)

    def _allows_origin(self, origin: str) -> bool:
        if origin in self.origins:
            return True
        try:
            url = URL(origin)
            canonical = str(url.origin())
        except ValueError:
            return False
        if url.scheme not in ("http", "https") or canonical != origin.lower().rstrip("/"):
            return False
        # A page on another port of this machine is another program's, as a development server's.
        is_ours = url.port == self.port or not self.port
        return is_ours and url.host in _LOOPBACK_NAMES and is_loopback(self.host)


def _check_headers(request: web.BaseRequest) -> None:
    size = sum([len(name) + len(value) for name, value in request.raw_headers])  # noqa: C419  faster
    if len(request.raw_headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise RequestRefused(RefusalReason.MANY_HEADERS, 431, RefusalReason.MANY_HEADERS.words)
    if not all(map(is_text, request.headers.values())):
        raise RequestRefused(RefusalReason.HEADERS, 400, "a header is not in UTF-8")
    seen = set[bytes]()
    for name in [name.lower() for name, _ in request.raw_headers]:
        if name in seen and (name in _SINGLE or name.startswith(_MIRRORS)):
            raise RequestRefused(
                RefusalReason.HEADERS, 400, f"there is more than one {name.decode('latin-1')}"
            )
        seen.add(name)
    session_id = request.headers.get(SESSION_ID)
    if session_id is not None and not is_session_id(session_id):
        raise RequestRefused(
            RefusalReason.HEADERS, 400, f"{SESSION_ID} is not visible ASCII, or too long"
        )


def refuse_overload() -> RequestRefused:
    """The refusal of a body that was given up to make room for others."""
    reason = RefusalReason.CROWDED
    return RequestRefused(reason, 503, reason.words, {"Retry-After": "1"})


@lru_cache(256)
def parse_host(given: str) -> tuple[str | None, int | None]:
    """The name in a Host header, in lower case, and its port; an empty name if it is invalid."""
    match = _HOST.match(given)
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or (port or 0) > MOST_PORT:
        return None, None
    if match["literal"] is not None and not _is_address(match["literal"]):
        return None, None
    return (match["literal"] or match["name"]).lower(), port


@lru_cache(256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# --- refusals, counted for the audit --------------------------------------------------

INTERVAL_SECONDS = 60.0
PLACE = "http.request"


class Refusals:
    """Counts refusals, and records them at most once for each reason and interval.

    Args:
        record: takes a finding, and the address of the client or of the first one.
        interval_seconds: between two records for one reason.
    """

    def __init__(
        self, record: Callable[[Finding, str], None], interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._record = record
        self._interval_seconds = interval_seconds
        self._timers: dict[RefusalReason, asyncio.TimerHandle] = {}  # end the intervals
        self._later = Counter[RefusalReason]()  # refusals that are not recorded yet
        self._peers: dict[RefusalReason, str] = {}  # the address of the first of these

    def add(self, reason: RefusalReason, route: str, peer: str) -> None:
        """Count a refused request.

        Args:
            reason: why.
            route: method and path, in words of ours, as `POST /mcp`.
            peer: the client's network address.
        """
        if reason in self._timers:
            self._peers[reason] = self._peers.get(reason) or peer
            self._later[reason] += 1
            return
        self._begin_interval(reason)
        where = f" ({route})" if route else ""
        self._write(reason, f"1 request: {reason.words}{where}", peer)

    def close(self) -> None:
        """Record all counts."""
        for reason, timer in self._timers.items():
            timer.cancel()
            self._sum_up(reason)
        self._timers.clear()

    def _begin_interval(self, reason: RefusalReason) -> None:
        loop = asyncio.get_running_loop()
        self._timers[reason] = loop.call_later(self._interval_seconds, self._end_interval, reason)

    def _end_interval(self, reason: RefusalReason) -> None:
        del self._timers[reason]
        if self._later[reason]:
            self._begin_interval(reason)  # first, even if recording fails
            self._sum_up(reason)

    def _sum_up(self, reason: RefusalReason) -> None:
        count, peer = self._later.pop(reason, 0), self._peers.pop(reason, "")
        if count:
            requests = f"{count} more request{'s' if count > 1 else ''}"
            note = f"{requests} within {self._interval_seconds:g} s: {reason.words}"
            self._write(reason, note, peer)

    def _write(self, reason: RefusalReason, note: str, peer: str) -> None:
        self._record(Finding(reason.rule, PLACE, severity=reason.severity, note=note), peer)

"""Who may come in over HTTP, and with what: hosts, origins, tokens, sizes, times.

Everything here is asked before a body is read, and again for each request, upgrades among them:
the server behind cannot do it, since it sees our address only. Sources: MCP 2025-11-25,
basic/transports, "Security Warning"; RFC 9110, sections 7.2 and 11; RFC 6750, section 3.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from aiohttp import HttpVersion11, web
from yarl import URL

from pipeguard.core.checks.addresses import is_loopback
from pipeguard.transports.backlog import Backlog, Crowded
from pipeguard.transports.http.headers import JSON, SESSION_ID, is_session_id, is_text
from pipeguard.transports.http.server.refusals import Ground
from pipeguard.transports.http.server.sessions import Owners

BODY_SECONDS = 30.0
HEADER_SECONDS = 10.0
MAX_TARGET_CHARS = 8192
MAX_HEADERS = 100
MAX_HEADER_BYTES = 2**16
MOST_PORT = 65535
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# Two of one of these are two truths for two readers.
_ONCE = frozenset(
    {
        *("host", "authorization", "content-type", "content-length", "content-encoding"),
        *("origin", "last-event-id"),
    }
)
_MIRRORS = "mcp-"
_HOST = re.compile(  # RFC 9110, section 7.2, of names and addresses as they are in use
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z_.-]+))(?::(?P<port>[0-9]{1,5}))?\Z"
)
_PLAIN = ("", "identity")
WHO = web.RequestKey("who", str)  # the name of the token that a request came with, or empty
_UTF8 = ("utf-8", "utf8")


class Refused(Exception):  # noqa: N818  whoever came in is at fault
    """A request that is not let in; `response` says why.

    Args:
        ground: what the audit says; None where that is not for the audit.
        status: of HTTP.
        why: in a few words.
        headers: that belong to the status.
        frame: a JSON-RPC error to answer with, where the body was read.
    """

    def __init__(
        self,
        ground: Ground | None,
        status: int,
        why: str,
        headers: Mapping[str, str] | None = None,
        frame: bytes | None = None,
    ) -> None:
        super().__init__(why)
        self.ground = ground
        self._status = status
        self._why = why
        self.headers = dict(headers or {})
        self._frame = frame

    @property
    def response(self) -> web.Response:
        """What is answered; where a body is left unread, the connection is closed."""
        if self._frame is not None:
            return web.Response(
                status=self._status, body=self._frame, content_type=JSON, headers=self.headers
            )
        response = web.Response(
            status=self._status, text=f"PipeGuard: {self._why}\n", headers=self.headers
        )
        response.force_close()
        return response


class Caller(NamedTuple):
    """Who was let in.

    Attributes:
        name: of the token that was given; empty where none is asked for.
        digest: SHA-256 of the token, by which a later look tells that it is still ours.
    """

    name: str
    digest: bytes = b""


class Tokens:
    """The bearer tokens that let a client in; a source that changes is read anew.

    Args:
        read: gives the tokens by their names, as they are now.
    """

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read
        self._last = self._digests()  # SHA-256 of each token, as it was last looked at

    def who(self, authorization: str | None) -> Caller | None:
        """Whose token is given, or None; takes as long for a wrong one."""
        scheme, _, token = (authorization or "").partition(" ")
        given = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, held in self._digests().items():
            if hmac.compare_digest(held, given):
                found = Caller(name, given)
        return found if scheme.lower() == "bearer" and token.strip() else None

    def changed(self) -> bool:
        """True where other tokens let in now than when this was asked last."""
        before, self._last = self._last, self._digests()
        return before != self._last

    def hold(self, caller: Caller) -> bool:
        """True while a caller's token is one of ours, under the same name."""
        return self._last.get(caller.name) == caller.digest

    def _digests(self) -> dict[str, bytes]:
        return {name: sha256(held.encode()).digest() for name, held in self._read().items()}


class Entrance(NamedTuple):
    """What is asked of each request.

    Attributes:
        host: where we listen, as an address or a name.
        hosts: further names that a client may call us by.
        origins: web origins that may speak to us, as `https://app.example`.
        tokens: of which one must be given; None where anybody on this machine may come.
        limit_bytes: of one body.
        port: where we listen; 0 while that is not known.
        owners: which token opened a session; None where there are none yet.
        backlog: of all that peers make us keep.
    """

    host: str
    hosts: frozenset[str]
    origins: frozenset[str]
    tokens: Tokens | None
    limit_bytes: int
    port: int = 0
    owners: Owners | None = None
    backlog: Backlog = Backlog()

    def check(self, request: web.BaseRequest) -> Caller:
        """Let a request in, or not.

        Returns:
            Whose token was given; the name stands in `request[WHO]` as well.

        Raises:
            Refused: it is not let in.
        """
        self.check_head(request)
        caller = self._who(request)
        who = request[WHO] = caller.name
        session_id = request.headers.get(SESSION_ID, "")
        if self.owners is not None and not self.owners.may(session_id, who):
            raise Refused(Ground.FOREIGN_SESSION, 404, "there is no such session")
        return caller

    def check_head(self, request: web.BaseRequest) -> None:
        """Ask of a request what is asked of everybody: its size, its headers, host and origin.

        Raises:
            Refused: it is not let in.
        """
        if request.version > HttpVersion11:
            raise Refused(Ground.HTTP, 505, "speak HTTP/1.1")
        if len(request.raw_path) > MAX_TARGET_CHARS:
            raise Refused(Ground.TARGET, 414, "the address is too long")
        size = sum(len(name) + len(value) for name, value in request.raw_headers)
        if len(request.raw_headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise Refused(Ground.MANY_HEADERS, 431, Ground.MANY_HEADERS.words)
        if not all(map(is_text, request.headers.values())):
            raise Refused(Ground.HEADERS, 400, "a header is not in UTF-8")
        pairs = request.headers.items()  # its keys alone are each given once
        names = [name.lower() for name, _ in pairs]
        for name in names:
            if (name in _ONCE or name.startswith(_MIRRORS)) and names.count(name) > 1:
                raise Refused(Ground.HEADERS, 400, f"there is more than one {name}")
        session_id = request.headers.get(SESSION_ID)
        if session_id is not None and not is_session_id(session_id):
            why = f"{SESSION_ID} is not visible ASCII, or too long"
            raise Refused(Ground.HEADERS, 400, why)
        if not self._is_our_name(request.headers.get("Host", "")):
            why = "this server has another name (Host); see --allow-host"
            raise Refused(Ground.HOST, 403, why)
        origin = request.headers.get("Origin")
        if origin is not None and not self._may_come_from(origin):
            why = "this origin may not speak to this server; see --allow-origin"
            raise Refused(Ground.ORIGIN, 403, why)

    def _who(self, request: web.BaseRequest) -> Caller:
        if self.tokens is None:
            return Caller("")
        given = request.headers.get("Authorization")
        caller = self.tokens.who(given)
        if caller is None:
            ground = Ground.WRONG_TOKEN if given else Ground.NO_TOKEN
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Refused(ground, 401, "a bearer token is needed", challenge)
        return caller

    async def body(self, request: web.BaseRequest) -> bytes:
        """The JSON that a request carries.

        Raises:
            Refused: it is no JSON, packed, too large, too slow, or one too many of large ones.
        """
        if request.content_type != JSON or (request.charset or "utf-8").lower() not in _UTF8:
            raise Refused(Ground.BODY, 415, f"send {JSON}, in UTF-8")
        if request.headers.get("Content-Encoding", "").lower() not in _PLAIN:
            raise Refused(Ground.BODY, 415, "send the body as it is, not packed")
        if (request.content_length or 0) > self.limit_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS), self.backlog.holding() as hold:
                while piece := await request.content.readany():
                    size += len(piece)
                    if size > self.limit_bytes:
                        raise self._too_large()
                    hold(size)
                    parts.append(piece)
        except Crowded:
            raise crowded() from None
        except TimeoutError:
            why = f"the body took more than {BODY_SECONDS:g} s"
            raise Refused(Ground.SLOW_BODY, 408, why) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> Refused:
        why = f"a message has at most {self.limit_bytes} bytes"
        return Refused(Ground.LARGE_BODY, 413, why)

    def _is_our_name(self, given: str) -> bool:
        name, port = host_of(given), port_of(given)
        if name is None:
            return False
        if name in self.hosts:
            return True
        if port is not None and self.port and port != self.port:
            return False
        if is_loopback(self.host):
            return name in _LOOPBACK_NAMES or name == self.host
        # On all addresses we cannot know our names; an address is none that could be rebound.
        return name == self.host or _is_address(name)

    def _may_come_from(self, origin: str) -> bool:
        if origin in self.origins:
            return True
        try:
            url = URL(origin)
            written = str(url.origin())
        except ValueError:
            return False
        if url.scheme not in ("http", "https") or written != origin.lower().rstrip("/"):
            return False
        # Another port of this machine is another program's page: a development server's, say.
        is_ours = url.port == self.port or not self.port
        return is_ours and url.host in _LOOPBACK_NAMES and is_loopback(self.host)


def crowded() -> Refused:
    """A body that had to be given up, since too many large ones are under way."""
    return Refused(Ground.CROWDED, 503, Ground.CROWDED.words, {"Retry-After": "1"})


@lru_cache(256)
def host_of(given: str) -> str | None:
    """The name in a Host header, in small letters and without its port; None for no name."""
    found = _HOST.match(given)
    if found is None or int(found["port"] or 0) > MOST_PORT:
        return None
    if found["literal"] is not None and not _is_address(found["literal"]):
        return None
    return (found["literal"] or found["name"]).lower()


@lru_cache(256)
def port_of(given: str) -> int | None:
    """The port in a Host header; None where there is none."""
    found = _HOST.match(given)
    return int(found["port"]) if found is not None and found["port"] else None


@lru_cache(256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def named(pairs: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Tokens from variables, given as `NAME=VARIABLE` or `VARIABLE`; missing ones are left out."""
    found = {}
    for pair in pairs:
        name, _, variable = pair.rpartition("=")
        token = environment.get(variable, "").strip()
        if token:
            found[name or variable] = token
    return found

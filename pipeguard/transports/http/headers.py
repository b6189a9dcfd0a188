"""HTTP headers of MCP: their names, and which of them pass from one side to the other.

Sources: RFC 9110, section 7.6; MCP 2025-06-18, basic/transports, "Streamable HTTP".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import aiohttp
from multidict import CIMultiDict

from pipeguard.secrets_in_use import IN_USE

SESSION_ID = "Mcp-Session-Id"
LAST_EVENT_ID = "Last-Event-ID"
JSON, EVENTS = "application/json", "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
# Hop-by-hop (RFC 9110, section 7.6.1), set anew for the next hop, or checked already.
_NOT_TO_SERVER = frozenset(
    {
        *("host", "content-length", "accept-encoding", "origin", "connection", "keep-alive"),
        *("te", "trailer", "transfer-encoding", "upgrade", "expect", "content-encoding"),
        *("sec-fetch-mode", "sec-fetch-site", "sec-fetch-dest", "referer", "forwarded"),
    }
)
_NOT_TO_SERVER_PREFIXES = ("proxy-", "x-forwarded-")
_TO_CLIENT = (
    *("Mcp-Session-Id", "WWW-Authenticate", "Retry-After", "Cache-Control"),
    *("X-Accel-Buffering", "Allow", "Set-Cookie"),
)
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}\Z")


def headers_to_server(
    headers: Iterable[tuple[str, str]], *, passes_credentials: bool
) -> CIMultiDict[str]:
    """Select the client's headers that go on to the server.

    Args:
        headers: of the client's request.
        passes_credentials: False where `Authorization` is meant for us.
    """
    passed: list[tuple[str, str]] = []
    of_connection = ""
    for name, value in headers:
        low = name.lower()
        if low == "connection":
            of_connection += f"{value},"
        if low in _NOT_TO_SERVER or low.startswith(_NOT_TO_SERVER_PREFIXES):
            continue
        if low == "authorization" and not passes_credentials:
            continue
        passed.append((name, value))
    if of_connection:
        dropped = {name.strip().lower() for name in of_connection.split(",")}
        passed = [(name, value) for name, value in passed if name.lower() not in dropped]
    return CIMultiDict(passed)


def headers_to_client(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    """Select the server's headers that go on to the client, our secrets masked."""
    passed: CIMultiDict[str] = CIMultiDict()
    for name in _TO_CLIENT:
        for value in answer.headers.getall(name, ()):
            if is_text(value) and (name != SESSION_ID or is_session_id(value)):
                passed.add(name, value if name == SESSION_ID else IN_USE.mask(value))
    return passed


def media_type(answer: aiohttp.ClientResponse) -> str:
    """The media type of a body, in lower case and without parameters."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_text(value: str) -> bool:
    """True if a header's value can be passed on: it was valid UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_session_id(text: str) -> bool:
    """True for a valid session id: visible ASCII, and not too long."""
    return _SESSION_ID.match(text) is not None

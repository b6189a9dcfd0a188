"""HTTP headers of MCP: their names, and which of them pass from one side to the other.

Sources: RFC 9110, section 7.6; MCP 2025-06-18, basic/transports, "Streamable HTTP".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from pipeguard.secrets_in_use import IN_USE
from pipeguard.transports.http import challenge

if TYPE_CHECKING:
    import aiohttp

SESSION_ID = "Mcp-Session-Id"
LAST_EVENT_ID = "Last-Event-ID"
JSON, EVENTS = "application/json", "text/event-stream"
BOTH = f"{JSON}, {EVENTS}"
# Hop-by-hop (RFC 9110, section 7.6.1), set again for the next hop, or checked already.
_NOT_TO_SERVER = frozenset(
    {
        "host",
        "content-length",
        "accept-encoding",
        "origin",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "content-encoding",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-dest",
        "referer",
        "forwarded",
    }
)
_NOT_TO_SERVER_PREFIXES = ("proxy-", "x-forwarded-")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,1024}\Z")
_ERROR = re.compile(r"[a-z_]{1,64}\Z")  # RFC 6750, 3.1
_URL = re.compile(r"https?://[\x21-\x7e]{1,2048}\Z")
_METHODS = re.compile(r"(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)(?:, ?|\Z)){1,9}\Z")
# RFC 6265, 4.1.1. Clients that are sent to one of several machines need cookies: `httpx` and the
# SDKs that use it send them back.
_COOKIE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}="
    r'(?P<quote>"?)[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{0,4096}(?P=quote)\Z'  # as Envoy's
)
_ATTRIBUTE = re.compile(
    r"(?:Secure|HttpOnly|Partitioned|SameSite=(?:Strict|Lax|None)|Max-Age=-?[0-9]{1,10}|Path=/)\Z",
    re.IGNORECASE,
)


def headers_to_server(
    headers: Iterable[tuple[str, str]], *, passes_credentials: bool
) -> CIMultiDict[str]:
    """Select the client's headers that are forwarded to the server.

    Args:
        headers: of the client's request.
        passes_credentials: False if `Authorization` is meant for us.
    """
    given = [(name.lower(), name, value) for name, value in headers]
    lists = [value for low, _, value in given if low == "connection"]
    dropped = {name.strip().lower() for value in lists for name in value.split(",")}
    dropped |= _NOT_TO_SERVER if passes_credentials else _NOT_TO_SERVER | {"authorization"}
    return CIMultiDict(
        (name, value)
        for low, name, value in given
        if low not in dropped and not low.startswith(_NOT_TO_SERVER_PREFIXES)
    )


def headers_to_client(answer: aiohttp.ClientResponse) -> CIMultiDict[str]:
    """Rewrite the server's headers that clients need: our secrets masked, no free text."""
    passed: CIMultiDict[str] = CIMultiDict()
    for name, rewrite in _TO_CLIENT.items():
        for given in answer.headers.getall(name, ()):
            if value := rewrite(given):
                passed.add(name, value if name == SESSION_ID else IN_USE.mask(value))
    return passed


def _rewrite_cookie(value: str) -> str:
    cookie, *attributes = [part.strip() for part in value.split(";")]
    known = filter(_ATTRIBUTE.match, attributes)
    return "; ".join([cookie, *known]) if _COOKIE.match(cookie) else ""


def _rewrite_challenge(value: str) -> str:
    """A challenge with the fields that a login needs, and without its words for a person."""
    found = challenge.read(value)
    if "bearer" not in found.schemes:
        return ""  # no client of MCP knows another
    error = found.error if _ERROR.match(found.error) else ""
    metadata = found.resource_metadata if _URL.match(found.resource_metadata) else ""
    return found._replace(error=error, resource_metadata=metadata).header


_TO_CLIENT: dict[str, Callable[[str], str]] = {
    SESSION_ID: lambda value: value if is_session_id(value) else "",
    "WWW-Authenticate": _rewrite_challenge,
    "Retry-After": lambda value: value if re.fullmatch("[0-9]{1,10}", value) else "",
    "Allow": lambda value: value if _METHODS.match(value) else "",
    "Set-Cookie": _rewrite_cookie,
}


def media_type(answer: aiohttp.ClientResponse) -> str:
    """The media type of a body, in lower case and without parameters."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def is_text(value: str) -> bool:
    """True if a header's value can be passed on: it was valid UTF-8."""
    return value.isascii() or value == value.encode("utf-8", "ignore").decode()


def is_session_id(text: str) -> bool:
    """True for a valid id of a session or an event: visible ASCII, and not too long."""
    return _VISIBLE.match(text) is not None

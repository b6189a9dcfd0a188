"""A server's canonical URI, and the URLs that are allowed on its behalf; sends nothing.

A login is for one resource (RFC 8707), so it is stored under the server's canonical URI, and two
spellings of one address are one login.
"""

import shlex
from urllib.parse import SplitResult, urlsplit

from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.errors import AuthError, InputError
from pipeguard.unicode.display import show

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
PORTS = {"http": 80, "https": 443}
SHOWN_CHARS = 200  # of a peer's words in an error of ours


def canonical(url: str) -> str:
    """The canonical URI of a server (MCP basic/authorization, "Canonical Server URI").

    Scheme and host in lower case, no default port, no fragment, no lone slash. WebSocket addresses
    become HTTP addresses: discovery goes over HTTP, and the login is the same.

    Raises:
        InputError: it is not such a URL, has a user name, or is neither https nor on loopback.
    """
    parts, host, port = _split(url)
    if parts.username is not None or parts.password is not None:
        raise InputError("a server's URL must not contain a user name or password.")
    scheme = _SCHEMES[parts.scheme]
    if scheme == "http" and not is_loopback(host):
        raise InputError(
            f"{show(url, SHOWN_CHARS)} is not encrypted: tokens go over https, or to loopback."
        )
    authority = f"[{host}]" if ":" in host else host
    if port not in (None, PORTS[scheme]):
        authority += f":{port}"
    path = "" if parts.path == "/" and not parts.query else parts.path
    return f"{scheme}://{authority}{path}" + (f"?{parts.query}" if parts.query else "")


def must_be_safe(url: str, server: str) -> None:
    """Refuse a URL that must not be requested on a server's behalf.

    A server names these URLs (RFC 9728, RFC 8414), and could name one that it cannot reach itself.
    So plain http is only for loopback, and loopback only for a server on loopback.

    Args:
        url: the URL about to be requested or opened.
        server: the canonical URI of the login's server.

    Raises:
        AuthError: the URL is not allowed.
    """
    try:
        parts, host, _ = _split(url)
    except InputError as error:
        raise AuthError(f"{server} sends us to {show(url, SHOWN_CHARS)!r}: {error}") from None
    here = is_loopback(urlsplit(server).hostname or "")
    trusted = here if is_loopback(host) else parts.scheme == "https"
    if parts.username is not None or parts.scheme not in ("http", "https") or not trusted:
        raise AuthError(
            f"{server} sends us to {show(url, SHOWN_CHARS)!r}, which is not allowed:\n"
            "  only https is, without a user name, and loopback only for a server on loopback."
        )


def login_command(server: str) -> str:
    """The command to log in to a server, safe to paste into a shell."""
    return f"pipeguard auth login {shlex.quote(server)}"


def origin(server: str) -> str:
    """The origin of a canonical URI (RFC 6454)."""
    parts = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc}"


def is_loopback_url(url: str) -> bool:
    """True for a plain http URL on loopback."""
    try:
        parts, host, _ = _split(url)
    except InputError:
        return False
    return parts.scheme == "http" and is_loopback(host)


def _split(url: str) -> tuple[SplitResult, str, int | None]:
    """A URL's parts, host and port.

    Raises:
        InputError: it has no host, or characters that no URL may have.
    """
    shown_url = show(url, SHOWN_CHARS)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise InputError(f"{shown_url!r} is not a URL.") from None
    if parts.scheme not in _SCHEMES or not host or not url.isascii() or not url.isprintable():
        raise InputError(
            f"{shown_url!r} is not a server's URL, as https://mcp.example.com/mcp is one."
        )
    if any(character in url for character in ' "<>\\^`{|}'):  # RFC 3986, 2: not allowed in a URI
        raise InputError(f"{shown_url!r} has a character that no URL may have.")
    return parts, host, port

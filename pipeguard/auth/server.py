"""A server's canonical URI, and which URLs may be asked on its behalf; sends nothing.

A login is for one resource (RFC 8707), so all that is kept is kept under the server's canonical
URI, and two spellings of one address are one login.
"""

from __future__ import annotations

import shlex
from urllib.parse import SplitResult, urlsplit

from pipeguard.core.checks.addresses import is_loopback
from pipeguard.core.unicode.display import shown
from pipeguard.errors import AuthError, InputError

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
SHOWN_CHARS = 200  # of a peer's words in an error of ours


def canonical(url: str) -> str:
    """The canonical URI of a server (MCP basic/authorization, "Canonical Server URI").

    Scheme and host in small letters, no default port, no fragment, no lone slash. WebSocket
    addresses become those of HTTP: discovery goes over HTTP, and the login is the same.

    Raises:
        InputError: it is no such URL, holds a user's name, or is neither https nor on loopback.
    """
    parts, host, port = _split(url)
    if parts.username is not None or parts.password is not None:
        raise InputError("a server's URL must not hold a name or a password before the host.")
    scheme = _SCHEMES[parts.scheme]
    if scheme == "http" and not is_loopback(host):
        raise InputError(
            f"{shown(url, SHOWN_CHARS)} is not encrypted: tokens go over https, or to loopback."
        )
    authority = f"[{host}]" if ":" in host else host
    if port not in (None, _PORTS[scheme]):
        authority += f":{port}"
    path = "" if parts.path == "/" and not parts.query else parts.path
    return f"{scheme}://{authority}{path}" + (f"?{parts.query}" if parts.query else "")


def is_url(text: str) -> bool:
    """True where a server is named by its URL, and not by a name that it was given."""
    return "://" in text


def must_be_safe(url: str, server: str) -> None:
    """Refuse an address that must not be asked on a server's behalf.

    A server names the others (RFC 9728, RFC 8414). It could name what it cannot reach itself, so
    plain http is for loopback alone, and loopback only where the server is on loopback as well.

    Args:
        url: what is about to be asked or opened.
        server: the canonical URI of the server that is logged in to.

    Raises:
        AuthError: it must not.
    """
    try:
        parts, host, _ = _split(url)
    except InputError as error:
        raise AuthError(f"{server} sends us to {shown(url, SHOWN_CHARS)!r}: {error}") from None
    here = is_loopback(urlsplit(server).hostname or "")
    trusted = here if is_loopback(host) else parts.scheme == "https"
    if parts.username is not None or parts.scheme not in ("http", "https") or not trusted:
        raise AuthError(
            f"{server} sends us to {shown(url, SHOWN_CHARS)!r}, which is not asked:\n"
            "  only https is, without a user's name, and loopback only by a server on loopback."
        )


def login_command(server: str) -> str:
    """What a person runs to log in, safe to paste into a shell."""
    return f"pipeguard auth login {shlex.quote(server)}"


def usual_name(server: str) -> str:
    """What a server is called where nobody gave it a name: its host, and port if it has one."""
    return urlsplit(server).netloc


def origin(server: str) -> str:
    """The origin of a canonical URI (RFC 6454)."""
    parts = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc}"


def is_loopback_url(url: str) -> bool:
    """True where an address is plain http on this very machine."""
    try:
        parts, host, _ = _split(url)
    except InputError:
        return False
    return parts.scheme == "http" and is_loopback(host)


def _split(url: str) -> tuple[SplitResult, str, int | None]:
    """A URL's parts, host and port.

    Raises:
        InputError: it has no host, or characters that no URL has.
    """
    told = shown(url, SHOWN_CHARS)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InputError(f"{told!r} is no URL.") from None
    if parts.scheme not in _SCHEMES or not host or not url.isascii() or not url.isprintable():
        raise InputError(
            f"{told!r} is no URL of a server.\n  One is as https://mcp.example.com/mcp"
        )
    if any(character in url for character in ' "<>\\^`{|}'):  # RFC 3986, 2: none may stand there
        raise InputError(f"{told!r} holds a character that no URL has.")
    return parts, host, port

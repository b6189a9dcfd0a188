"""Which URIs name the same resource. Opens none of them.

Knows RFC 3986 (equivalence, section 6.2.2) and what the URL parsers of clients change in a URI
before they send it (WHATWG URL, sections 4.4 and 4.5).
"""

from __future__ import annotations

import re

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.display import is_hidden

# Schemes whose host is read without case, whose empty path is `/`, and in which `\` is `/` (WHATWG
# URL, 3.3), with their default ports.
_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443", "ftp": ":21", "file": ":"}
_PARTS = lazy_regex(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(//[^/?#]*)?([^?#]*)(.*)", re.DOTALL)
ENCODED = lazy_regex(r"(?:%[0-9A-Fa-f]{2})+")
# Delimiters (RFC 3986, 2.2), `%` and controls mean something else when they are encoded.
_NEVER_DECODED = frozenset(":/?#[]@!$&'()*+,;=%") | {chr(code) for code in (*range(0x20), 0x7F)}
_PLAIN = lazy_regex(r"[!-$&-~]*")
_ODD = lazy_regex(r"[^!-~]|[%\\]|/\.")


def normal(uri: str) -> str:
    """The normal form of all spellings of a URI that name the same resource.

    The scheme is in lower case, and so is the host of a scheme in `_PORTS`. Characters that are
    encoded without need are decoded, `.` and `..` are resolved, invisible characters are removed.
    """
    scheme, authority, path, rest = _split(uri)
    if _ODD.search(uri):
        text = _decoded(uri)
        if text.partition(":")[0].lower() in _PORTS:
            text = text.replace("\\", "/")
        scheme, authority, path, rest = _split(text)
        path = _resolved(path)
    scheme = scheme.lower()
    if scheme in _PORTS and "{" not in authority:
        authority = authority.lower().removesuffix(_PORTS[scheme])
        path = path or "/"
    if scheme == "file" and authority in ("", "//localhost"):
        authority = "//"
    return f"{scheme}:{authority}{path}{rest}" if scheme else f"{authority}{path}{rest}"


def hides(uri: str) -> bool:
    """True if a URI contains an invisible character, encoded or not."""
    return not _PLAIN.fullmatch(uri) and any(map(is_hidden, ENCODED.sub(_decode_run, uri)))


def _split(uri: str) -> tuple[str, ...]:
    """Scheme, authority with its slashes, path, and the rest; each may be empty."""
    match = _PARTS.fullmatch(uri)
    assert match is not None  # noqa: S101  any text fits
    return match.groups("")


def _decoded(uri: str) -> str:
    text = ENCODED.sub(_decode_run, uri)
    text = "".join(" " if c.isspace() and c not in "\t\r\n" else c for c in text)
    return "".join(c for c in text if c not in "\t\r\n" and not is_hidden(c)).strip()


def _decode_run(run: re.Match[str]) -> str:
    """A run of encoded bytes, decoded; what is not UTF-8, or a delimiter, stays encoded."""
    letters = bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "surrogateescape")
    return "".join(
        "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
        if letter in _NEVER_DECODED or "\ud800" <= letter <= "\udfff"
        else letter
        for letter in letters
    )


def _resolved(path: str) -> str:
    """A path without `.` and `..` (RFC 3986, 5.2.4)."""
    resolved: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(resolved) > 1:
                resolved.pop()
        elif segment != ".":
            resolved.append(segment)
    if segments[-1] in (".", ".."):
        resolved.append("")
    return "/".join(resolved)

"""What addresses of servers name, apart from the keys in them. Asks nobody."""

from __future__ import annotations

import re

from pipeguard.core.words.credentials import IN_URLS

URL = r"(?i:https?|wss?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?"
_SCHEMES = ("http://", "https://", "ws://", "wss://")
LONG_VALUE = 20  # characters of a query's value from which on it is taken for a key


def is_url(word: str) -> bool:
    """True for an address of the web."""
    return word[:8].lower().startswith(_SCHEMES)


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in IN_URLS)


def identity_of_url(url: str) -> str:
    """Host and path, and of the query what does not look like a key."""
    matched = re.match(URL, url)
    if matched is None:
        return url
    host = matched[1].rpartition("@")[2].lower().removesuffix(":443").removesuffix(":80")
    path = "/".join(part for part in matched[2].split("/") if part)
    for ending in ("mcp", "sse", "ws"):
        path = path.removesuffix(ending).rstrip("/")
    pairs = [pair for pair in (matched[3] or "").split("&") if pair]
    kept = [
        pair
        for pair in sorted(pairs)
        if not _is_secret(pair.partition("=")[0]) and len(pair.partition("=")[2]) < LONG_VALUE
    ]
    return "?".join(filter(None, (f"{host}/{path}", "&".join(kept))))

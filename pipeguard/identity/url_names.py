"""Servers' addresses without the keys in them. Connects to none."""

from __future__ import annotations

import re

from pipeguard.core.words.credentials import IN_URLS

URL = r"(?i:https?|wss?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?"
_SCHEMES = ("http://", "https://", "ws://", "wss://")
LONG_VALUE = 20  # characters: a value of the query as long as that counts as a key


def is_url(word: str) -> bool:
    """True for an http(s) or ws(s) address."""
    return word[:8].lower().startswith(_SCHEMES)


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in IN_URLS)


def identity_of_url(url: str) -> str:
    """Host, path and the query without values that look like keys."""
    matched = re.match(URL, url)
    if matched is None:
        return url
    host = matched[1].rpartition("@")[2].lower().removesuffix(":443").removesuffix(":80")
    path = "/".join(part for part in matched[2].split("/") if part)
    for ending in ("mcp", "sse", "ws"):
        path = path.removesuffix(ending).rstrip("/")
    pairs = [pair for pair in (matched[3] or "").split("&") if pair]
    public = [
        pair
        for pair in sorted(pairs)
        if not _is_secret(pair.partition("=")[0]) and len(pair.partition("=")[2]) < LONG_VALUE
    ]
    return "?".join(filter(None, (f"{host}/{path}", "&".join(public))))

"""A configuration, fit to be shown: without anything that looks like a secret.

Errs on the side of hiding: a wrong mask costs a person a look into the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import urlsplit

from pipeguard.detect.words.credentials import SCHEMES, SHOWN, SHOWN_BEFORE_VALUE

MASK = "****"
LEAST_CHARS = 16  # of what may be a random secret: half of the shortest API keys
_NAME = re.compile("|".join(SHOWN), re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
# Bounded, so that a word of megabytes is read once.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"']+")
_BEARER = re.compile(rf"(?i)\b({'|'.join(SCHEMES)})\s+\S+")
_ASSIGNED = re.compile(
    rf"((?:{'|'.join(SHOWN_BEFORE_VALUE)})[\w.-]{{0,200}}[=:])[^\s\"',}}]+", re.IGNORECASE
)
_OURS = frozenset({"--env", "--header-env", "--bearer-env"})  # names, and no values
_PATH = re.compile(r"(?:~|\.{1,2})?/[^/]+/")
_OPTION = re.compile(r"--?[\w-]+")


def is_secret(name: str, value: str) -> bool:
    """Whether a value looks like a secret, by its name or by itself.

    Args:
        name: the value's name; empty where it has none.
        value: the text.
    """
    if not value or value.lower() in ("true", "false", "none", "null"):
        return False
    if name and _NAME.search(name):
        return True
    return any(_is_random(match[0]) for match in _LONG.finditer(value))


def masked_words(words: Sequence[str]) -> list[str]:
    """A command's words to show, without values of `--api-key` and the like or random texts."""
    shown: list[str] = []
    before = ""
    for word in words:
        option = _OPTION.fullmatch(before)
        if before in _OURS:
            shown.append(word)
        elif option and _NAME.search(before) and not word.startswith("-"):
            shown.append(MASK)
        else:
            shown.append(masked_text(word))
        before = word
    return shown


def masked_text(text: str) -> str:
    """A text to show, without secrets in addresses and assignments, or random texts."""
    text = _URL.sub(lambda match: masked_url(match[0]), text)
    text = _BEARER.sub(lambda match: f"{match[1]} {MASK}", text)
    text = _ASSIGNED.sub(lambda match: f"{match[1]}{MASK}", text)
    return _LONG.sub(lambda match: _masked_long(match[0]), text)


def _masked_long(text: str) -> str:
    """A long text without what is random in it: of a path, only the parts that are."""
    if not _is_random(text):
        return text
    option, equals, path = text.rpartition("=")
    if not _PATH.match(path) or (option and not _OPTION.fullmatch(option)):
        return MASK
    parts = (MASK if _is_random(part) else part for part in path.split("/"))
    return f"{option}{equals}{'/'.join(parts)}"


def masked_url(url: str) -> str:
    """An address to show, without user, password, and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = re.sub(r"=[^&]*", f"={MASK}", parts.query)
    if query and "=" not in query:
        query = MASK
    path = "/".join(MASK if is_secret("", part) else part for part in parts.path.split("/"))
    shown = f"{parts.scheme}://{user}{host}{path}"
    return shown + (f"?{query}" if query else "") + (f"#{MASK}" if parts.fragment else "")


def _is_random(text: str) -> bool:
    """Whether a text is long and mixes letters and digits as no path or package name does."""
    pieces = [piece for piece in re.split(r"[/=.~]", text) if len(piece) >= LEAST_CHARS]
    return any(_has_random(piece) for piece in pieces)


def _has_random(piece: str) -> bool:
    digits = sum(c.isdigit() for c in piece)
    changes = sum(_kind(a) != _kind(b) for a, b in pairwise(piece))
    return digits > 1 and changes >= len(piece) // 4


def _kind(character: str) -> int:
    if character.isdigit():
        return 0
    return 1 if character.isupper() else 2

"""What stands around a match, and what may be shown of it: words, quotes, disguises, masks.

Each is a question about bytes; what follows from the answer is for core.scanning.engine.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipeguard.core.rules.rule import Boundary, Rule
from pipeguard.core.unicode.folding import squeeze
from pipeguard.core.vault_placeholder import MAX_PLACEHOLDER_BYTES, PLACEHOLDER_IN_BYTES

EXCERPT = 72  # characters
SHOWN = 4  # characters of a secret that tell its kind, where it is long enough to keep the rest


def masked(rule: Rule, found: bytes) -> str:
    """A piece of what was found that tells what it is and gives nothing away."""
    text = found[: 4 * EXCERPT].decode("utf-8", "replace")
    if rule.is_private:
        shown = text[: min(SHOWN, len(found) // 5)]
        return f"{shown}… ({len(found)} characters)"
    shown = _LONG_TOKEN.sub("…", " ".join(text.split()))
    shown = "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in shown)
    return shown if len(shown) <= EXCERPT else shown[: EXCERPT - 1] + "…"


_LONG_TOKEN = re.compile(r"(?=[A-Za-z_-]*[0-9])[A-Za-z0-9+_=-]{12,}")

_CUE_WORDS = re.compile(
    rb"(?:such as|e\.g\.|for example|example:|like this|payloads?|detects?|blocks?|attack(?:er)?s?|"
    rb"phrases?|says?|contains?|strings?|patterns?|means?|matches|called|quoted?)[^\n]{0,24}$",
    re.IGNORECASE,
)


def touched(rule: Rule, data: bytes, match: re.Match[bytes]) -> bool:
    """True where a match goes on beyond its ends, as a key inside a longer word."""
    if rule.boundary is Boundary.NONE:
        return False
    dash = rule.boundary is Boundary.TOKEN
    start, end = match.span()
    is_named = "secret" in match.re.groupindex and match.start("secret") > start
    before = data[start - 1] if start and not is_named else 0x20  # a name may be part of a longer
    after = data[end] if end < len(data) else 0x20
    return (_in_word(before, dash) and _in_word(data[start], dash)) or (
        _in_word(after, dash) and _in_word(data[end - 1], dash)
    )


def is_inside_data(data: bytes, start: int, end: int) -> bool:
    """True in so long a run of base64 or the like that any letters stand in it by chance."""
    before, after = data[max(0, start - RUN_BYTES) : start], data[end : end + RUN_BYTES]
    return any(
        len(run) == RUN_BYTES and _RUN.fullmatch(run) and len(set(run)) > RUN_LETTERS
        for run in (before, after)
    )


RUN_BYTES = 256  # before or after a match
RUN_LETTERS = 40  # different ones, of 64; what only fills has fewer
_RUN = re.compile(rb"[A-Za-z0-9+/_-]*+")


SENTENCE_BYTES, BEYOND_BYTES = 240, 40  # before a match, as far as its sentence goes; after it
_SENTENCE_END = re.compile(rb"[.!?]\s|\n")


def excepted(unless: str, data: bytes, start: int, end: int) -> bool:
    """True where what a rule excepts stands in a match's sentence, or a little behind it."""
    low = max(0, start - SENTENCE_BYTES)
    for sentence in _SENTENCE_END.finditer(data, low, start):
        low = sentence.end()
    return _exception(unless).search(data, low, min(len(data), end + BEYOND_BYTES)) is not None


@lru_cache(maxsize=256)
def _exception(unless: str) -> re.Pattern[bytes]:
    return re.compile(unless.encode(), re.ASCII | re.IGNORECASE)


def in_placeholder(data: bytes, start: int, end: int) -> bool:
    """True where a match stands in what was put in a secret's place, or reaches into it."""
    low, high = max(0, start - MAX_PLACEHOLDER_BYTES), end + MAX_PLACEHOLDER_BYTES
    return any(
        found.start() < end and start < found.end()
        for found in PLACEHOLDER_IN_BYTES.finditer(data, low, min(len(data), high))
    )


NAME_BYTES = 64


def named(data: bytes, match: re.Match[bytes]) -> bytes:
    """The name that a secret stands behind, whole, where a match begins in the middle of it."""
    start = match.start()
    end = match.start("secret") if "secret" in match.re.groupindex else start
    before = _NAME_END.search(data, max(0, start - NAME_BYTES), start)
    return data[before.start() if before else start : end]


_NAME_END = re.compile(rb"[A-Za-z0-9_.$-]+\Z")


def _in_word(code: int, dash: bool) -> bool:  # noqa: FBT001  asked of each byte
    return (
        0x30 <= code <= 0x39
        or 0x41 <= code <= 0x5A
        or 0x61 <= code <= 0x7A
        or code == 0x5F
        or (dash and code == 0x2D)
    )


def is_quoted(data: bytes, start: int, end: int) -> bool:
    """True inside quotes or a code span, or after a word that introduces an example."""
    while start < end and not _in_word(data[start], dash=False) and data[start] < 0x80:
        start += 1  # what may stand before a sentence is no part of it
    line = data[max(0, data.rfind(b"\n", 0, start) + 1, start - QUOTE_BYTES) : start]
    if _CUE_WORDS.search(line, max(0, len(line) - CUE_BYTES)):
        return True
    after = data[end : end + QUOTE_BYTES].partition(b"\n")[0]
    return any(len(mark.findall(line)) % 2 == 1 and mark.search(after) for mark in _MARKS) or any(
        _last(opening, line) > _last(closing, line) and closing.search(after)
        for opening, closing in _PAIRS
    )


def _last(mark: re.Pattern[bytes], line: bytes) -> int:
    return max((found.start() for found in mark.finditer(line)), default=-1)


QUOTE_BYTES, CUE_BYTES = 480, 120  # of a line, before and after a match
_MARKS = tuple(map(re.compile, (rb'"', rb"`", rb"(?<![A-Za-z])'|'(?![A-Za-z])")))  # not in don't
_PAIRS = tuple(
    (re.compile(opening), re.compile(closing))
    for opening, closing in (
        (rb"\xe2\x80\x9c", rb"\xe2\x80\x9d"),
        (rb"\xc2\xab", rb"\xc2\xbb"),
        (rb"\xc2\xbb", rb"\xc2\xab"),  # as in German books
        (rb"\xe2\x80\x9e", rb"\xe2\x80[\x9c\x9d]"),
        (rb"\xe3\x80[\x8c\x8e]", rb"\xe3\x80[\x8d\x8f]"),
        (rb"<(?:q|code|blockquote)>", rb"</(?:q|code|blockquote)>"),
    )
)


MIN_PIECES = 4
FEW_BYTES = 2  # of each piece of what is spelt letter by letter
_SEPARATOR = re.compile(rb"[\x00- \"'`,;|\\\x7f]+")
_APART = frozenset(b" \t\r\n\"'`")


def in_pieces(stretch: bytes) -> bool:
    """True where a stretch is written letter by letter, or in groups that are all as long.

    Neither are words nor the lists of four or five letters with commas that a source map has.
    """
    parts = _SEPARATOR.split(stretch)
    if len(parts) < MIN_PIECES:
        return False
    if 5 * sum(len(part) <= FEW_BYTES for part in parts) >= 4 * len(parts):
        return True
    size, between = len(parts[1]), set(_SEPARATOR.findall(stretch))
    even = all(len(part) == size for part in parts[1:-1])
    ends = len(parts[0]) <= size and len(parts[-1]) <= size
    return even and ends and len(between) == 1 and not _APART.isdisjoint(between.pop())


def is_disguised(stretch: bytes, *, words: bool) -> bool:
    """True where the spaces of a stretch are not those of ordinary writing."""
    if not words:
        return len(squeeze(stretch, words=False)) != len(stretch)
    parts = re.split(rb"[^A-Za-z0-9\x80-\xff]+", stretch)
    return sum(map(len, parts)) / max(1, len(parts)) <= 2.2 or len(parts) == 1

"""Literals over several lines: in three quotes, backquotes, heredocs, raw strings, long brackets.

A value is assigned, passed on or returned. A docstring or a comment is not a value: both speak to
the reader of the file. If one is never closed, no literal is found after it.
Knows how literals and comments begin and end in some twenty languages, and no rules.
"""

import re
from functools import lru_cache

from pipeguard.firewall.lazy_regex import lazy_regex

MOST_BYTES = 2**18  # of a text; a longer one is not searched
FEW_TEXTS = 2  # that are remembered: one text is asked about for each match in it
BEFORE_BYTES = 80  # before a literal, which tell the use of its value

# The beginning of a comment or a literal. Whichever comes first counts, so that none begins within
# another; a comment of a line and a short literal end in their line.
_BEGINNING = lazy_regex(
    rb"""(?P<block>/\*|<!--|--\[\[|^=begin\b)
    | (?P<quotes>\"{3}|'{3})
    | \br(?P<hashes>\#{1,4})\"
    | \bR\"(?P<mark>[A-Za-z_]{0,16})\(
    | <<[<~-]?(?P<quote>[\"']?)(?P<word>[A-Z_][A-Z0-9_]{1,30})(?P=quote)[^\n]{0,200}\n
    | (?P<bracket>(?<=[=(,]\x20)|(?<=[=(,]))\[\[
    | (?P<backquote>(?<!`)`(?!`))
    | `{2,}
    | (?:^|(?<=\s))(?:\#(?!\[)|//|--(?=\s))[^\n]*+
    | \"(?>(?>(?:[^\"\\\n]++|\\.){1,500})*)(?:\"|$)
    | (?<![\w&<])'(?>(?>(?:[^'\\\n]++|\\.){1,500})*)(?:'(?!\w)|$)""",
    re.MULTILINE | re.VERBOSE,
)
_BACKQUOTE = lazy_regex(rb"(?<!\\)`")
_ONE_WORD = lazy_regex(rb"(?m)^[ \t]*+([A-Z_][A-Z0-9_]*+)\b")
_ENDS_OF_BLOCKS = {b"/*": b"*/", b"<!--": b"-->", b"--[[": b"]]", b"=begin": b"\n=end"}
# Before a literal that is a value. A docstring has a colon before it, or a line of its own.
_TAKES_VALUE = lazy_regex(
    rb"(?:=>?|[(\[{,+]|\b(?:return|yield|in)\b|[\"']\s{0,3}:|\w: (?=`))\s{0,40}[A-Za-z$@]{0,3}`?\Z"
)


@lru_cache(FEW_TEXTS)
def long_literals(data: bytes) -> tuple[tuple[int, int], ...]:
    """The values of all literals over several lines, and of those in long brackets."""
    if len(data) > MOST_BYTES:
        return ()
    spans = []
    at = 0
    while beginning := _BEGINNING.search(data, at):
        at = max(beginning.end(), at + 1)
        if beginning.lastgroup is None:
            continue
        end = _end(data, beginning)
        if end is None:
            break
        span = at, end[0]
        is_long = beginning["bracket"] is not None or data.find(b"\n", *span) >= 0
        if is_long and _is_value(data, beginning):
            spans.append(span)
        at = max(at, end[1])
    return tuple(spans)


@lru_cache(FEW_TEXTS)
def without_long_literals(data: bytes) -> bytes:
    """A text in which each long literal is a short one of as many bytes, without its value."""
    parts = []
    at = 0
    for start, end in long_literals(data):
        quote = b'"' if data[start - 1 : start] == b"'" else b"'"
        filler = b"0" * (end - start)
        filler = quote + filler[:-3] + quote + b" " if len(filler) >= len(b"'' ") else filler
        parts += [data[at:start], filler]
        at = end
    return b"".join([*parts, data[at:]]) if parts else data


def _end(data: bytes, beginning: re.Match[bytes]) -> tuple[int, int] | None:
    """The span of the end of a comment or literal; None if it is never closed."""
    at = beginning.end()
    if beginning["word"] is not None:
        lines = _ONE_WORD.finditer(data, at)
        return next((line.span() for line in lines if line[1] == beginning["word"]), None)
    if beginning["backquote"] is not None:
        closing = _BACKQUOTE.search(data, at)
        return closing.span() if closing else None
    end = _closing(beginning)
    first = data.find(end, at)
    return (first, first + len(end)) if first >= 0 else None


def _closing(beginning: re.Match[bytes]) -> bytes:
    if beginning["block"] is not None:
        return _ENDS_OF_BLOCKS[beginning["block"]]
    if beginning["hashes"] is not None:
        return b'"' + beginning["hashes"]
    if beginning["mark"] is not None:
        return b")" + beginning["mark"] + b'"'
    return beginning["quotes"] or b"]]"


def _is_value(data: bytes, beginning: re.Match[bytes]) -> bool:
    """True for a heredoc, and for a literal whose use is known; False for a comment."""
    if beginning["block"] is not None or beginning["word"] is not None:
        return beginning["block"] is None
    start, end = beginning.span()
    last = end if beginning["backquote"] is not None else start
    return _TAKES_VALUE.search(data[max(0, start - BEFORE_BYTES) : last]) is not None

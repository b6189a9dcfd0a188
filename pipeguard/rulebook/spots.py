"""Where in a text somebody would look for a finding: from JSON pointers to lines and columns.

Knows JSON's tokens and nothing of messages. A text that is no JSON is never asked for pointers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import NamedTuple

from pipeguard.core.protocol.places import pointer_step

Range = tuple[int, int]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_LETTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]",
    re.DOTALL,
)


class Spot(NamedTuple):
    """A place in a text as an editor names it, counted from 1, in characters."""

    line: int
    column: int


def spot(text: str, offset: int) -> Spot:
    """The line and column of a character."""
    return Spot(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def values(text: str, wanted: Collection[str]) -> dict[str, Range]:
    """Where the values at some pointers stand in a JSON text, with their quotes.

    Of two members with one name the first is told.

    Args:
        text: JSON.
        wanted: pointers as findings have them (core.protocol.places).
    """
    found: dict[str, Range] = {}
    around: list[tuple[str, int]] = []  # the open objects and arrays: pointers, and where from
    steps: list[str | int | None] = []  # what is read of each: an item, a member, None before it
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == ":":
            continue
        if sign == ",":
            last = steps[-1]
            steps[-1] = last + 1 if isinstance(last, int) else None
        elif sign in ("}", "]"):
            steps.pop()
            at, start = around.pop()
            if at in wanted:
                found.setdefault(at, (start, token.end()))
        elif steps and steps[-1] is None:
            steps[-1] = _text_of(sign)
        else:
            step = steps[-1] if steps else None
            at = "" if step is None else around[-1][0] + pointer_step(step)
            if sign in ("{", "["):
                around.append((at, token.start()))
                steps.append(None if sign == "{" else 0)
            elif at in wanted:
                found.setdefault(at, token.span())
    return found


def inside(text: str, string: Range, offset: int) -> int:
    """Where a character of a JSON string stands in the text that holds it, escapes and all."""
    at, end = string[0] + 1, string[1] - 1
    for _ in range(offset):
        letter = _LETTER.match(text, at, end)
        if letter is None:
            break
        at = letter.end()
    return at


def _text_of(token: str) -> str:
    return str(json.loads(token, strict=False))

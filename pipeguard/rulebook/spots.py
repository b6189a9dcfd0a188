"""Lines and columns of findings: from JSON pointers and offsets to where an editor shows them.

Knows JSON's tokens and nothing of messages. Takes valid JSON only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import NamedTuple

from pipeguard.firewall.protocol.places import pointer_step

Range = tuple[int, int]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_LETTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]",
    re.DOTALL,
)


class Spot(NamedTuple):
    """A position in a text as editors count it: from 1, in characters."""

    line: int
    column: int


def spot(text: str, offset: int) -> Spot:
    """The line and column of an offset."""
    return Spot(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def value_ranges(text: str, wanted: Collection[str]) -> dict[str, Range]:
    """The ranges of the values at some JSON pointers, quotes included.

    Of two members of the same name, the first counts.

    Args:
        text: JSON.
        wanted: pointers as findings have them (firewall.protocol.places).
    """
    ranges: dict[str, Range] = {}
    around: list[tuple[str, int]] = []  # the open objects and arrays: pointer and start of each
    # The step in each: the index of an item or the name of a member, None before a name is read.
    steps: list[str | int | None] = []
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
                ranges.setdefault(at, (start, token.end()))
        elif steps and steps[-1] is None:
            steps[-1] = _text_of(sign)
        else:
            step = steps[-1] if steps else None
            at = "" if step is None else around[-1][0] + pointer_step(step)
            if sign in ("{", "["):
                around.append((at, token.start()))
                steps.append(None if sign == "{" else 0)
            elif at in wanted:
                ranges.setdefault(at, token.span())
    return ranges


def text_offset(text: str, string: Range, offset: int) -> int:
    """The offset in a JSON text of a character of one of its strings, which may have escapes."""
    at, end = string[0] + 1, string[1] - 1
    for _ in range(offset):
        letter = _LETTER.match(text, at, end)
        if letter is None:
            break
        at = letter.end()
    return at


def _text_of(token: str) -> str:
    return str(json.loads(token, strict=False))

"""The sign of a pattern, from marks in the pattern itself: `%<` and `%>` around its telling part.

Hyperscan finds `to the public gist` at a third of what a whole sentence costs that begins with
words of any text. Of each alternative that holds marks, only what is marked is in the sign; so
whatever the pattern matches contains it. Knows expressions, and no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeguard.core.lazy_regex import lazy_regex

BEGIN, END, BAR = "%<", "%>", "|"
_TOKEN = lazy_regex(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P<\w+>|[a-z]*:))?"
    r"|\)(?:[?*+]|\{[0-9,]+\})?[?+]?|%[<>]|.",
    re.DOTALL,
)
_OPTIONAL = lazy_regex(r"\)(?:[?*]|\{0?,)")


class _Group(NamedTuple):
    """What stands in a group.

    Attributes:
        pattern: all of it, without marks.
        sign: what each match of it contains; empty where nothing is marked.
        close: the bracket that ends it, with its quantifier; empty at the end of the pattern.
    """

    pattern: str
    sign: str
    close: str


def unmarked(pattern: str) -> tuple[str, str]:
    """A pattern without its marks, and the sign that they make; empty where there is none.

    Raises:
        ValueError: a mark is not closed, or stands in a group that may be absent.
    """
    if BEGIN not in pattern:
        return pattern, ""
    whole = _group(match[0] for match in _TOKEN.finditer(pattern))
    return whole.pattern, whole.sign


def _group(tokens: Iterator[str]) -> _Group:
    """Read the alternatives of a group, and the bracket that ends it."""
    patterns: list[str] = []
    signs: list[str] = []
    end = BAR
    while end == BAR:
        pattern, sign, end = _alternative(tokens)
        patterns.append(pattern)
        signs.append(sign)
    chosen = [sign or whole for sign, whole in zip(signs, patterns, strict=True)]
    sign = f"(?:{BAR.join(chosen)})" if any(signs) else ""
    return _Group(BAR.join(patterns), sign, end)


def _alternative(tokens: Iterator[str]) -> tuple[str, str, str]:
    """Read one alternative: its pattern, its sign if it has one, and the token that ends it."""
    pattern = sign = end = ""
    begin: int | None = None
    for token in tokens:
        if token == BAR or token.startswith(")"):
            end = token
            break
        if token == BEGIN:
            begin = len(pattern)
        elif token == END and begin is not None:
            sign, begin = pattern[begin:], None
        elif token.startswith("("):
            inner = _group(tokens)
            pattern += token + inner.pattern + inner.close
            sign = _sign_of(token, inner) or sign
        else:
            pattern += token
    if begin is not None:
        raise ValueError(f"`{BEGIN}` has no `{END}` in its alternative")
    return pattern, sign, end


def _sign_of(opening: str, group: _Group) -> str:
    """The sign of a group within an alternative, with the flags of the group."""
    if group.sign and _OPTIONAL.match(group.close):
        raise ValueError("a part is marked that may be absent")
    return f"{opening}{group.sign})" if group.sign else ""

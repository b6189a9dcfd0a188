"""Expressions of rules that are slow, found by reading them; runs none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, reduce
from itertools import pairwise
from operator import and_, or_
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.matching.confirm import BRACKETS, EXPRESSIONS, Finder
from pipeguard.detect.scanning.rule_groups import squeezed_pattern

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule

AMBIGUOUS = (
    "repeats a group that can begin where it ends, so that it splits one run in many ways; write"
    " `[a-z]{0,27}` for `(?:[a-z]{1,9}){0,3}`, also where the view `squeezed` leaves out blanks"
)
# Instructions of a program. Beyond, RE2's automaton has no room, and RE2 simulates it instead.
PROGRAM_SIZE = 7500
TOO_LARGE = "has a program too large for RE2; write `[^|]*` for `[^|]{0,80}`, or several rules"
_EVERY_BYTE = bytes(range(256))
_ALL = (1 << 256) - 1
_PIECE = re.compile(
    rb"\(\?[a-zA-Z-]*\)|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:))?)|(?P<bar>\|)|\\[AbBzZ]|[$^]"
    rb"|(?:(?P<close>\))|(?P<atom>\\x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]+\})|\\[pP](?:\{[^}]*\}|.)"
    rb"|\\[0-7]{2,3}|\\.|" + BRACKETS + rb"|.))"
    rb"(?:(?P<mark>[*+?])|\{(?P<least>\d+)(?P<comma>,?)(?P<most>\d*)\})?\??",
    re.DOTALL,
)
_LITERAL = re.compile(rb"\\Q(.*?)(?:\\E|\Z)|\\.", re.DOTALL)
_MARKS = {b"*": (0, 2), b"+": (1, 2), b"?": (0, 1), None: (1, 1)}


class _Runs(NamedTuple):
    """The runs of one byte that a part of an expression matches.

    Attributes:
        any: bytes of which it matches a run, even an empty one, each a bit of a number.
        some: bytes of which it matches a run that is not empty.
        several: bytes of which it matches runs of different lengths.
        is_split: True if it repeats a part that does so.
    """

    any: int = _ALL
    some: int = 0
    several: int = 0
    is_split: bool = False


def slowness(rule: Rule) -> Iterator[tuple[str, str]]:
    """The expressions of a rule, in each view that it has, that are slow, and why."""
    for pattern in filter(None, (rule.pattern, squeezed_pattern(rule)[0], rule.sign, rule.unless)):
        if splits_runs(pattern):
            yield pattern, AMBIGUOUS
        if EXPRESSIONS[pattern, rule.ignore_case][2] > PROGRAM_SIZE:
            yield pattern, TOO_LARGE


def splits_runs(pattern: str) -> bool:
    """True if a repeated group of a pattern matches runs of one byte, of different lengths."""
    expanded = _LITERAL.sub(
        lambda part: part[0] if part[1] is None else re.escape(part[1]), pattern.encode()
    )
    return _group(_PIECE.finditer(expanded))[0].is_split


def _group(pieces: Iterator[re.Match[bytes]]) -> tuple[_Runs, re.Match[bytes] | None]:
    """Read a group up to the bracket that closes it, which is returned, too."""
    alternatives, row, end = [], [_Runs()], None
    for piece in pieces:
        if piece["close"]:
            end = piece
            break
        if piece["bar"]:
            alternatives.append(_combine(row, and_))
            row = [_Runs()]
        elif piece["open"]:
            inner, closing = _group(pieces)
            row.append(_repeat(inner, closing) if closing else inner)
        elif piece["atom"]:
            matched = _to_bytes(piece["atom"])
            row.append(_repeat(_Runs(matched, matched), piece))
    return _combine([*alternatives, _combine(row, and_)], or_), end


def _combine(parts: list[_Runs], join: Callable[[int, int], int]) -> _Runs:
    """The runs of parts that follow each other (`and_`), or of alternatives (`or_`)."""
    every, some, several, split = zip(*parts, strict=True)
    matched = reduce(join, every)
    return _Runs(matched, matched & reduce(or_, some), matched & reduce(or_, several), any(split))


def _repeat(part: _Runs, piece: re.Match[bytes]) -> _Runs:
    least, most = _MARKS[piece["mark"]]
    if piece["least"]:
        least = int(piece["least"])
        most = int(piece["most"] or least + 1) if piece["comma"] else least
    return _Runs(
        part.any if least else _ALL,
        part.some,
        part.several | (part.some if most > least else 0),
        part.is_split or (most > 1 and part.several > 0),
    )


@lru_cache(maxsize=1024)
def _to_bytes(atom: bytes) -> int:
    """The bytes that an atom matches, each a bit of a number; 0 if RE2 cannot read it."""
    if len(atom) == 1 and atom != b".":
        return 1 << atom[0]
    try:
        finder = Finder(atom.decode(), ignore_case=False)
        return sum(1 << match.words[0] for match in finder.finditer(_EVERY_BYTE, 0, 256))
    except ValueError:
        return 0


def branches(pattern: str) -> list[str]:
    """The pattern with each branch of its outermost alternation alone, or of a branch's own."""
    opened, bars, ends = [-1], dict[int, list[int]](), {-1: len(pattern)}
    for token in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]", pattern, re.DOTALL):
        if token[0] == "(":
            opened.append(token.start())
        elif token[0] == ")":
            ends[opened.pop()] = token.start()
        elif token[0] == "|":
            bars.setdefault(opened[-1], []).append(token.start())
    if not bars:
        return []
    depth = {at: sum(a < at < ends[a] for a in ends if a >= 0) for at in bars}
    at = min(bars, key=lambda each: (depth[each], each))
    group = re.compile(r"(?:\((?:\?(?:P<\w+>|[a-z-]*:))?)?").match(pattern, max(at, 0))
    start = group.end() if group is not None and at >= 0 else 0
    edges = [start - 1, *bars[at], ends[at]]
    parts = list[str]()
    for a, b in pairwise(edges):
        part = pattern[a + 1 : b]
        is_group = ends.get(a + 1) == b - 1
        parts += (branches(part) if is_group else []) or [part]
    return [pattern[:start] + part + pattern[ends[at] :] for part in parts]

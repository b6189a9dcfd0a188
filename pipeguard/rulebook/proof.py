"""Proves rules by their samples, which run through the whole scanner.

Knows the place in a message that a sample is tried at; knows no files and no packs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache, reduce
from operator import and_, or_
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.detect.matching.confirm import BRACKETS, Finder
from pipeguard.detect.rules.rule import View, Written
from pipeguard.detect.scanning.rating import DOUBTED
from pipeguard.detect.scanning.rule_groups import choose_engine, squeezed_pattern
from pipeguard.detect.scanning.surroundings import has_exception
from pipeguard.firewall.finding import Confidence, raise_confidence
from pipeguard.firewall.protocol.places import Surface, find_places
from pipeguard.rulebook.samples import texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.engine import Engine
    from pipeguard.firewall.protocol.json_values import JsonValue

# A sample for the view `acts` may name its argument: `sql: DROP TABLE x`.
_NAMED = re.compile(
    r"(command|sql|code|path|paths|file|url|uri|host|branch|name|id|value|content|query|template|"
    r"xml|yaml|filename|expression|user|domain|config|target|endpoint): (.*)",
    re.DOTALL,
)
USUAL_PLACE = {
    Surface.TO_SERVER: "call.arguments",
    Surface.TO_CLIENT: "result.text",
    Surface.DEFINITIONS: "tool.description",
}


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """A sample that its rule does not judge as it should, or an expression that is ambiguous.

    Attributes:
        rule: the rule's id.
        surface: the sample was judged as a text of it.
        sample: its text, or the expression.
        what: what was expected, and what happened.
    """

    rule: str
    surface: Surface
    sample: str
    what: str


def prove(rule: Rule, engine: Engine, surface: Surface) -> Iterator[SampleFailure]:
    """Try each sample of a rule, those that must match and those that must pass.

    A slow expression (`slowness`) is a failure, too.

    Args:
        rule: one of the engine's.
        engine: it runs the rule (detect.scanning.first_look).
        surface: the samples are judged as texts of it.
    """
    for pattern, what in slowness(rule):
        yield SampleFailure(rule.id, surface, pattern, what)
    for sample in rule.matches:
        for text in texts(sample):
            sure = confidences(rule, engine, surface, text)
            if not sure:
                yield SampleFailure(rule.id, surface, text, "must match, but does not")
            elif max(sure) < rule.confidence:
                what = f"expected {rule.confidence.name.lower()}, found {max(sure).name.lower()}"
                yield SampleFailure(rule.id, surface, text, f"confidence: {what}")
    for sample in rule.passes:
        for text in texts(sample):
            if is_match(rule, engine, surface, text):
                yield SampleFailure(rule.id, surface, text, "must not match, but does")


def prove_all(rules: Iterable[Rule], engines: Iterable[Engine]) -> Iterator[SampleFailure]:
    """Try each sample of some rules, on every surface that they are run over."""
    homes = {engine.surface: engine for engine in engines}
    for rule in rules:
        for surface in sorted(rule.surfaces, key=lambda surface: surface.value):
            yield from prove(rule, homes[choose_engine(rule, surface)], surface)


def is_match(rule: Rule, engine: Engine, surface: Surface, text: str) -> bool:
    """True if a rule finds more in a text than what `unless` may have lowered to a note."""
    sure, data = confidences(rule, engine, surface, text), text.encode()
    is_note = max(sure, default=None) is Confidence.LOW
    return bool(sure) and not (is_note and has_exception(rule.unless, data, (0, len(data))))


def sample_place(rule: Rule, surface: Surface) -> str:
    """The place that a sample is tried at: the usual one, or the first that the rule names."""
    usual = USUAL_PLACE[surface]
    if not rule.places or any(fnmatchcase(usual, glob) for glob in rule.places):
        return usual
    return find_places(rule.places[0])[0]


def frame_value(surface: Surface, text: str, key: str = "text") -> JsonValue:
    """A JSON value as messages of a surface have it, with a sample under a key."""
    if surface is Surface.TO_SERVER:
        named = _NAMED.match(text)
        return {named[1]: named[2]} if named and key != "text" else {key: text}
    if surface is Surface.TO_CLIENT:
        return {"content": [{"type": "text", "text": text}]}
    return {"description": text}


def confidences(rule: Rule, engine: Engine, surface: Surface, text: str) -> list[Confidence]:
    """The confidence of each match of a rule in a text, at the place of a sample.

    The doubt of a classifier is undone: a sample proves its rule, and often consists of nothing but
    the words that the rule is for.
    """
    place = sample_place(rule, surface)
    key = "command" if View.ACTS in rule.views else "input"
    if View.ACTS not in rule.views and rule.written is Written.KEEP:
        key = "text"
    seen = engine.scan(frame_value(surface, text, key), lambda _: place, surface)
    return [
        raise_confidence(match.confidence) if match.took(DOUBTED) else match.confidence
        for match in seen.matches
        if match.rule.id == rule.id and not match.is_sample
    ]


# --- expressions ---------------------------------------------------------------------------

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
        if Finder(pattern, ignore_case=rule.ignore_case).compile() > PROGRAM_SIZE:
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
    """The bytes that an atom matches, each a bit of a number; none if RE2 cannot read it alone."""
    if len(atom) == 1 and atom != b".":
        return 1 << atom[0]
    try:
        finder = Finder(atom.decode(), ignore_case=False)
        return sum(1 << match.words[0] for match in finder.finditer(_EVERY_BYTE, 0, 256))
    except ValueError:
        return 0

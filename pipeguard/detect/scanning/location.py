"""From a match in a reading to the string and span that it is reported by.

Also the last word on its confidence, which needs the string: what it is for, and how it is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from pipeguard.detect.model.data_literals import is_data_literal
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning.confidence import confidence_in_text, confidence_in_use
from pipeguard.detect.scanning.context import is_mostly_quoted, is_quoted, masked_excerpt
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_input import ScanInput
from pipeguard.detect.scanning.scan_result import Match
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.firewall.finding import Confidence, lower, raise_confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import MASKED_STEP
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import words_of_any_script

# Decoded bytes. Somebody who encodes a short text hides an order; a long one is a document, encoded
# for transport.
SHORT_BYTES = 1024
FEW_STRINGS = 32  # in a value whose places are looked up before a rule is run

_INVISIBLE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_invisible))
_OPAQUE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_opaque))


def locate_match(
    origin: Origin, rule: Rule, confidence: Confidence, data: bytes, span: Range
) -> Match | None:
    """The match of a rule, with the string that contains it; None if the rule does not apply there.

    Args:
        origin: the way back from the reading.
        rule: whose expression matched.
        confidence: after its checks.
        data: the reading.
        span: of the match in it.
    """
    start, end = _without_leading_space(data, span)
    matched = data[slice(*span)]
    source, locate_joined = origin.source, origin.locate_joined
    if rule.places and not _may_apply(origin, rule, start, end):
        return None
    view, low, high, exact = origin.trace(start, end)
    paths = locate_joined(low, high)[0] if locate_joined is not None else []
    path = source.text.find_path(low) if locate_joined is None else paths[0]
    if rule.places and not applies(rule, source.place_of(path)):
        return None
    adjusted: Confidence | None = confidence
    if rule.written is Written.ANYWHERE:
        adjusted = confidence_in_text(source, confidence, path, data, (start, end))
    elif rule.written is not Written.KEEP or View.ACTS in rule.views:
        adjusted = confidence_in_use(source, rule, confidence, path, (low, len(matched)))
    if adjusted is None:
        return None
    first, last = source.text.span(low, high) if locate_joined is None else (0, 0)
    is_plain = view in ("text", "folded") and matched.isascii()
    if (rule.purpose and serves(rule.purpose, source.text.value, path, first)) or (
        is_plain and shows_attack(source.text.value, path, first, data, (start, end))
    ):
        adjusted = lower(adjusted)
    is_data = (
        adjusted is Confidence.HIGH
        and not rule.is_private
        and view in ("text", "folded")
        and source.place_of(path).startswith("result.")
        and is_data_literal(data, start, end, source.file_kind())
    )
    adjusted = Confidence.MEDIUM if is_data else adjusted
    exact = exact and locate_joined is None and not origin.whole
    return Match(
        rule,
        _confidence_if_hidden(rule, adjusted, view, len(data)),
        view,
        path,
        first,
        last,
        exact,
        tuple(paths),
        masked_excerpt(rule, matched),
        is_data=is_data,
    )


def _without_leading_space(data: bytes, span: Range) -> Range:
    """The span from its first character on, so that the match is in its own line."""
    start, end = span
    while start < end - 1 and data[start] in b" \t\r\n":
        start += 1
    return start, end


def _may_apply(origin: Origin, rule: Rule, start: int, end: int) -> bool:
    """False if a range is within one string for sure, and the rule does not apply to it."""
    if origin.locate_joined is not None or origin.squeezed_from is not None:
        return True
    path = origin.find_path(start, end)
    return path is None or applies(rule, origin.source.place_of(path))


def value_places(source: ScanInput) -> set[str]:
    """The places of a value's strings; none if there are many, which are not looked up."""
    text = source.text
    strings = text.segments(0, len(text.data)) if text.count <= FEW_STRINGS else ()
    return {source.place_of(path) for *_, path in strings}


def may_apply(rule: Rule, places: set[str]) -> bool:
    """False if a rule is for none of the places of a value."""
    return not (rule.places and places) or any(applies(rule, place) for place in places)


def applies(rule: Rule, place: str) -> bool:
    """True if a rule is for a place."""
    return any(fnmatchcase(place, pattern) for pattern in rule.places)


def _confidence_if_hidden(rule: Rule, confidence: Confidence, view: str, size: int) -> Confidence:
    """More sure if the match was hidden on purpose."""
    if is_invisible(view):
        return Confidence.HIGH  # nobody hides harmless words
    if not rule.is_private and size <= SHORT_BYTES and _OPAQUE.search(view):
        return raise_confidence(confidence)
    return confidence


def is_invisible(view: str) -> bool:
    """True for a reading of what nobody sees."""
    return _INVISIBLE.search(view) is not None


def without_secret(rule: Rule, path: Path, matched: bytes) -> Path:
    """A path in which keys that contain what a private rule matched are masked."""
    if not rule.is_private:
        return path
    secret = matched.decode("utf-8", "replace")
    return tuple(MASKED_STEP if isinstance(step, str) and secret in step else step for step in path)


# --- stated purpose ---------------------------------------------------------------------
# What a definition says that it is for: its name, its title and its first sentence.

# Tools that show attacks because they look for them, stand in for them, or explain them.
SHOWING = (
    *("mock*", "fixture*", "fake*", "stub*", "dummy", "canned", "simulat*", "honeypot*"),
    *("eval*", "detect*", "lint*", "classif*", "guard*", "moderat*", "grader*", "judge*"),
    *("redteam*", "adversar*", "benchmark*", "inject*", "jailbreak*", "poison*", "tester"),
    *("explain*", "doc", "docs", "document*", "guide*", "help", "howto", "manual", "install*"),
    *("training", "awareness", "tutorial*", "readme", "cheatsheet", "quiz", "security"),
    *("validat*", "sanitiz*", "expect*", "payload*", "scanner"),
)
_SHOWN_KEYS = frozenset({"example", "examples", "default", "const", "enum", "sample"})
MAX_SENTENCE_CHARS = 200  # of the first sentence: what follows no longer says what the tool is for
_END = lazy_regex(r"[.!?\u3002\uff01\uff1f\u0964\u061f](?=\s|$)|[\u3002\uff01\uff1f\u0964]|\n")


def serves(purposes: Iterable[str], value: JsonValue, path: Path, start: int) -> bool:
    """True if a definition is for one of the listed purposes.

    Args:
        purposes: words in small letters; `*` at the end stands for any ending.
        value: the definition, as a list of tools or prompts has it.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters. If it is in the first
            sentence, only the first word says what the tool is for: "Condenses the conversation".
    """
    if not isinstance(value, dict):
        return False
    texts = [text for key in ("name", "title") if type(text := value.get(key)) is str]
    description = value.get("description")
    if type(description) is str:
        sentence = _first_sentence(description)
        is_inside = path == ("description",) and start < len(sentence)
        texts.append(sentence[:start].partition(" ")[0] if is_inside else sentence)
    pattern = _pattern(tuple(purposes))
    return any(pattern.fullmatch(word) for text in texts for word in words_of_any_script(text))


def shows_attack(value: JsonValue, path: Path, start: int, data: bytes, span: Range) -> bool:
    """True for what a definition quotes or gives as a sample, since its tool is about such texts.

    Args:
        value: the definition.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters.
        data: the reading that contains the match.
        span: of the match in it.
    """
    if not isinstance(value, dict) or "name" not in value or "jsonrpc" in value:
        return False
    is_sample = not _SHOWN_KEYS.isdisjoint(step for step in path if isinstance(step, str))
    if not (is_sample or is_quoted(data, *span) or is_mostly_quoted(data[slice(*span)])):
        return False
    return serves(SHOWING, value, path, start)


def _first_sentence(text: str) -> str:
    end = _END.search(text, 0, MAX_SENTENCE_CHARS)
    return text[: end.start() if end else MAX_SENTENCE_CHARS]


@lru_cache(maxsize=64)
def _pattern(purposes: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(word.removesuffix("*")) + r"\w*" * word.endswith("*") for word in purposes)
    return re.compile("|".join(parts))

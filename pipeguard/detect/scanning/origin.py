"""The way back from a reading to the text that it was made from.

A reading may be made from another: decoded from base64, then folded, then squeezed. Each has an
Origin, which leads to the next and in the end to a range of bytes of the text. Knows how readings
are made; runs no rule and rates no match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from pipeguard.detect.checks.readable import reads_as_words
from pipeguard.detect.commands.argument_roles import ArgumentRole
from pipeguard.detect.commands.argument_usage import IDLE, PROGRAMS, Idle
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.data_literals import is_data_literal
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning.confidence import (
    confidence_in_text,
    confidence_in_use,
    is_disguised,
    is_in_pieces,
    is_inside_data,
    is_mostly_quoted,
    is_part_of_word,
    is_quoted,
    masked_excerpt,
    whole_words,
)
from pipeguard.detect.scanning.scan_budget import Match, ScanInput
from pipeguard.detect.text.decoders import ENCODINGS, DecodedParts
from pipeguard.detect.text.split_literals import JoinedLiterals
from pipeguard.firewall.finding import Confidence, lower, raise_confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import MASKED_STEP
from pipeguard.records import NamedTuple
from pipeguard.unicode import folding
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import words_of_any_script

IDLE_BYTES = 4096  # of a decoded range: if its string is idle, none of it is searched

# The paths of the strings in a range of a joined reading; True if there are several.
Locate = Callable[[int, int], tuple[list[Path], bool]]

_EVERYWHERE = (Written.KEEP, Written.ANYWHERE)
# By what a rule does with text that is only written: the roles of strings that it does not search.
_IDLE: dict[Written, Idle] = {
    Written.LOWER: IDLE,
    Written.DROP: IDLE,
    Written.VALUES: (*IDLE, *PROGRAMS),
    Written.PARSED: (ArgumentRole.WRITTEN, ArgumentRole.SEARCHED, *PROGRAMS),
}


class Origin(NamedTuple):
    """The way back from a reading.

    Attributes:
        source: the value whose text was read.
        chain: the name of the view, for a reading of the text itself.
        whole: True if a span of the reading is not one of the text: findings are then about whole
            strings.
        locate: finds the strings of a joined reading.
        squeezed_from: the text from which spaces were removed.
        offset: where these begin in the text.
        outer: the origin of the reading that this one was decoded or folded from.
        parts: what was decoded or joined from the outer reading.
        unfolding: the way back through folding.
        may_fit_by_chance: True if so many pieces are joined that some fit together by chance.
    """

    source: ScanInput
    chain: str
    whole: bool = False
    locate: Locate | None = None
    squeezed_from: folding.Spaced | None = None
    offset: int = 0
    outer: Origin | None = None
    parts: DecodedParts | JoinedLiterals | None = None
    unfolding: folding.Unfolding | None = None
    may_fit_by_chance: bool = False

    def is_chance(
        self, rule: Rule, confidence: Confidence, data: bytes, span: folding.Range
    ) -> bool:
        """True for a match that joined pieces may form by chance: values of a table, literals."""
        is_token = self._is_of_pieces and rule.is_private and not _has_strict_check(rule)
        if is_token and reads_as_words(data[slice(*span)], rule.pattern):
            return True
        if not self.may_fit_by_chance:
            return False
        is_random = rule.is_private and not rule.check and is_inside_data(data, *span)
        return is_random or confidence < Confidence.HIGH

    def is_part_of_word(self, rule: Rule, data: bytes, match: Occurrence) -> bool:
        """True if a joined match begins or ends within a word of one of its strings.

        So would a match in random data do, such as the state that a server has clients give back:
        of what a word of its form begins with, some stands near the end by chance, and what is
        joined to that makes it long enough.
        """
        if self.locate is None or rule.check:
            return False
        start, end = match.span
        first = start if start == 0 or self.locate(start - 1, start + 1)[1] else start - 1
        last = end if end == len(data) or self.locate(end - 1, end + 1)[1] else end + 1
        return is_part_of_word(rule, data, match, (first, last))

    @property
    def _is_of_pieces(self) -> bool:
        """True if the reading joins several strings, or literals of a program."""
        is_of_literals = self.outer is not None and isinstance(self.outer.parts, JoinedLiterals)
        return is_of_literals or self.locate is not None

    def is_new(self, rule: Rule, start: int, end: int) -> bool:
        """False for a match that is also one in the plain text."""
        if self.squeezed_from is not None:
            return self._is_new_in_squeezed(rule, self.squeezed_from, (start, end))
        if self.parts is not None and not rule.is_private and self.parts.as_written(start, end):
            return False  # but a secret may continue in what is encoded
        if self.outer is not None and self.unfolding is not None:  # folded, of decoded parts
            return self.outer.is_new(rule, *self._unfold(start, end))
        return self.locate is None or self.locate(start, end)[1]

    def _is_new_in_squeezed(self, rule: Rule, spaced: folding.Spaced, span: folding.Range) -> bool:
        words = not self.source.keyed
        first, last = spaced.span(*span, words=words)
        parts = self.outer.parts if self.outer is not None else None
        if parts is None:
            return is_disguised(spaced.data[first:last], words=words)
        if isinstance(parts, JoinedLiterals) and rule.is_private:
            low, _ = parts.origin(first, last)
            if self.source.text.data[max(0, low - 1) : low].isalnum():
                return False  # it would begin within a word of a literal
        return not parts.as_written(first, last)

    def is_split(self, start: int, end: int) -> bool:
        """True if a match is written in pieces, with spaces that nobody writes by chance."""
        if self.squeezed_from is None:
            return False
        first, last = self.squeezed_from.span(start, end, words=False)
        stretch = self.squeezed_from.data[first:last]
        is_whole = self.outer is not None and len(stretch) == end - start
        return is_whole or is_in_pieces(stretch)

    @property
    def outermost(self) -> Origin:
        """The origin of the reading of the text itself."""
        origin = self
        while origin.outer is not None:
            origin = origin.outer
        return origin

    @property
    def locate_joined(self) -> Locate | None:
        """`locate` of the outermost reading."""
        return self.outermost.locate

    def active_ranges(self, rule: Rule, low: int, high: int) -> list[folding.Range]:
        """The parts of a range that a rule searches: without strings that are idle to it."""
        is_squeezed = self.squeezed_from is not None
        if rule.written in _EVERYWHERE or is_squeezed or self.locate_joined is not None:
            return [(low, high)]
        uses, idle = self.source.uses, _IDLE[rule.written]
        if self.outer is not None or self.whole:
            path = self.find_path(low, high) if high - low >= IDLE_BYTES else None
            return [] if path is not None and uses.role(path) in idle else [(low, high)]
        return uses.busy(low, high, idle)

    def find_path(self, start: int, end: int) -> Path | None:
        """The string that contains a range; None if there may be several."""
        origin = self
        while origin.outer is not None:
            if origin.parts is not None:
                part = origin.parts.at(start)
                start, end = part.start, part.end
            else:
                start, end = origin._unfold(start, end)
            origin = origin.outer
        start, end = origin._unfold(start, end)
        path = self.source.text.find_path(start)
        return path if path == self.source.text.find_path(end - 1) else None

    def trace(self, start: int, end: int) -> tuple[str, int, int, bool]:
        """Follow a range back to the text.

        Returns:
            The chain of views, first and last byte in the text (or in the joined reading), and
            whether the range is there exactly.
        """
        if self.squeezed_from is not None:
            return self._trace_squeezed(self.squeezed_from, start, end)
        if self.parts is not None and self.outer is not None:
            view = self.parts.at(start).view
            chain, low, high, _ = self.outer.trace(*self.parts.origin(start, end))
            return f"{chain}>{view}".removeprefix(">"), low, high, False
        if self.outer is not None:  # a folded reading of decoded parts
            chain, low, high, _ = self.outer.trace(*self._unfold(start, end))
            return f"{chain}>folded", low, high, False
        return self.chain, *self._unfold(start, end), True

    def _trace_squeezed(
        self, spaced: folding.Spaced, start: int, end: int
    ) -> tuple[str, int, int, bool]:
        words = not self.source.keyed
        low, high = spaced.span(start, end, words=words)
        low, high = self._unfold(low + self.offset, high + self.offset)
        if self.outer is None:
            return "squeezed", low, high, not self.whole
        chain, low, high, _ = self.outer.trace(low, high)
        return f"{chain}>squeezed", low, high, False

    def _unfold(self, start: int, end: int) -> folding.Range:
        return (start, end) if self.unfolding is None else self.unfolding.span(start, end)


def _has_strict_check(rule: Rule) -> bool:
    """True if a rule asks more of a match than its form."""
    return bool(rule.require) or any("only-raise" not in spec for spec in rule.check)


# --- location ---------------------------------------------------------------------------
# From a match in a reading to the string and span that it is reported by.

# Decoded bytes. Somebody who encodes a short text hides an order; a long one is a document, encoded
# for transport.
SHORT_BYTES = 1024
FEW_STRINGS = 32  # in a value whose places are looked up before a rule is run

_INVISIBLE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_invisible))
_OPEN = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_open) + r"\Z")
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
    view, low, high, exact = _trace(origin, rule, start, end)
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
        and is_data_literal(
            source.text.data if view == "text" else data, start, end, source.file_kind()
        )
    )
    exact = exact and locate_joined is None and not origin.whole
    words = whole_words(source.text.find_value(low), first, last) if exact else ""
    return Match(
        rule,
        _confidence_if_hidden(rule, Confidence.MEDIUM if is_data else adjusted, view, len(data)),
        view,
        path,
        first,
        last,
        exact,
        tuple(paths),
        masked_excerpt(rule, matched, words),
        is_data=is_data,
        secret=matched if rule.is_private else b"",
    )


def _trace(origin: Origin, rule: Rule, start: int, end: int) -> tuple[str, int, int, bool]:
    """`Origin.trace`; of an order, which may begin in a name, the string with most of it."""
    view, low, high, exact = origin.trace(start, end)
    if origin.locate_joined is None and not rule.is_private:
        low, high = origin.source.text.largest_part(low, high)
    return view, low, high, exact


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


def may_apply(rule: Rule, source: ScanInput) -> bool:
    """False if a rule is for no place of a value's strings, unless there are many of these."""
    text = source.text
    if not rule.places or not 0 < text.segment_count <= FEW_STRINGS:
        return True
    strings = text.segments(0, len(text.data))
    return any(applies(rule, source.place_of(path)) for *_, path in strings)


def applies(rule: Rule, place: str) -> bool:
    """True if a rule is for a place."""
    return any(fnmatchcase(place, pattern) for pattern in rule.places)


def _confidence_if_hidden(rule: Rule, confidence: Confidence, view: str, size: int) -> Confidence:
    """More sure if the match was hidden on purpose; less if only that would tell."""
    if is_invisible(view):
        return Confidence.HIGH  # nobody hides harmless words
    if rule.views == {View.DECODED} and _OPEN.search(view):
        return lower(confidence)
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

"""The facts about a match by which it is rated: its checks, its reading, and its string.

The tables of detect.scanning.rating define the effect of each fact on the confidence.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache

from pipeguard.detect import words
from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.placeholders import is_placeholder, is_published, is_reference
from pipeguard.detect.checks.registry import cheapest_first, measures_randomness
from pipeguard.detect.commands.argument_roles import ArgumentRole, is_field
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.cascade import Doubt
from pipeguard.detect.model.data_literals import is_data_literal
from pipeguard.detect.model.quotation import (
    FEW_TOPICS,
    find_topics,
    is_marked,
    is_shown_as_example,
)
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import ScanInput, run_check
from pipeguard.detect.scanning.surroundings import (
    SENTENCE_BYTES,
    find_exception,
    find_exceptions,
    find_quote,
    is_inside_data,
    is_mostly_quoted,
    is_part_of_word,
)
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.detect.text.document import is_document, is_text
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import words_of_any_script

_WITH_SPACES = View.TEXT, View.FOLDED, View.DECODED  # views that keep the ends of words
_AS_WRITTEN = "text", "folded"
ADDRESS_BYTES = 80  # percent-encoded: orders are longer
# Decoded bytes. Somebody who encodes a short text hides an order; a long one is a document, encoded
# for transport.
SHORT_BYTES = 1024
_JSON_STRING = lazy_regex(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_INVISIBLE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_invisible))
_OPEN = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_open) + r"\Z")
_OPAQUE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_opaque))


@lru_cache(1)  # a text is asked about for each match in it
def _list_ends(text: str) -> array[int]:
    """The ends of each string of JSON."""
    return array("I", (at for each in _JSON_STRING.finditer(text) for at in each.span()))


class Candidate:
    """A match of a pattern in one reading.

    Args:
        rule: whose expression matched.
        data: the reading.
        match: in it.
        view: the kind of reading.
        origin: the way back from it.
    """

    samples = False  # True to rate published samples and dummies of a sure form like real secrets
    within: Range | None = None  # the string of JSON that it is in, if its rule asks for quotes

    def __init__(
        self, rule: Rule, data: bytes, match: Occurrence, view: View, *, origin: Origin
    ) -> None:
        self.rule, self.data, self.match, self.view = rule, data, match, view
        self.origin, self.is_private = origin, rule.is_private
        self.span, self.secret = match.secret, data[slice(*match.secret)]
        self.may_doubt: Callable[[Candidate, Range, Doubt], bool] = lambda *_: False

    def as_sample(self) -> Candidate:
        """The match, rated as a published sample, or as a dummy with a reliable form."""
        sample = Candidate(self.rule, self.data, self.match, self.view, origin=self.origin)
        sample.samples = True
        return sample

    @cached_property
    def _checks(self) -> dict[Outcome, str]:
        """A check for each outcome."""
        return {self._run(spec): spec for spec in self.rule.check}

    def _run(self, spec: str) -> Outcome:
        return run_check(spec, self.data, self.match, self.secret)

    @property
    def held_check(self) -> str:
        """A check that holds: then no doubt but an exception counts; empty without one."""
        return self._checks.get(True, "")

    @property
    def failed_check(self) -> str:
        """A check that fails; empty without one, and if another one holds."""
        return "" if self.held_check else self._checks.get(False, "")

    @property
    def is_squeezed(self) -> bool:
        """True for a secret that is found only in a reading without spaces."""
        return self.view is View.SQUEEZED and self.is_private and not self.held_check

    @cached_property
    def quote(self) -> bytes:
        """The words that show it as a quotation, if its rule considers these; else empty."""
        is_asked = self.rule.quoted
        return find_quote(self.data, *self.span, self.within) if is_asked else b""

    def find_topics_of_example(self) -> bytes:
        """The words about attacks around an unquoted example, if its rule considers these."""
        is_bare = self.rule.quoted and not self.quote
        if not is_bare or not is_shown_as_example(self.data, self.span[0]):
            return b""
        return join_topics(self.data, self.span, FEW_TOPICS)

    def is_published(self) -> bool:
        """True for a secret, a number or a phrase that documentation prints."""
        if is_published(self.secret):
            return True
        if "bip39" in self.rule.require:
            from pipeguard.detect.checks.tokens import is_printed_phrase, phrase_words

            return is_printed_phrase(phrase_words(self.secret))
        if not any(spec.startswith("number ") for spec in self.rule.require):
            return False
        from pipeguard.detect.checks.personal_numbers import is_published_number

        return is_published_number(self.secret)

    def find_failed_requirement(self) -> str:
        """A check that the rule requires and that does not hold; empty without one."""
        is_form = self.samples and self.rule.confidence is Confidence.HIGH
        is_by_form = is_form and is_placeholder(self.secret)
        for spec in cheapest_first(self.rule.require):
            if is_by_form and measures_randomness(spec):
                continue
            if not self._run(spec):
                return spec
        return ""

    def find_exception(self) -> bytes:
        """The rule's exception in the sentence; for a secret, if it includes that; else empty."""
        included = self.span if self.is_private else None
        return find_exception(self.rule.unless, self.data, self.match.span, included)

    def is_noise(self) -> bool:
        """True for a secret in encoded data, or made of adjacent words, as in a title."""
        if self.held_check or not self.is_private:
            return False
        if self.view is View.SQUEEZED:
            return bool(self.failed_check)
        return self.view in _WITH_SPACES and is_inside_data(self.data, *self.span)

    def is_dummy(self) -> bool:
        """True for a placeholder, if the rule rejects them; for samples, for a reference."""
        if self.held_check or not self.rule.placeholders:
            return False
        return (is_reference if self.samples else is_placeholder)(self.secret)

    def is_cut_off(self) -> bool:
        """True if the word or token at either end continues."""
        is_worded = self.view in _WITH_SPACES and not self.held_check
        return is_worded and is_part_of_word(self.rule, self.data, self.match)

    def is_doubted(self, kind: Doubt = Doubt.LIKELY) -> bool:
        """True if a classifier takes its sentences for no order, to this degree."""
        is_asked = self.rule.quoted and self.view in _WITH_SPACES
        return is_asked and self.may_doubt(self, self.span, kind)

    def is_doubted_surely(self) -> bool:
        """True if a classifier is sure that its sentences are not an order.

        Of the gravest matches, only those are doubted whose text has the words that the rule
        requires for it; and never a disguise of these.
        """
        if self.rule.severity is not Severity.CRITICAL:
            return self.is_doubted(Doubt.SURE)
        if self.view is not View.TEXT:
            return False
        start, end = self.span
        exceptions = find_exceptions(self.rule.doubted, self.data, start, end, SENTENCE_BYTES)
        for _, last in exceptions:
            return self.may_doubt(self, (start, max(end, last)), Doubt.GRAVEST)
        return False


class Located:
    """A match with its string.

    Args:
        origin: the way back from the reading.
        rule: whose expression matched.
        data: the reading.
        span: of the match in it.
    """

    def __init__(self, origin: Origin, rule: Rule, data: bytes, span: Range) -> None:
        start, end = span
        self.size_bytes = end - start
        while start < end - 1 and data[start] in b" \t\r\n":
            start += 1  # so that the match is in its own line
        self.origin, self.rule, self.data, self.span = origin, rule, data, (start, end)
        self.view, self.low, self.high, self.is_exact = origin.trace(start, end)
        self.source, self.text, locate = origin.source, origin.source.text, origin.outermost.locate
        if locate is None and not rule.is_private:  # an order, which may begin in a name
            self.low, self.high = self.text.largest_part(self.low, self.high)
        self.paths = locate(self.low, self.high)[0] if locate is not None else []
        self.path = self.paths[0] if self.paths else self.text.find_path(self.low)
        self.is_joined = locate is not None
        self.is_anywhere = rule.written is Written.ANYWHERE

    @cached_property
    def characters(self) -> Range:
        """The place in the string."""
        return (0, 0) if self.is_joined else self.text.span(self.low, self.high)

    @property
    def argument(self) -> bytes:
        """The argument, in words."""
        return f"the argument {'/'.join(map(str, self.path[2:]))}".encode()

    def find_other_place(self) -> str:
        """The place that it is in, if its rule is for others only; else empty."""
        place = self.source.place_of(self.path) if self.rule.places else ""
        return place if place and not is_listed(self.rule.places, place) else ""

    @cached_property
    def role(self) -> ArgumentRole | None:
        """The role of the argument, if the rule considers it."""
        written = self.rule.written
        if self.is_anywhere or (written is Written.KEEP and View.ACTS not in self.rule.views):
            return None
        return self.source.uses.role_of_value(self.path, self.text.find_value(self.low))

    @cached_property
    def is_stored(self) -> bool:
        """True in a document that the tool stores, unless it was read as a change of a file."""
        if self.role is not ArgumentRole.VALUE:
            return False
        if self.data.startswith((b"OFF ", b"OWN "), self.span[0]):
            return False
        value = whole = self.text.find_value(self.low)
        if whole.lstrip().startswith(("[", "{")):
            ends = _list_ends(whole)
            behind = bisect_right(ends, self.characters[0])
            if behind % 2:  # in a string
                value = whole[ends[behind - 1] + 1 : ends[behind] - 1].replace("\\n", "\n")
        is_read = View.ACTS not in self.rule.views and (value is not whole or is_field(self.path))
        return is_text(value) if is_read else is_document(whole)

    @cached_property
    def does_nothing(self) -> bool:
        """True if the argument is only written, read by the tool or searched for."""
        written, role, uses = self.rule.written, self.role, self.source.uses
        is_parsed = role is ArgumentRole.PARSED
        if role is None or self.is_stored or written is Written.KEEP:
            return False
        if is_parsed and written is Written.PARSED:
            return False
        if not is_parsed and role is not ArgumentRole.WRITTEN:
            return role is ArgumentRole.SEARCHED
        return uses.is_of_file or not self.text.is_most(self.low, self.size_bytes)

    @cached_property
    def is_invisible(self) -> bool:
        """True for text in invisible characters: nobody hides harmless words."""
        return is_invisible(self.view)

    @cached_property
    def is_open(self) -> bool:
        """True in an encoding that everybody can read, for a rule for only encoded texts."""
        is_asked = self.rule.views == {View.DECODED} and not self.is_invisible
        return is_asked and _OPEN.search(self.view) is not None

    def is_read_only(self) -> bool:
        """True in a file or in quoted code, for a rule that finds attacks anywhere."""
        uses = self.source.uses
        if not self.is_anywhere or uses.role(self.path) is not ArgumentRole.WRITTEN:
            return False
        return uses.is_of_file or is_marked(self.data, *self.span)

    @cached_property
    def purpose(self) -> bytes:
        """The word for a definition's stated purpose, or for the topic that it shows a sample of.

        Empty for any other match.
        """
        value, path, start = self.text.value, self.path, self.characters[0]
        if self.rule.purpose and (word := find_purpose(self.rule.purpose, value, path, start)):
            return word.encode()
        is_plain = self.view in _AS_WRITTEN and self.data[slice(*self.span)].isascii()
        return find_shown_topic(value, path, start, self.data, self.span) if is_plain else b""

    def is_data(self) -> bool:
        """True for a value in source code or data, if it is a sure match in a result."""
        is_written = not self.rule.is_private and self.view in _AS_WRITTEN
        if not is_written or not self.source.place_of(self.path).startswith("result."):
            return False
        data = self.text.data if self.view == "text" else self.data
        return is_data_literal(data, *self.span, self.source.file_kind())

    def is_opaque(self) -> bool:
        """True for a short text that was encoded in an unreadable form."""
        is_clear = self.is_invisible or self.is_open or self.rule.is_private
        is_short = not is_clear and len(self.data) <= SHORT_BYTES
        return is_short and _OPAQUE.search(self.view) is not None


FEW_STRINGS = 32  # in a value, up to which its places are checked before a rule runs


def may_apply(rule: Rule, source: ScanInput) -> bool:
    """False if a rule applies to no place of a value's strings; True for too many to check."""
    text = source.text
    if not rule.places or not 0 < text.segment_count <= FEW_STRINGS:
        return True
    return any(is_listed(rule.places, source.place_of(path)) for path in text.paths)


@lru_cache(1024)  # few of each
def is_listed(patterns: Sequence[str], place: str) -> bool:
    """True if one of a rule's patterns names a place."""
    return any(fnmatchcase(place, pattern) for pattern in patterns)


def join_topics(data: bytes, span: Range, least: int) -> bytes:
    """The words about attacks around a range; empty for fewer than so many."""
    found = find_topics(data, *span)
    return b", ".join(sorted(found.values())) if len(found) >= least else b""


def is_invisible(view: str) -> bool:
    """True for a reading of invisible text."""
    return _INVISIBLE.search(view) is not None


# --- stated purpose ---------------------------------------------------------------------
# A definition's statement of its purpose: its name, its title and its first sentence.

_SHOWN_KEYS = words.word_set("example examples default const enum sample")
MAX_SENTENCE_CHARS = 200  # of the first sentence: later ones no longer state the purpose
_END = lazy_regex(r"[.!?\u3002\uff01\uff1f\u0964\u061f](?=\s|$)|[\u3002\uff01\uff1f\u0964]|\n")


def find_purpose(purposes: Iterable[str], value: JsonValue, path: Path, start: int) -> str:
    """The word by which a definition is for one of the listed purposes; empty if it is not.

    Args:
        purposes: words in small letters; `*` at the end means any ending.
        value: the definition, as in a list of tools or prompts.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters. In the first sentence, only
            the first word states the purpose: "Condenses the conversation".
    """
    if not isinstance(value, dict):
        return ""
    texts = [text for key in ("name", "title") if type(text := value.get(key)) is str]
    description = value.get("description")
    if type(description) is str:
        end = _END.search(description, 0, MAX_SENTENCE_CHARS)
        sentence = description[: end.start() if end else MAX_SENTENCE_CHARS]
        is_inside = path == ("description",) and start < len(sentence)
        texts.append(sentence[:start].partition(" ")[0] if is_inside else sentence)
    pattern = _pattern(tuple(purposes))
    for text in texts:
        for word in words_of_any_script(text):
            if pattern.fullmatch(word):
                return word
    return ""


def find_shown_topic(value: JsonValue, path: Path, start: int, data: bytes, span: Range) -> bytes:
    """The topic of a definition that quotes the match, or gives it as a sample; else empty.

    Args:
        value: the definition.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters.
        data: the reading that contains the match.
        span: of the match in it.
    """
    if not isinstance(value, dict) or "name" not in value or "jsonrpc" in value:
        return b""
    is_sample = not _SHOWN_KEYS.isdisjoint(step for step in path if isinstance(step, str))
    if not (is_sample or find_quote(data, *span) or is_mostly_quoted(data[slice(*span)])):
        return b""
    return find_purpose(words.topics.in_order("SHOWING"), value, path, start).encode()


@lru_cache(64)
def _pattern(purposes: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(word.removesuffix("*")) + r"\w*" * word.endswith("*") for word in purposes)
    return re.compile("|".join(parts))

"""The facts about a match by which it is rated: its checks, its reading, and its string.

The tables of detect.scanning.rating define the effect of each fact on the confidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

from pipeguard.detect import words
from pipeguard.detect.checks.outcome import Outcome
from pipeguard.detect.checks.placeholders import is_placeholder, is_published, is_reference
from pipeguard.detect.checks.registry import cheapest_first, measures_randomness
from pipeguard.detect.commands.argument_roles import ArgumentRole, is_field
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.data_literals import is_data_literal
from pipeguard.detect.model.quotation import is_example, is_marked, topics
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning import surroundings
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import run_check
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.detect.text.document import is_document, is_text
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import words_of_any_script

_WITH_SPACES = (View.TEXT, View.FOLDED, View.DECODED)  # views that keep the ends of words
_AS_WRITTEN = ("text", "folded")
ADDRESS_BYTES = 80  # percent-encoded: orders are longer
# Decoded bytes. Somebody who encodes a short text hides an order; a long one is a document, encoded
# for transport.
SHORT_BYTES = 1024
_JSON_STRING = lazy_regex(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_INVISIBLE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_invisible))
_OPEN = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_open) + r"\Z")
_OPAQUE = lazy_regex("|".join(name for name, form in ENCODINGS.items() if form.is_opaque))


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
        self.confidence = rule.confidence
        self.may_doubt: Callable[[Candidate, Range], bool] = lambda _candidate, _span: False

    def as_sample(self) -> Candidate:
        """The match, rated as a published sample, or as a dummy with a reliable form."""
        sample = Candidate(self.rule, self.data, self.match, self.view, origin=self.origin)
        sample.samples = True
        return sample

    @cached_property
    def _outcomes(self) -> list[Outcome]:
        return [self._run(spec) for spec in self.rule.check]

    def _run(self, spec: str) -> Outcome:
        return run_check(spec, self.data, self.match, self.secret)

    @property
    def is_checked(self) -> bool:
        """True if a check holds: then no doubt but an exception counts."""
        return Outcome.HOLDS in self._outcomes

    @property
    def is_refuted(self) -> bool:
        """True if a check fails, and none holds."""
        return Outcome.FAILS in self._outcomes and not self.is_checked

    @property
    def is_squeezed(self) -> bool:
        """True for a secret that is found only in a reading without spaces."""
        return self.view is View.SQUEEZED and self.is_private and not self.is_checked

    @cached_property
    def is_shown(self) -> bool:
        """True in quotes or the like, if its rule considers these."""
        return self.rule.quoted and surroundings.is_quoted(self.data, *self.span, self.within)

    @property
    def is_gravest(self) -> bool:
        """True for a sure match of the gravest severity."""
        return self.confidence is Confidence.HIGH and self.rule.severity is Severity.CRITICAL

    @property
    def topics(self) -> int:
        """The number of different words about attacks around it."""
        return topics(self.data, *self.span)

    def is_example(self) -> bool:
        """True for an example without quotes, if its rule considers these."""
        return self.rule.quoted and not self.is_shown and is_example(self.data, *self.span)

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

    def misses_requirement(self) -> bool:
        """True if a check that the rule requires does not hold."""
        is_form = self.samples and self.rule.confidence is Confidence.HIGH
        is_by_form = is_form and is_placeholder(self.secret)
        return any(
            self._run(spec) is not Outcome.HOLDS
            for spec in cheapest_first(self.rule.require)
            if not (is_by_form and measures_randomness(spec))
        )

    def has_exception(self) -> bool:
        """True if the rule's exception is in the sentence; for a secret, if it includes that."""
        included = self.span if self.is_private else None
        return surroundings.has_exception(self.rule.unless, self.data, self.match.span, included)

    def is_noise(self) -> bool:
        """True for a secret in encoded data, or made of adjacent words, as in a title."""
        if self.is_checked or not self.is_private:
            return False
        if self.view is View.SQUEEZED:
            return self.is_refuted
        return self.view in _WITH_SPACES and surroundings.is_inside_data(self.data, *self.span)

    def is_dummy(self) -> bool:
        """True for a placeholder, if the rule rejects them; for samples, for a reference."""
        if self.is_checked or not self.rule.placeholders:
            return False
        return (is_reference if self.samples else is_placeholder)(self.secret)

    def is_cut_off(self) -> bool:
        """True if the word or token at either end continues."""
        is_worded = self.view in _WITH_SPACES and not self.is_checked
        return is_worded and surroundings.is_part_of_word(self.rule, self.data, self.match)

    def fits_by_chance(self) -> bool:
        """True if joined pieces may form it by chance."""
        return self.origin.is_chance(self.rule, self.confidence, self.data, self.span)

    def is_doubted(self) -> bool:
        """True if a classifier is sure that its sentences are not an order.

        Of the gravest matches, only those are doubted whose text has the words that the rule
        requires for it; and never a disguise of these.
        """
        start, end = self.span
        if self.is_gravest:
            doubted = self.rule.doubted if self.view is View.TEXT else ""
            exceptions = surroundings.find_exceptions(
                doubted, self.data, start, end, surroundings.SENTENCE_BYTES
            )
            last = next((last for _, last in exceptions), None)
            return last is not None and self.may_doubt(self, (start, max(end, last)))
        is_asked = self.rule.quoted and self.confidence > Confidence.LOW
        return is_asked and self.view in _WITH_SPACES and self.may_doubt(self, self.span)

    def is_cut_off_in_string(self) -> bool:
        """True if a match over several strings begins or ends within a word of one of them."""
        is_joined = self.view is View.JOINED
        return is_joined and self.origin.is_part_of_word(self.rule, self.data, self.match)

    def is_split(self) -> bool:
        """True for a likely secret in pieces, with spaces that are not there by chance."""
        is_likely = self.is_squeezed and self.confidence > Confidence.LOW
        return is_likely and self.origin.is_split(*self.span)


class Located:
    """A match with its string.

    Args:
        origin: the way back from the reading.
        rule: whose expression matched.
        data: the reading.
        span: of the match in it.
        confidence: in the match, by its reading.
    """

    def __init__(
        self, origin: Origin, rule: Rule, data: bytes, span: Range, confidence: Confidence
    ) -> None:
        start, end = span
        self.size_bytes = end - start
        while start < end - 1 and data[start] in b" \t\r\n":
            start += 1  # so that the match is in its own line
        self.rule, self.data, self.span = rule, data, (start, end)
        self.view, self.low, self.high, self.is_exact = origin.trace(start, end)
        self.source, self.text, locate = origin.source, origin.source.text, origin.outermost.locate
        if locate is None and not rule.is_private:  # an order, which may begin in a name
            self.low, self.high = self.text.largest_part(self.low, self.high)
        self.paths = locate(self.low, self.high)[0] if locate is not None else []
        self.path = self.paths[0] if self.paths else self.text.find_path(self.low)
        self.is_joined = locate is not None
        self.confidence = self.at_first = confidence
        self.is_anywhere = rule.written is Written.ANYWHERE

    @cached_property
    def characters(self) -> Range:
        """The place in the string."""
        return (0, 0) if self.is_joined else self.text.span(self.low, self.high)

    @property
    def topics(self) -> int:
        """The number of different words about attacks around it."""
        return topics(self.data, *self.span)

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
        is_json = whole.lstrip()[:1] in ("[", "{")
        for each in _JSON_STRING.finditer(whole) if is_json else ():
            if each.start() <= self.characters[0] < each.end():  # around the match
                value = each[1].replace("\\n", "\n")
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

    def is_purpose(self) -> bool:
        """True for a definition's stated purpose, or a sample that it shows of its topic."""
        value, path, start = self.text.value, self.path, self.characters[0]
        if self.rule.purpose and serves(self.rule.purpose, value, path, start):
            return True
        is_plain = self.view in _AS_WRITTEN and self.data[slice(*self.span)].isascii()
        return is_plain and shows_attack(value, path, start, self.data, self.span)

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

    def is_short_address(self) -> bool:
        """True for a classifier's short order in percent-encoding, if nothing else lowers it."""
        is_address = bool(self.rule.model) and self.view == "percent"
        is_short = is_address and self.size_bytes < ADDRESS_BYTES
        return is_short and self.confidence is self.at_first


def is_invisible(view: str) -> bool:
    """True for a reading of invisible text."""
    return _INVISIBLE.search(view) is not None


# --- stated purpose ---------------------------------------------------------------------
# A definition's statement of its purpose: its name, its title and its first sentence.

_SHOWN_KEYS = frozenset({"example", "examples", "default", "const", "enum", "sample"})
MAX_SENTENCE_CHARS = 200  # of the first sentence: later ones no longer state the purpose
_END = lazy_regex(r"[.!?\u3002\uff01\uff1f\u0964\u061f](?=\s|$)|[\u3002\uff01\uff1f\u0964]|\n")


def serves(purposes: Iterable[str], value: JsonValue, path: Path, start: int) -> bool:
    """True if a definition is for one of the listed purposes.

    Args:
        purposes: words in small letters; `*` at the end means any ending.
        value: the definition, as in a list of tools or prompts.
        path: of the string in it that contains the match.
        start: where the match begins in that string, in characters. In the first sentence, only
            the first word states the purpose: "Condenses the conversation".
    """
    if not isinstance(value, dict):
        return False
    texts = [text for key in ("name", "title") if type(text := value.get(key)) is str]
    description = value.get("description")
    if type(description) is str:
        end = _END.search(description, 0, MAX_SENTENCE_CHARS)
        sentence = description[: end.start() if end else MAX_SENTENCE_CHARS]
        is_inside = path == ("description",) and start < len(sentence)
        texts.append(sentence[:start].partition(" ")[0] if is_inside else sentence)
    pattern = _pattern(tuple(purposes))
    return any(pattern.fullmatch(word) for text in texts for word in words_of_any_script(text))


def shows_attack(value: JsonValue, path: Path, start: int, data: bytes, span: Range) -> bool:
    """True if a definition quotes the match or gives it as a sample, as its topic is such texts.

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
    if not (
        is_sample
        or surroundings.is_quoted(data, *span)
        or surroundings.is_mostly_quoted(data[slice(*span)])
    ):
        return False
    return serves(words.topics.in_order("SHOWING"), value, path, start)


@lru_cache(maxsize=64)
def _pattern(purposes: tuple[str, ...]) -> re.Pattern[str]:
    parts = (re.escape(word.removesuffix("*")) + r"\w*" * word.endswith("*") for word in purposes)
    return re.compile("|".join(parts))

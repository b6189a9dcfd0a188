"""The way back from a reading to the text that it was made of, and the string a match stands in.

Knows how readings are made of each other, and what a rule says of the strings that it asks in;
runs no rule and reads nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from pipeguard.core.checks.readable import reads_as_words
from pipeguard.core.commands.argument_roles import ArgumentRole
from pipeguard.core.commands.argument_usage import IDLE, PROGRAMS, Idle, Uses
from pipeguard.core.finding import Confidence, lower, raised
from pipeguard.core.model.quotation import MANY_TOPICS, is_marked, topics
from pipeguard.core.protocol.places import MASKED_STEP, Path, Surface
from pipeguard.core.rules.rule import Rule, View, Written
from pipeguard.core.scanning.context import in_pieces, is_disguised, is_inside_data, masked
from pipeguard.core.scanning.stated_purpose import serves
from pipeguard.core.text.decoders import ENCODINGS, DecodedParts
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.split_literals import JoinedLiterals
from pipeguard.core.text.split_values import row_of_edges
from pipeguard.core.unicode import folding

SHORT_BYTES = 1024  # of decoded text: orders are encoded to hide, documents to be carried
JOINED_BYTES = 2**16  # of results whose strings are read whole with nothing between
FEW_VALUES = 64  # of one: in more, some fit together by chance
IDLE_BYTES = 4096  # of a string: no match is most of it

PlaceOf = Callable[[Path], str]
Locate = Callable[[int, int], tuple[list[Path], bool]]


class Match(NamedTuple):
    """What a rule found.

    Attributes:
        rule: the rule.
        confidence: after its checks.
        view: the chain of readings, as `text` or `base64>folded`.
        path: of the string that it stands in, from the scanned value down.
        start: its span in that string, in code points.
        end: after its last character.
        exact: True where the span is the match itself and not about the stretch that it hides in.
        paths: all strings that it is spread over, where it is more than one.
        excerpt: masked.
        doubted: True where a classifier takes the words around a pattern for no order.
    """

    rule: Rule
    confidence: Confidence
    view: str
    path: Path
    start: int
    end: int
    exact: bool
    paths: tuple[Path, ...]
    excerpt: str
    doubted: bool = False


class ScanInput(NamedTuple):
    """What is judged: one value's text, and where and for what it stands.

    Attributes:
        text: the strings of the value.
        place_of: names the place of a path below the value.
        keyed: True where it goes to a server.
        uses: what each of its strings is for.
    """

    text: MessageText
    place_of: PlaceOf
    keyed: bool
    uses: Uses

    def asks_the_user(self, surface: Surface) -> bool:
        """True where a client shows some of it to the user (MCP client/elicitation)."""
        return surface is not Surface.DEFINITIONS and any(
            self.place_of(path).startswith("elicitation.")
            for *_, path in self.text.segments(0, len(self.text.data))
        )


class Origin(NamedTuple):
    """The way back from a reading to the text that it was made of.

    Attributes:
        subject: whose text it is a reading of.
        chain: the view's name, where it is made of the text itself.
        whole: True where a span in it is none in the text: strings are then told as a whole.
        locate: where it is made of strings or keys that were joined, tells which stand under a
            stretch of it, and whether it is more than one.
        unfolding: the way back, where it was folded or is made of what was.
        squeezed_from: what it was squeezed from.
        offset: where that begins in the text.
        outer: of the reading that it was decoded or folded from.
        parts: what was decoded, where it is made of that.
        many: True where so many values were joined that some fit together by chance.
    """

    subject: ScanInput
    chain: str
    whole: bool = False
    locate: Locate | None = None
    squeezed_from: bytes | None = None
    offset: int = 0
    outer: Origin | None = None
    parts: DecodedParts | JoinedLiterals | None = None
    unfolding: folding.Unfolding | None = None
    many: bool = False

    def is_chance(
        self, rule: Rule, confidence: Confidence, data: bytes, span: folding.Range
    ) -> bool:
        """True for what may stand by chance where pieces meet: values of a table, or literals."""
        is_token = self._is_of_pieces and rule.is_private and not _is_checked(rule)
        if is_token and reads_as_words(data[slice(*span)], rule.pattern):
            return True
        if not self.many:
            return False
        is_random = rule.is_private and not rule.check and is_inside_data(data, *span)
        return is_random or confidence < Confidence.HIGH

    @property
    def _is_of_pieces(self) -> bool:
        """True where what is read stands in several strings, or literals of a program."""
        is_of_literals = self.outer is not None and isinstance(self.outer.parts, JoinedLiterals)
        return is_of_literals or self.locate is not None

    def admits(self, rule: Rule, start: int, end: int) -> bool:
        """False where the match is no other than one of the plain text."""
        if self.squeezed_from is not None:
            words = not self.subject.keyed
            first, last = folding.unsqueezed(self.squeezed_from, start, end, words=words)
            if self.outer is not None and self.outer.parts is not None:
                parts = self.outer.parts
                if isinstance(parts, JoinedLiterals) and rule.is_private:
                    low, _ = parts.origin(first, last)
                    if self.subject.text.data[max(0, low - 1) : low].isalnum():
                        return False  # it would begin within a word of a literal
                return not parts.as_written(first, last)
            return is_disguised(self.squeezed_from[first:last], words=words)
        if self.parts is not None and not rule.is_private and self.parts.as_written(start, end):
            return False  # what is encoded stands beside it; of a secret, that may be where it ends
        return self.locate is None or self.locate(start, end)[1]

    def is_torn(self, start: int, end: int) -> bool:
        """True where what was found stands in pieces that nobody writes it in by chance."""
        if self.squeezed_from is None:
            return False
        first, last = folding.unsqueezed(self.squeezed_from, start, end, words=False)
        stretch = self.squeezed_from[first:last]
        is_whole = self.outer is not None and len(stretch) == end - start
        return is_whole or in_pieces(stretch)

    @property
    def _joint(self) -> Locate | None:
        """`locate` of the reading that this one was made of in the end."""
        origin = self
        while origin.outer is not None:
            origin = origin.outer
        return origin.locate

    def located(
        self, rule: Rule, confidence: Confidence, data: bytes, start: int, end: int
    ) -> Match | None:
        """Name the string that the match stands in; None where the rule does not ask there."""
        text = self.subject.text
        found = data[start:end]
        while start < end - 1 and data[start] in b" \t\r\n":
            start += 1  # so that the match stands in its own line
        joint = self._joint
        simple = joint is None and self.squeezed_from is None
        if rule.places and simple and not self._may_stand(rule, start, end):
            return None
        view, low, high, exact = self._trace(start, end)
        paths: list[Path] = []
        if joint is not None:
            paths, _ = joint(low, high)
            path, exact = paths[0], False
        else:
            path = text.path_at(low)
        if rule.places and not _placed(rule, self.subject.place_of(path)):
            return None
        changed: Confidence | None = confidence
        if rule.written is Written.ANYWHERE:
            changed = self._as_told(confidence, path, data, (start, end))
        elif rule.written is not Written.KEEP or View.ACTS in rule.views:
            changed = self._as_used(rule, confidence, path, low, len(found))
        if changed is None:
            return None
        confidence = changed
        exact = exact and not self.whole
        first, last = (0, 0) if joint is not None else text.span(low, high)
        if rule.purpose and serves(rule.purpose, text.value, path, first):
            confidence = lower(confidence)
        if _HIDDEN.search(view):
            confidence = Confidence.HIGH  # nobody hides harmless words
        elif not rule.is_private and len(data) <= SHORT_BYTES and _ENCODED.search(view):
            confidence = raised(confidence)  # nor encodes them
        excerpt = masked(rule, found)
        if rule.is_private:
            path = _untold(path, found.decode("utf-8", "replace"))
        return Match(rule, confidence, view, path, first, last, exact, tuple(paths), excerpt)

    def _as_told(
        self, confidence: Confidence, path: Path, data: bytes, span: folding.Range
    ) -> Confidence | None:
        """Less sure where a text is about attacks; none in a file, or as code for a reader."""
        uses = self.subject.uses
        is_read = uses.role(path) is ArgumentRole.WRITTEN
        if is_read and (uses.is_of_file or is_marked(data, *span)):
            return None
        return lower(confidence) if topics(data, *span) >= MANY_TOPICS else confidence

    def _as_used(
        self, rule: Rule, confidence: Confidence, path: Path, start: int, size: int
    ) -> Confidence | None:
        """How sure a match is where its string is used for what it is; None where it is none."""
        uses, text = self.subject.uses, self.subject.text
        purpose = uses.used(path, text.value_at(start))
        if purpose is ArgumentRole.KEPT or (
            purpose is ArgumentRole.VALUE and text.is_document(start)
        ):
            return lower(confidence)
        if rule.written is Written.KEEP or (
            purpose is ArgumentRole.PARSED and rule.written is Written.PARSED
        ):
            return confidence
        if rule.written in (Written.VALUES, Written.PARSED) and purpose in _PROGRAMS:
            return None
        does_nothing = purpose is ArgumentRole.ASKED or (
            purpose in (ArgumentRole.WRITTEN, ArgumentRole.PARSED)
            and not (uses.is_alone(path) and text.is_most(start, size))
        )
        if not does_nothing:
            return confidence
        return lower(confidence) if rule.written is Written.LOWER else None

    def _may_stand(self, rule: Rule, start: int, end: int) -> bool:
        """False where the rule does not ask in the string that the stretch stands in for sure."""
        path = self._path(start, end)
        return path is None or _placed(rule, self.subject.place_of(path))

    def busy(self, rule: Rule, low: int, high: int) -> list[folding.Range]:
        """The stretch without what is only written or looked for, where that is much of it."""
        squeezed = self.squeezed_from is not None
        if rule.written in _EVERYWHERE or squeezed or self._joint is not None:
            return [(low, high)]
        uses, idle = self.subject.uses, _IDLE[rule.written]
        if self.outer is not None or self.whole:
            path = self._path(low, high) if high - low >= IDLE_BYTES else None
            return [] if path is not None and uses.role(path) in idle else [(low, high)]
        return uses.busy(low, high, idle)

    def _path(self, start: int, end: int) -> Path | None:
        """The string that a stretch stands in; None where it may be more than one."""
        origin = self
        while origin.outer is not None:
            if origin.parts is not None:
                part = origin.parts.at(start)
                start, end = part.start, part.end
            else:
                start, end = origin._unfolded(start, end)
            origin = origin.outer
        start, end = origin._unfolded(start, end)
        path = self.subject.text.path_at(start)
        return path if path == self.subject.text.path_at(end - 1) else None

    def _trace(self, start: int, end: int) -> tuple[str, int, int, bool]:
        """The chain of readings down to the text, and the span there, in bytes."""
        if self.squeezed_from is not None:
            words = not self.subject.keyed
            low, high = folding.unsqueezed(self.squeezed_from, start, end, words=words)
            low, high = self._unfolded(low + self.offset, high + self.offset)
            if self.outer is not None:
                chain, low, high, _ = self.outer._trace(low, high)
                return f"{chain}>squeezed", low, high, False
            return "squeezed", low, high, not self.whole
        if self.parts is not None and self.outer is not None:
            view = self.parts.at(start).view
            chain, low, high, _ = self.outer._trace(*self.parts.origin(start, end))
            return f"{chain}>{view}".removeprefix(">"), low, high, False
        if self.outer is not None:  # a folded reading of decoded parts
            chain, low, high, _ = self.outer._trace(*self._unfolded(start, end))
            return f"{chain}>folded", low, high, False
        return self.chain, *self._unfolded(start, end), True

    def _unfolded(self, start: int, end: int) -> folding.Range:
        return (start, end) if self.unfolding is None else self.unfolding.span(start, end)


def joined_values(subject: ScanInput) -> tuple[bytes, Origin]:
    """The values of a result with nothing between; where they are many or long, at their joints."""
    text = subject.text
    if text.count <= FEW_VALUES and len(text.data) <= JOINED_BYTES:
        return text.joined(), Origin(subject, "joined", locate=text.locate_joined)
    row = row_of_edges(text)
    return row.data, Origin(subject, "joined", locate=row.locate, many=True)


_EVERYWHERE = (Written.KEEP, Written.ANYWHERE)
_IDLE: dict[Written, Idle] = {
    Written.LOWER: IDLE,
    Written.DROP: IDLE,
    Written.VALUES: (*IDLE, *PROGRAMS),
    Written.PARSED: (ArgumentRole.WRITTEN, ArgumentRole.ASKED, *PROGRAMS),
}
_PROGRAMS = (*PROGRAMS, ArgumentRole.STATEMENT)
_HIDDEN = re.compile("|".join(name for name, one in ENCODINGS.items() if one.is_invisible))
_ENCODED = re.compile("|".join(name for name, one in ENCODINGS.items() if one.is_opaque))


def _untold(path: Path, secret: str) -> Path:
    """A path without a key that holds the secret itself."""
    return tuple(MASKED_STEP if isinstance(step, str) and secret in step else step for step in path)


def _is_checked(rule: Rule) -> bool:
    """True where a rule asks more of a match than its form."""
    return bool(rule.require) or any("only-raise" not in one for one in rule.check)


def _placed(rule: Rule, place: str) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in rule.places)


class Seen(NamedTuple):
    """What was seen in one value.

    Attributes:
        matches: what the rules found.
        undecoded: True where more was encoded in it than is decoded for one message.
        unfinished: True where the text is made so that judging it would take too long.
        unread: where more stands that a classifier should read than it reads of one message.
    """

    matches: list[Match]
    undecoded: bool
    unfinished: bool
    unread: list[Match]


NOTHING = Seen([], undecoded=False, unfinished=False, unread=[])


def surer(matches: list[Match], several: set[str], told: set[int]) -> list[Match]:
    """The matches, surer where their rule found several values, or a pattern in the same string.

    Args:
        matches: of one text.
        several: rules that found more than one value, of those that ask for several.
        told: places of matches that only tell of an order.
    """
    for index, match in enumerate(matches):
        if match.rule.id in several:
            matches[index] = match._replace(confidence=raised(match.confidence))
        elif (
            match.rule.model
            and match.confidence is Confidence.MEDIUM
            and index not in told
            and has_company(match, matches)
        ):
            matches[index] = match._replace(confidence=Confidence.HIGH)
    return matches


def has_company(match: Match, matches: Iterable[Match]) -> bool:
    """True where a pattern found something in the same string: two weak signs make a strong."""
    return any(
        other.path == match.path
        and other.confidence >= Confidence.MEDIUM
        and not (other.rule.model or other.rule.is_private or other.doubted)
        for other in matches
    )

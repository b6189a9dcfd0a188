"""The way back from a reading to its source text.

A reading may be made from another: decoded from base64, then folded, then squeezed. Each has an
Origin, which leads to the next and in the end to a range of bytes of the text. Knows how readings
are made; runs no rule and rates no match.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.detect.checks.readable import reads_as_words
from pipeguard.detect.commands.argument_roles import IDLE, ArgumentRole
from pipeguard.detect.commands.argument_usage import PROGRAMS
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.rules.rule import Rule, Written
from pipeguard.detect.scanning.scan_budget import ScanInput
from pipeguard.detect.scanning.surroundings import (
    is_disguised,
    is_in_pieces,
    is_inside_data,
    is_part_of_word,
)
from pipeguard.detect.text.decoders import DecodedParts
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range, Spaced, Unfolding

IDLE_BYTES = 4096  # of a decoded range: if its string is idle, none of it is searched

# The paths of the strings in a range of a joined reading; True if there are several.
Locate = Callable[[int, int], tuple[list[Path], bool]]

# By a rule's treatment of text that is only written: the roles of strings that it does not search.
# Other rules search all strings.
_IDLE = {
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
        offset: the start of this text in the whole text.
        outer: the origin of the reading that this one was decoded or folded from.
        parts: decoded from the outer reading.
        unfolding: the way back through folding, or from the ranges that a reading keeps.
        may_fit_by_chance: True if so many pieces are joined that some fit together by chance.
    """

    source: ScanInput
    chain: str
    whole: bool = False
    locate: Locate | None = None
    squeezed_from: Spaced | None = None
    offset: int = 0
    outer: Origin | None = None
    parts: DecodedParts | None = None
    unfolding: Unfolding | None = None
    may_fit_by_chance: bool = False

    def is_chance(self, rule: Rule, data: bytes, span: Range) -> bool:
        """True for a match that joined pieces form by chance: values of a table, literals."""
        is_of_literals = self.outer is not None and self.outer.chain == "literals"
        is_strict = bool(rule.require) or any("only-raise" not in spec for spec in rule.check)
        is_token = (is_of_literals or self.locate is not None) and rule.is_private
        if is_token and not is_strict and reads_as_words(data[slice(*span)], rule.pattern):
            return True
        is_unchecked = self.may_fit_by_chance and rule.is_private and not rule.check
        return is_unchecked and is_inside_data(data, *span)

    def is_part_of_word(self, rule: Rule, data: bytes, match: Occurrence) -> bool:
        """True if a joined match begins or ends within a word of one of its strings.

        A match in random data would, too, such as a server's state that its clients send back:
        the beginning of a word of its form is near the end by chance, and the text joined to it
        makes it long enough.
        """
        if self.locate is None or rule.check:
            return False
        start, end = match.span
        first = start if start == 0 or self.locate(start - 1, start + 1)[1] else start - 1
        last = end if end == len(data) or self.locate(end - 1, end + 1)[1] else end + 1
        return is_part_of_word(rule, data, match, (first, last))

    def is_new(self, rule: Rule, start: int, end: int) -> bool:
        """False for a match that is also in the plain text."""
        if self.squeezed_from is not None:
            return self._is_new_in_squeezed(rule, self.squeezed_from, (start, end))
        if self.parts is not None and not rule.is_private and self.parts.as_written(start, end):
            return False  # but a secret may continue in encoded text
        if self.outer is not None and self.unfolding is not None:  # folded, of decoded parts
            return self.outer.is_new(rule, *self._unfold(start, end))
        return self.locate is None or self.locate(start, end)[1]

    def _is_new_in_squeezed(self, rule: Rule, spaced: Spaced, span: Range) -> bool:
        words = not self.source.keyed
        first, last = spaced.span(*span, words=words)
        if self.outer is None:
            return is_disguised(spaced.data[first:last], words=words)
        low, high = self.outer._unfold(first, last)  # of literals
        if rule.is_private and self.source.text.data[max(0, low - 1) : low].isalnum():
            return False  # it would begin within a word of a literal
        return high - low != last - first

    def is_split(self, start: int, end: int) -> bool:
        """True if a match is written in pieces, with spaces that are not there by chance."""
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

    def active_ranges(self, rule: Rule, low: int, high: int) -> list[Range]:
        """The parts of a range that a rule searches: without strings that are idle for it."""
        uses, idle = self.source.uses, _IDLE.get(rule.written)
        if idle is None or self.squeezed_from is not None or self.outermost.locate is not None:
            return [(low, high)]
        if self.outer is not None or self.whole:
            path = self.find_path(low, high) if high - low >= IDLE_BYTES else None
            return [] if path is not None and uses.role(path) in idle else [(low, high)]
        return uses.busy(low, high, idle)

    def find_path(self, start: int, end: int) -> Path | None:
        """The string around a range; None if there may be several."""
        origin = self
        while origin.outer is not None:
            if origin.squeezed_from is not None:
                return None
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
        view = "folded"  # of decoded parts
        if self.squeezed_from is not None:
            low, high = self.squeezed_from.span(start, end, words=not self.source.keyed)
            span, view = self._unfold(low + self.offset, high + self.offset), "squeezed"
        elif self.parts is not None and self.outer is not None:
            span, view = self.parts.origin(start, end), self.parts.at(start).view
        else:
            span = self._unfold(start, end)
        if self.outer is not None:
            chain, low, high, _ = self.outer.trace(*span)
            return f"{chain}>{view}".removeprefix(">"), low, high, False
        if self.squeezed_from is not None:
            return view, *span, not self.whole
        return self.chain, *span, True

    def _unfold(self, start: int, end: int) -> Range:
        return (start, end) if self.unfolding is None else self.unfolding.span(start, end)

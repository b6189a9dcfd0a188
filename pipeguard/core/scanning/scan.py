"""One value while rules are run over its readings: what matched, and how sure that is.

A pass of Hyperscan over a block says which rules could match in it. Only there, and only from the
hit on, the rule's own expression is run. The same pass finds the signs of further readings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipeguard.core.finding import Confidence, lower
from pipeguard.core.matching.confirm import Finder
from pipeguard.core.matching.pattern_set import value_of
from pipeguard.core.model.cascade import Reader, Selection
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import Rule, View
from pipeguard.core.scanning.confidence import certainty, may_be_doubted
from pipeguard.core.scanning.match import digits_of, secret_span
from pipeguard.core.scanning.origin import Match, Origin, ScanInput, Seen, surer
from pipeguard.core.scanning.rule_lookup import RuleLookup
from pipeguard.core.scanning.scan_budget import Tally, told_once
from pipeguard.core.text import decoders
from pipeguard.core.text.budgets import Budgets
from pipeguard.core.text.windowing import blocks
from pipeguard.core.unicode import folding
from pipeguard.core.unicode.folding import Range

TAIL_BYTES = 4096  # of an open tail that is looked at beyond the block
AGAIN_BYTES = 4096  # after a number that has its name before it, in which more may follow
LEVELS = 2  # of encodings inside each other
_CLASSIFIED = (View.TEXT, View.FOLDED, View.DECODED)

Signs = dict[str, list[Range]]  # by name, the ranges of a text in which they were seen


class Scan:
    """One value, being scanned.

    Attributes:
        lookup: the rules.
        source: the value.
        surface: what the value is judged for.
        data: its text. Towards a client, JSON escapes are softened in their places.
        folded: the text folded.
        changed: the ranges of `folded` that differ from the text.
        unfolding: the way back from `folded`; None where nothing differs.
        signs: seen in the text.
        folded_signs: seen in what folding changed.
        opened: what a classifier is to read, and which reading that is of.
        reader: what classifiers read.
        tally: what the rules found so far.
        matches: so far.
        undecoded: True where more would have to be decoded than is for one message.
        unread: what a classifier should have read.
        told: indices of matches that only tell of an order.
    """

    def __init__(
        self, lookup: RuleLookup, source: ScanInput, surface: Surface, budgets: Budgets
    ) -> None:
        self.lookup = lookup
        self.source = source
        self.surface = surface
        text = source.text
        self.data = text.data if source.keyed else folding.soften(text.data)
        self.folded, self.changed, unfolding = folding.fold_and_back(self.data)
        self.unfolding = unfolding if self.changed else None
        self.signs: Signs = {}
        self.folded_signs: Signs = {}
        self.opened: list[tuple[Selection, Origin]] = []
        self.reader = Reader(len(text.data), budgets)
        self.tally = Tally(budgets, by_string=source.keyed)
        self.matches: list[Match] = []
        self.undecoded = False
        self.unread: list[Match] = []
        self.told: set[int] = set()
        self._budget = budgets.decoding
        self._values: dict[str, set[bytes]] = {}  # of rules that need several different ones

    def has_sign(self, name: str) -> bool:
        """True where a sign was seen in the text, folded or not."""
        return name in self.signs or name in self.folded_signs

    def ranges(self, name: str) -> list[Range]:
        """Where a sign was seen in the text, folded or not."""
        return [*self.signs.get(name, ()), *self.folded_signs.get(name, ())]

    def result(self) -> Seen:
        """What was found, once all readings are read."""
        several = {rule for rule, values in self._values.items() if len(values) > 1}
        matches = list(told_once(surer(self.matches, several, self.told)))
        undecoded = self._budget.spent or self.undecoded
        return Seen(matches, undecoded, self.tally.exhausted, self.unread)

    def run_rules(
        self, data: bytes, view: View, origin: Origin, ranges: list[Range] | None = None
    ) -> Signs:
        """Run the rules over a reading, or over the ranges of it that are new.

        Returns:
            The signs of encodings and of further readings.
        """
        signs: Signs = {}
        squeezed = view is View.SQUEEZED
        for low, high in blocks(len(data), ranges):
            if self.tally.exhausted:
                break
            names, rules = self.lookup.look(data[low:high], squeezed=squeezed)
            for name in names:
                folding.extend(signs.setdefault(name, []), low, high)
            for rule in rules:
                if view not in rule.views or self.surface not in rule.surfaces:
                    continue
                for first, last in origin.busy(rule, low, high):
                    tail = TAIL_BYTES if last == high else 0
                    matches = self._confirmed(rule, data, first, last + tail, squeezed=squeezed)
                    self._match(rule, data, matches, view, origin)
        if view in _CLASSIFIED:
            for low, high in ranges or [(0, len(data))]:
                self._open(data, low, high, origin)
        return signs

    def run_rules_over_acts(self, data: bytes, origin: Origin) -> None:
        """Run the rules over the lines that tell what arguments do."""
        for low, high in blocks(len(data)):
            for rule in self.lookup.look_at_acts(data[low:high]):
                if self.surface in rule.surfaces and not self.tally.exhausted:
                    matches = self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
                    self._match(rule, data, matches, View.ACTS, origin)

    def decode(self, data: bytes, signs: Signs, origin: Origin, levels: int = LEVELS) -> None:
        """Run the rules over what is encoded in a reading, and in that again."""
        if not signs or not (found := decoders.decode(data, signs, self._budget)):
            return
        parts = decoders.DecodedParts(found, data)
        inner = Origin(self.source, "", whole=origin.whole, outer=origin, parts=parts)
        decoded = parts.data
        signs = self.run_rules(decoded, View.DECODED, inner)
        folded, changed, unfolding = folding.fold_and_back(decoded)
        if changed:
            origin = Origin(self.source, "", outer=inner, unfolding=unfolding)
            self.run_rules(folded, View.DECODED, origin, changed)
        if levels > 1:
            self.decode(decoded, signs, inner, levels - 1)

    def spans(self, data: bytes) -> list[tuple[int, int, Rule]]:
        """The matches in a text as it is: start, end, rule."""
        return [
            (*secret_span(match), rule)
            for low, high in blocks(len(data))
            for rule in self.lookup.look(data[low:high], squeezed=False)[1]
            for match in self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
            if certainty(rule, data, match, View.TEXT) is not None
        ]

    def _open(self, data: bytes, low: int, high: int, origin: Origin) -> None:
        """Remember what of a reading could be an order to the model."""
        gate = self.lookup.gate
        stretches = gate.stretches(data[low:high]) if gate is not None else ()
        if stretches:
            moved = [one._replace(start=low + one.start, end=low + one.end) for one in stretches]
            self.opened.append((Selection(data, moved), origin))

    def _match(
        self,
        rule: Rule,
        data: bytes,
        matches: Iterable[re.Match[bytes]],
        view: View,
        origin: Origin,
    ) -> None:
        tally = self.tally
        for match in tally.worth(rule, matches):
            start, end = secret_span(match)
            confidence, doubted = self._confidence(rule, data, match, view, origin)
            if confidence is None or not origin.admits(rule, start, end):
                continue
            found = origin.located(rule, confidence, data, start, end)
            if found is None or (words := tally.news(found, match[0])) is None:
                continue
            if rule.several:
                self._values.setdefault(rule.id, set()).add(digits_of(data[start:end]))
            if tally.tell(rule, words, self.source.place_of(found.path), found.confidence):
                self.matches.append(found._replace(doubted=doubted))
            if tally.exhausted:
                return

    def _confidence(
        self, rule: Rule, data: bytes, match: re.Match[bytes], view: View, origin: Origin
    ) -> tuple[Confidence | None, bool]:
        """How sure a match is, and whether a classifier doubts it.

        None where it is no match, or says nothing new.
        """
        start, end = secret_span(match)
        confidence = certainty(rule, data, match, view)
        if confidence is None or origin.is_chance(rule, confidence, data, (start, end)):
            return None, False
        doubted = (
            may_be_doubted(rule, confidence)
            and view in _CLASSIFIED
            and self._is_doubted(data, *match.span(), confidence)
        )
        if doubted:
            confidence = lower(confidence)
        is_spelt = view is View.SQUEEZED and rule.is_private and confidence > Confidence.LOW
        if is_spelt and origin.is_torn(start, end):
            confidence = certainty(rule, data, match, View.JOINED) or confidence
        is_known = confidence <= self.tally.known(rule, match[0]) or (
            view is not View.DECODED and self.tally.has_enough(rule, confidence)
        )
        return (None if is_known else confidence), doubted

    def _is_doubted(self, data: bytes, start: int, end: int, confidence: Confidence) -> bool:
        """True where a classifier is sure that what a pattern found is no order."""
        is_sure = confidence is Confidence.HIGH
        return any(
            self.reader.doubts(data, start, end, self.lookup.classifier(rule), is_sure=is_sure)
            for rule in self.lookup.residents.classifying
            if self.surface in rule.surfaces
        )

    def _confirmed(
        self, rule: Rule, data: bytes, low: int, high: int, *, squeezed: bool
    ) -> Iterator[re.Match[bytes]]:
        """The rule's own matches in a block: Hyperscan says that there may be one, not which."""
        high = min(len(data), high)
        if not self.tally.spend(high - low):
            return iter(())
        finder = self.lookup.finder(rule, squeezed=squeezed)
        if rule.several:
            return self._each(rule, finder, data, low, high)
        return finder.finditer(data, low, high)

    def _each(
        self, rule: Rule, finder: Finder, data: bytes, low: int, high: int
    ) -> Iterator[re.Match[bytes]]:
        """Each match, and further values of its kind that follow without their name."""
        value = value_of(rule.pattern, ignore_case=rule.ignore_case)
        for match in finder.finditer(data, low, high):
            yield match
            end = match.end()
            self.tally.spend(AGAIN_BYTES)
            yield from value.finditer(data, end, min(len(data), end + AGAIN_BYTES))

"""Rules over texts and their views, in one pass each. Knows no messages' meaning, no policy.

One Hyperscan database holds all patterns of a surface: a pass over a block of text says which
rules could match in it, in time linear in the text for any input. Only there, and only from
the hit on, the rule's own expression is run. The same pass finds the cues of encodings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy

from pipeguard.core.commands.argument_roles import called_tool
from pipeguard.core.commands.argument_usage import Uses
from pipeguard.core.finding import Confidence, lower
from pipeguard.core.matching.confirm import Finder
from pipeguard.core.matching.pattern_set import value_of
from pipeguard.core.model.cascade import BRIEF_BYTES, Opened, Order, Reader
from pipeguard.core.model.classifier import Classifier
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import Rule, View
from pipeguard.core.scanning.confidence import certainty, may_be_doubted
from pipeguard.core.scanning.databases import Models, PatternSets, classifier
from pipeguard.core.scanning.match import digits_of, secret_span
from pipeguard.core.scanning.origin import (
    NOTHING,
    Match,
    Origin,
    PlaceOf,
    ScanInput,
    Seen,
    joined_values,
    surer,
)
from pipeguard.core.scanning.rule_partition import Residents, squeezed_pattern
from pipeguard.core.scanning.scan_budget import Tally, told_once
from pipeguard.core.text import decoders, split_literals
from pipeguard.core.text.budgets import Budgets
from pipeguard.core.text.cues import CUES_OF_SQUEEZED, Cue, worth_squeezing
from pipeguard.core.text.decoder import Decoded
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.split_literals import JoinedRow
from pipeguard.core.text.windowing import BLOCK_BYTES, blocks
from pipeguard.core.unicode import folding

TAIL_BYTES = 4096  # of an open tail that is looked at beyond the block
AGAIN_BYTES = 4096  # after a number that has its name before it, in which more may follow
LEVELS = 2  # of encodings inside each other
_ADDRESS_BYTES = 80  # of what is percent-encoded: no order is so short
_CLASSIFIED = (View.TEXT, View.FOLDED, View.DECODED)
_CUES_OF_SQUEEZED = tuple(CUES_OF_SQUEEZED)
_OF_ARGUMENTS = (Cue.ACTS, Cue.WINDOWS, Cue.LITERALS)


class Engine:
    """The rules of one home, ready to run. One thread at a time may use it.

    Attributes:
        surface: whose home it is.
        surfaces: all that any of its rules is run over.
        keyed: True where texts are read as `key: value`, as they go to a server.
    """

    def __init__(
        self,
        rules: Iterable[Rule] | Residents,
        surface: Surface,
        patterns: PatternSets,
        models: Models | None = None,
    ) -> None:
        """Take what was compiled of the same rules; a model's file is read when it is needed."""
        if not isinstance(rules, Residents):
            given = tuple(rules)
            rules = Residents(lambda: given, surface)
        self.surface = surface
        self.surfaces = rules.surfaces
        self.keyed = surface is Surface.TO_SERVER
        self.residents = rules
        self._plain, self._squeezed, self._acts, self.gate = patterns
        self._models = models
        self._classifiers: dict[str, Classifier] = {}
        self._finders: dict[tuple[str, bool], Finder] = {}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Its rules, in the order in which they were given."""
        return self.residents.rules

    def load(self) -> None:
        """Load what any text is looked through with, so that the first need not wait for it.

        Raises:
            EngineError: a database is not whole, or made for another processor.
        """
        self._plain.load()
        if self.gate is not None:
            self.gate.load()
        if self.keyed:
            self._squeezed.load()

    def clone(self) -> Engine:
        """The same rules for another thread."""
        other = copy(self)
        other._plain = self._plain.share()
        other._squeezed = self._squeezed.share()
        other._acts = self._acts.share()
        if self.gate is not None:
            other.gate = self.gate.share()
        return other

    def scan(
        self, value: JsonValue, place_of: PlaceOf, surface: Surface, budgets: Budgets | None = None
    ) -> Seen:
        """Run the rules for a surface over every string and key of a value.

        Args:
            value: any JSON value.
            place_of: names the place of a path below the value.
            surface: what the value is judged for.
            budgets: of the message that the value stands in; None where it is all of it.

        Raises:
            UnicodeEncodeError: a string holds a lone surrogate.
            EngineError: the engine failed.
        """
        text = MessageText(value, keyed=self.keyed)
        if self._is_plainly_clean(text):
            return NOTHING
        tool = called_tool(value) if self.keyed else None
        budgets = budgets or Budgets()
        budgets.grow(len(text.data), classified=self.gate is not None)
        subject = ScanInput(text, place_of, self.keyed, Uses(text, tool))
        scan = _Scan(self, subject, surface, budgets)
        budgets.decoding.spent = False
        scan.run()
        undecoded = budgets.decoding.spent or scan.undecoded
        return Seen(scan.matches, undecoded, scan.tally.exhausted, scan.unread)

    def _is_plainly_clean(self, text: MessageText) -> bool:
        """True for a short text in which no pattern and no cue stands: most of all texts."""
        data = text.data
        if len(data) > BLOCK_BYTES or not data.isascii():
            return False
        keys = text.joined_keys()
        if self.gate is not None and self.gate.stretches(data):
            return False
        if not (self.keyed or text.is_several):
            return not self._plain.look(b"\n\n".join((data, keys)) if keys else data)
        if self.gate is not None and any(map(self.gate.stretches, split_literals.spelt_in(text))):
            return False
        joined = text.joined()
        # One pass over all: what would match across the gap is looked at again, and is none.
        hits = self._plain.look(b"\n\n".join((data, joined, keys)))
        if hits or not self.keyed or self.worth_reading([*split_literals.rows(text)]):
            return not (hits or self.keyed)
        squeezed = folding.squeeze(joined, words=False)
        return len(squeezed) == len(joined) or not self._squeezed.look(squeezed)

    def worth_reading(self, rows: Sequence[JoinedRow]) -> Sequence[JoinedRow]:
        """The rows, if a rule could match in any of them, looked at in one pass; else none."""
        together = b"\n\n".join([row.data for row in rows])
        return rows if together and self.look(together, squeezed=False)[1] else ()

    def mask(self, data: bytes) -> bytes:
        """Replace the secrets in free text, as a line of a log, by the rule's name."""
        text = data.decode("utf-8", "replace").encode()
        nothing = MessageText("", keyed=self.keyed)
        subject = ScanInput(nothing, lambda _: "log.message", self.keyed, Uses(nothing, None))
        budgets = Budgets()
        budgets.grow(len(text), classified=False)
        scan = _Scan(self, subject, self.surface, budgets)
        spans = [span for span in scan.spans(text) if span[2].is_private]
        for start, end, rule in sorted(spans, key=lambda span: span[0], reverse=True):
            text = text[:start] + b"[masked:" + rule.id.encode() + b"]" + text[end:]
        return text if spans else data

    def finder(self, rule: Rule, *, squeezed: bool) -> Finder:
        """What finds the matches of the rule's own expression, made when it is first needed."""
        key = (rule.id, squeezed)
        if key not in self._finders:
            source = squeezed_pattern(rule)[0] if squeezed else rule.pattern
            self._finders[key] = Finder(source, ignore_case=rule.ignore_case)
        return self._finders[key]

    def classifier(self, rule: Rule) -> Classifier:
        """What a rule's model says of a text.

        Raises:
            EngineError: its file is not the one that the rule names, or no classifier.
        """
        found = self._classifiers.get(rule.id)
        if found is None:
            found = self._classifiers[rule.id] = classifier(rule, self._models)
        return found

    def look_at_acts(self, data: bytes) -> list[Rule]:
        """Which rules could match in the lines that tell what arguments do."""
        return [self.residents.acting[index] for index in self._acts.look(data)]

    def look(self, data: bytes, *, squeezed: bool) -> tuple[list[Cue], list[Rule]]:
        """Which cues stand in a block, and which rules could match in it."""
        if squeezed:
            return self._look_squeezed(data)
        cues: list[Cue] = []
        hits: list[Rule] = []
        for index in sorted(self._plain.look(data)):  # in the rules' order
            if index < len(Cue):
                cues.append(Cue(index))
            else:
                hits.append(self.residents.looked_for[index - len(Cue)])
        return cues, hits

    def _look_squeezed(self, data: bytes) -> tuple[list[Cue], list[Rule]]:
        """The same for a text without spaces: the rules are told before the cues."""
        rules = self.residents.squeezable
        seen = sorted(self._squeezed.look(data))
        cues = [_CUES_OF_SQUEEZED[index - len(rules)] for index in seen if index >= len(rules)]
        return cues, [rules[index] for index in seen if index < len(rules)]


class _Scan:
    """One value, being scanned."""

    def __init__(
        self, engine: Engine, subject: ScanInput, surface: Surface, budgets: Budgets
    ) -> None:
        self.engine = engine
        self.surface = surface
        self.subject = subject
        self.text = text = subject.text
        self.budget = budgets.decoding
        self.matches: list[Match] = []
        self.undecoded = False
        self.unread: list[Match] = []
        self._opened: list[tuple[Opened, Origin]] = []
        self._values: dict[str, set[bytes]] = {}  # of rules that ask for several
        self._told: set[int] = set()  # matches of orders that the text tells of
        self.tally = Tally(budgets, by_string=engine.keyed)
        self.reader = Reader(len(text.data), budgets)

    def run(self) -> None:
        """Read the text in every view that could differ from it."""
        self._read()
        self._classify()
        several = {rule for rule, values in self._values.items() if len(values) > 1}
        self.matches = list(told_once(surer(self.matches, several, self._told)))

    def _read(self) -> None:
        data = self.text.data
        if not self.engine.keyed:
            data = folding.soften(data)
        cued = self._pass(data, View.TEXT, Origin(self.subject, "text"))
        squeezable = worth_squeezing(cued)
        acting = {cue: cued.pop(cue) for cue in _OF_ARGUMENTS if cue in cued}
        self._decode(data, cued, Origin(self.subject, ""), LEVELS)
        folded, changed, way = folding.fold_and_back(data)
        if changed:
            origin = Origin(self.subject, "folded", whole=True, unfolding=way)
            cued = self._pass(folded, View.FOLDED, origin, changed)
            squeezable += worth_squeezing(cued)
            acting |= {cue: cued.pop(cue) for cue in _OF_ARGUMENTS[:2] if cue in cued}
            cued.pop(Cue.LITERALS, None)
            self._decode(folded, cued, origin, LEVELS)
        if keys := self.text.joined_keys():
            origin = Origin(self.subject, "joined", locate=self.text.locate_keys)
            self._pass(keys, View.JOINED, origin)
        if Cue.ACTS in acting and self.engine.keyed:
            self._read_acts(windows=Cue.WINDOWS in acting)
        if self.engine.keyed:
            self._join()
            for low, high in acting.get(Cue.LITERALS, ()):
                self._join_literals(low, high)
            return
        for low, high in folding.merged(squeezable):
            self._squeeze(folded, low, high, way if changed else None)
        if self.text.is_several:
            self._join_values()

    def _join_values(self) -> None:
        """Towards a client: what is cut in two by the end of a value, or spelt in many."""
        data, origin = joined_values(self.subject)
        self._pass(data, View.JOINED, origin)
        for row in split_literals.spelt(self.text):
            origin = Origin(self.subject, "joined", locate=row.locate)
            if worth_squeezing(self._pass(row.data, View.DECODED, origin)):
                squeezed = folding.squeeze(row.data, words=True)
                self._pass(squeezed, View.SQUEEZED, origin._replace(squeezed_from=row.data))

    def _join(self) -> None:
        """Towards a server: what was torn into several strings, and what stands between spaces."""
        text, subject = self.text, self.subject
        joined, locate = text.joined(), text.locate_joined
        if text.is_several:
            self._pass(joined, View.JOINED, Origin(subject, "joined", locate=locate))
        for row in self.engine.worth_reading([*split_literals.rows(text)]):
            self._pass(row.data, View.JOINED, Origin(subject, "joined", locate=row.locate))
        folded, changed, way = folding.fold_and_back(joined)
        origin = Origin(subject, "squeezed", locate=locate, unfolding=way if changed else None)
        self._squeezed(folded, origin, always=text.is_several)

    def _join_literals(self, low: int, high: int) -> None:
        """Towards a server: what a program would put together."""
        for stitched in split_literals.literals(self.text.data, low, high):
            outer = Origin(self.subject, "", outer=Origin(self.subject, ""), parts=stitched)
            origin = Origin(self.subject, "", outer=outer, many=stitched.many)
            self._squeezed(stitched.data, origin, always=True)

    def _squeezed(self, data: bytes, origin: Origin, *, always: bool) -> None:
        """A reading without its spaces and quotes, and what is encoded in that."""
        squeezed = folding.squeeze(data, words=False)
        if always or len(squeezed) != len(data):
            origin = origin._replace(squeezed_from=data)
            cued = self._pass(squeezed, View.SQUEEZED, origin)
            self._decode(squeezed, cued, origin, LEVELS)

    def _read_acts(self, *, windows: bool) -> None:
        """Towards a server: what the arguments would do."""
        from pipeguard.core.commands.effects import effects_of  # here, since it costs a start 11 ms

        found, self.undecoded = effects_of(self.subject.uses, windows=windows)
        if not found:
            return
        parts = decoders.Parts(
            [Decoded(deed.data, "acts", deed.start, deed.end) for deed in found],
            self.text.data,
        )
        data = parts.data
        origin = Origin(self.subject, "", outer=Origin(self.subject, ""), parts=parts)
        for low, high in blocks(len(data)):
            for rule in self.engine.look_at_acts(data[low:high]):
                if self.surface in rule.surfaces and not self.tally.exhausted:
                    matches = self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
                    self._match(rule, data, matches, View.ACTS, origin)

    def spans(self, data: bytes) -> list[tuple[int, int, Rule]]:
        """The matches of a text as it is: start, end, rule."""
        return [
            (*secret_span(match), rule)
            for low, high in blocks(len(data))
            for rule in self.engine.look(data[low:high], squeezed=False)[1]
            for match in self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
            if certainty(rule, data, match, View.TEXT) is not None
        ]

    def _pass(
        self, data: bytes, view: View, origin: Origin, ranges: list[folding.Range] | None = None
    ) -> dict[Cue, list[folding.Range]]:
        """Run the rules over a reading, or over the ranges of it that are new.

        Returns:
            For each cue of an encoding, the ranges in which it was seen.
        """
        cued: dict[Cue, list[folding.Range]] = {}
        squeezed = view is View.SQUEEZED
        for low, high in blocks(len(data), ranges):
            if self.tally.exhausted:
                break
            cues, hits = self.engine.look(data[low:high], squeezed=squeezed)
            for cue in cues:
                folding.extend(cued.setdefault(cue, []), low, high)
            for rule in hits:
                if view not in rule.views or self.surface not in rule.surfaces:
                    continue
                for first, last in origin.busy(rule, low, high):
                    tail = TAIL_BYTES if last == high else 0
                    matches = self._confirmed(rule, data, first, last + tail, squeezed=squeezed)
                    self._match(rule, data, matches, view, origin)
        if view in _CLASSIFIED:
            for low, high in ranges or [(0, len(data))]:
                self._open(data, low, high, origin)
        return cued

    def _open(self, data: bytes, low: int, high: int, origin: Origin) -> None:
        """Remember what of a reading could be an order to the model."""
        gate = self.engine.gate
        found = gate.stretches(data[low:high]) if gate is not None else ()
        if found:
            moved = [one._replace(start=low + one.start, end=low + one.end) for one in found]
            self._opened.append((Opened(data, moved), origin))

    def _classify(self) -> None:
        """Have what could be an order to the model read by the rule that has a classifier."""
        if not self._opened or self.tally.exhausted:
            return  # before a rule or a model is read
        if len(self.text.data) < BRIEF_BYTES and self.subject.asks_the_user(self.surface):
            self.reader.spare_nothing()
        opened = [each for each, _ in self._opened]
        asked = [one for one in self.engine.residents.classifying if self.surface in one.surfaces]
        for rule in asked:
            for number, order in self.reader.orders(opened, self.engine.classifier(rule)):
                self._judged(rule, opened[number].data, order, self._opened[number][1])
            for number, start, end in self.reader.unread:
                data, origin = opened[number].data, self._opened[number][1]
                found = origin.located(rule, rule.confidence, data, start, end)
                self.unread += [found] if found is not None else []
            self.reader.unread.clear()

    def _judged(self, rule: Rule, data: bytes, order: Order, origin: Origin) -> None:
        start, end = order.start, order.end
        confidence = min(order.confidence, rule.confidence)
        if self.tally.known(rule, data[start:end]) >= confidence:
            return
        if (found := origin.located(rule, confidence, data, start, end)) is not None:
            if found.view == "percent" and end - start < _ADDRESS_BYTES:
                found = found._replace(confidence=lower(confidence))
            place = self.subject.place_of(found.path)
            if self.tally.tell(rule, data[start:end], place, found.confidence):
                if order.is_told:
                    self._told.add(len(self.matches))
                self.matches.append(found)

    def _decode(
        self, data: bytes, cued: dict[Cue, list[folding.Range]], origin: Origin, levels: int
    ) -> None:
        if not (found := decoders.decode(data, cued, self.budget) if cued else []):
            return
        parts = decoders.Parts(found, data)
        inner = Origin(self.subject, "", whole=origin.whole, outer=origin, parts=parts)
        decoded = parts.data
        cued = self._pass(decoded, View.DECODED, inner)
        folded, changed, way = folding.fold_and_back(decoded)
        if changed:
            origin = Origin(self.subject, "", outer=inner, unfolding=way)
            self._pass(folded, View.DECODED, origin, changed)
        if levels > 1:
            self._decode(decoded, cued, inner, levels - 1)

    def _squeeze(self, data: bytes, low: int, high: int, way: folding.Unfolding | None) -> None:
        """Towards a client: letters that stand apart, words that stand together."""
        stretch = data[low:high]
        origin = Origin(self.subject, "squeezed", bool(way), None, stretch, low, unfolding=way)
        self._pass(folding.squeeze(stretch, words=True), View.SQUEEZED, origin)

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
            confidence = certainty(rule, data, match, view)
            if confidence is None or origin.is_chance(rule, confidence, data, (start, end)):
                continue
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
            if confidence <= tally.known(rule, match[0]) or (
                view is not View.DECODED and tally.has_enough(rule, confidence)
            ):
                continue
            if not origin.admits(rule, start, end):
                continue
            found = origin.located(rule, confidence, data, start, end)
            if found is None or (words := tally.news(found, match[0])) is None:
                continue
            if rule.several:
                self._values.setdefault(rule.id, set()).add(digits_of(data[start:end]))
            if tally.tell(rule, words, self.subject.place_of(found.path), found.confidence):
                self.matches.append(found._replace(doubted=doubted))
            if tally.exhausted:
                return

    def _is_doubted(self, data: bytes, start: int, end: int, confidence: Confidence) -> bool:
        """True where a classifier is sure that what a pattern found is no order."""
        is_sure = confidence is Confidence.HIGH
        return any(
            self.reader.doubts(data, start, end, self.engine.classifier(rule), is_sure=is_sure)
            for rule in self.engine.residents.classifying
            if self.surface in rule.surfaces
        )

    def _confirmed(
        self, rule: Rule, data: bytes, low: int, high: int, *, squeezed: bool
    ) -> Iterator[re.Match[bytes]]:
        """The rule's own matches in a block: the engine tells that there is one, not which."""
        high = min(len(data), high)
        if not self.tally.spend(high - low):
            return iter(())
        finder = self.engine.finder(rule, squeezed=squeezed)
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

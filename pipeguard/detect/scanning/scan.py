"""One value while rules run over its readings: the matches, and how sure they are.

A pass of Hyperscan over a block tells which rules could match in it. Only there are the rules' own
expressions run. The same pass finds the signs of encodings and of further readings.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from pipeguard.detect.matching.confirm import Finder, Occurrence
from pipeguard.detect.matching.pattern_set import secret_group
from pipeguard.detect.model.cascade import Doubt, Reader, Selection
from pipeguard.detect.model.opener import Stretch
from pipeguard.detect.rules.rule import Rule, View
from pipeguard.detect.scanning.extents import Extents, JsonValues, settled_cuts
from pipeguard.detect.scanning.facts import Candidate, is_invisible, may_apply
from pipeguard.detect.scanning.first_look import FirstLook, RuleLookup, SignsAndRules
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.rating import (
    DOUBTED,
    NOT_SEARCHED,
    Rating,
    add_support,
    locate_match,
    note_drop,
    rate_by_checks,
    rate_candidate,
    without_secret,
)
from pipeguard.detect.scanning.scan_budget import (
    Match,
    ScanInput,
    ScanResult,
    Tally,
    path_key,
    without_repeats,
    without_separators,
)
from pipeguard.detect.text import decoders
from pipeguard.detect.text.decoders import DecodedParts
from pipeguard.detect.text.windowing import TAIL_BYTES, blocks, look_end
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.places import Surface
from pipeguard.unicode.folding import Range, extend, fold_and_back

FOLLOWING_BYTES = 4096  # after a named number, in which further numbers may follow without a name
MOST_RATED = 32  # matches of a text in which secrets are hidden
LEVELS = 2  # of encodings within each other
_CLASSIFIED = View.TEXT, View.FOLDED, View.DECODED

Signs = dict[str, list[Range]]  # by name, the ranges of a text in which they were seen


class Scan:
    """The scan of one value.

    Attributes:
        lookup: the rules.
        source: the value.
        surface: the surface that the value is judged as.
        data: its text. Towards a client, escaped line ends and quotes of JSON are replaced in
            place (unicode.folding.soften).
        folded: the text folded.
        changed: the ranges of `folded` that differ from the text.
        unfolding: the way back from `folded`; None if nothing differs.
        signs: in the text.
        folded_signs: in the ranges that folding changed.
        to_classify: stretches for classifiers, each with the origin of its reading.
        extents: of the cuts that go with a match.
        tally: the findings so far.
        matches: the findings, located.
        has_undecoded: True if it has more encoded text than one message may have decoded.
        unread_passages: passages that a classifier should have read beyond its budget.
    """

    def __init__(
        self,
        lookup: RuleLookup,
        source: ScanInput,
        surface: Surface,
        budgets: Budgets,
        seen: FirstLook | None = None,
    ) -> None:
        self.lookup, self.source, self.surface = lookup, source, surface
        text = source.text
        self.json = seen.json if seen else JsonValues(text)
        self.data = self.json.data
        self.folded, self.changed, unfolding = fold_and_back(self.data)
        self.unfolding = unfolding if self.changed else None
        self.signs: Signs = {}
        self.folded_signs: Signs = {}
        self.to_classify: list[tuple[Selection, Origin]] = []
        self.extents = Extents(text)
        self.tally = Tally(
            budgets, by_string=source.keyed, each_is_cut=surface is Surface.TO_CLIENT
        )
        self.matches: list[Match] = []
        self.has_undecoded = False
        self.unread_passages: list[Match] = []
        self._budget, self._seen = budgets, seen
        self._values: dict[str, set[bytes]] = {}  # by rule, if it asks for several
        self._doubted: set[tuple[str, int]] = set()  # of the plain text: rule, first byte

    @cached_property
    def reader(self) -> Reader:
        """The reader of opened stretches, made for the few texts that need it."""
        reader = Reader(self.json.length, self._budget, self.source.file_kind)
        reader.rates_all = self.source.dropped is not None  # somebody asks why they do not count
        return reader

    def ranges(self, name: str) -> list[Range]:
        """The ranges of the text that contain a sign, folded or not."""
        return [*self.signs.get(name, ()), *self.folded_signs.get(name, ())]

    def result(self) -> ScanResult:
        """The result, once all readings are read."""
        with_several = {rule for rule, values in self._values.items() if len(values) > 1}
        matches = add_support(self.matches, with_several)
        return ScanResult(
            settled_cuts(self.source.text, list(without_repeats(matches))),
            has_undecoded=self._budget.is_exceeded or self.has_undecoded,
            is_unfinished=self.tally.is_exhausted,
            unread_passages=self.unread_passages,
            dropped=self.source.dropped,
        )

    def run_rules(
        self,
        data: bytes,
        view: View,
        origin: Origin,
        ranges: list[Range] | None = None,
        *,
        signs_matter: bool = True,
    ) -> Signs:
        """Run the rules over a reading, or over the ranges of it that are new.

        Args:
            data: the reading.
            view: its kind.
            origin: the way back from it.
            ranges: of it that are new; None for all of it.
            signs_matter: False if nothing is decoded or read on.

        Returns:
            The signs of encodings and of further readings.
        """
        signs: Signs = {}
        for low, high in blocks(len(data), ranges):
            if self.tally.is_exhausted:
                break
            end = look_end(data, high)
            is_cut = end > high  # a sign behind it is of the next block
            names, rules = self._look(data[low:end], view, signs=signs_matter and not is_cut)
            if is_cut and signs_matter:
                names, _ = self._look(data[low:high], view, rules=False)
            for name in names:
                extend(signs.setdefault(name, []), low, high)
            for rule in rules:
                if view in rule.views:
                    self._run_rule(rule, data, (low, high), view, origin)
        if view in _CLASSIFIED:
            whole = origin.parts.sections() if origin.parts else [(0, len(data))]
            for low, high in ranges or whole:
                self.note_for_classifiers(data, low, high, origin)
        return signs

    def _run_rule(self, rule: Rule, data: bytes, block: Range, view: View, origin: Origin) -> None:
        """Run a rule over a block with its pattern, but for the parts that it does not search."""
        low, high = block
        ranges = []
        if self.surface in rule.surfaces and may_apply(rule, self.source):
            is_all = view is View.ACTS
            ranges = [block] if is_all else origin.active_ranges(rule, low, high)
        for first, last in ranges:
            end = last + TAIL_BYTES if last == high else last
            found = self._confirm(rule, data, first, end, view)
            self._match(Candidate(rule, data, each, view, origin=origin) for each in found)
        if self.source.dropped is None:
            return
        for match in self.lookup.finder(rule, squeezed=False).finditer(data, low, high):
            if not any(first <= match.span[0] < last for first, last in ranges):
                note_drop(origin, rule, NOT_SEARCHED, data, match.secret)

    def _look(
        self, block: bytes, view: View, *, signs: bool = True, rules: bool = True
    ) -> SignsAndRules:
        """The signs in a block, and the rules that could match in it."""
        if view is View.SQUEEZED:
            return self.lookup.look_squeezed(block)
        if view is View.ACTS:
            over_acts = self.lookup.rules.over_acts
            return [], [over_acts[index] for index in self.lookup.acts.look(block)]
        if self._seen:
            text, joined = self._seen.texts
            if view is View.TEXT and block == text:
                return self.lookup.sort_hits(self._seen.hits)
            if view is View.JOINED and block == joined:
                return self.lookup.sort_hits(self._seen.joined_hits)
        asks = self.source.text.may_ask
        only = self.lookup.choose(view, self.surface, signs=signs, rules=rules, asks=asks)
        return ([], []) if only == () else self.lookup.look_plain(block, only)

    def decode(self, data: bytes, signs: Signs, origin: Origin, levels: int = LEVELS) -> None:
        """Run the rules over the encoded parts of a reading, and over encoded parts of those."""
        if not signs or not (stretches := decoders.decode(data, signs, self._budget)):
            return
        parts = DecodedParts(stretches, data)
        inner = Origin(self.source, "", whole=origin.whole, outer=origin, parts=parts)
        decoded = parts.data
        signs = self.run_rules(decoded, View.DECODED, inner, signs_matter=levels > 1)
        folded, changed, unfolding = fold_and_back(decoded)
        if changed:
            origin = Origin(self.source, "", outer=inner, unfolding=unfolding)
            self.run_rules(folded, View.DECODED, origin, changed, signs_matter=False)
        if levels > 1:
            self.decode(decoded, signs, inner, levels - 1)

    def find_private(self, data: bytes, without: str) -> list[tuple[int, int, Rule]]:
        """The secrets in a text but those of a rule: start, end, rule; after many, unrated."""
        rated = 0
        plain, spans = Origin(self.source, "text"), list[tuple[int, int, Rule]]()
        found = (
            (rule, self._confirm(rule, data, low, high + TAIL_BYTES, View.TEXT))
            for low, high in blocks(len(data))
            for rule in self.lookup.look_plain(data[low : look_end(data, high)])[1]
            if rule.is_private and rule.id != without
        )
        for rule, matches in found:
            for match in dict.fromkeys(matches):  # text after several of them once
                candidate = Candidate(rule, data, match, View.TEXT, origin=plain)
                rated += 1
                if rated > MOST_RATED or rate_by_checks(candidate).confidence is not None:
                    spans.append((*match.secret, rule))
        return spans

    def note_for_classifiers(self, data: bytes, low: int, high: int, origin: Origin) -> None:
        """Note the parts of a reading that could be an order to the model."""
        part = data[low:high]
        if self._seen and part == self._seen.texts[0]:
            stretches = self._seen.opened
        else:
            stretches = self.lookup.find_opened(part, self.surface)
        if stretches:
            moved = [Stretch(low + start, low + end, score) for start, end, score in stretches]
            selection = self.json.select(data, moved, origin)
            if data is self.data:
                selection = selection._replace(written=self.source.text.data)
            if self.surface is Surface.DEFINITIONS:
                value = self.source.text.value
                name = value.get("name") if isinstance(value, dict) else None
                selection = selection._replace(own_name=name if type(name) is str else "")
            self.to_classify.append((selection, origin))

    def _match(self, candidates: Iterable[Candidate]) -> None:
        """Rate and locate matches of one rule in a block, and note those that count."""
        tally = self.tally
        for candidate in tally.worth_rating(candidates, self._is_new):
            rule, origin, secret = candidate.rule, candidate.origin, candidate.secret
            rated, is_sample = self._rate(candidate)
            if rated.confidence is None:
                note_drop(origin, rule, rated, candidate.data, candidate.span)
                continue
            if not is_sample and self._adds_nothing(candidate, rated.confidence):
                continue
            match = locate_match(origin, rule, rated, candidate.data, candidate.span)
            if match is None:
                continue
            words = self.counting_words(rule, match.confidence, candidate.match, origin)
            if (key := tally.match_key(match, words)) is None:
                continue
            if rule.several and not is_sample:
                self._values.setdefault(rule.id, set()).add(without_separators(secret))
            if tally.admits(rule, key, self.source.place_of(match.path), match.confidence):
                span = candidate.span
                match = match._replace(
                    path=without_secret(rule, match.path, secret),
                    is_sample=is_sample,
                    cuts=() if rule.is_private else self.extents.of(origin, span, is_order=True),
                )
                self.matches.append(match)
                tally.report(len(match.paths))
            if tally.is_exhausted:
                return

    def _rate(self, candidate: Candidate) -> tuple[Rating, bool]:
        """Rate a match in its reading; True if it counts only as a published sample."""
        rule, span, origin = candidate.rule, candidate.span, candidate.origin
        candidate.may_doubt = self._doubts
        candidate.within = self.json.around(*span, origin) if rule.quoted else None
        rated = rate_candidate(candidate)
        is_doubted = any(words == DOUBTED for words, *_ in rated.steps)
        if candidate.view is View.TEXT and is_doubted:
            self._doubted.add((rule.id, origin.trace(*span)[1]))
        if rated.confidence is not None or not rule.is_private:
            return rated, False
        if not self.source.keyed or self.source.uses.is_of_file:
            return rated, False  # a sample may leave only in a call that writes no file
        sample = rate_candidate(candidate.as_sample())
        so_far = self.tally.confidence_so_far(rule, candidate.match.words)
        so_far = max(so_far, self._confidence_there(candidate))
        if sample.confidence is None or sample.confidence <= so_far:
            return rated, False
        return sample, True

    def _is_new(self, candidate: Candidate) -> bool:
        """False for a match of the plain text, and for a secret that was found in its string."""
        rule, span, origin = candidate.rule, candidate.span, candidate.origin
        if self._doubted and (rule.id, origin.trace(*span)[1]) in self._doubted:
            return False
        return origin.is_new(rule, *span) and self._confidence_there(candidate) < Confidence.HIGH

    def _confidence_there(self, candidate: Candidate) -> int:
        """The confidence of a finding of the same secret in its string; -1 without one."""
        rule, words, origin = candidate.rule, candidate.match.words, candidate.origin
        if not (rule.is_private and (rule.id, words) in self.tally.in_one_string):
            return -1
        if origin.outermost.chain == "squeezed":
            return Confidence.HIGH  # not reported again for a row of several strings
        if origin.outermost.locate is not None:
            return -1
        path = self.source.text.find_path(origin.trace(*candidate.span)[1])
        return self.tally.confidence_so_far(rule, words + path_key(path))

    def _adds_nothing(self, candidate: Candidate, confidence: Confidence) -> bool:
        """True for a match that adds nothing to the findings."""
        rule, origin, is_decoded = candidate.rule, candidate.origin, candidate.view is View.DECODED
        words = self.counting_words(rule, confidence, candidate.match, origin)
        if confidence <= self.tally.confidence_so_far(rule, words):
            return True
        if is_decoded and is_invisible(origin.trace(*candidate.span)[0]):
            return False  # it may become more sure
        return confidence <= self._confidence_there(candidate) or (
            not is_decoded and self.tally.has_enough(rule, confidence)
        )

    def counting_words(
        self, rule: Rule, confidence: Confidence, match: Occurrence, origin: Origin
    ) -> bytes:
        """The words by which a match is counted; with its place if each such match is cut out."""
        if not self.tally.cuts_each(rule) or confidence is not Confidence.HIGH:
            return match.words
        return b"%b\n%d" % (match.words, origin.trace(*match.span)[1])

    def _doubts(self, candidate: Candidate, span: Range, kind: Doubt) -> bool:
        """True if a classifier takes a match of a pattern for no order, to this degree."""
        if kind is Doubt.GRAVEST and self.surface is not Surface.TO_CLIENT:
            return False  # a definition is written for the model
        data, within, classifier = candidate.data, candidate.within, self.lookup.classifier
        return any(
            self.reader.doubts(data, span, classifier(other), within, kind=kind)
            for other in self.lookup.rules.with_classifier
            if self.surface in other.surfaces
        )

    def _confirm(
        self, rule: Rule, data: bytes, low: int, high: int, view: View
    ) -> Iterator[Occurrence]:
        """The matches of a rule's own expression in a block with its pattern.

        If the rule asks for several values, each match with the unnamed values that follow it.
        """
        high = min(len(data), high)
        if not self.tally.spend(high - low):
            return
        finder = self.lookup.finder(rule, squeezed=view is View.SQUEEZED)
        if not rule.several:
            yield from finder.finditer(data, low, high)
            return
        value = Finder(secret_group(rule.pattern), ignore_case=rule.ignore_case, whole_words=True)
        for match in finder.finditer(data, low, high):
            yield match
            end = match.span[1]
            self.tally.spend(FOLLOWING_BYTES)
            yield from value.finditer(data, end, min(len(data), end + FOLLOWING_BYTES))

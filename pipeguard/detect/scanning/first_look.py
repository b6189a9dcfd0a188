"""The first look at a short text: one pass over it, which shows that most texts contain nothing.

If the pass finds signs of encodings, the decoded text is looked at here too: usually nothing is
encoded, as in the long words and the escaped line ends of documentation. If it finds a few rules
that could match, their own expressions are run; if it finds that arguments could do something, they
are examined. Any text still in doubt is read in all ways (detect.scanning.readings).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import copy
from functools import partial
from itertools import chain, islice, pairwise
from typing import Self

from pipeguard.detect.matching.confirm import Finder
from pipeguard.detect.matching.pattern_set import PatternSet
from pipeguard.detect.model.cascade import Reader, Selection
from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.opener import Opener, Stretch
from pipeguard.detect.rules.rule import Rule, View, Written
from pipeguard.detect.scanning import extents, facts, rating, rule_groups
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan_budget import Dropped, ScanInput
from pipeguard.detect.text import decoders, split_literals
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.text.windowing import BLOCK_BYTES, OVERLAP_BYTES, TAIL_BYTES, blocks, look_end
from pipeguard.firewall.budgets import Budgets, DecodingBudget
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import message, strict_json
from pipeguard.firewall.protocol.places import Surface
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range, fold, squeeze

SPACED_OUT = frozenset({"spelled", "run-together"})  # the first is also the sign of an encoding
LITERALS = "literals"
_SIGNS_TO_CLIENT = frozenset(decoders.ENCODINGS) | SPACED_OUT
# `windows` means something only next to `acts`.
_SIGNS_TO_SERVER = _SIGNS_TO_CLIENT | {LITERALS, "windows", "acts"}
_UNDECODED = {View.TEXT, View.JOINED}  # folded text is looked at separately
_JSON_LINE = lazy_regex(rb"(?m)^[ \t\v\f\r]*[\[{\"]")
GAP = b"\n\xff\n"  # between texts looked at together: a byte that no text has, and line ends
FEW_RULES = 8  # that could match in a text, and are run on it
FEW_VALUES = 64  # that are read whole, concatenated: of more, some fit together by chance
FEW_MATCHES = 8  # of one rule, that are rated
FEW_SEARCHES = 32  # of as many bytes as the text has
LOOK_NS = 500_000  # of decoding, plus the share of each byte; beyond that, all is read

SignsAndRules = tuple[list[str], list[Rule]]


class FirstLook(NamedTuple):
    """The result of one pass over a short text, shared by all readings of the same bytes.

    Attributes:
        texts: the text of the first reading (`Scan.data`), and its strings joined, if any rules
            apply to those.
        keys: its keys joined, in the same case.
        hits: indices of the patterns that could match in the text.
        joined_hits: indices of those that could match in its joined strings or keys.
        opened: the stretches of the text that a classifier should read.
        json: the strings of JSON in it.
    """

    texts: tuple[bytes, bytes]
    keys: bytes
    hits: list[int]
    joined_hits: list[int]
    opened: list[Stretch]
    json: extents.JsonValues


class Look(NamedTuple):
    """One engine's look at a value.

    Attributes:
        surface: the surface that the value is judged as.
        text: its strings.
        seen: the first look at them; None in a long text.
        is_silent: True if no rule could match in any reading, as in most texts.
    """

    surface: Surface
    text: MessageText
    seen: FirstLook | None
    is_silent: bool


def first_look(
    lookup: RuleLookup, text: MessageText, surface: Surface, before: FirstLook | None = None
) -> FirstLook | None:
    """Find possible matches in a short text and its joined strings; None for any other text.

    Args:
        lookup: the rules.
        text: of a value.
        surface: the surface that the value is judged as.
        before: another engine's look at the same text; it has the same signs.
    """
    if len(text.data) > BLOCK_BYTES or lookup.dropped is not None:
        return None
    values = extents.JsonValues(text) if before is None else before.json
    others = None if before is None else before.hits
    joined, keys = b"", b""
    if lookup.choose(View.JOINED, surface, signs=False) != ():
        joined, keys = text.join_values() if text.is_several else b"", text.joined_keys()
    # Of the joined strings, the parts around their ends: the rest is searched in each string.
    is_around = len(joined) <= OVERLAP_BYTES  # all of it is around each seam
    ranges = [(0, len(joined))] if is_around else blocks(len(joined), seam_ranges(text))
    # One pass over all. A hit across the gap costs a full scan, which does not confirm it.
    pieces = (joined[low : look_end(joined, high)] for low, high in ranges)
    parts = GAP.join(filter(None, (*pieces, keys)))
    seen = glance(lookup, (values.data, parts, surface, text.may_ask), others)
    return FirstLook((values.data, joined), keys, *seen, values)


Question = tuple[bytes, bytes, Surface, bool]
# Of `FirstLook`: `hits`, `joined_hits` and `opened`.
Glance = tuple[list[int], list[int], list[Stretch]]


def glance(lookup: RuleLookup, question: Question, others: Iterable[int] | None = None) -> Glance:
    """Find possible matches in a text.

    The last answer is cached: a plain message with possible matches is then read in full.

    Args:
        lookup: the rules.
        question: the text; its strings joined, if something could be split over them, and its
            keys; its surface; False if it asks nothing (`MessageText.may_ask`).
        others: another engine's hits in the text, with its signs; None if there is none.
    """
    if lookup.glanced is not None and lookup.glanced[0] == question:
        return lookup.glanced[1]
    data, parts, surface, asks = question
    chosen = lookup.choose(View.TEXT, surface, signs=others is None, asks=asks)
    hits = lookup.plain.look(data, chosen)
    if others is not None:
        hits = [*{*hits, *(index for index in others if index < len(lookup.signs))}]
    joined_hits = []
    if parts and (chosen := lookup.choose(View.JOINED, surface, signs=False, asks=asks)) != ():
        joined_hits = lookup.plain.look(parts, chosen)
    opened = lookup.find_opened(data, surface)
    lookup.glanced = question, (hits, joined_hits, opened)
    return hits, joined_hits, opened


def seam_ranges(text: MessageText) -> list[Range]:
    """The ranges of the joined strings in which text split over several could begin."""
    if not text.is_several:
        return []
    seams = [*text.seams()]
    apart = TAIL_BYTES + 2 * OVERLAP_BYTES
    far = [(before, after) for before, after in pairwise(seams) if after - before > apart]
    firsts = [seams[0], *(after for _, after in far)]
    lasts = [*(before for before, _ in far), seams[-1]]
    # A long passage begins long before a seam.
    return [(max(0, first - TAIL_BYTES), last) for first, last in zip(firsts, lasts, strict=True)]


def is_plainly_clean(
    lookup: RuleLookup, source: ScanInput, surface: Surface, seen: FirstLook
) -> bool:
    """True for a text without matching rules or meaningful signs, as most texts are.

    A classifier may still have to read its opened stretches.

    Args:
        lookup: the rules.
        source: the value that has the text.
        surface: the surface that it is judged as.
        seen: the first look at it.
    """
    return are_idle(
        lookup,
        (seen.texts[0], surface, {*seen.hits, *seen.joined_hits}),
        lambda rules: _matches(lookup, source, seen, rules),
        lambda windows: _find_acts(source, windows=windows),
    ) and is_silent(lookup, source.text, seen, surface)


def are_idle(
    lookup: RuleLookup,
    question: tuple[bytes, Surface, Collection[int]],
    matches: Callable[[list[Rule]], bool],
    find_acts: Callable[[bool], bytes | None],
) -> bool:
    """True if no possible match is real, and no sign means anything.

    Args:
        lookup: the rules.
        question: a text; its surface; the patterns that could match in it.
        matches: True if some rules match, or if there are too many to tell.
        find_acts: returns the lines for the effects of the arguments; None if there are too many.
            Its argument is True if they have anything for PowerShell or cmd.
    """
    data, surface, hits = question
    if not hits:
        return True
    signs, rules = lookup.sort_hits(hits)
    rules = [rule for rule in rules if surface in rule.surfaces and rule.views & _UNDECODED]
    if not (_SIGNS_TO_SERVER if lookup.keyed else _SIGNS_TO_CLIENT).issuperset(signs):
        return False
    if rules and matches(rules):
        return False
    if "acts" in signs and surface is Surface.TO_SERVER:  # only calls have effects
        lines = find_acts("windows" in signs)
        if lines is None or len(lines) > BLOCK_BYTES or (lines and lookup.acts.look(lines)):
            return False
    return not signs or _mean_nothing(lookup, data, signs, surface)


def may_order(lookup: RuleLookup, selection: Selection, surface: Surface, length: int) -> bool:
    """True if a network should read some stretches; a length below the true one is safe."""
    reader = Reader(length, Budgets(len(selection.data)))
    return any(
        reader.read([selection], lookup.classifier(rule)) or reader.unread
        for rule in lookup.rules.with_classifier
        if surface in rule.surfaces
    )


def is_silent(lookup: RuleLookup, text: MessageText, seen: FirstLook, surface: Surface) -> bool:
    """True if no rule could match in any further reading of a text."""
    data, joined = seen.texts
    texts = data, joined or (text.join_values() if text.is_keyed else b"")
    return reads_clean(lookup, texts, surface, is_several=text.is_several)


def reads_clean(
    lookup: RuleLookup, texts: tuple[bytes, bytes], surface: Surface, *, is_several: bool
) -> bool:
    """True if no rule could match in a folded text, nor in its strings without spaces."""
    data, joined = texts
    if not data.isascii():
        folded, changed = fold(data)
        if changed and not _has_nothing(lookup, folded, surface):
            return False
    if not lookup.keyed:
        return True
    joined, _ = fold(joined)
    squeezed = squeeze(joined, words=False)
    is_new = is_several or len(squeezed) != len(joined)
    return not (is_new and lookup.squeezed.look(squeezed))


def _matches(lookup: RuleLookup, source: ScanInput, seen: FirstLook, rules: Iterable[Rule]) -> bool:
    """True if some rules match in the texts looked at, or if there are too many to tell.

    Each rule is searched for in the same places as in a full scan (`Scan.run_rules`), and its
    matches in the text are rated by the same checks.
    """
    if not (rules := [rule for rule in rules if facts.may_apply(rule, source)]):
        return False
    data, joined = seen.texts
    parts = [part for part in (joined, seen.keys) if part]
    cost_bytes = len(rules) * sum(map(len, (data, *parts)))
    if len(rules) > FEW_RULES or cost_bytes > FEW_SEARCHES * len(data):
        return True
    if joined and source.text.count > FEW_VALUES and not source.keyed:
        return True  # other parts of them are read together
    origin = Origin(source, "text")
    return any(
        _matches_in_text(lookup, rule, data, origin)
        or any(any(lookup.finder(rule, squeezed=False).finditer(p, 0, len(p))) for p in parts)
        for rule in rules
    )


def _matches_in_text(lookup: RuleLookup, rule: Rule, data: bytes, origin: Origin) -> bool:
    """True if a match of a rule in the text counts, or if there are too many to tell."""
    find = lookup.finder(rule, squeezed=False).finditer
    ranges = origin.active_ranges(rule, 0, len(data))
    found = chain.from_iterable(find(data, low, high) for low, high in ranges)
    if rule.several:
        return any(found)  # the text after a match counts, too
    matches = (facts.Candidate(rule, data, match, View.TEXT, origin=origin) for match in found)
    rated = islice(matches, FEW_MATCHES + 1)
    return any(n == FEW_MATCHES or rating.counts_by_checks(m) for n, m in enumerate(rated))


def _find_acts(source: ScanInput, *, windows: bool) -> bytes | None:
    """The lines for the effects of a call's arguments; None if there are too many."""
    from pipeguard.detect.commands.effects import find_effects  # here, since it costs a start 11 ms

    effects, is_over = find_effects(source.uses, windows=windows)
    if is_over or any(effect.composed for effect in effects):
        return None
    return b"\n".join(effect.data for effect in effects)


def _mean_nothing(lookup: RuleLookup, data: bytes, signs: list[str], surface: Surface) -> bool:
    """True if the decoded text has no pattern, and nothing to decode again."""
    # A budget of its own: a failed try costs nothing. It is small, and many texts cost little.
    budget = DecodingBudget(len(data), LOOK_NS)
    stretches = decoders.decode(data, {sign: [(0, len(data))] for sign in signs}, budget)
    if budget.is_exceeded:
        return False
    if stretches:
        decoded = decoders.DecodedParts(stretches, data).data
        if not (decoded.isascii() and _has_nothing(lookup, decoded, surface)):
            return False
    squeezed = []
    if lookup.keyed and LITERALS in signs:
        literals = split_literals.joined_literals(data, 0, len(data))
        joined = (b"".join([data[low:high] for low, high in kept]) for kept, _ in literals)
        squeezed = [squeeze(each, words=False) for each in joined]
    elif not lookup.keyed and lookup.squeezed.count and not SPACED_OUT.isdisjoint(signs):
        squeezed = [squeeze(fold(data)[0], words=True)]
    return not any(map(lookup.squeezed.look, squeezed))


def _has_nothing(lookup: RuleLookup, data: bytes, surface: Surface) -> bool:
    return not lookup.plain.look(data) and not lookup.find_opened(data, surface)


# --- rule lookup ------------------------------------------------------------------------
# Which rules and signs could match in a block of text, and what confirms a match.


class RuleLookup:
    """The rules of one engine, ready to run. One thread at a time may use it.

    Attributes:
        rules: the rules.
        keyed: True if texts are read as `key: value`.
        plain: patterns for texts with their spaces: signs first, then rules.
        squeezed: patterns for texts without spaces, in the same order.
        acts: patterns for the lines about the effects of arguments.
        opener: finds the stretches for a classifier; None if no rule has a classifier.
        glanced: the last question to `glance`, and its answer.
        dropped: gets the matches that do not count, if somebody asks: then all is read.
    """

    dropped: Dropped | None = None

    def __init__(
        self,
        rules: rule_groups.EngineRules,
        patterns: tuple[PatternSet, PatternSet, PatternSet, Opener | None],
        signs: tuple[Sequence[str], Sequence[str]],
        load_classifier: Callable[[Rule], Classifier],
    ) -> None:
        """Store the rules and their compiled patterns.

        Args:
            rules: the rules.
            patterns: `plain`, `squeezed`, `acts` and `opener`.
            signs: the names of the signs in `plain` and in `squeezed`, in their order there.
            load_classifier: reads the classifier of a rule.
        """
        self.rules = rules
        self.keyed = rules.engine is Surface.TO_SERVER
        self.plain, self.squeezed, self.acts, self.opener = patterns
        self.signs, self._squeezed_signs = signs
        self._load_classifier = load_classifier
        self._classifiers: dict[str, Classifier] = {}
        self._finders: dict[tuple[str, bool], Finder] = {}
        self._chosen: dict[tuple[object, ...], tuple[int, ...]] = {}
        self.glanced: tuple[Question, Glance] | None = None

    def clone(self, dropped: Dropped | None = None) -> Self:
        """Clone the rules for another thread."""
        other = copy(self)
        other.dropped = dropped or self.dropped
        other.plain, other.squeezed = self.plain.share(), self.squeezed.share()
        other.acts, other.glanced = self.acts.share(), None
        return other

    def look_plain(self, data: bytes, only: Iterable[int] | None = None) -> SignsAndRules:
        """The signs in a block, and the rules that could match in it.

        Args:
            data: the block.
            only: the databases of `plain` that matter, from `choose`; None for all.
        """
        return self.sort_hits(self.plain.look(data, only))

    def choose(
        self,
        view: View,
        surface: Surface,
        *,
        signs: bool = True,
        rules: bool = True,
        asks: bool = True,
    ) -> tuple[int, ...] | None:
        """Choose the databases of `plain` for a reading; None for all, while rules are unread.

        The first are those of signs; each other one has a group of rules.

        Args:
            view: the kind of the reading.
            surface: the surface that it is judged as.
            signs: False if nothing is decoded or read on.
            rules: False if only signs matter.
            asks: False if it asks a client nothing (`MessageText.may_ask`).
        """
        key = view, surface, signs, rules, asks
        chosen = self._chosen.get(key)
        if chosen is None and self.rules.are_read:
            groups = [*filter(None, rule_groups.in_groups(self.rules.all))]
            first = self.plain.count - len(groups)
            numbers = [*range(first)] if signs else []
            for number, group in enumerate(groups if rules else (), first):
                if any(
                    view in rule.views and surface in rule.surfaces
                    for rule in group
                    if asks or not rule.is_for_asking
                ):
                    numbers.append(number)
            chosen = self._chosen[key] = tuple(numbers)
        return chosen

    def sort_hits(self, hits: Iterable[int]) -> SignsAndRules:
        """The signs and the rules of patterns of `plain`."""
        signs, numbers = _sort(hits, self.signs)
        return signs, [self.rules.plain[number] for number in numbers]

    def look_squeezed(self, data: bytes) -> SignsAndRules:
        """The signs in a block without spaces, and the rules that could match in it."""
        signs, numbers = _sort(self.squeezed.look(data), self._squeezed_signs)
        return signs, [self.rules.squeezed_rules[number] for number in numbers]

    def find_opened(self, data: bytes, surface: Surface) -> list[Stretch]:
        """The stretches of a text that a classifier should read, if one reads this surface."""
        rules = self.rules
        is_read = not rules.are_read or any(surface in r.surfaces for r in rules.with_classifier)
        return self.opener.stretches(data) if self.opener is not None and is_read else []

    def finder(self, rule: Rule, *, squeezed: bool) -> Finder:
        """The finder of the rule's own expression."""
        key = rule.id, squeezed
        if key not in self._finders:
            pattern = rule_groups.squeezed_pattern(rule)[0] if squeezed else rule.pattern
            self._finders[key] = Finder(pattern, ignore_case=rule.ignore_case)
        return self._finders[key]

    def classifier(self, rule: Rule) -> Classifier:
        """The classifier of a rule.

        Raises:
            EngineError: the file is not the one that the rule names, or not a classifier.
        """
        classifier = self._classifiers.get(rule.id)
        if classifier is None:
            classifier = self._classifiers[rule.id] = self._load_classifier(rule)
        return classifier


def _sort(hits: Iterable[int], signs: Sequence[str]) -> tuple[list[str], list[int]]:
    """The signs among patterns, and the numbers of the rules that follow them."""
    count, in_order = len(signs), sorted(hits)
    names = [signs[index] for index in in_order if index < count]
    return names, [index - count for index in in_order if index >= count]


def finds_nothing(lookup: RuleLookup, surface: Surface, outline: message.PlainOutline) -> bool:
    """True if a single look shows that no rule of an engine matches, however the text is read.

    Raises:
        EngineError: the engine failed.
    """
    if lookup.dropped is not None:
        return False
    data, joined, seam = outline.data, outline.joined, outline.seam
    parts = b"" if seam < 0 else joined[: look_end(joined, seam + OVERLAP_BYTES)]  # as `first_look`
    hits, joined_hits, opened = glance(lookup, (data, parts, surface, False))
    if joined_hits or (opened and _JSON_LINE.search(data)):
        return False
    question, matches = (data, surface, hits), partial(_may_match, lookup, (data, joined))
    if hits and not are_idle(lookup, question, matches, partial(_find_outlined_acts, outline)):
        return False
    if not reads_clean(lookup, (data, joined), surface, is_several=seam >= 0):
        return False
    length = len(data) if seam < 0 else 0  # several may be repeated
    return not (opened and may_order(lookup, Selection(data, opened), surface, length))


def _may_match(lookup: RuleLookup, texts: tuple[bytes, bytes], rules: list[Rule]) -> bool:
    """False if the expression of no rule matches in any of the texts."""
    is_much = len(rules) > FEW_RULES or texts[0].count(b"\n") > FEW_VALUES
    return is_much or any(
        rule.written is not Written.KEEP  # it is not searched for everywhere
        or any(lookup.finder(rule, squeezed=False).finditer(text, 0, len(text)))
        for rule in rules
        for text in texts
    )


def _find_outlined_acts(outline: message.PlainOutline, windows: bool) -> bytes | None:  # noqa: FBT001  a callback
    """The lines for the effects of arguments; None if they have to be read together."""
    from pipeguard.detect.commands.effects import flat_effects

    arguments, _ = strict_json.read_json(outline.arguments) if outline.arguments else ({}, b"")
    if not isinstance(arguments, dict):
        return None
    return flat_effects(outline.tool, arguments, len(outline.data), windows=windows)

"""The work left for one text, and the matches of it that are worth a finding.

A text that is made to be slow is refused, and not searched to its end. A rule reports the same
words once, and has a limited number of findings, counted by confidence and by place, so that
doubtful ones never use up the room for a sure one elsewhere. Knows rules, and no texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Protocol, TypeVar

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import AROUND_BYTES, AROUND_CHECK, NAME_CHECK, run
from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model import cascade, data_literals
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Confidence, Finding, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.records import NamedTuple

MAX_REPEATED = 32  # matches in one block that repeat a sure finding
MAX_CUTS = 256  # of a message; one with more is blocked
MORE_THAN_CUT = MAX_CUTS + 1  # sure matches of one rule


class _Candidate(Protocol):
    """A match of a rule in a reading."""

    rule: Rule
    match: Occurrence


_Found = TypeVar("_Found", bound=_Candidate)


class Tally:
    """The findings of the rules in one text so far.

    Attributes:
        is_exhausted: True if searching the rest would take too long, or if there are more secrets
            than can be redacted.
    """

    def __init__(
        self, budgets: Budgets, *, by_string: bool = False, each_is_cut: bool = False
    ) -> None:
        """Start with no findings.

        Args:
            budgets: the work that judging the message may still cost.
            by_string: report a secret in each string that contains it, because it may be allowed
                in one of them.
            each_is_cut: report each sure match of a rule, because each is cut out of the text.
        """
        self._budgets, self._by_string, self._each_is_cut = budgets, by_string, each_is_cut
        self.in_one_string: set[tuple[str, bytes]] = set()  # whole secrets, by rule
        self._confidences: dict[tuple[str, bytes], Confidence] = {}  # by rule and words
        self._counts: Counter[tuple[str, str, Confidence]] = Counter()  # by rule and place
        self._full: set[tuple[str, Confidence]] = set()
        self._sure: set[str] = set()  # rules whose finding blocks the message
        self.is_exhausted = False

    def spend(self, cost_bytes: int) -> bool:
        """Charge for this many searched bytes; False if the budget is exhausted."""
        return self._may_continue(is_paid=self._budgets.scan(cost_bytes))

    def _may_continue(self, *, is_paid: bool) -> bool:
        self.is_exhausted = self.is_exhausted or not is_paid
        return not self.is_exhausted

    def report(self, pieces: int) -> None:
        """Charge for a reported match, with its pieces in this many strings."""
        self._may_continue(is_paid=self._budgets.report(pieces))

    def worth_rating(
        self, candidates: Iterable[_Found], is_new: Callable[[_Found], bool]
    ) -> Iterator[_Found]:
        """The matches of one rule in a block that may add something to the findings.

        Args:
            candidates: the matches.
            is_new: False for a match that is or was found elsewhere.
        """
        repeated, budgets = 0, self._budgets
        for found in candidates:
            rule = found.rule
            is_paid = self._may_continue(is_paid=budgets.find())
            if not is_paid or self.has_enough(rule, Confidence.HIGH):
                return
            if self.confidence_so_far(rule, found.match.words) < Confidence.HIGH:
                if not is_new(found):
                    continue
                if not self._may_continue(is_paid=budgets.rate(reads_around=rule.quoted)):
                    return
                yield found
            elif rule.id in self._sure:
                repeated += 1
                if repeated >= MAX_REPEATED:
                    return  # the rest of the block repeats it, too

    def cuts_each(self, rule: Rule) -> bool:
        """True if each sure match of a rule is cut out, even if its words were found before."""
        return self._each_is_cut and not rule.is_private

    def confidence_so_far(self, rule: Rule, words: bytes) -> int:
        """The highest confidence of a finding of these words; -1 without one."""
        return self._confidences.get((rule.id, words), -1)

    def match_key(self, match: Match, words: bytes) -> bytes | None:
        """The key of a located match for `admits`; None if it adds nothing.

        A secret that one string contains whole is not reported again for a row of several strings.
        """
        rule = match.rule
        key = words
        if self._by_string and rule.is_private:
            key += path_key(match.path)
            if not match.view.startswith("squeezed"):
                self.in_one_string.add((rule.id, words))
            elif (rule.id, words) in self.in_one_string:
                return None
        return key if match.confidence > self.confidence_so_far(rule, key) else None

    def admits(self, rule: Rule, words: bytes, place: str, confidence: Confidence) -> bool:
        """Note a match; False if the rule has enough findings of this confidence there."""
        self._confidences[rule.id, words] = confidence
        key = rule.id, place, confidence
        is_cut = confidence is Confidence.HIGH and self.cuts_each(rule)
        if self._counts[key] >= (MORE_THAN_CUT if is_cut else max_findings(rule)):
            if confidence is Confidence.HIGH and not is_cut:
                # Each secret has to be redacted; for anything else the first blocks the message.
                self.is_exhausted = self.is_exhausted or rule.is_private
            else:
                self._full.add((rule.id, confidence))
            return False
        self._counts[key] += 1
        if confidence is Confidence.HIGH and not rule.is_private and rule.severity >= Severity.HIGH:
            self._sure.add(rule.id)
        return True

    def has_enough(self, rule: Rule, confidence: Confidence) -> bool:
        """True if a match of at most this confidence need not be located."""
        return (rule.id, confidence) in self._full


@lru_cache(16)  # many matches have the same path, whose names may be long
def path_key(path: Path) -> bytes:
    """A key that distinguishes the words of a secret in one string from those in others."""
    return sha256(repr(path).encode("utf-8", "surrogatepass")).digest()


# --- match ------------------------------------------------------------------------------
# The match of an expression: the place of the secret in it, and the outcomes of its checks.

# Findings of a rule in places of one kind, for each confidence.
MAX_MATCHES_PER_RULE = 8  # more would add nothing
MAX_PRIVATE_PER_RULE = 256  # of secrets, each of which is redacted


def max_findings(rule: Rule) -> int:
    """The limit of a rule's findings in one text, by kind of place and confidence."""
    return MAX_PRIVATE_PER_RULE if rule.is_private else MAX_MATCHES_PER_RULE


def run_check(check: str, data: bytes, match: Occurrence, secret: bytes) -> Outcome:
    """Run a check on a secret, or on its name or surroundings if the check needs these."""
    if check.startswith(NAME_CHECK):
        # The whole name before the secret, even if the match begins in the middle of it.
        start = match.span[0]
        before = _NAME_END.search(data, max(0, start - NAME_BYTES), start)
        return run(check, data[before.start() if before else start : match.secret[0]])
    if check.startswith(AROUND_CHECK):
        low, high = max(0, match.span[0] - AROUND_BYTES), match.span[1] + AROUND_BYTES
        return _run_around(check, match.words + AROUND + data[low:high])
    return run(check, secret)


@lru_cache(4)  # a match is rated as a secret, and then as a sample
def _run_around(check: str, around: bytes) -> Outcome:
    return run(check, around)


def without_separators(number: bytes) -> bytes:
    """A number without the separators of its groups."""
    return re.sub(rb"[ .\-/]", b"", number).upper()


NAME_BYTES = 64
_NAME_END = lazy_regex(rb"[A-Za-z0-9_.$-]+\Z")


# --- scan input -------------------------------------------------------------------------
# The input of an engine: the text of one value, the places in it, and its strings' purposes.

PlaceOf = Callable[[Path], str]  # names the place of a path below the value


class ScanInput(NamedTuple):
    """One value to scan.

    Attributes:
        text: the strings of the value.
        place_of: names the place of a path below the value.
        keyed: True if it goes to a server.
        uses: the purposes of its strings.
        call: the call, if the value is its result.
        dropped: gets the matches that do not count, if somebody asks why.
    """

    text: MessageText
    place_of: PlaceOf
    keyed: bool
    uses: Uses
    call: Targets = NO_CALL
    dropped: Dropped | None = None

    def file_kind(self) -> data_literals.FileKind:
        """The kind of the files that it was read from, by their names."""
        return data_literals.FileKind(self.call.facts.file_kind)

    def asks_the_user(self, surface: Surface) -> bool:
        """True if a client shows some of it to the user (MCP client/elicitation)."""
        if surface is Surface.DEFINITIONS or not self.text.may_ask:
            return False  # decided before a path is computed
        return any(self.place_of(path).startswith("elicitation.") for path in self.text.paths)


# --- scan result ------------------------------------------------------------------------
# The result of a scan of one value: matches, and passages that were left unread.


class StringSpan(NamedTuple):
    """A part of a string.

    Attributes:
        path: of the string, from the scanned value down.
        start: of the first character.
        end: after the last character.
    """

    path: Path
    start: int
    end: int


class Match(NamedTuple):
    """A match of a rule, located in a string.

    Attributes:
        rule: the rule.
        confidence: after its checks.
        view: the chain of readings, as `text` or `base64>folded`.
        path: of the string that contains the match, from the scanned value down.
        start: where the match begins in that string, in code points.
        end: after its last character.
        exact: True if the span is the match itself, not the whole encoded stretch around it.
        paths: of all strings that contain parts of the match, if there are several.
        excerpt: masked.
        is_sample: True for a secret that documentation prints, or that is evidently made up: it
            counts only if it leaves (detect.flows.way_out).
        cuts: for an order that a classifier found in plain sight, the parts to cut out.
        secret: as in the reading; empty for a rule that finds none.
        steps: that led to its confidence (detect.scanning.rating).
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
    is_sample: bool = False
    cuts: tuple[StringSpan, ...] = ()
    secret: bytes = b""
    steps: cascade.Steps = ()

    def took(self, *words: str) -> bool:
        """True if one of these steps changed its confidence."""
        return any(step in words for step, *_ in self.steps)


class Dropped:
    """The matches that do not count, for somebody who asks why.

    Attributes:
        matches: in the value that is judged now; the last step of each dropped it.
        findings: of all such matches in earlier values.
    """

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.findings: list[Finding] = []


class ScanResult(NamedTuple):
    """The result of a scan of one value.

    Attributes:
        matches: of the rules.
        has_undecoded: True if it has more encoded text than one message may have decoded.
        is_unfinished: True if the text is made so that scanning all of it would take too long.
        unread_passages: passages left unread, beyond the message's classifier budget.
        dropped: gets the matches that do not count, if somebody asks why.
    """

    matches: list[Match]
    has_undecoded: bool
    is_unfinished: bool
    unread_passages: list[Match]
    dropped: Dropped | None = None


NOTHING_FOUND = ScanResult([], has_undecoded=False, is_unfinished=False, unread_passages=[])


def without_repeats(matches: Sequence[Match]) -> Iterator[Match]:
    """The matches, without secrets that the same rule found exactly in another reading.

    An inexact match redacts the whole string.
    """
    exact: dict[tuple[str, Path], list[Match]] = {}
    for match in matches:
        if match.exact and match.rule.is_private:
            exact.setdefault((match.rule.id, match.path), []).append(match)
    for match in matches:
        others = () if match.exact else exact.get((match.rule.id, match.path), ())
        if not any(
            other.start <= match.start
            and match.end <= other.end
            and other.confidence >= match.confidence
            for other in others
        ):
            yield match

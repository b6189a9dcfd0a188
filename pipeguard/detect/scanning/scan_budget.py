"""The work left for one text, and the matches of it that are worth a finding.

A text that is made to be slow is not searched to its end, and is refused. A rule reports the same
words once, and only so many findings; these are counted by confidence and by place, so that
doubtful ones never use up what a sure one elsewhere needs. Knows rules, and no texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import AROUND_BYTES, AROUND_CHECK, NAME_CHECK, run
from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.context import preceding_name
from pipeguard.detect.scanning.scan_result import Match
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.protocol.json_values import Path

MAX_REPEATED = 32  # matches in one block that repeat a sure finding
MORE_THAN_CUT = 257  # sure matches of one rule: more passages than are cut out of a message


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
            budgets: what judging the message may still cost.
            by_string: report a secret in each string that contains it, since it may be allowed
                in one of them.
            each_is_cut: report each sure match of a rule, since each is cut out of the text.
        """
        self._budgets = budgets
        self._by_string = by_string
        self._each_is_cut = each_is_cut
        self._in_one_string: set[tuple[str, bytes]] = set()  # secrets, by rule
        self._confidences: dict[tuple[str, bytes], Confidence] = {}  # by rule and words
        self._counts: Counter[tuple[str, str, Confidence]] = Counter()  # by rule and place
        self._full: set[tuple[str, Confidence]] = set()
        self._sure: set[str] = set()  # rules whose finding blocks the message
        self.is_exhausted = False

    def spend(self, cost_bytes: int) -> bool:
        """Charge for so many bytes that are searched; False if the budget is exhausted."""
        return self._may_continue(is_paid=self._budgets.scan(cost_bytes))

    def _may_continue(self, *, is_paid: bool) -> bool:
        self.is_exhausted = self.is_exhausted or not is_paid
        return not self.is_exhausted

    def report(self, pieces: int) -> None:
        """Charge for a match that is reported, with its pieces in so many strings."""
        self._may_continue(is_paid=self._budgets.report(pieces))

    def worth_rating(
        self,
        rule: Rule,
        matches: Iterable[Occurrence],
        is_new: Callable[[Occurrence], bool] = bool,
    ) -> Iterator[Occurrence]:
        """The matches in one block that may add something to the findings.

        Args:
            rule: whose expression matched.
            matches: of it.
            is_new: False for a match that is or was found elsewhere.
        """
        repeated, budgets = 0, self._budgets
        for match in matches:
            if not self._may_continue(is_paid=budgets.find()) or self.has_enough(
                rule, Confidence.HIGH
            ):
                return
            if self.confidence_so_far(rule, match.words) < Confidence.HIGH:
                if not is_new(match):
                    continue
                if not self._may_continue(is_paid=budgets.rate(reads_around=rule.quoted)):
                    return
                yield match
            elif rule.id in self._sure:
                repeated += 1
                if repeated >= MAX_REPEATED:
                    return  # the rest of the block repeats it, too

    def cuts_each(self, rule: Rule) -> bool:
        """True if each sure match of a rule is cut out, also one whose words were found before."""
        return self._each_is_cut and not rule.is_private

    def confidence_so_far(self, rule: Rule, words: bytes) -> int:
        """The highest confidence of a finding of these words; -1 if there is none."""
        return self._confidences.get((rule.id, words), -1)

    def is_in_a_string(self, rule: Rule, words: bytes) -> bool:
        """True for a secret that one string contains whole, if it is reported by its strings."""
        return (rule.id, words) in self._in_one_string

    def secret_confidence(self, rule: Rule, words: bytes, path: Path) -> int:
        """The highest confidence of a finding of a secret in a string; -1 if there is none."""
        return self.confidence_so_far(rule, words + _path_key(path))

    def match_key(self, match: Match, words: bytes) -> bytes | None:
        """The key of a located match for `admits`; None if it adds nothing.

        A secret that one string contains whole is not reported again for a row of several strings.
        """
        rule = match.rule
        key = words
        if self._by_string and rule.is_private:
            key += _path_key(match.path)
            if not match.view.startswith("squeezed"):
                self._in_one_string.add((rule.id, words))
            elif (rule.id, words) in self._in_one_string:
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
        """True if a match of no more than this confidence need not be located."""
        return (rule.id, confidence) in self._full


@lru_cache(maxsize=16)  # many matches have the same path, whose names may be long
def _path_key(path: Path) -> bytes:
    return sha256(repr(path).encode("utf-8", "surrogatepass")).digest()


# --- match ------------------------------------------------------------------------------
# What an expression matched: where the secret in it is, and what checks say of it.

# Findings of a rule in places of one kind, for each confidence.
MAX_MATCHES_PER_RULE = 8  # more would say nothing new
MAX_PRIVATE_PER_RULE = 256  # of secrets, each of which is redacted


def max_findings(rule: Rule) -> int:
    """The number of findings that a rule may have in one text, by kind of place and confidence."""
    return MAX_PRIVATE_PER_RULE if rule.is_private else MAX_MATCHES_PER_RULE


def run_check(check: str, data: bytes, match: Occurrence, secret: bytes) -> Outcome:
    """Run a check on a secret, or on its name or its surroundings if the check asks for these."""
    if check.startswith(NAME_CHECK):
        return run(check, preceding_name(data, match))
    if check.startswith(AROUND_CHECK):
        low, high = max(0, match.span[0] - AROUND_BYTES), match.span[1] + AROUND_BYTES
        return run(check, match.words + AROUND + data[low:high])
    return run(check, secret)


def without_separators(number: bytes) -> bytes:
    """A number without the separators of its groups."""
    return re.sub(rb"[ .\-/]", b"", number).upper()

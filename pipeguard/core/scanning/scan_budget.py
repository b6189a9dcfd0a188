"""What the rules have told of one text, and whether more may be looked through for it.

Each says the same thing once, and only so often at all; and a text that is made to be slow is not
judged to its end, and refused. Counts by confidence and by place: what is less sure, or stands
where less is asked, never uses up what a sure finding elsewhere needs. Knows rules and how sure
they are, and no texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pipeguard.core.finding import Confidence, Severity
from pipeguard.core.protocol.places import Path
from pipeguard.core.rules.rule import Rule
from pipeguard.core.scanning.match import most
from pipeguard.core.scanning.origin import Match
from pipeguard.core.text.budgets import Budgets

MATCH_BYTES = 2048  # what one match costs to look at, in bytes that are looked through
MAX_REPEATED = 32  # matches in one block that are known, of a rule that is sure


class Tally:
    """What the rules have told of one text.

    Attributes:
        exhausted: True where looking through the rest would take too long, or would find more
            than can be taken out.
    """

    def __init__(self, budgets: Budgets, *, by_string: bool = False) -> None:
        """Begin.

        Args:
            budgets: what the message may still cost.
            by_string: a secret is told in each string that holds it: in one it may stay.
        """
        self._budgets = budgets
        self._by_string = by_string
        self._whole: set[tuple[str, bytes]] = set()  # secrets that stand in one string
        self._known: dict[tuple[str, bytes], Confidence] = {}
        self._told: Counter[tuple[str, str, Confidence]] = Counter()
        self._full: set[tuple[str, Confidence]] = set()
        self._sure: set[str] = set()
        self.exhausted = False

    def spend(self, cost_bytes: int) -> bool:
        """Whether so much more may be looked through."""
        if not self._budgets.look(cost_bytes):
            self.exhausted = True
        return not self.exhausted

    def worth(self, rule: Rule, matches: Iterable[re.Match[bytes]]) -> Iterator[re.Match[bytes]]:
        """The matches in one block that may tell more than is known already."""
        again = 0
        for match in matches:
            if not self.spend(MATCH_BYTES):
                return
            if self.known(rule, match[0]) < Confidence.HIGH:
                yield match
            elif rule.id in self._sure:
                again += 1
                if again >= MAX_REPEATED:
                    return  # the rest of the block says the same once more

    def known(self, rule: Rule, words: bytes) -> int:
        """How sure the surest finding of these words is; below any where there was none."""
        return self._known.get((rule.id, words), -1)

    def news(self, found: Match, words: bytes) -> bytes | None:
        """What stands for a located match in `known` and `tell`; None where it is known already.

        A secret that stands whole in a string is no second one in pieces, of which that is one.
        """
        rule = found.rule
        key = words
        if self._by_string and rule.is_private:
            key += repr(found.path).encode()
            if not found.view.startswith("squeezed"):
                self._whole.add((rule.id, words))
            elif (rule.id, words) in self._whole:
                return None
        return key if found.confidence > self.known(rule, key) else None

    def tell(self, rule: Rule, words: bytes, place: str, confidence: Confidence) -> bool:
        """They were found there, as sure as that.

        Returns:
            Whether it is told: not where the rule has told enough that is as sure there.
        """
        self._known[rule.id, words] = confidence
        key = rule.id, place, confidence
        if self._told[key] >= most(rule):
            if confidence is Confidence.HIGH:
                # Each secret has to be taken out; of orders, the message is stopped by the first.
                self.exhausted = self.exhausted or rule.is_private
            else:
                self._full.add((rule.id, confidence))
            return False
        self._told[key] += 1
        if confidence is Confidence.HIGH and not rule.is_private and rule.severity >= Severity.HIGH:
            self._sure.add(rule.id)
        return True

    def has_enough(self, rule: Rule, confidence: Confidence) -> bool:
        """True where a match that is no surer than that need not be located."""
        return (rule.id, confidence) in self._full


def told_once(matches: Sequence[Match]) -> Iterator[Match]:
    """The matches, but for secrets that a rule found in another reading where it had them exactly.

    Of what is not exact, the whole string is taken out.
    """
    exact: dict[tuple[str, Path], list[Match]] = {}
    for match in matches:
        if match.exact and match.rule.is_private:
            exact.setdefault((match.rule.id, match.path), []).append(match)
    for match in matches:
        known = () if match.exact else exact.get((match.rule.id, match.path), ())
        if not any(
            one.start <= match.start and match.end <= one.end and one.confidence >= match.confidence
            for one in known
        ):
            yield match

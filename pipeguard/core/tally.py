"""What the rules have told of one message, and what may still be looked through for it.

Each says the same thing once, and only so often at all; and a text that is made to be slow is not
judged to its end. Knows rules and how sure they are, and neither texts nor places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeguard.core.candidates import most
from pipeguard.core.finding import Confidence
from pipeguard.core.rules import Rule

# What may be looked through for one message, and how many times its own length beside, some 5 ns a
# byte; what one match costs to look at, in the same coin. Beyond it a message is unscannable.
LOOKED_BYTES, LOOKED_TIMES, MATCH_BYTES = 3 * 2**20, 3, 512
MAX_LOOKS = 32  # at the same words in other surroundings, which may make them surer
SETTLED = 4  # rules that are sure: nobody allows so many of one message


class Known(NamedTuple):
    """What is known of words that a rule has matched.

    Attributes:
        confidence: of the surest match; below any where there was none.
        looks: how often they were looked at.
    """

    confidence: int
    looks: int


_NOTHING = Known(-1, 0)
_FOR_GOOD = Known(Confidence.HIGH, 0)


class Tally:
    """What the rules have told of one message.

    Attributes:
        exhausted: True where looking through the rest would take too long.
    """

    def __init__(self, length: int) -> None:
        """Begin with a message of so many bytes."""
        self._left = LOOKED_BYTES + LOOKED_TIMES * length
        self._known: dict[tuple[str, bytes], Known] = {}
        self._told: Counter[str] = Counter()
        self._sure: Counter[str] = Counter()
        self.exhausted = False

    def spend(self, cost_bytes: int) -> bool:
        """Whether so much more may be looked through."""
        self._left -= cost_bytes
        self.exhausted = self._left < 0
        return not self.exhausted

    def worth(self, rule: Rule, matches: Iterable[re.Match[bytes]]) -> Iterator[re.Match[bytes]]:
        """The matches in one block that may tell more than is known already."""
        again = 0
        for match in matches:
            if not self.spend(MATCH_BYTES):
                return
            known = self.known(rule, match[0])
            if known.confidence < Confidence.HIGH and known.looks < MAX_LOOKS:
                yield match
            elif rule.id in self._sure:
                again += 1
                if again >= MAX_LOOKS:
                    return  # the rest of the block says the same once more

    def known(self, rule: Rule, words: bytes) -> Known:
        """What is known of words that a rule has matched."""
        return self._known.get((rule.id, words), _NOTHING)

    def looked_at(self, rule: Rule, words: bytes) -> None:
        """They were, and told nothing new."""
        known = self.known(rule, words)
        self._known[rule.id, words] = Known(known.confidence, known.looks + 1)

    def settle(self, rule: Rule, words: bytes) -> None:
        """Nothing more is asked of these words, wherever they stand."""
        self._known[rule.id, words] = _FOR_GOOD

    def tell(self, rule: Rule, words: bytes, confidence: Confidence) -> None:
        """They were told of, as sure as that."""
        self._known[rule.id, words] = Known(confidence, self.known(rule, words).looks)
        self._told[rule.id] += 1
        if confidence is Confidence.HIGH and not rule.is_private:
            self._sure[rule.id] += 1

    def is_full(self, rule: Rule) -> bool:
        """True where a rule has told so much that more would say nothing new."""
        return self._told[rule.id] >= most(rule)

    def sure(self, rule: Rule) -> int:
        """How often a rule was sure."""
        return self._sure[rule.id]

    @property
    def is_settled(self) -> bool:
        """True where no classifier need be asked any more."""
        return self.exhausted or len(self._sure) >= SETTLED

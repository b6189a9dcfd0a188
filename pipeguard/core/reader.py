"""What of one message a classifier reads, and how sure it is, seeing what stands around.

Knows a gate and a classifier; where a finding goes is for core.scan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf, log2
from operator import itemgetter
from typing import NamedTuple

from pipeguard.core.classifier import Classifier, Piece, units
from pipeguard.core.discussion import FEW_TOPICS, MANY_TOPICS, is_shown, topics, unquoted
from pipeguard.core.finding import Confidence
from pipeguard.core.gate import Stretch, widened

# Of one message, what is read of the stretches whose words are worth it, the heaviest first: in a
# long text some words stand together by chance.
READ_BYTES, READ_SHARE = 32_768, 64
ENOUGH_WORDS, SHORT = 10, 0.1  # of fewer words, more is asked: so many logits for each
LONG_BYTES, LONG = 8192, 0.5  # and for each doubling of a longer text, in which more is by chance
BRIEF_BYTES, BRIEF = 512, 0.5  # and less for each halving of a brief one,
BRIEFEST_BYTES = 64  # down to one of so many
ABOUT = 1.5  # logits that a text loses which is about attacks
TOLD = 0.5  # logits below what is likely, without its quotes, of a sentence that tells of an order
# Logits below what is likely, of sentences in which a pattern is doubted: one that is not sure, and
# one that is, for which the words that it found must be none as well.
DOUBT, DOUBT_SURE = 3.0, 9.0
FEW_WORDS = 7  # say too little to doubt a pattern for
ANY = 99.0  # logits: sentences are read a second time however unlikely they are
MAX_DOUBTS = 24  # texts of one message that are looked at for it
_DIGITS = re.compile(rb"[0-9]+")


class Order(NamedTuple):
    """Sentences that are an order to the model.

    Attributes:
        start: of the first byte.
        end: after the last one.
        confidence: that they are.
        is_told: True where they tell of an order, which stands in quotes.
    """

    start: int
    end: int
    confidence: Confidence
    is_told: bool


class Reader:
    """What was read of one message.

    Attributes:
        unread: True where more was worth reading than is read of one message.
    """

    def __init__(self, length: int) -> None:
        """Begin with a message of so many bytes."""
        self._left = READ_BYTES + length // READ_SHARE
        self._more = LONG * log2(max(length, LONG_BYTES) / LONG_BYTES)
        self._less = BRIEF * log2(BRIEF_BYTES / min(max(length, BRIEFEST_BYTES), BRIEF_BYTES))
        self._read: set[bytes] = set()
        self._scores: dict[tuple[Classifier, str], float] = {}  # of what was looked at for a doubt
        self.unread = False

    def spare_nothing(self) -> None:
        """Ask as much of a brief message as of any other: it tells a person what to do."""
        self._less = 0.0

    def orders(
        self, stretches: Iterable[Stretch], classifier: Classifier, data: bytes
    ) -> Iterator[Order]:
        """The orders in what a gate opened for."""
        for at, text, piece in self.read(stretches, classifier, data):
            if piece.score >= classifier.likely - self._less:
                start = at + len(text[: piece.start].encode())
                end = min(len(data), start + len(text[piece.start : piece.end].encode()))
                sure = classifier.sure + SHORT * max(0, ENOUGH_WORDS - piece.words)
                sure += self._more - self._less
                confidence = _confidence(data, start, end, piece.score - sure)
                is_told = confidence is Confidence.HIGH and _is_told(data, start, end, classifier)
                yield Order(start, end, Confidence.MEDIUM if is_told else confidence, is_told)

    def doubts(
        self, data: bytes, start: int, end: int, classifier: Classifier, *, is_sure: bool = False
    ) -> bool:
        """True where the sentences around what a pattern found are no order, by far.

        Args:
            data: what was looked through.
            start: where the pattern's match begins.
            end: where it ends.
            classifier: is asked.
            is_sure: True where the pattern is sure, so that more is asked of who doubts it.
        """
        around = widened(data, start, end)
        text = data[around.start : around.end].decode("utf-8", "replace")
        if sum(count for *_, count in units(text)) <= FEW_WORDS:
            return False
        least = classifier.likely - (DOUBT_SURE if is_sure else DOUBT)
        if self._looked_at(text, classifier) >= least:
            return False
        found = data[start:end].decode("utf-8", "replace")
        return not is_sure or self._looked_at(found, classifier) < least

    def _looked_at(self, text: str, classifier: Classifier) -> float:
        """How much of an order a text is, of which several patterns may find something."""
        known = self._scores.get((classifier, text))
        if known is None:
            if len(self._scores) >= MAX_DOUBTS:
                return inf  # whoever does not look has no doubt
            known = self._scores[classifier, text] = classifier.surest(text, ANY).score
        return known

    def read(
        self, stretches: Iterable[Stretch], classifier: Classifier, data: bytes
    ) -> Iterator[tuple[int, str, Piece]]:
        """Each stretch that is read: its first byte, its text, what in it is most an order."""
        for stretch in sorted(stretches, key=itemgetter(2), reverse=True):
            words = data[stretch.start : stretch.end]
            if (known := _DIGITS.sub(b"0", words)) in self._read:
                continue  # to a classifier, all numbers are one word
            self._read.add(known)
            self._left -= len(words)
            if self._left < 0:
                self.unread = True
                return
            text = words.decode("utf-8", "replace")
            yield stretch.start, text, classifier.surest(text, self._less)


def _is_told(data: bytes, start: int, end: int, classifier: Classifier) -> bool:
    """True where only what is quoted is an order, in a sentence that tells of it."""
    outside = unquoted(data, start, end)
    return outside is not None and classifier.surest(outside).score < classifier.likely - TOLD


def _confidence(data: bytes, start: int, end: int, over: float) -> Confidence:
    """How sure it is, where the score is so much over what is enough."""
    about = topics(data, start, end)
    if over < 0:
        return Confidence.LOW if about >= FEW_TOPICS else Confidence.MEDIUM
    if about >= MANY_TOPICS and over < ABOUT:
        return Confidence.LOW
    if about >= FEW_TOPICS and is_shown(data, start):
        return Confidence.LOW
    return Confidence.HIGH

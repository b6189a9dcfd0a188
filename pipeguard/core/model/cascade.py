"""What of one text a classifier reads, and how sure it is, seeing what stands around.

All that a gate opened, in every reading of the text, is ranked before any of it is read: first by
the weight of its words, then, for the network, by what the linear model says. What a message cannot
afford is told, never passed over. Knows a gate and a classifier; where a finding goes is for
core.scanning.engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import inf, log2
from typing import NamedTuple

from pipeguard.core.finding import Confidence
from pipeguard.core.model.classifier import Classifier
from pipeguard.core.model.prefilter import Stretch, widened
from pipeguard.core.model.quotation import FEW_TOPICS, MANY_TOPICS, is_shown, topics, unquoted
from pipeguard.core.model.sentences import Piece, best_of, units
from pipeguard.core.text.budgets import Budgets

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


class Opened(NamedTuple):
    """What a gate opened in one reading of a text.

    Attributes:
        data: the reading.
        stretches: of it.
    """

    data: bytes
    stretches: Sequence[Stretch]


class Passage(NamedTuple):
    """A stretch that is read.

    Attributes:
        reading: the number of the reading that it stands in.
        start: of its first byte.
        end: after its last one.
        text: what it says.
        pieces: what the linear model says of its sentences.
    """

    reading: int
    start: int
    end: int
    text: str
    pieces: list[Piece]


class Reader:
    """What was read of one text.

    Attributes:
        unread: what was worth reading, and more than the message can afford: reading, first byte,
            end.
    """

    def __init__(self, length: int, budgets: Budgets) -> None:
        """Begin with a text of so many bytes, and what its message may still cost."""
        self._budgets = budgets
        self._more = LONG * log2(max(length, LONG_BYTES) / LONG_BYTES)
        self._less = BRIEF * log2(BRIEF_BYTES / min(max(length, BRIEFEST_BYTES), BRIEF_BYTES))
        self._scores: dict[tuple[Classifier, str], float] = {}  # of what was looked at for a doubt
        self.unread: list[tuple[int, int, int]] = []

    def spare_nothing(self) -> None:
        """Ask as much of a brief message as of any other: it tells a person what to do."""
        self._less = 0.0

    def orders(
        self, opened: Sequence[Opened], classifier: Classifier
    ) -> Iterator[tuple[int, Order]]:
        """The orders in what a gate opened for, each with the number of its reading."""
        for reading, at, text, piece in self.read(opened, classifier):
            if piece.score >= classifier.likely - self._less:
                data = opened[reading].data
                start = at + len(text[: piece.start].encode())
                end = min(len(data), start + len(text[piece.start : piece.end].encode()))
                sure = classifier.sure + SHORT * max(0, ENOUGH_WORDS - piece.words)
                sure += self._more - self._less
                confidence = _confidence(data, start, end, piece.score - sure)
                is_told = confidence is Confidence.HIGH and _is_told(data, start, end, classifier)
                confidence = Confidence.MEDIUM if is_told else confidence
                yield reading, Order(start, end, confidence, is_told)

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
            if not self._budgets.doubt():
                return inf  # whoever does not look has no doubt
            known = self._scores[classifier, text] = classifier.surest(text, ANY).score
        return known

    def read(
        self, opened: Sequence[Opened], classifier: Classifier
    ) -> Iterator[tuple[int, int, str, Piece]]:
        """Each passage that is read: its reading, first byte, text, what in it is most an order."""
        passages = self._passages(opened, classifier)
        self._read_again(passages, classifier)
        for one in passages:
            yield one.reading, one.start, one.text, best_of(one.pieces)

    def _passages(self, opened: Sequence[Opened], classifier: Classifier) -> list[Passage]:
        """What the linear model says of all that it can afford to read, the heaviest first."""
        found: list[Passage] = []
        known: dict[bytes, bool] = {}  # to a classifier, all numbers are one word
        ranked = [(number, one) for number, each in enumerate(opened) for one in each.stretches]
        for number, (start, end, _) in sorted(ranked, key=lambda one: -one[1].weight):
            words = opened[number].data[start:end]
            said = _DIGITS.sub(b"0", words)
            is_new = said not in known
            if is_new:
                known[said] = self._budgets.read(len(words))
            if not known[said]:
                self.unread.append((number, start, end))
            elif is_new:
                text = words.decode("utf-8", "replace")
                pieces = list(classifier.pieces(text, self._less))
                found.append(Passage(number, start, end, text, pieces))
        return found

    def _read_again(self, passages: Sequence[Passage], classifier: Classifier) -> None:
        """Ask the second reader of all that is not clear, the likeliest of all passages first."""
        unclear = [
            (one.pieces[at].score, place, at)
            for place, one in enumerate(passages)
            for at in classifier.unclear(one.pieces, self._less)
        ]
        said, name = self._budgets.network_scores, classifier.name
        asked: list[tuple[Passage, int, str]] = []
        new: dict[str, None] = {}
        left_out: set[int] = set()
        for _, place, at in sorted(unclear, reverse=True):
            one = passages[place]
            text = one.text[one.pieces[at].start : one.pieces[at].end]
            if (name, text) not in said and text not in new:
                if not self._budgets.read_again():
                    left_out.add(place)
                    continue
                new[text] = None
            asked.append((one, at, text))
        for text, more in zip(new, classifier.again(list(new)), strict=True):
            said[name, text] = more
        for one, at, text in asked:
            piece = one.pieces[at]
            one.pieces[at] = piece._replace(score=piece.score + said[name, text])
        self.unread += [passages[place][:3] for place in sorted(left_out)]


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

"""Finds orders to the model in one text: reads, scores and rates the stretches that were opened.

The stretches of all readings of the text are ranked before any is read: by the opener's score for
the classifier, by the classifier's score for the network. Stretches beyond the message's budget
are reported as unread, never passed over. Knows stretches and a classifier;
detect.scanning.readings makes findings of the orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from math import inf, log2

from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.data_literals import FileKind, is_data_literal, may_act
from pipeguard.detect.model.opener import Stretch, in_whole_characters, widen
from pipeguard.detect.model.quotation import (
    FEW_TOPICS,
    MANY_TOPICS,
    find_topics,
    is_legal,
    is_shown_as_example,
    unquote,
    without_ai,
    without_harmless,
)
from pipeguard.detect.model.sentences import Piece, find_best, find_reach, read_together, units
from pipeguard.detect.words import topics as topic_words
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range

# Logits that an order needs beyond a threshold of its classifier, by the length of the text:
ENOUGH_WORDS, SHORT_LOGITS = 10, 0.1  # for each word that it has fewer
LONG_BYTES, LONG_LOGITS = 8192, 0.5  # for each doubling: a longer text has more of them by chance
BRIEF_BYTES, BRIEF_LOGITS = 512, 0.5  # subtracted for each halving,
BRIEFEST_BYTES = 64  # down to this length
ABOUT_ATTACKS_LOGITS = 1.5  # in a text that is about attacks
REPORTED_LOGITS = 0.5  # below `likely`: the most that a sentence may score without its quotes
OWN_NAME_LOGITS = 1.0  # likewise, a sentence of a definition without the tool's own name
FEW_WORDS = 7  # too few to doubt a match
BESIDE = 2  # sentences on each side that are read with a match of the gravest kind
MOST_COPIES = 256  # of one stretch
ALL_LOGITS = 99.0  # with this leniency the network reads every sentence
# Of one value, the network reads this many borderline pieces, the likeliest. It reads further ones
# only if they are this near to `likely`: decoys gain an order no more than the difference.
BEST_PIECES, NEAR_LOGITS = 8, 3.0
_DIGITS = lazy_regex(rb"[0-9]+")
# Before a line of a changelog: the commit, its kind and its scope, such as `(ai)`.
_COMMIT = lazy_regex(
    r"(?m)"
    r"^[ \t]*[-*][ \t]+(?:\[?[0-9a-f]{7,40}\]?:?[ \t]+)?(?:feat|fix|chore|docs|refactor|perf|tests?"
    r"|build|ci|style|revert)[ \t]?(?:\([\w ./@,-]{1,40}\))?!?:[ \t]*",
)
# Somebody who is called in a ticket, as `@bot`; not a mail's host, nor a package's scope.
_MENTION = lazy_regex(r"(?<![\w@./])@[\w-]{2,40}(?![\w@./-])[,:]?")
# Statements of SQL: keywords in capitals, literals, and names that are never adjacent.
_SQL_LITERAL = r"'(?>(?>(?:[^']++|''){1,500})*)'"
_SQL = lazy_regex(
    rf"(?>(?>(?:\s*+(?:{topic_words.alternatives('SQL_STATEMENTS')})\b(?>(?>(?:\s++|{_SQL_LITERAL}"
    rf"|(?:{topic_words.alternatives('SQL_KEYWORDS')})\b"
    r"|[a-z_][\w.]*+(?!\s+[a-z_])|[0-9(),.=<>*+%-]){1,500})*)(?:;|\Z)){1,500})+)\s*+"
)
_LITERALS = lazy_regex(_SQL_LITERAL)
# A definition that only lists what its tool returns, perhaps next to names and their titles.
_RETURNED = lazy_regex(
    r"(?i)\A(?:[\w.-]+\n)?\s*(?:"
    rf"(?:{topic_words.alternatives('RETURNS')}|looks? up|each has|(?:the|each) (?:"
    r"results?|records?|hits?|answers?|reports?|responses?|output) (?:has|have|lists?|contains?"
    r"|includes?))\b"
    rf"(?:(?!\b(?:{topic_words.alternatives('NOT_RETURNED')}|have to|users? prompt"
    r"|and (?:returns?|reads?|gets?|sends?|posts?))\b)[\w ,:;()'’/-]){8,400}"
    rf"(?:[.][ ]?|(?=\n|\Z)))+(?:\n(?!.*\b(?:{topic_words.alternatives('NOT_RETURNED')})\b)"
    r"(?-i:[A-Z]\w*(?: [A-Z]\w*){1,3}|[\w.-]+))*\s*\Z"
)
_OF_SEVERAL_WORDS = lazy_regex(r"[a-z0-9](?:[_.-]|(?=[A-Z]))\w")


class Doubt(Enum):
    """Thresholds below `likely`, in logits, for doubting each kind of pattern match.

    If the pattern is sure, the matched words must score as low as the sentences around them. If it
    is also of the gravest kind, those words score high anyway; its sentences and the adjacent ones
    must be low.
    """

    LIKELY = 3.0
    SURE = 9.0
    GRAVEST = 5.0


# What a fact saw: the match, a name of ours, or words of the text; empty if it is not true.
Evidence = bool | str | bytes
# Of a rating: its words, the confidence after it, None if it dropped the match, and what it saw.
Steps = tuple[tuple[str, Confidence | None, Evidence], ...]


class Order(NamedTuple):
    """Sentences that are an order to the model.

    Attributes:
        start: of the first byte.
        end: after the last byte.
        confidence: that they are an order.
        reach: from the first to the last byte of all sentences that belong to it.
        steps: that led to the confidence (detect.scanning.rating).
    """

    start: int
    end: int
    confidence: Confidence
    reach: Range = (0, 0)
    steps: Steps = ()


class Selection(NamedTuple):
    """The stretches of one reading of a text that the opener opened.

    Attributes:
        data: the reading.
        stretches: of it.
        named: further stretches, each with names in it, such as keys of JSON, that tell who
            speaks or to whom; read only if these are names of the model or of roles.
        own_name: for a definition, the name of the thing it defines; otherwise empty.
        written: the reading with the escapes that are replaced in it; empty if there are none.
    """

    data: bytes
    stretches: Sequence[Stretch]
    named: Sequence[tuple[Stretch, str]] = ()
    own_name: str = ""
    written: bytes = b""


class Passage(NamedTuple):
    """A stretch that the classifier read.

    Attributes:
        reading: the number of its reading.
        start: of the first byte.
        end: after the last byte.
        text: of the stretch.
        pieces: its sentences, by themselves and together, with their scores.
    """

    reading: int
    start: int
    end: int
    text: str
    pieces: list[Piece]

    def span(self, first: int, last: int) -> Range:
        """A range of the text's characters as bytes of the reading."""
        start = self.start + len(self.text[:first].encode())
        end = start + len(self.text[first:last].encode())
        return min(start, self.end), min(end, self.end)


class Reader:
    """Reads one text with classifiers, within the budget of its message.

    Attributes:
        leniency: logits that a brief text is required less; none if it asks a person to do
            something.
        rates_all: True to rate passages without any sentence that is nearly likely, too.
        unread: stretches that the budget did not cover: reading, first byte, end.
    """

    def __init__(
        self, length: int, budgets: Budgets, kind: Callable[[], FileKind] = lambda: FileKind.OTHER
    ) -> None:
        """Make a reader of a text.

        Args:
            length: of the text, in bytes.
            budgets: the work that its message may still cost.
            kind: returns the kind of the file that the text comes from, by its name.
        """
        self._budgets, self._kind = budgets, kind
        self._strictness = LONG_LOGITS * log2(max(length, LONG_BYTES) / LONG_BYTES)
        brief = min(max(length, BRIEFEST_BYTES), BRIEF_BYTES)
        self.leniency = BRIEF_LOGITS * log2(BRIEF_BYTES / brief)
        self.rates_all = False
        self._copies: dict[str, list[tuple[int, int, int]]] = {}  # of a stretch, by its text
        self.unread: list[tuple[int, int, int]] = []

    def orders(
        self,
        selections: Sequence[Selection],
        classifier: Classifier,
        rate: Callable[[ReadOrder], tuple[Confidence | None, Steps]],
    ) -> Iterator[tuple[int, Order]]:
        """The orders in the selected stretches, each with the number of its reading.

        Args:
            selections: the stretches.
            classifier: reads them.
            rate: rates the likeliest sentences of a passage (detect.scanning.rating).
        """
        self._rate = rate
        passages = self.read(selections, classifier)
        self._rescore(passages, classifier)
        for passage in passages:
            selection = selections[passage.reading]
            order = self._order(passage, passage.pieces, selection, classifier)
            if order is None:
                continue
            yield passage.reading, order
            if order.confidence is not Confidence.HIGH:
                continue
            for number, first, last in self._copies.get(passage.text, ()):
                copy = passage._replace(reading=number, start=first, end=last)
                again = self._order(copy, passage.pieces, selections[number], classifier)
                if again is not None:
                    yield number, again
            written = selection.written or selection.data
            if self._is_data(written, order.start, order.end):
                # A value that reads like an order hides none next to it.
                others = self._beside_data(passage, written)
                other = self._order(passage, others, selection, classifier) if others else None
                if other is not None:
                    yield passage.reading, other

    def _is_data(self, data: bytes, start: int, end: int) -> bool:
        """True for a value in source code or data."""
        return is_data_literal(data, start, end, self._kind())

    def _beside_data(self, passage: Passage, data: bytes) -> list[Piece]:
        """The pieces that do not overlap a value in source code or data."""
        spans = [passage.span(piece.start, piece.end) for piece in passage.pieces]
        values = [span for span in spans if self._is_data(data, *span)]
        return [
            piece
            for piece, (start, end) in zip(passage.pieces, spans, strict=True)
            if not any(start < last and first < end for first, last in values)
        ]

    def _order(
        self, passage: Passage, pieces: list[Piece], selection: Selection, classifier: Classifier
    ) -> Order | None:
        """The likeliest order among some pieces of a passage."""
        piece = find_best(pieces)
        found = ReadOrder(self, passage, pieces, selection, classifier)
        found.least = classifier.likely - self.leniency
        sure = classifier.sure + SHORT_LOGITS * max(0, ENOUGH_WORDS - piece.words)
        found.excess = piece.score - (sure + self._strictness - self.leniency)
        confidence, steps = self._rate(found)
        if confidence is None:
            return None
        together = find_reach(pieces, found.least, passage.text)
        return Order(*found.span, confidence, passage.span(*together), steps)

    def reads_below(self, bare: str, classifier: Classifier, least: float) -> bool:
        """True if the rest of a passage scores less; False if the budget does not cover it."""
        return self._budgets.read_again() and classifier.best(bare).score < least

    def doubts(
        self,
        data: bytes,
        span: Range,
        classifier: Classifier,
        within: Range | None = None,
        *,
        kind: Doubt = Doubt.LIKELY,
    ) -> bool:
        """True if a pattern's match and the sentences around it are clearly not an order.

        Args:
            data: the text.
            span: of the match.
            classifier: scores the sentences.
            within: the string of JSON that the match is in, if it is in one.
            kind: of the match. Of a sure one, its own words are scored too; of a sure one of the
                gravest kind, the sentences next to it.
        """
        text, logits = _text_around(data, span, within), float(kind.value)
        if not self._scores_below(text, classifier, logits):
            return False
        if kind is Doubt.GRAVEST:
            wide = _text_around(data, span, within, BESIDE)
            return self._scores_below(wide, classifier, Doubt.LIKELY.value)
        if kind is Doubt.SURE:
            matched = data[slice(*span)].decode("utf-8", "replace")
            return self._doubt_score(matched, classifier) < classifier.likely - logits
        return True

    def _scores_below(self, text: str, classifier: Classifier, logits: float) -> bool:
        """True if a text has enough words, and scores at least this many logits below `likely`."""
        is_scored = (classifier, text) in self._budgets.doubt_scores or self._budgets.may_doubt
        if not is_scored or not _has_enough_words(text):
            return False
        return self._doubt_score(text, classifier) < classifier.likely - logits

    def _doubt_score(self, text: str, classifier: Classifier) -> float:
        """The score of a text; cached, because several patterns may match in it."""
        score = self._budgets.doubt_scores.get((classifier, text))
        if score is None:
            if not self._budgets.doubt(len([*read_together(units(text))])):
                return inf  # without a score there is no reason to doubt
            score = classifier.best(text, ALL_LOGITS).score
            self._budgets.doubt_scores[classifier, text] = score
        return score

    def read(self, selections: Sequence[Selection], classifier: Classifier) -> list[Passage]:
        """Read as many stretches as the budget covers, without the network, the likeliest first."""
        passages = []
        covered = {}  # by text; to a classifier, all numbers are one word
        for _, _, number, first, last in _rank(selections, classifier):
            start, end = in_whole_characters(selections[number].data, first, last)
            data = selections[number].data[start:end]
            text = data.decode("utf-8", "replace")
            masked = _DIGITS.sub(b"0", data)
            is_new = masked not in covered
            if is_new:
                covered[masked] = self._budgets.read(len(data))
            if not covered[masked]:
                self.unread.append((number, start, end))
            elif is_new:
                read = classifier.pieces if self.rates_all else classifier.pieces_near
                if pieces := read(text, self.leniency):
                    passages.append(Passage(number, start, end, text, pieces))
            elif len(copies := self._copies.setdefault(text, [])) < MOST_COPIES:
                copies.append((number, start, end))
        return passages

    def _rescore(self, passages: Sequence[Passage], classifier: Classifier) -> None:
        """Add the network's scores to the borderline pieces, the likeliest of all first."""
        borderline = sorted(
            (
                (passage.pieces[at].score, number, at)
                for number, passage in enumerate(passages)
                for at in classifier.borderline(passage.pieces, self.leniency)
            ),
            reverse=True,
        )
        near = classifier.likely - self.leniency - NEAR_LOGITS
        scores, network = self._budgets.network_scores, classifier.network_id
        covered = []
        new: dict[str, None] = {}
        left_out = set()
        for score, number, at in borderline:
            if len(new) >= BEST_PIECES and score < near:
                break
            passage = passages[number]
            text = passage.text[passage.pieces[at].start : passage.pieces[at].end]
            if (network, text) not in scores and text not in new:
                if not self._budgets.read_again():
                    left_out.add(number)
                    continue
                new[text] = None
            covered.append((passage, at, text))
        for text, added in zip(new, classifier.rescore(list(new)), strict=True):
            scores[network, text] = added
        for passage, at, text in covered:
            piece = passage.pieces[at]
            passage.pieces[at] = piece._replace(score=piece.score + scores[network, text])
        self.unread += [passages[number][:3] for number in sorted(left_out)]


@lru_cache(16)  # several patterns match in the same sentences
def _has_enough_words(text: str) -> bool:
    """True if a match in these sentences may be doubted."""
    return sum(words for *_, words in units(text)) > FEW_WORDS


def _text_around(data: bytes, span: Range, within: Range | None, beside: int = 0) -> str:
    """The sentences of a match, and some adjacent ones on each side, within a string."""
    low, high = widen(data, *span)
    for _ in range(beside):
        low, high = widen(data, max(0, low - 1), high)
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return data[low:high].decode("utf-8", "replace")


def _rank(
    selections: Sequence[Selection], classifier: Classifier
) -> list[tuple[float, float, int, int, int]]:
    """The stretches that are worth reading, the likeliest first: number of the reading, range."""
    ranked = (
        (-rank, -score, number, start, end)
        for number, selection in enumerate(selections)
        for start, end, score in (
            *selection.stretches,
            *(each for each, names in selection.named if classifier.names_speaker(names)),
        )
        if (rank := classifier.rank(selection.data[start:end])) is not None
    )
    return sorted(ranked)


class ReadOrder:
    """A likely order that was read, with the questions that rating asks about it.

    Attributes:
        reading: the number of its reading.
        least, excess: the score of a likely order; logits by which its own exceeds `sure`.
    """

    def __init__(
        self,
        reader: Reader,
        passage: Passage,
        pieces: list[Piece],
        selection: Selection,
        classifier: Classifier,
    ) -> None:
        self._reader, self._passage, self._pieces = reader, passage, pieces
        self._selection, self._classifier, self._data = selection, classifier, selection.data
        self._piece = find_best(pieces)
        self.span = passage.span(self._piece.start, self._piece.end)
        self.reading, self.least, self.excess = passage.reading, 0.0, 0.0

    def is_none(self) -> str:
        """The scores of a passage that is not even likely to be an order; else empty."""
        score = self._piece.score
        return f"{score:.1f}, not {self.least:.1f}" if score < self.least else ""

    def is_about_attacks(self) -> bool:
        """True in a text about attacks, if the order is not far beyond `sure` or is an example."""
        about, excess = len(find_topics(self._data, *self.span)), self.excess
        if excess < 0 or (about >= MANY_TOPICS and excess < ABOUT_ATTACKS_LOGITS):
            return about >= FEW_TOPICS
        return about >= FEW_TOPICS and is_shown_as_example(self._data, self.span[0])

    def is_reported(self) -> bool:
        """True if a sentence reports an order, and is not one without its quotes."""
        outside = unquote(self._data, *self.span)
        least = self._classifier.likely - REPORTED_LOGITS
        return outside is not None and self._reader.reads_below(outside, self._classifier, least)

    def is_harmless(self) -> bool:
        """True if a passage is not an order without its text of a public form."""
        return self._reads_harmless(self._passage.text, without_harmless(self._passage.text))

    def is_of_law(self) -> bool:
        """True in the language of law, if it does not address a model."""
        if not is_legal(self._data, *self.span):
            return False
        words = self._passage.text[self._piece.start : self._piece.end]
        return not self._classifier.names_speaker(without_ai(words))

    def is_of_its_form(self) -> bool:
        """True if only a tool's name, what it returns, or the form of a commit or SQL makes it one.

        Of SQL only the literals are read.
        """
        best, name = max(self._pieces), self._selection.own_name
        text = self._passage.text[best.start : best.end]
        bare = "\n".join(_LITERALS.findall(text)) if _SQL.fullmatch(text) else _COMMIT.sub("", text)
        bare = bare if may_act(called := _MENTION.sub("", bare)) else called
        bare = _RETURNED.sub("Returns a record.", bare) if name else bare
        if _OF_SEVERAL_WORDS.search(name):
            bare = bare.replace(name, "this tool")
        return self._reads_harmless(text, bare)

    def _reads_harmless(self, text: str, bare: str) -> bool:
        """True if the rest of a text is clearly not an order."""
        least = self._classifier.likely - self._reader.leniency - OWN_NAME_LOGITS
        return bare != text and self._reader.reads_below(bare, self._classifier, least)

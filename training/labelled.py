"""Texts with the confidence that each is an order: training data of network and teacher.

An order is judged in two places: where a result says it, and where a definition does, which speaks
to the model by nature.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from heapq import nlargest
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from pipeguard.detect.model.classifier import Classifier, unpack_classifier
from pipeguard.detect.model.sentences import Piece
from training.corpus import Text, definitions_of, read, texts_of

RULES = Path(__file__).resolve().parents[1] / "rules"
OUTPUTS = ("injection", "poisoning")  # of a text as a result's, and as a definition's
SHORT, LONG = 450, 600  # letters: a shorter text is read whole; a longer attack is not
MANY = 45  # words: of a longer attack, the piece is learned that the classifier would choose
CHOSEN = 1.0  # logits of the classifier from which it is believed to choose the right piece
PIECES = (2, 5)  # of a short innocent text, and of a long one
DOUBTFUL = -3.0  # logits of the classifier from which pieces of what is installed are learned
SURE = 0.97  # that a text of another language is what its author says
TEACHER_SHARE = (
    0.9  # the teacher's share in the label that the network learns; the author has the rest
)


class LabelledText(NamedTuple):
    """A text, and the confidence that it is an order.

    Attributes:
        text: the text.
        result: how sure, where a result says it; NAN if nobody knows.
        definition: how sure, where a definition says it.
    """

    text: str
    result: float
    definition: float

    @property
    def order(self) -> float:
        """The confidence that its author chose."""
        return self.definition if math.isnan(self.result) else self.result


def guards() -> list[Classifier]:
    """The classifiers without the network, which report whatever is not clear."""
    classifiers = []
    for name in OUTPUTS:
        document = unpack_classifier((RULES / f"{name}.model").read_bytes())
        document.pop("second", None)
        classifiers.append(Classifier(document | {"likely": DOUBTFUL}))
    return classifiers


def chosen(text: str, most: int, guard: Classifier) -> list[Piece]:
    """The sentences that a classifier would have re-scored, the likeliest first."""
    pieces = nlargest(most + 1, guard.pieces(text), key=attrgetter("score"))
    return [piece for piece in pieces if piece.end - piece.start < len(text)][:most]


def examples(
    attacks: Iterable[Text], innocent: Iterable[Text], guard: Classifier
) -> Iterator[tuple[str, float]]:
    """Attacks; innocent texts, whole if they are short; and some pieces of each."""
    for attack in attacks:
        best = chosen(attack.text, 1, guard) if len(attack.text.split()) > MANY else []
        if best and best[0].score > CHOSEN:
            yield attack.text[best[0].start : best[0].end], 1.0
        elif len(attack.text) < LONG:
            yield attack.text, 1.0
    for text in innocent:
        if len(text.text) < SHORT:
            yield text.text, 0.0
        for piece in chosen(text.text, PIECES[len(text.text) >= SHORT], guard):
            yield text.text[piece.start : piece.end], 0.0


def results(language: str, guard: Classifier) -> list[LabelledText]:
    """Texts of results, in one language or, with `*`, in all of them."""
    pairs = examples(*texts_of("injection", language), guard)
    return [LabelledText(text, order, order) for text, order in pairs]


def definitions(served: Path | None, guard: Classifier) -> list[LabelledText]:
    """Texts of definitions, including those of real servers."""
    attacks, innocent = read("attacks-definitions-*.jsonl"), read("innocent-definitions-*.jsonl")
    if served is not None:
        innocent += definitions_of(served)
    pairs = dict(examples(attacks, innocent, guard))
    return [LabelledText(text, math.nan, order) for text, order in pairs.items()]


def is_foreign(text: str) -> bool:
    """True if a text has letters that English does not have."""
    return any(letter.isalpha() and not letter.isascii() for letter in text)


def mixed(label: LabelledText, taught: LabelledText) -> LabelledText:
    """The label of a text for the network: partly its author's, partly the teacher's."""
    result, definition = (
        TEACHER_SHARE * b + (1 - TEACHER_SHARE) * a
        for a, b in zip(label[1:], taught[1:], strict=True)
    )
    return LabelledText(label.text, result, definition)


def unsure(label: LabelledText) -> LabelledText:
    """A text that the teacher has not labelled, as sure as an author is."""
    result, definition = (abs(order - (1 - SURE)) for order in label[1:])
    return LabelledText(label.text, result, definition)

"""Training data of the definitions' ranker: confidence of classifier and network in a piece.

Almost every definition tells a model what to do, so that real ones differ from attacks in what a
sum of words hardly sees. So this learns from pieces as the classifier reads them, how likely the
two stages behind it take them for orders, and what their author says of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from pipeguard.detect.model.classifier import Classifier, unpack_classifier
from pipeguard.detect.model.network import Network
from training.corpus import RULES, Text, definitions_of, texts_of
from training.opener import Fitted, Window, features_of, fitted_rows

NAME = "poisoning"
PIECES = {True: 6, False: 1}  # of a definition and of another text, the likeliest
ALL_SCORES = -99.0  # a threshold that every piece is over
FLAT = 0.4  # factor of the two stages' logits: they have learned these very texts
AUTHOR = 0.8  # the share of what a text's author says, where that is known of a piece
SURE = 0.98  # that a text is what its author says
HALF = 0.5  # the weight of pieces of attacks of which nobody says what they are
DEFINITION, SERVED = 3.0, 4.0  # the weights of a definition, and of a real one
LEAST_SHARE = 0.03  # of a weight: less is not learned


class Label(NamedTuple):
    """A piece of a text, and what is known of it.

    Attributes:
        text: of the piece.
        file: that its text is of.
        is_attack: True if its text is an attack.
        is_best: True for the likeliest piece of its text.
        score: of classifier and network together, in logits.
    """

    text: str
    file: str
    is_attack: bool
    is_best: bool
    score: float

    @property
    def sure(self) -> float:
        """The confidence that it is an order."""
        taught = 1 / (1 + math.exp(-FLAT * self.score))
        if self.is_attack and not self.is_best:
            return taught
        return AUTHOR * (SURE if self.is_attack else 1 - SURE) + (1 - AUTHOR) * taught

    @property
    def weight(self) -> float:
        """Its weight."""
        if self.is_attack and not self.is_best:
            return HALF * (DEFINITION if "definitions" in self.file else 1.0)
        if self.file.startswith("definitions-"):
            return SERVED
        return DEFINITION if "definitions" in self.file else 1.0


def of_definitions(served: Path | None, stored: Path | None) -> Fitted:
    """The ranker of stretches of definitions.

    Args:
        served: the folder with definitions of real servers; None without them.
        stored: the file that labels are stored in, or are read from if it is there.
    """
    if stored is not None and stored.exists():
        with stored.open(encoding="utf-8") as lines:
            labels = [Label(*json.loads(line)) for line in lines]
    else:
        attacks, innocent = texts_of(NAME)
        innocent += definitions_of(served) if served is not None else []
        labels = [*labelled(attacks, is_attack=True), *labelled(innocent, is_attack=False)]
        if stored is not None:
            written = (json.dumps(label, ensure_ascii=False) + "\n" for label in labels)
            stored.write_text("".join(written), "utf-8")
    click.echo(f"{len(labels)} pieces")
    return fitted_to(labels)


def fitted_to(labels: Iterable[Label]) -> Fitted:
    """Fit pieces of which one is not sure: each is learned as an order and as none, in part."""
    windows: list[Window] = []
    truths: list[int] = []
    weights: list[float] = []
    for label in labels:
        features = features_of(label.text)
        if features is None:
            continue
        window = Window(features, 0, len(features.starts) - 1)
        for truth, share in ((1, label.sure), (0, 1 - label.sure)):
            if share >= LEAST_SHARE:
                windows.append(window)
                truths.append(truth)
                weights.append(label.weight * share)
    return fitted_rows(windows, np.array(truths), np.array(weights))


def labelled(texts: Sequence[Text], *, is_attack: bool) -> Iterator[Label]:
    """The likeliest pieces of texts, as the shipped classifier and network take them."""
    document = unpack_classifier((RULES / f"{NAME}.model").read_bytes())
    document.pop("ranker", None)
    network = Network((RULES / document["second"]["network"]).read_bytes())
    classifier = Classifier(document | {"likely": ALL_SCORES}, lambda _: network)
    for text in texts:
        pieces = sorted(classifier.pieces(text.text), reverse=True)
        pieces = pieces[: PIECES["definitions" in text.file]]
        parts = [text.text[piece.start : piece.end] for piece in pieces]
        added = classifier.network_scores(parts)
        scored = [
            (piece.score + more, part)
            for piece, more, part in zip(pieces, added, parts, strict=True)
        ]
        for number, (score, part) in enumerate(sorted(scored, reverse=True)):
            yield Label(part, text.file, is_attack, not number, round(score, 3))

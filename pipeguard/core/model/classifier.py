"""A linear classifier: how sure it is that a few sentences are an order to the model.

It reads only where the gate (core.model.prefilter) found words that orders are made of. The weights
are made by training/train.py, and are in a file that the rule names.

A text is a `str`; a score is in logits, 0 is even odds. Knows no rules and no policy.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from heapq import nlargest
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeguard.core.model.features import MAX_FAMILIES, WEIGHTS, Features, features
from pipeguard.core.model.lexicon import Lexicon
from pipeguard.core.model.sentences import Piece, best_of, read_together, units

if TYPE_CHECKING:
    from pipeguard.core.model.network import Network

LEAST_FEATURES = 8  # features; fewer count no more each
_DIGITS = re.compile(r"\d+")


class Second(NamedTuple):
    """What reads a second time.

    Attributes:
        network: the name of its file.
        sha256: of that file, in hexadecimal.
        output: which of the things that it says of a text counts.
        share: of what it says, in logits, that is added to a score.
        again: logits below what is likely from which on sentences are read a second time.
        most: sentences of one text that are.
    """

    network: str
    sha256: str
    output: str
    share: float
    again: float
    most: int


# Weights of -128 to 127, plus 128.
_ABOVE_ZERO = bytes((number + 128) % 256 for number in range(256))


class Classifier:
    """Weights, and the lexicon that goes with them.

    Attributes:
        likely: the score from which on sentences may be an order.
        sure: the one from which on they are one.
        opening: the words that make a text worth reading, each with its weight in hundredths.
    """

    def __init__(
        self, document: dict[str, Any], network: Callable[[Second], Network] | None = None
    ) -> None:
        """Take what training/train.py wrote.

        Args:
            document: the weights, and what else stands in their file.
            network: gives the second reader that is named; None where there is none.
        """
        weights = base64.b64decode(document["weights"], validate=True)
        self._weights = weights.translate(_ABOVE_ZERO)
        if len(self._weights) != WEIGHTS or len(document["families"]) > MAX_FAMILIES:
            raise ValueError("weights of another form")
        numbers = [number for listed in document["stems"].values() for number in listed]
        if max(numbers, default=0) >= len(document["families"]) or min(numbers, default=0) < 0:
            raise ValueError("a stem of no family")
        self._scale: float = document["scale"]
        self._bias: float = document["bias"]
        self.opening = [(str(word), int(weight)) for word, weight in document["anchors"]]
        self.likely: float = document["likely"]
        self.sure: float = document["sure"]
        self._lexicon = Lexicon(document["families"], document["stems"])
        self._second = Second(**document["second"]) if "second" in document else None
        self._again = self._second.again if self._second else 0.0
        self._load = network
        self._network: Network | None = None

    def surest(self, text: str, less: float = 0.0) -> Piece:
        """The sentences that are most an order, of those that may be one.

        Its place is that of the fewest among them that are almost as much an order alone.

        Args:
            text: what is read.
            less: logits below `likely` from which on sentences together are read.
        """
        found = list(self.pieces(text, less))
        chosen = self.unclear(found, less, single=False)
        said = self.again([text[found[at].start : found[at].end] for at in chosen])
        for at, more in zip(chosen, said, strict=True):
            found[at] = found[at]._replace(score=found[at].score + more)
        return best_of(found)

    def unclear(self, found: Sequence[Piece], less: float, *, single: bool = True) -> list[int]:
        """Which pieces of a text a second reader is asked of, where there is one.

        Args:
            found: sentences alone and together, as `pieces` tells them.
            less: logits below `likely` from which on sentences together are read.
            single: of sentences alone all of which it is not clear that they are none: so that
                those together with others, which stand around them, are not read in their place.
        """
        if self._second is None or self._load is None:
            return []
        least = self.likely - less - self._again
        unclear = [place for place, piece in enumerate(found) if piece.score >= least]
        chosen = nlargest(self._second.most, unclear, key=lambda place: found[place].score)
        if single and len(unclear) > len(chosen):
            alone = (at for at in unclear if not at or found[at - 1].start != found[at].start)
            chosen = list(dict.fromkeys([*chosen, *alone]))
        return chosen

    def again(self, texts: Sequence[str]) -> list[float]:
        """What a second reader adds to the score of each text.

        Raises:
            EngineError: its file is not the one that is named, or none.
        """
        if not texts or self._second is None or self._load is None:
            return []
        if self._network is None:
            self._network = self._load(self._second)
        said = self._network.scores(texts, self._second.output)
        return [self._second.share * score for score in said]

    @property
    def name(self) -> str:
        """Tells it from others whose second reader says something else."""
        return f"{self._second.sha256} {self._second.output}" if self._second else ""

    def pieces(self, text: str, less: float = 0.0) -> Iterator[Piece]:
        """Read each sentence, and each few that stand together and may be an order.

        What is repeated is read once. Numbers are all one word, so that rows of a table that
        differ in them alone are repeated.
        """
        found = units(text)
        said = [_DIGITS.sub("0", text[start:end]) for start, end, _ in found]
        read = {unit: self._read(unit) for unit in dict.fromkeys(said)}
        scores: dict[tuple[str, ...], float | None] = {}
        for first, last, count in read_together(found):
            key = tuple(said[first : last + 1])
            if key not in scores:
                scores[key] = self._score_together([read[unit] for unit in key], less)
            score = scores[key]
            if score is not None:
                yield Piece(score, found[first][0], found[last][1], count)

    def score(self, seen: Features) -> float:
        """How sure it is, in logits."""
        return self._bias + self._scale * sum(map(self._mean, seen))

    def _read(self, unit: str) -> _Unit:
        seen = features(unit, self._lexicon)
        weighed = [(group, self._weight(group)) for group in seen]
        most = tuple(_most(*one) for one in weighed)
        return _Unit(seen, sum(_mean(*one) for one in weighed), most)

    def _score_together(self, read: Sequence[_Unit], less: float) -> float | None:
        """How sure it is of sentences together; None where that cannot be likely.

        However features are spread over sentences, those of all together weigh no more than the
        root of the sum of the squares of each (Cauchy and Schwarz), but for what they share.
        """
        if len(read) == 1:
            return self._bias + self._scale * read[0].mean
        most = sum(math.sqrt(sum(kind)) for kind in zip(*(unit.most for unit in read), strict=True))
        if self._bias + self._scale * most < self.likely - less - self._again:
            return None
        return self.score(reduce(or_, (unit.seen for unit in read)))

    def _mean(self, group: frozenset[int]) -> float:
        return _mean(group, self._weight(group))

    def _weight(self, group: frozenset[int]) -> int:
        above: int = sum(map(self._weights.__getitem__, group))
        return above - 128 * len(group)


class _Unit(NamedTuple):
    """A sentence that was read.

    Attributes:
        seen: what counts in it.
        mean: what that weighs.
        most: of each kind, the square of what it can add to the mean of several sentences.
    """

    seen: Features
    mean: float
    most: tuple[float, ...]


def _mean(group: frozenset[int], weight: int) -> float:
    return weight / math.sqrt(max(len(group), LEAST_FEATURES))


def _most(group: frozenset[int], weight: int) -> float:
    return max(0, weight) ** 2 / max(1, len(group))


def load(content: bytes, network: Callable[[Second], Network] | None = None) -> Classifier:
    """Read a model's file.

    Raises:
        ValueError, KeyError: it is none.
    """
    return Classifier(json.loads(content), network)

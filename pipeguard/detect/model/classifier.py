"""A linear classifier: it scores how likely a few sentences are an order to the model.

It reads only the stretches that the opener opens. training/train.py makes its weights; the
rule names the file that contains them. A score is in logits: 0 is even odds. Knows no rules and no
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from pipeguard.detect.model.features import MAX_FAMILIES, WEIGHTS, StemTable, shared_lexicon
from pipeguard.detect.model.model_file import cut_tables, read_header
from pipeguard.detect.model.sentences import Piece, find_best
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.model.network import Network
    from pipeguard.detect.model.opener import Opener

SPEAKERS = frozenset({"ai", "persona"})  # families of the lexicon


class OpenerFile(NamedTuple):
    """The file of the opener before a classifier: the member `opener` of a classifier's file.

    Attributes:
        file: its name.
        sha256: of that file, in hexadecimal.
    """

    file: str
    sha256: str


class Ranking(NamedTuple):
    """The weights of a ranker for opened stretches: the member `ranker` of the file.

    Attributes:
        file: its name.
        sha256: of that file, in hexadecimal.
        least: the score from which a stretch is read.
        calm: the score below which sentences most likely contain no order.
        share: factor of the difference that lowers the score of text for the network.
    """

    file: str
    sha256: str
    least: float
    calm: float
    share: float


class Rescoring(NamedTuple):
    """The weights of a network that re-scores borderline pieces: the file's member `second`.

    Attributes:
        network: the name of its file.
        sha256: of that file, in hexadecimal.
        output: the name of the relevant output of the network.
        share: factor of the network's logits that are added to a score.
        again: logits below `likely` from which a piece is borderline.
        most: borderline pieces of one text.
    """

    network: str
    sha256: str
    output: str
    share: float
    again: float
    most: int


MAGIC = b"pipeguard classifier 1\n"


def unpack_classifier(content: bytes | memoryview) -> dict[str, Any]:
    """The members of a file that training.packing wrote; its tables are parts of it, not copies.

    Raises:
        ValueError, KeyError, TypeError: it is not a classifier.
    """
    header, tables = read_header(content, MAGIC)
    words, families, weights = cut_tables(tables, header.pop("tables"))
    return {**header, "stems": StemTable(words, families), "weights": weights}


class Classifier:
    """Weights of features, their lexicon, and possibly a network.

    Attributes:
        likely: the score from which sentences may be an order.
        sure: the score from which they are one.
        network_id: equal for classifiers with the same output of the same network.
        opener: the file of the model that opens the stretches worth reading.
    """

    def __init__(
        self,
        document: dict[str, Any],
        network: Callable[[Rescoring], Network] | None = None,
        ranker: Callable[[Ranking], Opener | None] | None = None,
    ) -> None:
        """Load the output of training/train.py.

        Args:
            document: from `unpack_classifier`.
            network: loads the network that the file names; None to do without it.
            ranker: loads the ranker that the file names; None to do without it.
        """
        self._weights: memoryview = document["weights"]
        if len(self._weights) != WEIGHTS or len(document["families"]) > MAX_FAMILIES:
            raise ValueError("weights of another form")
        self._scale: float = document["scale"]
        self._bias: float = document["bias"]
        self.opener = OpenerFile(**document["opener"])
        self.likely: float = document["likely"]
        self.sure: float = document["sure"]
        self._families: tuple[str, ...] = (*document["families"],)
        self._lexicon = shared_lexicon(self._families, document["stems"])
        second = Rescoring(**document["second"]) if "second" in document else None
        self._rescoring = second
        self._margin, self.network_id = 0.0, ""
        if second is not None:
            self._margin, self.network_id = second.again, f"{second.sha256} {second.output}"
        ranking = Ranking(**document["ranker"]) if "ranker" in document else None
        self._ranking = ranking
        self._ranker = ranker(ranking) if ranker and ranking else None
        self._load = network
        self._network: Network | None = None

    def load(self) -> None:
        """Load the files that its own file names, so that no text waits for them.

        Raises:
            EngineError: a file is missing, or is not the named one.
        """
        if self._ranker is not None:
            self._ranker.load()
        self.network_scores(["."])

    def best(self, text: str, leniency: float = 0.0) -> Piece:
        """The sentences of a text that are most like an order, as `best_of` chooses them.

        Args:
            text: to read.
            leniency: logits below `likely` from which sentences are read together.
        """
        pieces = self.pieces(text, leniency)
        chosen = self.borderline(pieces, leniency, every_sentence=False)
        scores = self.network_scores([text[pieces[at].start : pieces[at].end] for at in chosen])
        for at, score in zip(chosen, scores, strict=True):
            pieces[at] = pieces[at]._replace(score=pieces[at].score + score)
        return find_best(pieces)

    def names_speaker(self, text: str) -> bool:
        """True if words of a text name the model, or a role such as that of its user."""
        found = self._lexicon.text_families(text)
        return not SPEAKERS.isdisjoint(self._families[family] for family in found)

    def rank(self, data: bytes) -> float | None:
        """Rate how likely a stretch is to contain an order; None if it is too unlikely.

        Without a ranker, all stretches are as likely.

        Raises:
            EngineError: the ranker's file is missing, or is not the named one.
        """
        if self._ranking is None or self._ranker is None:
            return 0.0
        score = self._ranker.score(data)
        return score if score >= self._ranking.least else None

    def pieces_near(self, text: str, leniency: float) -> list[Piece]:
        """The pieces of a text if the network should read any of them; otherwise empty.

        Without it, none of them can be an order.
        """
        pieces = self.pieces(text, leniency)
        least = self.likely - leniency - self._margin
        return pieces if any(piece.score >= least for piece in pieces) else []

    def borderline(
        self, pieces: Sequence[Piece], leniency: float, *, every_sentence: bool = True
    ) -> list[int]:
        """The indices of the pieces that the network should read; empty without a network.

        Args:
            pieces: of one text, from `pieces`.
            leniency: logits below `likely` from which sentences are read together.
            every_sentence: True to choose each borderline sentence by itself as well, so that
                the sentences around it, read together with it, do not take its place.
        """
        if self._rescoring is None or self._load is None:
            return []
        least = self.likely - leniency - self._margin
        likeliest = [at for at, piece in enumerate(pieces) if piece.score >= least]
        chosen = nlargest(self._rescoring.most, likeliest, key=lambda at: pieces[at].score)
        if every_sentence and len(likeliest) > len(chosen):
            alone = (at for at in likeliest if not at or pieces[at - 1].start != pieces[at].start)
            chosen = list(dict.fromkeys([*chosen, *alone]))
        return chosen

    def network_scores(self, texts: Sequence[str]) -> list[float]:
        """The network's contribution to the score of each text.

        Raises:
            EngineError: its file is not the named one, or not a network.
        """
        if not texts or self._rescoring is None or self._load is None:
            return []
        if self._network is None:
            self._network = self._load(self._rescoring)
        scores = self._network.scores(texts, self._rescoring.output)
        return [self._rescoring.share * score for score in scores]

    def rescore(self, texts: Sequence[str]) -> list[float]:
        """The network's contribution to each score, less the ranker's.

        Raises:
            EngineError: a file is not the named one, or has another form.
        """
        scores = self.network_scores(texts)
        ranking, ranker = self._ranking, self._ranker
        if ranking is None or ranker is None or not ranking.share:
            return scores
        below = (min(0.0, ranker.score(text.encode()) - ranking.calm) for text in texts)
        return [score + ranking.share * less for score, less in zip(scores, below, strict=True)]

    def pieces(self, text: str, leniency: float = 0.0) -> list[Piece]:
        """Score each sentence, and adjacent sentences together if they may be an order."""
        bias, scale, least = self._bias, self._scale, self.likely - leniency - self._margin
        found = self._lexicon.means(text, (self._weights, scale, bias, least))
        return [Piece(bias + scale * mean, start, end, count) for mean, start, end, count in found]

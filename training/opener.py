"""Trains the opener of a classifier: `python -m training.opener --help`.

A linear model over all of a text, which only says where a classifier reads (detect.model.opener).
So it learns attacks against real documents; texts that were written to look like attacks count
little. It learns from documents of half of the projects on the machine, and prints what it does
with those of the other half. Needs scikit-learn, which PipeGuard itself does not.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import click
import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier

from benchmarks.documents.corpus import documents
from pipeguard.detect.model import opener_weights
from pipeguard.detect.model.opener import with_ascii_marks
from pipeguard.detect.model.opener_sums import TextFeatures, best_windows, features, sums
from training.corpus import definitions_of, texts_of
from training.packing import pack_opener
from training.train import HERE, SEED, served_option

WORDS, GRAMS = 1 << opener_weights.WORD_BITS, 1 << opener_weights.GRAM_BITS
STRENGTH = 3e-6  # of the penalty
EPOCHS = 6
ROUNDS = 4  # each one learns what the last one took for attacks, too
MINED_SCORE = -5.0  # windows of documents that score more look like attacks
MINED = 90_000  # windows in each round, those that look most like attacks
RANDOM = 100_000  # windows of documents, in the first round
INNOCENT_WEIGHT = 0.05  # of texts written to look like attacks: a classifier tells those apart
ATTACK_WEIGHT = 3.0
DOCUMENTS, HELD_DOCUMENTS = 5000, 1500
LONGEST = 60_000  # characters of a document that is learned
HELD_OF = 5  # one file of attacks in five is left out where figures are printed
SHARES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)  # of documents


class Window(NamedTuple):
    """Segments of a text that follow each other: a row of the matrix.

    Attributes:
        text: its features.
        first: the first segment.
        last: the last segment.
    """

    text: TextFeatures
    first: int
    last: int


class Fitted(NamedTuple):
    """The weights of an opener, one byte each.

    Attributes:
        words: of stems and pairs.
        grams: of four bytes.
        scale: the value of one step.
        bias: added to each score.
    """

    words: Any
    grams: Any
    scale: float
    bias: float

    def scores(self, text: TextFeatures) -> tuple[Any, Any]:
        """Of the windows that end with each segment, the best: its score, and its first segment."""
        return best_windows(sums(text, self.words, self.grams), self.scale, self.bias)


@click.command()
@click.argument("name", type=click.Choice(["injection", "poisoning"]))
@click.option(
    "--documents", "folders", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="Each folder in this one is a project to learn documents of, besides what is installed.",
)  # fmt: skip
@served_option
@click.option("--share", default=0.25, help="Of documents to open; sets the threshold.")
@click.option("--report/--no-report", default=True, help="Fit once with texts left out, and tell.")
def main(
    name: str, folders: tuple[Path, ...], served: Path | None, share: float, *, report: bool
) -> None:
    """Write rules/NAME.opener; training.train writes its hash into the classifier's file."""
    attacks, innocent = texts_of(name)
    if served is not None and name == "poisoning":
        innocent += definitions_of(served)
    mine = [(text.file, found) for text in attacks if (found := features_of(text.text))]
    others = [(text.file, found) for text in innocent if (found := features_of(text.text))]
    learned = list(_documents(DOCUMENTS, folders, learned=True))
    apart = list(_documents(HELD_DOCUMENTS, folders, learned=False))
    click.echo(f"{len(mine)} attacks, {len(others)} innocent, {len(learned)} documents")
    if report:
        fitted = fit(
            [text for file, text in mine if not _is_held(file)],
            [text for file, text in others if not _is_held(file)],
            learned,
        )
        tell(fitted, [text for file, text in mine if _is_held(file)], apart)
    fitted = fit([text for _, text in mine], [text for _, text in others], learned)
    best = np.sort([fitted.scores(text)[0].max() for text in apart])[::-1]
    threshold = round(float(best[int(share * len(best))]), 3)
    target = HERE.parent / "rules" / f"{name}.opener"
    tables = fitted.words.tobytes(), fitted.grams.tobytes()
    content = pack_opener(opener_weights.Weights(*tables, fitted.scale, fitted.bias, threshold))
    target.write_bytes(content)
    click.echo(f"{target.name}: {len(content)} bytes, threshold {threshold}")


def fit(
    attacks: Sequence[TextFeatures],
    innocent: Sequence[TextFeatures],
    learned: Sequence[TextFeatures],
) -> Fitted:
    """Learn in rounds: of each attack its best window, and the documents' most suspicious ones."""
    chance = random.Random(SEED)  # noqa: S311  it chooses samples
    quiet = [_some(text, chance) for text in innocent for _ in range(min(2, len(text.starts)))]
    calm = [_some(chance.choice(learned), chance) for _ in range(RANDOM)]
    weights = (ATTACK_WEIGHT, INNOCENT_WEIGHT, 1.0)
    fitted = fitted_to(([_some(text, chance) for text in attacks], quiet, calm), weights)
    for _ in range(1, ROUNDS):
        quiet += [best_window(text, fitted) for text in innocent]
        calm += _suspicious(learned, fitted)
        fitted = fitted_to(([best_window(text, fitted) for text in attacks], quiet, calm), weights)
    return fitted


def tell(fitted: Fitted, attacks: Sequence[TextFeatures], apart: Sequence[TextFeatures]) -> None:
    """Print the share of attacks that opens at the rate of some documents, all unseen."""
    best = np.sort([fitted.scores(text)[0].max() for text in apart])[::-1]
    found = np.array([fitted.scores(text)[0].max() for text in attacks])
    for share in SHARES:
        threshold = best[int(share * len(best))]
        click.echo(f"{threshold:6.2f} {share:4.0%} of documents {(found >= threshold).mean():7.2%}")


def fitted_to(windows: Sequence[Sequence[Window]], weights: Sequence[float]) -> Fitted:
    """Fit the windows of attacks, and of other texts, each kind with its weight."""
    numbers = [len(each) for each in windows]
    truth = np.repeat([1, *[0] * (len(windows) - 1)], numbers)
    return fitted_rows([*chain.from_iterable(windows)], truth, np.repeat(weights, numbers))


def fitted_rows(windows: Sequence[Window], truth: Any, counts: Any) -> Fitted:
    """Fit windows, of which each has its own truth and weight."""
    model = SGDClassifier(
        loss="log_loss", alpha=STRENGTH, max_iter=EPOCHS, tol=None, average=True, random_state=SEED
    )
    model.fit(_matrix(windows), truth, sample_weight=counts)
    learned = model.coef_[0]
    scale = float(np.quantile(np.abs(learned[learned != 0]), 0.99999)) / 127
    steps = np.clip(np.round(learned / scale), -127, 127).astype(np.int8)
    return Fitted(steps[:WORDS], steps[WORDS:], scale, float(model.intercept_[0]))


def _matrix(windows: Sequence[Window]) -> sp.csr_matrix:
    """A row for each window, weighted as in its score."""
    indices, values, starts = [], [], [0]
    for text, first, last in windows:
        tokens = slice(text.first[first], text.first[last + 1])
        words = np.concatenate((text.stems[tokens], text.pairs[tokens]))
        grams = text.grams[text.first_gram[first] : text.first_gram[last + 1]] + WORDS
        indices += [words.astype(np.int32), grams.astype(np.int32)]
        values += [
            np.full(len(each), max(len(each), opener_weights.FEWEST) ** -0.5)
            for each in (words, grams)
        ]
        starts.append(starts[-1] + len(words) + len(grams))
    cells = (np.concatenate(values), np.concatenate(indices), np.array(starts))
    return sp.csr_matrix(cells, shape=(len(windows), WORDS + GRAMS))


def _some(text: TextFeatures, chance: random.Random) -> Window:
    """Any window of a text."""
    first = chance.randrange(len(text.starts))
    last = min(len(text.starts), first + chance.randint(1, opener_weights.WINDOW_SEGMENTS)) - 1
    return Window(text, first, last)


def best_window(text: TextFeatures, fitted: Fitted) -> Window:
    """The window of a text that looks most like an attack."""
    scores, begin = fitted.scores(text)
    last = int(scores.argmax())
    return Window(text, int(begin[last]), last)


def _suspicious(texts: Iterable[TextFeatures], fitted: Fitted) -> list[Window]:
    """The windows of documents that look most like attacks."""
    found: list[tuple[float, Window]] = []
    for text in texts:
        scores, begin = fitted.scores(text)
        found += [
            (float(scores[last]), Window(text, int(begin[last]), last))
            for last in np.flatnonzero(scores > MINED_SCORE).tolist()
        ]
    found.sort(key=lambda each: -each[0])
    return [window for _, window in found[:MINED]]


def _documents(count: int, folders: Sequence[Path], *, learned: bool) -> Iterator[TextFeatures]:
    for document in documents(count, folders, learned=learned):
        text = document.text()
        if text is not None and (found := features_of(text[:LONGEST])) is not None:
            yield found


def features_of(text: str) -> TextFeatures | None:
    """The features of a text; None if it has none."""
    return features(with_ascii_marks(text.encode()))


def _is_held(file: str) -> bool:
    return crc32(file.encode()) % HELD_OF == 0


if __name__ == "__main__":
    sys.exit(main())

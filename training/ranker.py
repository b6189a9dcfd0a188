"""Trains a classifier's ranker: `python -m training.ranker --help`.

A ranker has the form of an opener (detect.model.opener), but learns what a classifier reads: for
results (here) of more documents, what in them looks like an order and is none; for definitions
(training/definitions_ranker.py) how sure the classifier and its network are. Needs scikit-learn, as
training.train.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from benchmarks.documents.corpus import Document, candidates, is_learned
from pipeguard.detect.model.classifier import unpack_classifier
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.model.opener_sums import TextFeatures
from pipeguard.detect.model.opener_weights import Weights
from training.corpus import RULES, texts_of
from training.definitions_ranker import of_definitions
from training.opener import LONGEST, Fitted, Window, best_window, features_of, fitted_to
from training.packing import pack_opener
from training.train import SEED, served_option, write

PER_PROJECT = 700  # documents
ROUNDS = 3
# How much a text counts: one that was written as an attack, one that was written to look like one,
# and what is opened of a document.
ATTACK_WEIGHT, INNOCENT_WEIGHT, DOCUMENT_WEIGHT = 1.5, 0.4, 2.0


@click.command()
@click.argument("name", type=click.Choice(["injection", "poisoning"]))
@click.option(
    "--documents", "folders", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="Each folder in this one is a project to learn documents of, besides what is installed.",
)  # fmt: skip
@served_option
@click.option(
    "--labels", "labels", type=click.Path(path_type=Path, dir_okay=False),
    help="For definitions: store how sure the classifier is in this file, or learn what it has.",
)  # fmt: skip
def main(name: str, folders: tuple[Path, ...], served: Path | None, labels: Path | None) -> None:
    """Write rules/NAME.ranker, and its hash into the classifier's file."""
    fitted = of_definitions(served, labels) if name == "poisoning" else of_results(folders)
    tables = fitted.words.tobytes(), fitted.grams.tobytes()
    content = pack_opener(Weights(*tables, fitted.scale, fitted.bias, 0.0))
    target = RULES / f"{name}.ranker"
    target.write_bytes(content)
    click.echo(f"{target.name}: {len(content)} bytes")
    write(name, unpack_classifier((RULES / f"{name}.model").read_bytes()))


def of_results(folders: Sequence[Path]) -> Fitted:
    """The ranker of stretches of results."""
    opener = Opener((RULES / "injection.opener").read_bytes)
    attacks, innocent = texts_of("injection")
    loud = [best for text in attacks if (best := opened(text.text, opener))]
    quiet = [each for text in innocent for each in opened(text.text, opener)]
    documents = [found for text in _texts(folders) if (found := opened(text[:LONGEST], opener))]
    calm = [each for found in documents for each in found]
    click.echo(f"{len(loud)} attacks, {len(quiet)} innocent, {len(calm)} of documents")
    return fit(loud, quiet, calm)


def opened(text: str, opener: Opener) -> list[TextFeatures]:
    """The features of what is opened of a text."""
    data = text.encode()
    stretches = (data[each.start : each.end] for each in opener.stretches(data))
    each_found = (features_of(stretch.decode("utf-8", "replace")) for stretch in stretches)
    return [found for found in each_found if found is not None]


def fit(
    loud: Sequence[list[TextFeatures]],
    quiet: Sequence[TextFeatures],
    calm: Sequence[TextFeatures],
) -> Fitted:
    """Learn in rounds: of each attack its best window, and of other texts what looks like one."""
    chance = random.Random(SEED)  # noqa: S311  it chooses samples
    weights = (ATTACK_WEIGHT, INNOCENT_WEIGHT, DOCUMENT_WEIGHT)
    others: tuple[list[Window], list[Window]] = (
        [_whole(text, chance) for text in quiet],
        [_whole(text, chance) for text in calm],
    )
    fitted = fitted_to(([_whole(texts[0], chance) for texts in loud], *others), weights)
    for _ in range(1, ROUNDS):
        for windows, texts in zip(others, (quiet, calm), strict=True):
            windows += [best_window(text, fitted) for text in texts]
        best = [max((_scored(text, fitted) for text in texts), key=_score)[1] for texts in loud]
        fitted = fitted_to((best, *others), weights)
    return fitted


def _whole(text: TextFeatures, chance: random.Random) -> Window:
    """As many segments of a text as a window has."""
    first = chance.randrange(max(1, len(text.starts) - 2))
    return Window(text, first, min(len(text.starts), first + 3) - 1)


def _scored(text: TextFeatures, fitted: Fitted) -> tuple[float, Window]:
    return float(fitted.scores(text)[0].max()), best_window(text, fitted)


def _score(scored: tuple[float, Window]) -> float:
    return scored[0]


def _texts(folders: Sequence[Path]) -> Iterator[str]:
    """The documents of the projects that may be learned."""
    projects: dict[str, list[Document]] = defaultdict(list)
    for document in candidates(folders):
        if is_learned(document.project):
            projects[document.project].append(document)
    for documents in projects.values():
        chosen = sorted(documents, key=lambda document: document.order)[:PER_PROJECT]
        yield from _readable(chosen)


def _readable(documents: Iterable[Document]) -> Iterator[str]:
    for document in documents:
        text = document.text()
        if text is not None:
            yield text


if __name__ == "__main__":
    sys.exit(main())

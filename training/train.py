"""Trains a classifier, behind its opener: `python -m training.train --help`.

It learns from training/texts.tar.xz and from what is installed on the machine (training/corpus.py).
Needs scikit-learn, which PipeGuard itself does not.
"""

from __future__ import annotations

import random
import re
import sys
import warnings
from array import array
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import click
import numpy as np
import scipy.sparse as sp
import yaml
from sklearn.linear_model import LogisticRegression

from pipeguard.detect.model.classifier import Classifier, Ranking, Rescoring
from pipeguard.detect.model.features import (
    LEAST_FEATURES,
    WEIGHTS,
    Features,
    Lexicon,
    clean,
    features,
)
from pipeguard.detect.model.sentences import plain, units
from training.corpus import (
    MINED_SCORE,
    Text,
    as_read,
    definitions_of,
    installed,
    like_attacks,
    texts_of,
    with_other_words,
)
from training.packing import pack_classifier, pack_stems

Scores: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
warnings.filterwarnings("ignore")  # of the solver's options, which are the fastest
HERE = Path(__file__).resolve().parent
SEED = 20261120
FOLDS = 2
NATURAL = 40_000  # pieces of what is installed
# The weight of an installed piece that looks like an attack, where any other text has 1: results
# are such text, and definitions are not.
QUIET_WEIGHT = {"injection": 4.0, "poisoning": 1.0}
# The shares of innocent texts, made to look like attacks, that score more than the thresholds of a
# warning and of a block. Definitions speak to the model by nature, so others block few of them.
SHARES = {"injection": (0.041, 0.0375), "poisoning": (0.062, 0.051)}
# With the network behind both: the scores of a warning and of a block; the share of its logits
# that is added; how far below the warning it is asked, and for how many sentences. Chosen on cases
# of the benchmark's `tuned` half that nothing learns from.
NETWORK = "orders.network"
TOGETHER = {"injection": (2.9, 3.4, 1.0, 3.9, 8), "poisoning": (3.0, 3.0, 2.0, 6.0, 12)}
# With a ranker before both: the score from which a stretch is read; the score below which sentences
# are calm, and how many times the difference is taken from theirs. Chosen on cases of
# both halves, and on how many documents are blocked.
RANKED = {"injection": (-2.0, -1.0, 2.0), "poisoning": (-1.5, 0.0, 0.0)}
UNCLEAR = 0.1  # of the attacks: the share that others tell least, of which nothing is learned
STRENGTH = {"injection": 4.0, "poisoning": 2.0}  # C of the classifier
DEFINITION_WEIGHT = 8.0  # or texts that speak to the model by nature would drown among results


class Examples(NamedTuple):
    """Training data of a classifier: a row for each text.

    Attributes:
        x: the features.
        y: 1 for an attack, else 0.
        weight: how much a row counts.
        fold: the fold in which a row is left out.
    """

    x: sp.csr_matrix
    y: Scores
    weight: Scores
    fold: Scores

    def only(self, rows: Scores) -> Examples:
        """The rows that a mask chooses."""
        return Examples(*(column[rows] for column in self))


def whole(text: str, lexicon: Lexicon) -> Features:
    """The features of a text, taken sentence by sentence."""
    union = Features(frozenset(), frozenset(), frozenset())
    for start, end, _ in units(text):
        union |= features(clean(text[start:end]), lexicon)
    return union


def matrix(rows: Iterable[Features]) -> sp.csr_matrix:
    """A row for each text, weighted as in `Classifier.score`."""
    indices, values, starts = array("i"), array("d"), [0]
    for row in rows:
        for group in row:
            indices.extend(group)
            values.extend([1 / max(len(group), LEAST_FEATURES) ** 0.5] * len(group))
        starts.append(len(indices))
    cells = (np.frombuffer(values), np.frombuffer(indices, np.int32), starts)
    made = sp.csr_matrix(cells, shape=(len(starts) - 1, WEIGHTS))
    made.sum_duplicates()
    return made


def fit(examples: Examples, strength: float) -> LogisticRegression:
    """The weights that tell attacks from other texts."""
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=200, random_state=SEED)
    return model.fit(examples.x, examples.y, sample_weight=examples.weight)


def weights_of(model: LogisticRegression) -> dict[str, Any]:
    """The weights as one byte each, greater by 128; the value of one step; and the bias."""
    weights = model.coef_[0]
    scale = float(np.abs(weights).max() / 127)
    steps = (np.round(weights / scale) + 128).astype(np.uint8).tobytes()
    bias = round(float(model.intercept_[0]), 4)
    return {"bias": bias, "scale": scale, "weights": steps}


natural_option = click.option(
    "--natural", "folders", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="Read pieces of the files below this folder as texts without orders; may be repeated.",
)  # fmt: skip
served_option = click.option(
    "--served", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="For definitions: read what real servers offer (benchmarks.detection.servers stores it).",
)  # fmt: skip


@click.command()
@click.argument("name", type=click.Choice(["injection", "poisoning"]))
@natural_option
@served_option
@click.option("--report/--no-report", default=True, help="Print the recall of each class and file.")
def main(name: str, folders: tuple[Path, ...], served: Path | None, *, report: bool) -> None:
    """Write rules/NAME.model, and its hash into the pack, from the texts and the folders."""
    opener = HERE.parent / "rules" / f"{name}.opener"
    chance = random.Random(SEED)  # noqa: S311  it chooses samples
    attacks, innocent = texts_of(name)
    if served is not None and name == "poisoning":
        innocent += definitions_of(served)
    natural = installed(folders, NATURAL, chance)
    families, stems = lexicon_of(yaml.safe_load((HERE / "lexicon.yaml").read_text("utf-8")))
    lexicon = Lexicon(families, stems)
    click.echo(f"{len(attacks)} attacks, {len(innocent)} innocent, {len(natural)} pieces installed")

    pieces = [as_read(text.text) for text in innocent]
    examples = _examples(
        attacks, list(zip(innocent, pieces, strict=True)), natural, lexicon, chance
    )
    n, m, k = len(attacks), sum(map(len, pieces)), len(natural)
    scores = _scores_left_out(examples, STRENGTH[name])
    worst = _worst(scores[2 * n : 2 * n + m], pieces)
    if report:
        tell(scores[:n], worst, scores[2 * n + m :], attacks)
    clear = scores[:n] >= np.quantile(scores[:n], UNCLEAR)
    examples = examples.only(np.r_[clear, clear, np.ones(m + k, dtype=bool)])
    document = {
        "about": f"{n} attacks, {len(innocent)} innocent, {k} pieces installed; seed {SEED}",
        "likely": round(float(np.quantile(worst, 1 - SHARES[name][0])), 3),
        "sure": round(float(np.quantile(worst, 1 - SHARES[name][1])), 3),
        "families": families,
        "stems": pack_stems(stems),
        "opener": {"file": opener.name, "sha256": sha256(opener.read_bytes()).hexdigest()},
    }
    first = weights_of(fit(examples, STRENGTH[name]))
    guard = Classifier({**document, **first, "likely": MINED_SCORE})
    mined = like_attacks(folders, guard, chance)
    click.echo(f"{len(mined)} more pieces that looked like attacks")
    examples = _with_mined(examples, matrix(whole(text, lexicon) for text in mined), name)
    write(name, document | weights_of(fit(examples, STRENGTH[name])))


def _examples(
    attacks: Sequence[Text],
    innocent: Sequence[tuple[Text, list[tuple[int, int]]]],
    natural: Sequence[str],
    lexicon: Lexicon,
    chance: random.Random,
) -> Examples:
    """Attacks, bare and among other words; pieces of innocent texts and of installed files."""
    others = [text.text for text, _ in innocent] + list(natural[:4000])
    mixed = with_other_words(attacks, others, chance)
    quiet = [(text, text.text[a:b]) for text, spans in innocent for a, b in spans]
    texts = chain((t.text for t in attacks), mixed, (piece for _, piece in quiet), natural)
    x = matrix(whole(text, lexicon) for text in texts)
    y = np.r_[np.ones(2 * len(attacks)), np.zeros(len(quiet) + len(natural))]
    sources = [*attacks, *attacks, *(text for text, _ in quiet)]
    weight = np.r_[[weight_of(text) for text in sources], np.ones(len(natural))]
    fold = np.r_[[fold_of(text) for text in sources], [chance.randrange(FOLDS) for _ in natural]]
    return Examples(x, y, weight, fold)


def _scores_left_out(examples: Examples, strength: float) -> Scores:
    """The score of each row by a model that has not learned its file."""
    scores = np.zeros(len(examples.y))
    for fold in range(FOLDS):
        out = examples.fold == fold
        scores[out] = fit(examples.only(~out), strength).decision_function(examples.x[out])
    return scores


def _worst(scores: Scores, pieces: Sequence[Sequence[object]]) -> Scores:
    """The greatest score of each text's pieces."""
    owner = np.repeat(range(len(pieces)), [len(spans) for spans in pieces])
    worst = np.full(len(pieces), -99.0)
    np.maximum.at(worst, owner, scores)
    return worst


def _with_mined(examples: Examples, mined: sp.csr_matrix, name: str) -> Examples:
    count = mined.shape[0]
    return Examples(
        sp.vstack([examples.x, mined]),
        np.r_[examples.y, np.zeros(count)],
        np.r_[examples.weight, np.full(count, QUIET_WEIGHT[name])],
        np.r_[examples.fold, np.zeros(count)],
    )


def write(name: str, document: dict[str, Any]) -> None:
    """Write a classifier and its hash, with its ranker and its network if there are any."""
    target = HERE.parent / "rules" / f"{name}.model"
    network = target.with_name(NETWORK)
    if network.exists():
        likely, sure, share, again, most = TOGETHER[name]
        digest = sha256(network.read_bytes()).hexdigest()
        second = Rescoring(NETWORK, digest, name, share, again, most)
        document |= {"likely": likely, "sure": sure, "second": second._asdict()}
    ranker = target.with_suffix(".ranker")
    if ranker.exists():
        digest = sha256(ranker.read_bytes()).hexdigest()
        document |= {"ranker": Ranking(ranker.name, digest, *RANKED[name])._asdict()}
    content = pack_classifier(document)
    digest = sha256(content).hexdigest()
    target.write_bytes(content)
    pack = target.with_suffix(".yaml")
    pack.write_text(re.sub(r"(?m)^(  sha256: )\w+$", rf"\g<1>{digest}", pack.read_text("utf-8")))
    click.echo(f"{target.name}: {len(content)} bytes, sha256 {digest}")


def fold_of(text: Text) -> int:
    """The fold of a text: one for all of its file, so that its wording is new when left out."""
    return crc32(text.file.encode()) % FOLDS


def weight_of(text: Text) -> float:
    """The weight of a text."""
    return DEFINITION_WEIGHT if "definitions" in text.file else 1.0


def lexicon_of(source: dict[str, dict[str, list[str]]]) -> tuple[list[str], dict[str, list[int]]]:
    """The families' names, and the numbers of the families of each stem."""
    families = sorted(source)
    stems: dict[str, set[int]] = {}
    for number, family in enumerate(families):
        for listed in source[family].values():
            for stem in listed or ():
                text = str(stem)
                stems.setdefault(plain(text), set()).add(number)
    return families, {stem: sorted(numbers) for stem, numbers in sorted(stems.items())}


def tell(own: Scores, other: Scores, calm: Scores, attacks: list[Text]) -> None:
    """Print what the scores of texts that were left out tell."""
    ranked = np.sort(other)[::-1]
    click.echo("score, of innocent texts, of pieces installed, of attacks")
    for share in (0.002, 0.005, 0.01, 0.02, 0.04, 0.08):
        at = ranked[int(share * len(ranked))]
        click.echo(f"{at:6.2f} {share:6.1%} {(calm > at).mean():8.4%} {(own > at).mean():6.1%}")
    at = ranked[int(0.02 * len(ranked))]
    for title, of in (("class", attrgetter("kind")), ("file", attrgetter("file"))):
        caught: dict[str, list[bool]] = {}
        for text, score in zip(attacks, own, strict=True):
            caught.setdefault(of(text), []).append(bool(score > at))
        shares = (f"{key} {sum(v) / len(v):.0%}" for key, v in sorted(caught.items()))
        click.echo(f"by {title}: " + ", ".join(shares))


if __name__ == "__main__":
    sys.exit(main())

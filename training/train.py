"""Makes the weights of a classifier and the words of its gate: `python -m training.train --help`.

What is learned from is in training/texts.tar.xz (written for this, one JSON object a line) and in
what is installed on the machine: documentation, manual pages and code are read as what is no
order to a model. Needs scikit-learn, which PipeGuard itself does not.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import sys
import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from heapq import nlargest
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import click
import numpy as np
import scipy.sparse as sp
import yaml
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from benchmarks.detection.servers import kept
from pipeguard.core.model.classifier import LEAST_FEATURES, Classifier, Second
from pipeguard.core.model.features import WEIGHTS, Features, features
from pipeguard.core.model.lexicon import Lexicon
from pipeguard.core.model.normal_form import IDEOGRAPH, LETTERS, plain
from pipeguard.core.model.prefilter import Prefilter, make, opened
from pipeguard.core.model.sentences import read_together, units
from pipeguard.core.scanning.databases import LEAST_WEIGHT
from pipeguard.core.text.document import MessageText as Strings
from training.texts import files

warnings.filterwarnings("ignore")  # of the solver's options, which are the fastest
Scores: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
HERE = Path(__file__).resolve().parent
SEED = 20261120
FOLDS = 2
NATURAL = 40_000  # pieces of what is installed
# Of an installed piece that looks like an attack, against 1 of any other text: results are such
# text, and definitions are not.
QUIET_WEIGHT = {"injection": 4.0, "poisoning": 1.0}
# Of innocent texts that look like attacks, the share that scores more than what is only warned of,
# and than what is blocked. Definitions speak to the model by nature, so few are blocked by others.
SHARES = {"injection": (0.041, 0.0375), "poisoning": (0.062, 0.051)}
# With the second reader of both: from what scores on a passage is a warning and a block; what share
# of its logits is added; how far below that it is asked, and of how many sentences. Chosen on cases
# of the benchmark's `tuned` half that nothing learns from.
NETWORK = "orders.network"
TOGETHER = {"injection": (3.0, 3.5, 1.0, 5.0, 8), "poisoning": (3.0, 3.0, 2.0, 6.0, 12)}
FEW = 3  # attacks: a word of no more opens no gate
MARKS = "[\u27e6\u27e7]"  # before an order in a document, and behind it
SHORT = 3  # letters: a shorter word costs more to find than it says
LEAST = 50  # hundredths that a word of the gate weighs: a lighter one costs more than it says
PAGE_WORDS = 70  # from which on a text is read as pages are
UNCLEAR = 0.1  # of the attacks: the share that others tell least, of which nothing is learned
MINED = 60_000  # pieces at most of all that is installed, which look most like attacks
MINED_SCORE = -1.0
MINED_TEXT = 2_000_000  # bytes of a file
MINED_FILES = 10_000  # of a folder
STRENGTH = {"injection": 4.0, "poisoning": 2.0}  # C of the classifier
DEFINITION_WEIGHT = 8.0  # what speaks to the model by nature would drown in what results say
SELDOM = re.compile("[\u0600-\u06ff\u0900-\u097f]")  # scripts of which little is installed
GATE_PENALTY = 2.0
SELDOM_PENALTY = 0.4  # of words in such scripts, each of which stands in few texts
GATE_RARE = 0.02  # of all pieces: a word that stands in more of them opens no gate
SUFFIXES = (
    ".md",
    ".rst",
    ".txt",
    ".html",
    ".page",
    ".xml",
    ".pod",
    ".py",
    ".js",
    ".ts",
    ".json",
    ".css",
    ".svg",
    ".gz",
    "METADATA",
    "README",
)
MARKED_UP = (".html", ".page", ".xml")
MAX_TEXT = 40_000  # bytes of a file that a few pieces are taken of


@dataclass(frozen=True)
class Text:
    """One text to learn from."""

    file: str
    kind: str
    text: str


def read(pattern: str) -> list[Text]:
    """The texts of all files of that name."""
    found = []
    for name, content in files().items():
        if fnmatch(name, pattern):
            for line in content.decode("utf-8").splitlines():
                entry = json.loads(line)
                kind = entry.get("class") or entry["kind"]
                found.append(Text(name.removesuffix(".jsonl"), kind, entry["text"]))
    return found


def installed(folders: Sequence[Path], most: int, chance: random.Random) -> list[str]:
    """Pieces of what is installed, a few of each file."""
    found: list[str] = []
    for number, folder in enumerate(folders, 1):
        files = _files(folder)
        chance.shuffle(files)
        for path in files:
            text = chance.choice(_contents(path, MAX_TEXT))
            pieces = [text[start:end] for start, end in spans(text)]
            chance.shuffle(pieces)
            found += pieces[:10]
            if len(found) >= most * number // len(folders):
                break
    return found


def like_attacks(
    folders: Sequence[Path], guard: Classifier, chance: random.Random, least: float = MINED_SCORE
) -> list[str]:
    """Of what is installed, the pieces that a guard would read and that look most like attacks."""
    opening = opened(make(guard.opening), LEAST_WEIGHT)
    found: dict[str, float] = {}
    for folder in folders:
        files = _files(folder)
        chance.shuffle(files)
        for path in files[:MINED_FILES]:
            for text in _worth_reading(chance.choice(_contents(path, MINED_TEXT)), opening):
                for score, start, end, _ in guard.pieces(text):
                    if score > least:
                        found[text[start:end]] = score
    return nlargest(MINED, found, key=found.__getitem__)


def _worth_reading(text: str, opening: Prefilter) -> Iterator[str]:
    """The stretches of a text that a gate opens for."""
    data = text.encode()
    for stretch in opening.stretches(data):
        yield data[stretch.start : stretch.end].decode("utf-8", "replace")


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.endswith(SUFFIXES) and path.is_file() and not path.is_symlink()
    )


def _contents(path: Path, most: int) -> list[str]:
    """A file as a tool could give it: markup as it stands, and without it."""
    try:
        opening = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
        with opening as file:
            text = _decoded(file.read(most))
    except (OSError, EOFError, ValueError):
        return [""]
    texts = [text]
    if path.suffix in MARKED_UP:
        texts.append(re.sub(r"(?is)<(script|style|head).*?</\1>|<[^>]+>", " ", text))
    if path.suffix == ".gz":
        texts.append(re.sub(r"(?m)^\.\\\".*$|^\.[A-Z]{1,2}\b ?|\\f.|\\&|\\\(..", "", text))
    return [re.sub(r"[ \t]+", " ", text) for text in dict.fromkeys(texts)]


def _decoded(data: bytes) -> str:
    """Of UTF-8, all but a last letter that was cut; nothing of anything else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.start > len(data) - 4
        return data[: error.start].decode("utf-8") if is_cut else ""


def spans(text: str) -> Iterator[tuple[int, int]]:
    """What is read together, as in `Classifier.pieces`."""
    found = units(text)
    for first, last, _ in read_together(found):
        yield found[first][0], found[last][1]


def whole(text: str, lexicon: Lexicon) -> Features:
    """All that counts in a text, sentence by sentence."""
    found = Features(frozenset(), frozenset(), frozenset())
    for start, end, _ in units(text):
        found |= features(text[start:end], lexicon)
    return found


def matrix(rows: Iterable[Features]) -> sp.csr_matrix:
    """One row a text, as `Classifier.score` weighs it."""
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


def beside(texts: Sequence[Text], others: Sequence[str], chance: random.Random) -> list[str]:
    """Each text once more, with a few words of something else before or after it."""
    found = []
    for text in texts:
        words = " ".join(chance.choice(others).split()[:15])
        found.append(f"{text.text} {words}" if chance.random() < 0.5 else f"{words} {text.text}")
    return found


def fit(x: sp.csr_matrix, y: Scores, weight: Scores, strength: float) -> LogisticRegression:
    """The weights that tell attacks from the rest."""
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=200, random_state=SEED)
    return model.fit(x, y, sample_weight=weight)


def weights_of(model: LogisticRegression) -> dict[str, Any]:
    """The weights as one byte each, what one step of them is worth, and what is always added."""
    weights = model.coef_[0]
    scale = float(np.abs(weights).max() / 127)
    steps = np.round(weights / scale).astype(np.int8).tobytes()
    bias = round(float(model.intercept_[0]), 4)
    return {"bias": bias, "scale": scale, "weights": base64.b64encode(steps).decode()}


def gate(attacks: Sequence[str], others: Sequence[str]) -> list[tuple[str, int]]:
    """The words that open the gate, each with its weight in hundredths.

    A logistic regression whose weights are never below zero: the gate adds up what it finds, and
    cannot know of what is not there.
    """
    yes = [gate_words(_EXAMPLE_HOST.sub(" ", text)) for text in attacks]
    no = [gate_words(text) for text in others]
    often = Counter(word for words in no for word in words)
    seen = Counter(word for words in yes for word in words)
    known = sorted(
        w
        for w, n in seen.items()
        if n > (1 if SELDOM.match(w) else FEW) and often[w] < GATE_RARE * len(no)
    )
    index = {word: i for i, word in enumerate(known)}
    rows = [[index[w] for w in words if w in index] for words in (*yes, *no)]
    starts = np.cumsum([0, *map(len, rows)])
    cells = (np.ones(starts[-1]), [i for row in rows for i in row], starts)
    x = sp.csr_matrix(cells, shape=(len(rows), len(known)))
    y = np.r_[np.ones(len(yes)), -np.ones(len(no))]
    seldom = np.array([SELDOM.match(word) is not None for word in known])
    penalty = np.where(seldom, SELDOM_PENALTY, GATE_PENALTY)

    def loss(point: Scores) -> tuple[float, Scores]:
        weights, bias = point[:-1], point[-1]
        margin = y * (x @ weights + bias)
        slope = -y / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).sum() + penalty @ weights
        return value, np.r_[x.T @ slope + penalty, slope.sum()]

    found = minimize(
        loss,
        np.r_[np.zeros(len(known)), -2.0],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(known) + [(None, None)],
        options={"maxiter": 200},
    )
    weights = [round(100 * w * (1 + 4 * s)) for w, s in zip(found.x[:-1], seldom, strict=True)]
    pairs = zip(known, weights, strict=True)
    return [(word, min(255, weight)) for word, weight in pairs if weight > LEAST]


_EXAMPLE_HOST = re.compile(r"[\w.@-]*\.(?:example|invalid|test)\b")  # where no attack of theirs is
_LETTERS = re.compile(LETTERS)
# Conjunctions, prepositions and the article, which Arabic writes with the word.
_ARABIC_PREFIX = re.compile(
    "^[\u0648\u0641]?(?:\u0628\u0627\u0644|\u0643\u0627\u0644|\u0644\u0644|\u0627\u0644"
    "|[\u0628\u0644\u0633\u0643])?(?=\\w{3})"
)


def gate_words(text: str) -> set[str]:
    """Words as they stand, `*` for any ending, and pairs of words with one space between."""
    found: set[str] = set()
    text = text.lower()
    before, end = "", -1
    for match in _LETTERS.finditer(text):
        word = match[0]
        if IDEOGRAPH.match(word):
            found.update(word[i : i + n] for n in (2, 3) for i in range(len(word) - n + 1))
            before = ""
            continue
        if len(word) > SHORT or not word.isascii():
            found.add(word)
        if word[0] >= "\u0600" and word[0] <= "\u06ff":
            found.add(_ARABIC_PREFIX.sub("", word))
        if len(word) > 5:
            found.add(word[:5] + "*")
        if before and match.start() == end + 1 and text[end] in " \n":
            found.add(f"{before} {word}")
            if len(before) > 5 or len(word) > 5:
                found.add(f"{_stem(before)} {_stem(word)}")
        before, end = word, match.end()
    return found


def _stem(word: str) -> str:
    return word[:5] + "*" if len(word) > 5 else word


natural_option = click.option(
    "--natural", "folders", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="Read pieces of what stands below this folder as no orders; may be given several times.",
)  # fmt: skip
served_option = click.option(
    "--served", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="For definitions: read what real servers offer, which benchmarks.detection.servers kept.",
)  # fmt: skip


@click.command()
@click.argument("name", type=click.Choice(["injection", "poisoning"]))
@natural_option
@served_option
@click.option("--report/--no-report", default=True, help="Tell the recall of each class and file.")
def main(name: str, folders: tuple[Path, ...], served: Path | None, *, report: bool) -> None:
    """Write rules/NAME.model, and its hash into the pack, from the texts and the folders."""
    chance = random.Random(SEED)  # noqa: S311  it chooses samples
    attacks, innocent = texts_of(name)
    if served is not None and name == "poisoning":
        innocent += definitions_of(served)
    natural = installed(folders, NATURAL, chance)
    families, stems = lexicon_of(yaml.safe_load((HERE / "lexicon.yaml").read_text("utf-8")))
    lexicon = Lexicon(families, stems)
    click.echo(f"{len(attacks)} attacks, {len(innocent)} innocent, {len(natural)} pieces installed")

    others = [t.text for t in innocent] + natural[:4000]
    mixed = beside(attacks, others, chance)
    read_as = [as_read(t.text) for t in innocent]
    quiet = [(t, t.text[a:b]) for t, found in zip(innocent, read_as, strict=True) for a, b in found]
    learned_from = chain((t.text for t in attacks), mixed, (said for _, said in quiet), natural)
    x = matrix(whole(text, lexicon) for text in learned_from)
    n, m, k = len(attacks), len(quiet), len(natural)
    y = np.r_[np.ones(2 * n), np.zeros(m + k)]
    sources = [*attacks, *attacks, *(text for text, _ in quiet)]
    weight = np.r_[[weight_of(text) for text in sources], np.ones(k)]
    group = np.r_[[fold_of(text) for text in sources], [chance.randrange(FOLDS) for _ in natural]]
    strength = STRENGTH[name]
    scores = np.zeros(len(y))
    for fold in range(FOLDS):
        out = group == fold
        scores[out] = fit(x[~out], y[~out], weight[~out], strength).decision_function(x[out])
    owner = np.repeat(range(len(innocent)), [len(found) for found in read_as])
    worst = np.full(len(innocent), -99.0)
    np.maximum.at(worst, owner, scores[2 * n : 2 * n + m])
    if report:
        tell(scores[:n], worst, scores[2 * n + m :], attacks)
    clear = scores[:n] >= np.quantile(scores[:n], UNCLEAR)
    learned = np.r_[clear, clear, np.ones(m + k, dtype=bool)]
    x, y, weight = x[learned], y[learned], weight[learned]
    made = fit(x, y, weight, strength)
    document = {
        "about": f"{n} attacks, {len(innocent)} innocent, {k} pieces installed; seed {SEED}",
        "likely": round(float(np.quantile(worst, 1 - SHARES[name][0])), 3),
        "sure": round(float(np.quantile(worst, 1 - SHARES[name][1])), 3),
        "families": families,
        "stems": stems,
        "anchors": gate([t.text for t in attacks], natural),
    }
    guard = Classifier({**document, **weights_of(made), "likely": MINED_SCORE})
    mined = like_attacks(folders, guard, chance)
    click.echo(f"{len(mined)} more pieces that looked like attacks")
    x = sp.vstack([x, matrix(whole(text, lexicon) for text in mined)])
    y = np.r_[y, np.zeros(len(mined))]
    weight = np.r_[weight, np.full(len(mined), QUIET_WEIGHT[name])]
    document |= weights_of(fit(x, y, weight, strength))
    write(name, document)


def write(name: str, document: dict[str, Any]) -> None:
    """Write a classifier, with what reads behind it where there is one, and its hash."""
    target = HERE.parent / "rules" / f"{name}.model"
    network = target.with_name(NETWORK)
    if network.exists():
        likely, sure, share, again, most = TOGETHER[name]
        digest = sha256(network.read_bytes()).hexdigest()
        second = Second(NETWORK, digest, name, share, again, most)
        document |= {"likely": likely, "sure": sure, "second": second._asdict()}
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    digest = sha256(content).hexdigest()
    target.write_bytes(content)
    pack = target.with_suffix(".yaml")
    pack.write_text(re.sub(r"(?m)^(  sha256: )\w+$", rf"\g<1>{digest}", pack.read_text("utf-8")))
    click.echo(f"{target.name}: {len(content)} bytes, sha256 {digest}")


def texts_of(name: str, language: str = "*") -> tuple[list[Text], list[Text]]:
    """The attacks and the innocent texts of a model; what results say is no definition's either."""
    attacks, innocent = read(f"attacks-{language}-*.jsonl"), read(f"innocent-{language}-*.jsonl")
    for one in read(f"carried-{language}-*.jsonl"):
        before, order, behind = re.split(MARKS, one.text)
        attacks.append(Text(one.file, one.kind, order))
        innocent.append(Text(one.file, "carrier", f"{before.rstrip()} {behind.lstrip()}".strip()))
    if name == "injection":
        attacks = [t for t in attacks if "definitions" not in t.file]
        innocent = [t for t in innocent if "definitions" not in t.file]
    return attacks, innocent


def definitions_of(folder: Path) -> list[Text]:
    """What real servers offer, each definition as a guard reads it."""
    return [
        Text(
            f"definitions-{name.partition('/')[0]}",
            "served",
            Strings(one, keyed=False).data.decode(),
        )
        for name, one in kept(folder)
    ]


def as_read(text: str) -> list[tuple[int, int]]:
    """Piece by piece, and a text that is no page also whole."""
    found = units(text)
    pieces = list(spans(text)) if len(found) > 1 else []
    if sum(length for *_, length in found) <= PAGE_WORDS:
        pieces.append((0, len(text)))
    return pieces


def fold_of(text: Text) -> int:
    """The fold that a text is left out in: all of its file, so that what is told is new wording."""
    return crc32(text.file.encode()) % FOLDS


def weight_of(text: Text) -> float:
    """How much it counts that a text is told."""
    return DEFINITION_WEIGHT if "definitions" in text.file else 1.0


def lexicon_of(source: dict[str, dict[str, list[str]]]) -> tuple[list[str], dict[str, list[int]]]:
    """The families' names, and of each stem the numbers of its families."""
    families = sorted(source)
    stems: dict[str, set[int]] = {}
    for number, family in enumerate(families):
        for listed in source[family].values():
            for stem in listed or ():
                text = str(stem)
                stems.setdefault(plain(text), set()).add(number)
    return families, {stem: sorted(numbers) for stem, numbers in sorted(stems.items())}


def tell(own: Scores, other: Scores, calm: Scores, attacks: list[Text]) -> None:
    """Print what is found of texts that were left out."""
    ranked = np.sort(other)[::-1]
    click.echo("score, of innocent texts, of pieces installed, of attacks")
    for share in (0.002, 0.005, 0.01, 0.02, 0.04, 0.08):
        at = ranked[int(share * len(ranked))]
        click.echo(f"{at:6.2f} {share:6.1%} {(calm > at).mean():8.4%} {(own > at).mean():6.1%}")
    at = ranked[int(0.02 * len(ranked))]
    for title, of in (("class", attrgetter("kind")), ("file", attrgetter("file"))):
        found: dict[str, list[bool]] = {}
        for text, score in zip(attacks, own, strict=True):
            found.setdefault(of(text), []).append(bool(score > at))
        shares = (f"{key} {sum(v) / len(v):.0%}" for key, v in sorted(found.items()))
        click.echo(f"by {title}: " + ", ".join(shares))


if __name__ == "__main__":
    sys.exit(main())

"""Training texts of classifiers: texts written for it, and pieces of installed files.

A text is read from training/texts.tar.xz. Installed documentation, manual pages and code are read
as text without orders to a model.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from heapq import nlargest
from pathlib import Path

from benchmarks.detection.servers import stored_definitions
from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.model.sentences import read_together, units
from pipeguard.detect.text.document import MessageText
from training.texts import files

RULES = Path(__file__).resolve().parents[1] / "rules"
MARKS = "[\u27e6\u27e7]"  # before an order in a document, and behind it
PAGE_WORDS = 70  # a longer text is read as pages are, piece by piece only
MINED = 60_000  # pieces at most of all that is installed, those that look most like attacks
MINED_SCORE = -1.0
MINED_TEXT = 2_000_000  # bytes of a file
MINED_FILES = 10_000  # of a folder
SUFFIXES = (
    *(
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
    ),
    *(".svg", ".gz", "METADATA", "README"),
)
MARKED_UP = (".html", ".page", ".xml")
MAX_TEXT = 40_000  # bytes of a file of which a few pieces are taken


@dataclass(frozen=True)
class Text:
    """One text to learn from."""

    file: str
    kind: str
    text: str


def read(pattern: str) -> list[Text]:
    """The texts of all files whose name matches."""
    texts = []
    for name, content in files().items():
        if not fnmatch(name, pattern):
            continue
        for line in content.decode("utf-8").splitlines():
            entry = json.loads(line)
            kind = entry.get("class") or entry["kind"]
            texts.append(Text(name.removesuffix(".jsonl"), kind, entry["text"]))
    return texts


def texts_of(name: str, language: str = "*") -> tuple[list[Text], list[Text]]:
    """The attacks and the innocent texts for a model; definitions also learn from results."""
    attacks, innocent = read(f"attacks-{language}-*.jsonl"), read(f"innocent-{language}-*.jsonl")
    for text in read(f"carried-{language}-*.jsonl"):
        before, order, behind = re.split(MARKS, text.text)
        attacks.append(Text(text.file, text.kind, order))
        carrier = f"{before.rstrip()} {behind.lstrip()}".strip()
        innocent.append(Text(text.file, "carrier", carrier))
    if name == "injection":
        attacks = [t for t in attacks if "definitions" not in t.file]
        innocent = [t for t in innocent if "definitions" not in t.file]
    return attacks, innocent


def definitions_of(folder: Path) -> list[Text]:
    """The definitions of real servers, as a guard reads them."""
    return [
        Text(
            f"definitions-{name.partition('/')[0]}",
            "served",
            MessageText(definition, keyed=False).data.decode(),
        )
        for name, definition in stored_definitions(folder)
    ]


def installed(folders: Sequence[Path], most: int, chance: random.Random) -> list[str]:
    """Pieces of what is installed, a few of each file."""
    taken: list[str] = []
    for number, folder in enumerate(folders, 1):
        paths = _files(folder)
        chance.shuffle(paths)
        for path in paths:
            text = chance.choice(_contents(path, MAX_TEXT))
            pieces = [text[start:end] for start, end in spans(text)]
            chance.shuffle(pieces)
            taken += pieces[:10]
            if len(taken) >= most * number // len(folders):
                break
    return taken


def like_attacks(
    folders: Sequence[Path], guard: Classifier, chance: random.Random, least: float = MINED_SCORE
) -> list[str]:
    """The pieces of what is installed that a guard would read and that look most like attacks."""
    scores: dict[str, float] = {}
    opener = Opener((RULES / guard.opener.file).read_bytes)
    for text in _mined_texts(folders, opener, chance):
        for score, start, end, _ in guard.pieces(text):
            if score > least:
                scores[text[start:end]] = score
    return nlargest(MINED, scores, key=scores.__getitem__)


def _mined_texts(folders: Sequence[Path], opener: Opener, chance: random.Random) -> Iterator[str]:
    """The stretches of installed files that the opener opens."""
    for folder in folders:
        paths = _files(folder)
        chance.shuffle(paths)
        for path in paths[:MINED_FILES]:
            data = chance.choice(_contents(path, MINED_TEXT)).encode()
            for stretch in opener.stretches(data):
                yield data[stretch.start : stretch.end].decode("utf-8", "replace")


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.endswith(SUFFIXES) and path.is_file() and not path.is_symlink()
    )


def _contents(path: Path, most: int) -> list[str]:
    """A file as a tool could return it: with its markup, and without."""
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
    """UTF-8 without a letter that was cut at the end; empty for anything else."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.start > len(data) - 4
        return data[: error.start].decode("utf-8") if is_cut else ""


def spans(text: str) -> Iterator[tuple[int, int]]:
    """The sentences that are read together, as in `Classifier.pieces`."""
    sentences = units(text)
    for first, last, _ in read_together(sentences):
        yield sentences[first][0], sentences[last][1]


def as_read(text: str) -> list[tuple[int, int]]:
    """A text piece by piece; if it fits into a page's part, also whole."""
    sentences = units(text)
    pieces = list(spans(text)) if len(sentences) > 1 else []
    if sum(length for *_, length in sentences) <= PAGE_WORDS:
        pieces.append((0, len(text)))
    return pieces


def with_other_words(
    texts: Iterable[Text], others: Sequence[str], chance: random.Random
) -> list[str]:
    """Each text once more, with a few words of something else before or after it."""
    made = []
    for text in texts:
        words = " ".join(chance.choice(others).split()[:15])
        made.append(f"{text.text} {words}" if chance.random() < 0.5 else f"{words} {text.text}")
    return made

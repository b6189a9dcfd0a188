"""Words of a text, and tables of words: stop words, synonyms, and the nearest in meaning.

The last table was made once by a model: training/neighbours.py writes it; no model is needed to
read it.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import islice
from struct import Struct
from typing import Any

import yaml

MOST_NEIGHBOURS = 12  # of a stem, in neighbours.bin
NEIGHBOUR_ROW = Struct(f"<{MOST_NEIGHBOURS}H{MOST_NEIGHBOURS}B")  # their numbers and likenesses


class Neighbours:
    """The stems of English words, each with the nearest in meaning."""

    def __init__(self) -> None:
        packed = resources.files("pipeguard.gateway").joinpath("neighbours.bin").read_bytes()
        stems, _, self._rows = zlib.decompress(packed).partition(b"\n")
        self._stems = stems.decode().split()
        self._places = {stem: place for place, stem in enumerate(self._stems)}

    def __contains__(self, stem: str) -> bool:
        return stem in self._places

    def of(self, stem: str) -> Iterator[tuple[str, float]]:
        """The nearest stems, each with its likeness from 0 to 1."""
        place = self._places.get(stem)
        if place is not None:
            row = NEIGHBOUR_ROW.unpack_from(self._rows, place * NEIGHBOUR_ROW.size)
            for number, likeness in zip(row[:MOST_NEIGHBOURS], row[MOST_NEIGHBOURS:], strict=True):
                if likeness:
                    yield self._stems[number], likeness / 255


# --- words ---
MAX_WORD_CHARS = 40  # the longest in a dictionary of English has 45
MOST_REPEATS = 2  # of a word in a field
_WORD = re.compile(r"[^\W_]+")
_PLURAL = re.compile(r"(?<=s|x|h)es$|(?<=[^s])s$")
# The parts of a name: where a small letter is before a capital, where the last of several
# capitals begins a word (`HTTPServer`, not `URLs`), and where letters and digits meet.
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)"
)


def split_words(text: str) -> Iterator[str]:
    """The words of a text in lower case, with names split: `listPullRequests2` has four."""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        is_plain = word[1:].islower() and word.isalpha()  # most are, and the pattern takes longer
        for part in (word,) if is_plain else _PARTS.split(word):
            if len(part) <= MAX_WORD_CHARS:
                yield part.casefold()


def limit_words(words: Iterable[str]) -> Iterator[str]:
    """Words without excessive repetitions."""
    seen: dict[str, int] = {}
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        if seen[word] <= MOST_REPEATS:
            yield word


def is_slip(word: str, other: str) -> bool:
    """True if two words differ in one letter."""
    if abs(len(word) - len(other)) > 1:
        return False
    short, long = sorted((word, other), key=len)
    same = next(
        (at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short)
    )
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]


# --- tables of words ---
MAX_QUERY_WORDS = 160  # of a query: a pasted document has its request at the beginning
_ISSUE_KEY = re.compile(r"\b(?!UTF|ISO|SHA)[A-Z]{1,10}-\d+\b")


def read_data(name: str) -> Any:
    """The contents of a YAML file next to this module."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = resources.files("pipeguard.gateway").joinpath(name).read_text("utf-8")
    return yaml.load(text, loader)  # noqa: S506  both loaders are safe


def _by_word(groups: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for group in groups.splitlines():
        words = group.split()
        for word in words:
            found.setdefault(word, {}).update((other, None) for other in words if other != word)
    return {word: tuple(others) for word, others in found.items()}


_THESAURUS: dict[str, Any] = read_data("thesaurus.yaml")
STOP_WORDS = frozenset(_THESAURUS["stop-words"].split())
# The words for an action, each with the number of the action.
ACTIONS = {
    word: number
    for number, group in enumerate(_THESAURUS["actions"].splitlines())
    for word in group.split()
}
SYNONYMS = _by_word(_THESAURUS["actions"] + _THESAURUS["synonyms"])
ABBREVIATIONS: dict[str, str] = _THESAURUS["abbreviations"]


def spelled_out(text: str) -> Iterator[str]:
    """The words of a request, with abbreviations in full: `PR` has two."""
    for word in split_words(text):
        yield from ABBREVIATIONS.get(word, word).split()


def first_words(query: str) -> list[str]:
    """The words of a query that are searched for; `PROJ-12` is an issue."""
    return list(islice(spelled_out(_ISSUE_KEY.sub("issue", query)), MAX_QUERY_WORDS))


def synonyms(word: str) -> tuple[str, ...]:
    """Synonyms of a thing or an action, of several as of one; empty if none are known."""
    return SYNONYMS.get(word) or SYNONYMS.get(_PLURAL.sub("", word), ())

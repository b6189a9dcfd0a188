"""Words of names, descriptions and queries, in the form in which they are compared.

Splits names at case, digits and separators, and leaves out words that say nothing about a tool. The
stop words, synonyms and abbreviations are in `thesaurus.yaml`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml

MAX_WORD_CHARS = 40  # the longest in a dictionary of English has 45; what is longer is no word
MAX_QUERY_WORDS = 48  # of a query; whoever pastes a document asks with its beginning
_WORD = re.compile(r"[^\W_]+")
# The parts of a name: where a small letter is before a capital, where the last of several
# capitals begins a word (`HTTPServer`), and where letters and digits meet.
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)"
)


def read_data(name: str) -> Any:
    """The contents of a YAML file beside this module."""
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
SYNONYMS = _by_word(_THESAURUS["synonyms"])
ABBREVIATIONS: dict[str, str] = _THESAURUS["abbreviations"]


def split_words(text: str) -> Iterator[str]:
    """Each word of a text in lower case, names in their parts: `listPullRequests2` has four."""
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text)):
        for part in _PARTS.split(match[0]):
            if len(part) <= MAX_WORD_CHARS:
                yield part.casefold()


def spelled_out(text: str) -> Iterator[str]:
    """Each word of a request, abbreviations in full: `PR` has two."""
    for word in split_words(text):
        yield from ABBREVIATIONS.get(word, word).split()


def synonyms(word: str) -> tuple[str, ...]:
    """Synonyms of a thing or an action; empty if none are known."""
    return SYNONYMS.get(word, ())

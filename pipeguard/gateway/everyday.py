"""What people say for what tools do: the phrases of `everyday.yaml`, found in a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import yaml

from pipeguard.gateway.words import spelled_out

GAP = "~"
MOST_BETWEEN = 4  # words where a phrase has a gap
# May stand anywhere within a phrase: "hit that enter" is "hit enter".
DETERMINERS = frozenset(
    ("a", "an", "the", "my", "our", "your", "his", "her", "their", "this", "that", "these", "those")
)

Term = tuple[str, ...]  # the stems of a term's words
Terms = tuple[Term, ...]


class Phrase(NamedTuple):
    """A phrase of the table.

    Attributes:
        parts: its stems, split at its gaps.
        terms: for which it may stand.
        stems: of all parts.
    """

    parts: tuple[tuple[str, ...], ...]
    terms: Terms
    stems: frozenset[str]


class PhraseMatch(NamedTuple):
    """A phrase in a request.

    Attributes:
        places: of its words in the request.
        terms: for which it may stand.
    """

    places: tuple[int, ...]
    terms: Terms


class Everyday:
    """The phrases of the table, by their first stem."""

    def __init__(self, stems: Mapping[str, str]) -> None:
        self._phrases: dict[str, list[Phrase]] = {}
        merged: dict[tuple[tuple[str, ...], ...], dict[Term, None]] = {}
        for terms, phrases in table().items():
            meant = [tuple(stems[word] for word in spelled_out(term)) for term in terms]
            for phrase in phrases:
                parts = tuple(
                    tuple(stems[word] for word in spelled_out(part)) for part in phrase.split(GAP)
                )
                merged.setdefault(parts, {}).update(dict.fromkeys(meant))
        for parts, found in merged.items():
            entry = Phrase(parts, tuple(found), frozenset().union(*parts))
            self._phrases.setdefault(parts[0][0], []).append(entry)

    def matches(self, words: Sequence[str], stems: Sequence[str]) -> list[PhraseMatch]:
        """The phrases of a request, none of which overlap.

        Of those that would, the one with more words is taken, then the one with fewer gaps.
        """
        found = []
        everything = frozenset(stems)
        for start, stem in enumerate(stems):
            for phrase in self._phrases.get(stem, ()):
                if not phrase.stems <= everything:
                    continue
                places = _places(phrase.parts, words, stems, start)
                if places:
                    found.append((-len(places), len(phrase.parts), start, places, phrase.terms))
        found.sort(key=lambda row: row[:3])
        taken: set[int] = set()
        chosen = []
        for _, _, _, places, terms in found:
            if taken.isdisjoint(places):
                taken.update(places)
                chosen.append(PhraseMatch(places, terms))
        return sorted(chosen)


def table() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The table as it is written: phrases by the terms for which they may stand."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows: dict[str, str] = yaml.load(source(), loader)  # noqa: S506  both loaders are safe
    return {tuple(_listed(terms)): tuple(_listed(phrases)) for terms, phrases in rows.items()}


def source() -> str:
    """The text of the table."""
    return resources.files("pipeguard.gateway").joinpath("everyday.yaml").read_text("utf-8")


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(","))


def _places(
    parts: Sequence[Sequence[str]], words: Sequence[str], stems: Sequence[str], start: int
) -> tuple[int, ...]:
    """Where a phrase is that begins at `start`; empty where it is not."""
    places: list[int] = []
    for part in parts:
        if not places:
            found = _run(part, words, stems, start)
        else:
            after = places[-1] + 1
            runs = (
                _run(part, words, stems, at)
                for at in range(after, min(after + MOST_BETWEEN + 1, len(stems)))
            )
            found = next((run for run in runs if run), ())
        if not found:
            return ()
        places += found
    return tuple(places)


def _run(
    part: Sequence[str], words: Sequence[str], stems: Sequence[str], start: int
) -> tuple[int, ...]:
    """Where the words of a part are, one after the other but for determiners."""
    places: list[int] = []
    at = start
    for stem in part:
        while places and at < len(stems) and stems[at] != stem and words[at] in DETERMINERS:
            at += 1
        if at >= len(stems) or stems[at] != stem:
            return ()
        places.append(at)
        at += 1
    return tuple(places)

"""Stems of words in fifteen languages, and the families that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeguard.detect.model.normal_form import FIRST_IDEOGRAPH, IDEOGRAPH, words
from pipeguard.firewall.digest import sha256

CACHED_WORDS = 16_384
IDEOGRAPHS_A_WORD = 2.5  # on average

_NONE: frozenset[int] = frozenset()

Place = tuple[float, frozenset[int]]  # in words from the beginning, and the families there


class Lexicon:
    """Stems and their families, of all languages together.

    Attributes:
        families: their names; a family is its index.
        model_family: the family of names for the model; -1 without one.
    """

    def __init__(self, families: Iterable[str], stems: dict[str, list[int]]) -> None:
        """Take the names of the families, and the families of each stem.

        Stems are written as `plain` writes words. A stem that ends in a space is a whole word; one
        that contains a space is several words. Ideographs are found anywhere, other stems at the
        beginning of a word.
        """
        self.families = tuple(families)
        self.model_family = self.families.index("ai") if "ai" in self.families else -1
        self._whole: dict[str, frozenset[int]] = {}
        self._begin: dict[str, frozenset[int]] = {}
        self._anywhere: dict[str, list[tuple[str, frozenset[int]]]] = {}
        self._several: dict[str, list[tuple[str, frozenset[int]]]] = {}
        sets: dict[frozenset[int], frozenset[int]] = {}  # stems of the same families share one
        for stem, numbers in stems.items():
            families_of_stem = frozenset(numbers)
            families_of_stem = sets.setdefault(families_of_stem, families_of_stem)
            self._add(stem.strip(), stem.endswith(" "), families_of_stem)
        self._longest = max(map(len, self._begin), default=0)
        self._most_words = max((stem.count(" ") + 1 for stem in stems), default=1)
        self._by_word: dict[str, frozenset[int]] = {}
        self._by_text: dict[str, frozenset[int]] = {}

    def _add(self, stem: str, whole: bool, families: frozenset[int]) -> None:  # noqa: FBT001  of one stem
        if " " in stem:
            self._several.setdefault(stem.partition(" ")[0], []).append((stem, families))
        elif IDEOGRAPH.match(stem):
            self._anywhere.setdefault(stem[0], []).append((stem, families))
        else:
            table = self._whole if whole else self._begin
            table[stem] = table[stem] | families if stem in table else families

    def families_of(self, word: str) -> frozenset[int]:
        """The families of one word."""
        families = self._by_word.get(word)
        if families is None:
            families = self._whole.get(word, _NONE)
            for end in range(2, min(len(word), self._longest) + 1):
                found = self._begin.get(word[:end])
                if found is not None:  # a set of its own takes 216 bytes
                    families = families | found if families else found
            if len(self._by_word) >= CACHED_WORDS:
                self._by_word.clear()
            self._by_word[word] = families
        return families

    def places(self, text: str) -> list[Place]:
        """Where in a text its families are."""
        return self.places_of(words(text))

    def places_of(self, read: Sequence[str]) -> list[Place]:
        """Where among the words of a text its families are."""
        places: list[Place] = []
        at = 0.0
        several = self._several
        for index, word in enumerate(read):
            if word > FIRST_IDEOGRAPH and IDEOGRAPH.match(word):
                places += self._in_ideographs(word, "".join(read[index + 1 : index + 2]), at)
                at += len(word) / IDEOGRAPHS_A_WORD
                continue
            families = self.families_of(word)
            if word in several:
                following = " ".join(read[index : index + self._most_words])
                families |= _starting(several[word], following)
            if families:
                places.append((at, families))
            at += 1
        return places

    def _in_ideographs(self, word: str, following: str, at: float) -> Iterator[Place]:
        """Where families are in a row of ideographs; a stem may reach into the following row."""
        for place, letter in enumerate(word):
            if letter in self._anywhere:
                families = _starting(self._anywhere[letter], word[place:] + following)
                if families:
                    yield at + place / IDEOGRAPHS_A_WORD, families

    def families_in(self, text: str) -> frozenset[int]:
        """All families of a few words; remembered, since keys of objects are repeated."""
        families = self._by_text.get(text)
        if families is None:
            if len(self._by_text) >= CACHED_WORDS:
                self._by_text.clear()
            families = self._by_text[text] = all_families(self.places(text))
        return families


def shared_lexicon(families: list[str], stems: dict[str, list[int]]) -> Lexicon:
    """The lexicon of these stems: that of the last call if it was of the same ones.

    Classifiers have theirs in their own files. It takes 2 MB, and they are the same.
    """
    digest = sha256(repr((families, stems)).encode()).digest()
    if digest not in _last_lexicon:
        made = Lexicon(families, stems)
        _last_lexicon.clear()
        _last_lexicon[digest] = made
        return made
    return _last_lexicon[digest]


_last_lexicon: dict[bytes, Lexicon] = {}  # at most one, by the digest of its stems


def _starting(stems: Iterable[tuple[str, frozenset[int]]], text: str) -> frozenset[int]:
    """The families of the stems that a text begins with."""
    return frozenset().union(*(families for stem, families in stems if text.startswith(stem)))


def all_families(places: Iterable[Place]) -> frozenset[int]:
    """The families of all places together."""
    return frozenset().union(*(families for _, families in places))

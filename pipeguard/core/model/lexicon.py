"""Stems of words, and the families that they belong to, of fifteen languages together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeguard.core.model.normal_form import FIRST_IDEOGRAPH, IDEOGRAPH, words

REMEMBERED = 16_384  # words
IDEOGRAPHS_A_WORD = 2.5  # on average


class Lexicon:
    """Stems and the families that they belong to, of all languages together."""

    def __init__(self, families: Iterable[str], stems: dict[str, list[int]]) -> None:
        """Take the families' names, and for each stem the numbers of its families.

        Stems stand as `plain` writes them. One that ends in a space is a whole word; one that holds
        a space, several; ideographs are looked for anywhere, any other at the beginning of a word.
        """
        self.families = tuple(families)
        self.model = self.families.index("ai") if "ai" in self.families else -1
        self._whole: dict[str, frozenset[int]] = {}
        self._begin: dict[str, frozenset[int]] = {}
        self._anywhere: dict[str, list[tuple[str, frozenset[int]]]] = {}
        self._several: dict[str, list[tuple[str, frozenset[int]]]] = {}
        for stem, numbers in stems.items():
            self._add(stem.strip(), stem.endswith(" "), frozenset(numbers))
        self._longest = max(map(len, self._begin), default=0)
        self._most = max((stem.count(" ") + 1 for stem in stems), default=1)
        self._known: dict[str, frozenset[int]] = {}
        self._called: dict[str, frozenset[int]] = {}

    def _add(self, stem: str, whole: bool, numbers: frozenset[int]) -> None:  # noqa: FBT001  of one stem
        if " " in stem:
            self._several.setdefault(stem.partition(" ")[0], []).append((stem, numbers))
        elif IDEOGRAPH.match(stem):
            self._anywhere.setdefault(stem[0], []).append((stem, numbers))
        else:
            table = self._whole if whole else self._begin
            table[stem] = table.get(stem, frozenset()) | numbers

    def of(self, word: str) -> frozenset[int]:
        """The families of one word."""
        found = self._known.get(word)
        if found is None:
            found = self._whole.get(word, frozenset())
            for end in range(2, min(len(word), self._longest) + 1):
                found |= self._begin.get(word[:end], frozenset())
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[word] = found
        return found

    def in_order(self, text: str) -> list[tuple[float, frozenset[int]]]:
        """Where families stand in a text, in words from its beginning."""
        return self.in_order_of(words(text))

    def in_order_of(self, read: Sequence[str]) -> list[tuple[float, frozenset[int]]]:
        """The same, of a text's words."""
        found: list[tuple[float, frozenset[int]]] = []
        at = 0.0
        several = self._several
        for index, word in enumerate(read):
            if word > FIRST_IDEOGRAPH and IDEOGRAPH.match(word):
                found += self._in_ideographs(word, "".join(read[index + 1 : index + 2]), at)
                at += len(word) / IDEOGRAPHS_A_WORD
                continue
            numbers = self.of(word)
            if word in several:
                numbers |= _starting(several[word], " ".join(read[index : index + self._most]))
            if numbers:
                found.append((at, numbers))
            at += 1
        return found

    def _in_ideographs(
        self, word: str, following: str, at: float
    ) -> Iterator[tuple[float, frozenset[int]]]:
        """Where families stand in a row of ideographs, and the row that follows it."""
        for place, letter in enumerate(word):
            if letter in self._anywhere:
                numbers = _starting(self._anywhere[letter], word[place:] + following)
                if numbers:
                    yield at + place / IDEOGRAPHS_A_WORD, numbers

    def among(self, text: str) -> frozenset[int]:
        """All families of a few words, which may come again as keys of objects do."""
        found = self._called.get(text)
        if found is None:
            if len(self._called) >= REMEMBERED:
                self._called.clear()
            found = self._called[text] = all_families(self.in_order(text))
        return found


def _starting(stems: Iterable[tuple[str, frozenset[int]]], text: str) -> frozenset[int]:
    """The families of those stems that a text begins with."""
    return frozenset().union(*(numbers for stem, numbers in stems if text.startswith(stem)))


def all_families(found: Iterable[tuple[float, frozenset[int]]]) -> frozenset[int]:
    """The families of all places together."""
    return frozenset().union(*(numbers for _, numbers in found))

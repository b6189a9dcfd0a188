"""The stems of words, as the index has them: Snowball's, for English."""

from __future__ import annotations

import tantivy

MOST_STEMS = 100_000  # that are remembered


class Stems(dict[str, str]):
    """The stem of each word that was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._analyzer = stemmer()

    def __missing__(self, word: str) -> str:
        stem: str = (self._analyzer.analyze(word) or [word])[0]
        if len(self) < MOST_STEMS:
            self[word] = stem
        return stem


def stemmer() -> tantivy.TextAnalyzer:
    """Stems of words that are split and in lower case already."""
    split = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    plain = split.filter(tantivy.Filter.ascii_fold())
    return plain.filter(tantivy.Filter.stemmer("english")).build()

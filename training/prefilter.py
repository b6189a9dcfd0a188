"""Chooses the words that open the prefilter, and their weights: a regression over words.

A word, a stem and a pair of words each count once in a text. What the prefilter does not open for
is not read by the classifier.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from pipeguard.core.model.normal_form import IDEOGRAPH, LETTERS

Scores: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
FEW = 3  # attacks: a word that is in no more of them is not chosen
SHORT = 3  # letters: a shorter word costs more to find than it tells
LEAST = 50  # hundredths: a lighter word costs more than it tells
SELDOM = re.compile("[\u0600-\u06ff\u0900-\u097f]")  # scripts of which little is installed
PENALTY = 2.0
SELDOM_PENALTY = 0.4  # of words in such scripts, each of which is in few texts
RARE = 0.02  # of all pieces: a word that is in more of them is not chosen
_EXAMPLE_HOST = re.compile(r"[\w.@-]*\.(?:example|invalid|test)\b")  # real attacks have none
_LETTERS = re.compile(LETTERS)
# Conjunctions, prepositions and the article, which Arabic writes with the word.
_ARABIC_PREFIX = re.compile(
    "^[\u0648\u0641]?(?:\u0628\u0627\u0644|\u0643\u0627\u0644|\u0644\u0644|\u0627\u0644"
    "|[\u0628\u0644\u0633\u0643])?(?=\\w{3})"
)


def anchors(attacks: Sequence[str], others: Sequence[str]) -> list[tuple[str, int]]:
    """The words that open the prefilter, each with its weight in hundredths.

    A logistic regression whose weights are never below zero: the prefilter adds up the words that
    it finds, and cannot know of those that are missing.
    """
    yes = [words_of(_EXAMPLE_HOST.sub(" ", text)) for text in attacks]
    no = [words_of(text) for text in others]
    often = Counter(word for words in no for word in words)
    seen = Counter(word for words in yes for word in words)
    candidates = sorted(
        w
        for w, n in seen.items()
        if n > (1 if SELDOM.match(w) else FEW) and often[w] < RARE * len(no)
    )
    weights = _fitted(candidates, yes, no)
    pairs = zip(candidates, weights, strict=True)
    return [(word, min(255, weight)) for word, weight in pairs if weight > LEAST]


def _fitted(candidates: list[str], yes: list[set[str]], no: list[set[str]]) -> list[int]:
    """A weight in hundredths for each candidate."""
    index = {word: i for i, word in enumerate(candidates)}
    rows = [[index[w] for w in words if w in index] for words in (*yes, *no)]
    starts = np.cumsum([0, *map(len, rows)])
    cells = (np.ones(starts[-1]), [i for row in rows for i in row], starts)
    x = sp.csr_matrix(cells, shape=(len(rows), len(candidates)))
    y = np.r_[np.ones(len(yes)), -np.ones(len(no))]
    seldom = np.array([SELDOM.match(word) is not None for word in candidates])
    penalty = np.where(seldom, SELDOM_PENALTY, PENALTY)

    def loss(point: Scores) -> tuple[float, Scores]:
        weights, bias = point[:-1], point[-1]
        margin = y * (x @ weights + bias)
        slope = -y / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).sum() + penalty @ weights
        return value, np.r_[x.T @ slope + penalty, slope.sum()]

    fitted = minimize(
        loss,
        np.r_[np.zeros(len(candidates)), -2.0],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(candidates) + [(None, None)],
        options={"maxiter": 200},
    )
    return [round(100 * w * (1 + 4 * s)) for w, s in zip(fitted.x[:-1], seldom, strict=True)]


def words_of(text: str) -> set[str]:
    """The words of a text, `*` for any ending, and pairs of words with one space between."""
    words: set[str] = set()
    text = text.lower()
    before, end = "", -1
    for match in _LETTERS.finditer(text):
        word = match[0]
        if IDEOGRAPH.match(word):
            words.update(word[i : i + n] for n in (2, 3) for i in range(len(word) - n + 1))
            before = ""
            continue
        words |= _forms(word)
        if before and match.start() == end + 1 and text[end] in " \n":
            words.add(f"{before} {word}")
            if len(before) > 5 or len(word) > 5:
                words.add(f"{_stem(before)} {_stem(word)}")
        before, end = word, match.end()
    return words


def _forms(word: str) -> set[str]:
    """The word unless it is short, without an Arabic prefix, and its stem."""
    forms = {word} if len(word) > SHORT or not word.isascii() else set()
    if word[0] >= "\u0600" and word[0] <= "\u06ff":
        forms.add(_ARABIC_PREFIX.sub("", word))
    if len(word) > 5:
        forms.add(word[:5] + "*")
    return forms


def _stem(word: str) -> str:
    return word[:5] + "*" if len(word) > 5 else word

"""Texts made of others: words exchanged for similar ones, halves or texts joined, parts cut."""

# ruff: noqa: S311  chance chooses samples
from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor
from torch.nn import functional

from training.labelled import SHORT, LabelledText

LIKE = 8  # words that are exchanged for each other


def varied(
    labels: Sequence[LabelledText], rows: Tensor, names: dict[str, int], natural: Sequence[str]
) -> list[str]:
    """Texts made of others: words exchanged, two halves, a few words, one next to a natural one."""
    alike = _alike(
        rows, {word: at for word, at in names.items() if re.fullmatch("[a-z]{2,}", word)}
    )
    orders = [label.text for label in labels if label.order > 0 and len(label.text) < SHORT]
    others = [label.text for label in labels if label.order == 0 and len(label.text) < SHORT]
    made = []
    for texts, count in ((orders, 2 * len(orders)), (others, int(1.6 * len(orders)))):
        for text in random.choices(texts, k=count):
            exchange = partial(_exchanged, alike=alike, odds=random.choice((0.15, 0.3, 0.5)))
            made.append(re.sub("[A-Za-z]{3,}", exchange, text))
    for _ in range(int(1.3 * len(orders))):
        words = random.choice(orders).split()
        other = random.choice(random.choice((orders, others))).split()
        made.append(" ".join(words[: len(words) // 2] + other[len(other) // 2 :]))
    for _ in range(int(1.5 * len(orders))):
        words = random.choice(orders).split()
        count = random.randint(min(3, len(words)), len(words))
        start = random.randint(0, len(words) - count)
        made.append(" ".join(words[start : start + count]))
    for _ in range(2 * len(orders) if natural else 0):
        pair = [random.choice(random.choice((orders, orders, others))), random.choice(natural)]
        made.append(" ".join(random.sample(pair, 2)))
    return made


def _exchanged(word: re.Match[str], alike: dict[str, list[str]], odds: float) -> str:
    near = alike.get(word[0].lower())
    if near is None or random.random() > odds:
        return word[0]
    other = random.choice(near)
    return other.capitalize() if word[0][0].isupper() else other


def _alike(rows: Tensor, words: dict[str, int]) -> dict[str, list[str]]:
    """The words whose rows point in the same direction as a word's own, for each word."""
    names = list(words)
    unit = functional.normalize(rows[list(words.values())], dim=1)
    similar = {}
    for first in range(0, len(names), 1000):
        near = (unit[first : first + 1000] @ unit.T).topk(LIKE + 1, dim=1).indices[:, 1:]
        for index, numbers in enumerate(near.tolist(), first):
            similar[names[index]] = [names[number] for number in numbers]
    return similar

"""Quality of rankings: one row of figures for each query, and their means with intervals."""

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

import numpy as np

from benchmarks.search.queries import Query

DEPTHS = (1, 3, 5, 10)
DEEPEST = DEPTHS[-1]
GAINS = (0.0, 1.0, 3.0)  # of a grade: 2 to its power, less 1
SAMPLES, SEED = 2000, 20260101
FIGURES = (*(f"recall@{depth}" for depth in DEPTHS), "MRR", f"nDCG@{DEEPEST}")


class Mean(NamedTuple):
    """A mean over queries, with the 95 % interval of a bootstrap over them."""

    value: float
    low: float
    high: float


def rank(query: Query, ranking: Sequence[str]) -> int | None:
    """The rank of the first tool of grade 2, from 1; None without such a tool."""
    places = (place for place, tool in enumerate(ranking, 1) if query.grade(tool) == len(GAINS) - 1)
    return next(places, None)


def row(query: Query, ranking: Sequence[str]) -> list[float]:
    """The figures of one query, in the order of FIGURES."""
    place = rank(query, ranking[:DEEPEST])
    recalls = [recall(query, ranking[:depth]) for depth in DEPTHS]
    reciprocal = 1 / place if place else 0.0
    gains = [GAINS[query.grade(tool)] for tool in ranking[:DEEPEST]]
    ideal = [GAINS[2]] * len(query.best) + [GAINS[1]] * len(query.also)
    return [*recalls, reciprocal, _discounted(gains) / _discounted(ideal[:DEEPEST])]


def recall(query: Query, ranking: Sequence[str]) -> float:
    """The share of what a query needs that a ranking has a tool of grade 2 for."""
    needs = query.needs or (query.best,)
    return sum(not set(need).isdisjoint(ranking) for need in needs) / len(needs)


def means(rows: Sequence[Sequence[float]]) -> dict[str, Mean]:
    """The mean of each figure, by its name."""
    table = np.array(rows)
    random = np.random.default_rng(SEED)
    drawn = random.integers(0, len(table), (SAMPLES, len(table)))
    resampled = table[drawn].mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    values = zip(FIGURES, table.mean(axis=0), low, high, strict=True)
    return {name: Mean(float(mean), float(a), float(b)) for name, mean, a, b in values}


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / log2(place + 1) for place, gain in enumerate(gains, 1))

"""The figures of rankings match their definitions."""

import pytest

from benchmarks.search import scores
from benchmarks.search.queries import Part, Query

QUERY = Query("send it", Part.PLAIN, ("a/send", "b/send"), ("a/post",))


def test_a_query_is_answered_by_its_first_tool_of_grade_two() -> None:
    ranking = ["a/read", "a/post", "b/send", "a/send"]
    assert scores.rank(QUERY, ranking) == 3
    assert scores.rank(QUERY, ["a/post"]) is None
    row = dict(zip(scores.FIGURES, scores.row(QUERY, ranking), strict=True))
    recalls = [row[f"recall@{depth}"] for depth in (1, 3, 5, 10)]
    assert recalls == [0.0, 1.0, 1.0, 1.0]
    assert row["MRR"] == pytest.approx(1 / 3)


def test_the_gain_of_a_grade_is_discounted_by_its_place() -> None:
    ideal = scores.row(QUERY, ["b/send", "a/send", "a/post"])
    assert ideal == [1.0] * len(scores.FIGURES)
    # Gains 1, 0, 3 over 1, log2(3), 2; at best 3, 3, 1.
    found = scores.row(QUERY, ["a/post", "x/y", "a/send"])
    assert found[-1] == pytest.approx((1 + 3 / 2) / (3 + 3 / 1.584962500721156 + 1 / 2))


def test_what_comes_after_the_tenth_counts_for_nothing() -> None:
    ranking = [f"x/{number}" for number in range(10)] + ["a/send"]
    assert scores.row(QUERY, ranking) == [0.0] * len(scores.FIGURES)


def test_a_mean_lies_within_its_interval_which_narrows_with_more_queries() -> None:
    row, other = [1.0] * len(scores.FIGURES), [0.0] * len(scores.FIGURES)
    few, many = scores.means([row, other] * 10), scores.means([row, other] * 1000)
    for means in (few, many):
        assert all(mean.low < mean.value == 0.5 < mean.high for mean in means.values())
    assert many["MRR"].high - many["MRR"].low < (few["MRR"].high - few["MRR"].low) / 5
    assert scores.means([row, other] * 10) == few

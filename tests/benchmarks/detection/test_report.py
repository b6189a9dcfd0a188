"""Shares, their intervals, and the counting of results."""

import pytest

from benchmarks.detection.cases import Expect
from benchmarks.detection.page import page
from benchmarks.detection.play import Outcome, Play
from benchmarks.detection.report import Share, misses, precision, report


def a_play(name: str, expect: Expect, outcome: Outcome, view: str = "text") -> Play:
    caught = expect is not Expect.QUIET and outcome is Outcome.BLOCKED
    kind = "override" if expect is Expect.BLOCK else "docs"
    return Play(name, "tuned", kind, "en", view, "result", expect, outcome, caught, (), 1000, 0.001)


PLAYS = [
    a_play("a", Expect.BLOCK, Outcome.BLOCKED),
    a_play("a", Expect.BLOCK, Outcome.WARNED, "hex"),
    a_play("b", Expect.BLOCK, Outcome.QUIET),
    a_play("c", Expect.QUIET, Outcome.QUIET),
    a_play("d", Expect.QUIET, Outcome.BLOCKED),
]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_an_interval_is_wilsons(count: int, total: int, low: float, high: float) -> None:
    assert Share(count, total).interval == pytest.approx((low, high), abs=1e-4)


def test_recall_false_blocks_and_precision() -> None:
    figures = report("tuned", PLAYS)
    assert figures.recall == Share(1, 3)
    assert figures.plain_recall == Share(1, 2)
    assert figures.false_blocks == Share(1, 2)
    assert precision(PLAYS) == Share(1, 2)
    assert figures.megabytes_a_second == pytest.approx(1.0)


def test_a_view_is_also_measured_on_what_is_caught_without_it() -> None:
    (table,) = [one for one in report("tuned", PLAYS).tables if "without it" in one.title]
    assert [(row.name, row.right, row.warned) for row in table.rows] == [("hex", Share(0, 1), 1)]


def test_misses_are_attacks_not_caught_and_innocents_stopped() -> None:
    missed = [(play.id, play.view) for play in misses(PLAYS)]
    assert missed == [("a", "hex"), ("b", "text"), ("d", "text")]


def test_the_page_needs_nothing_else() -> None:
    text = page("a <machine>", [report("tuned", PLAYS)])
    assert "a &lt;machine&gt;" in text
    assert "<svg" in text
    assert "http" not in text
    assert "src=" not in text

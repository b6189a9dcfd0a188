"""Expressions that split one run in many ways, or that are too large for RE2."""

import pytest

from benchmarks.rules.expressions import AMBIGUOUS, TOO_LARGE, slowness, splits_runs
from pipeguard.detect.rules.rule import View
from tests.fuzz.rulebook import ALL as RULES


@pytest.mark.parametrize(
    ("pattern", "is_split"),
    [
        ("ignore(?:[a-z]{1,9}){0,3}all", True),
        ("ignore[a-z]{0,27}all", False),
        ("(?:[\\s_-]{1,2}[\\w-]{1,9}){0,4}", True),
        ("(?:a*)*", True),
        ("(?:[0-9a-f]{2}|\\x41){3,6}[]}]+", False),
        (r"HERON\x{2d}(?:\x{61}{1,2}){2}", True),
        (r"(?<secret>[[:digit:]-]{1,2}\p{Greek}?){2}", True),
        (r"(?:\Q(a\E{1,2}){2}", False),
        (r"(?:\101\N{1,2}){2}", False),  # RE2 has no \N: of no bytes
    ],
)
def test_a_group_that_splits_a_run_is_told(pattern: str, is_split: bool) -> None:
    assert splits_runs(pattern) is is_split


@pytest.mark.parametrize(
    ("pattern", "views", "failing"),
    [
        ("ignore(?: [a-z]{1,9}){0,3} all", ["text"], []),
        # Without its blanks, it repeats what can begin where it ends.
        ("ignore(?: [a-z]{1,9}){0,3} all", ["text", "squeezed"], [AMBIGUOUS]),
        ("row(?:[A-Za-z0-9 ,;_.]+[=:]){1,9}end", ["text"], []),
        ("row(?:[A-Za-z0-9 ,;_.]{1,110}[=:]){1,9}end", ["text"], [TOO_LARGE]),
    ],
)
def test_an_expression_is_read_in_each_view_of_its_rule(
    pattern: str, views: list[str], failing: list[str]
) -> None:
    rule = RULES["injection.override-instructions"]._replace(
        pattern=pattern, views=frozenset(map(View, views)), sign="", unless=""
    )
    assert [what for _, what in slowness(rule)] == failing

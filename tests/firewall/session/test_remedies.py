"""Remedies for a rule's findings; tests/cli/test_next_steps.py carries them out."""

import pytest

from pipeguard.firewall.session.remedies import BY_RULE, Way, decisive_rule, find_remedy


def test_a_row_for_one_rule_counts_before_its_familys() -> None:
    assert find_remedy("protocol.batch").way is Way.NOTHING
    assert find_remedy("protocol.view-limit").way is Way.EXCEPTION
    assert find_remedy("protocol.flood").key == "limits.notifications"
    assert find_remedy("secrets.jwt").way is Way.EXCEPTION
    assert find_remedy("acme.own-rule").way is Way.EXCEPTION


@pytest.mark.parametrize("rule", BY_RULE)
def test_every_row_gives_advice(rule: str) -> None:
    remedy = find_remedy(rule)
    assert remedy.advice.endswith(".")
    assert bool(remedy.key) is (remedy.way is Way.POLICY)


@pytest.mark.parametrize(
    ("stopped", "rule"),
    [
        ([], "secrets.jwt"),
        ([("protocol.batch", "")], "protocol.batch"),
        ([("policy.tool", "search"), ("protocol.flood", "")], "policy.tool"),
        ([("trust.held", "other")], "secrets.jwt"),
        ([("trust.held", "search")], "trust.held"),
        ([("protocol.duplicate-name", "other"), ("protocol.nameless", "")], "secrets.jwt"),
    ],
)
def test_the_rule_that_least_can_be_done_about_decides(
    stopped: list[tuple[str, str]], rule: str
) -> None:
    assert decisive_rule("secrets.jwt", "search", stopped) == rule

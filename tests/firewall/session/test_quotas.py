"""Quotas for unrequested messages from a peer."""

from pipeguard.firewall.session.lifecycle import _NotificationQuota


def test_what_may_be_dropped_is_dropped_beyond_the_limit_of_a_second() -> None:
    quota = _NotificationQuota(2)
    told = [quota.take(5.0, is_expendable=True) for _ in range(4)]
    assert told[:2] == [None, None]
    assert [finding.rule for finding in told[2] or ()] == ["protocol.flood"]
    assert told[3] == [], "said once a second"
    assert quota.take(6.0, is_expendable=True) is None


def test_what_may_not_be_dropped_passes_and_counts() -> None:
    quota = _NotificationQuota(1)
    assert quota.take(0.0, is_expendable=False) is None
    assert quota.take(0.0, is_expendable=False) is None
    assert quota.take(0.5, is_expendable=True)
    assert quota.take(1.5, is_expendable=True) is None
    (finding,) = quota.take(1.6, is_expendable=True) or []
    assert "2 so far" in finding.note

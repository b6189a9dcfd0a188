"""The values that everything else reads, whose order decides."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Direction,
    Finding,
    Severity,
    Verdict,
    greatest,
    worst,
    worst_first,
)
from tests.fuzz.budget import tried

findings = st.lists(
    st.builds(
        Finding,
        st.sampled_from(["a.one", "b.two"]),
        st.just("call.arguments"),
        severity=st.sampled_from(Severity),
        confidence=st.sampled_from(Confidence),
        action=st.sampled_from(Action),
    ),
    min_size=1,
    max_size=5,
)


def test_actions_severities_and_confidences_are_ordered() -> None:
    assert (
        [*Action]
        == sorted(Action)
        == [*(Action.ALLOW, Action.WARN, Action.REDACT, Action.CUT, Action.ASK, Action.BLOCK)]
    )
    assert [one.name for one in sorted(Severity)] == ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
    assert [one.name for one in sorted(Confidence)] == ["LOW", "MEDIUM", "HIGH"]


def test_of_what_is_done_alike_a_pattern_leads_since_its_rule_says_what_it_found() -> None:
    classifier = Finding("injection.classifier", "result.text")
    mild = Finding("injection.secrecy", "result.text", severity=Severity.MEDIUM)
    noted = mild._replace(action=Action.WARN, severity=Severity.CRITICAL)
    assert worst_first([noted, classifier, mild]) == [mild, classifier, noted]
    assert worst([noted, classifier, mild]) == mild


def test_a_finding_is_by_default_one_that_blocks() -> None:
    """Code that forgets to choose an action for a finding must not let it pass."""
    finding = Finding("protocol.x", "envelope")
    assert finding.action is Action.BLOCK
    assert (finding.severity, finding.confidence) == (Severity.HIGH, Confidence.HIGH)
    assert finding.start == finding.end


def verdict(reply: bytes | None = None, *findings: Finding) -> Verdict:
    return Verdict(Direction.TO_SERVER, b"{}", Action.ALLOW, b"{}", reply, findings)


@tried(100)
@given(findings)
def test_the_worst_finding_has_the_greatest_action(seen: list[Finding]) -> None:
    finding = worst(seen)
    assert finding in seen
    assert finding.action is greatest(seen)
    alike = [other for other in seen if other.action is finding.action]
    assert finding.severity is max(other.severity for other in alike)


def test_no_findings_are_allowed() -> None:
    assert greatest([]) is Action.ALLOW


def test_a_verdict_with_more_findings_has_the_greatest_action_of_all() -> None:
    first, second = Finding("a.one", "x", action=Action.WARN), Finding("b.two", "x")
    extended = verdict(None, first).with_findings(b"[]", [second])
    assert (extended.frame, extended.forward) == (b"[]", b"{}")
    assert (extended.findings, extended.action) == ((first, second), Action.BLOCK)
    assert verdict().with_findings(b"[]", []).action is Action.ALLOW

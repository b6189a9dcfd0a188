"""The values that everything else reads: their order is what decides."""

import pytest

from pipeguard.core.finding import (
    Action,
    Confidence,
    Direction,
    Finding,
    MessageKind,
    Severity,
    Verdict,
)


def test_actions_severities_and_confidences_are_ordered() -> None:
    assert [*Action] == sorted(Action) == [Action.ALLOW, Action.WARN, Action.REDACT, Action.BLOCK]
    assert [one.name for one in sorted(Severity)] == ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
    assert [one.name for one in sorted(Confidence)] == ["LOW", "MEDIUM", "HIGH"]


def test_a_finding_is_by_default_one_that_blocks() -> None:
    """Whatever forgets to say what it makes of a finding must not let it pass."""
    finding = Finding("protocol.x", "envelope")
    assert finding.action is Action.BLOCK
    assert (finding.severity, finding.confidence) == (Severity.HIGH, Confidence.HIGH)
    assert finding.start == finding.end


def verdict(reply: bytes | None = None, *findings: Finding) -> Verdict:
    return Verdict(Direction.TO_SERVER, b"{}", Action.ALLOW, b"{}", reply, findings)


def test_values_do_not_change() -> None:
    for value in (Finding("protocol.x", "envelope"), verdict()):
        with pytest.raises(AttributeError):
            setattr(value, "action", Action.WARN)  # noqa: B010  what types do not let one write


def test_verdicts_of_the_same_parts_are_equal() -> None:
    """Replaying a conversation is compared by this."""
    assert verdict() == verdict()
    assert verdict() != verdict(b"{}")
    assert verdict() != verdict(None, Finding("a.b", "x"))


def test_directions_and_kinds_are_keys() -> None:
    assert {Direction.TO_SERVER: 1}[Direction("to-server")] == 1
    assert {MessageKind(kind.value) for kind in MessageKind} == set(MessageKind)

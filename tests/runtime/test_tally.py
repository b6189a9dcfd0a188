"""A run reports its totals at its end, and nothing if nothing was found."""

from pipeguard.firewall.finding import Action, Direction, Finding, Verdict, observe_only
from pipeguard.runtime.run import _RunTally


def verdict(*findings: Finding) -> Verdict:
    action = max((finding.action for finding in findings), default=Action.ALLOW)
    return Verdict(Direction.TO_SERVER, b"{}", action, None, None, findings)


def told(*verdicts: Verdict) -> list[tuple[str, dict[str, object]]]:
    lines: list[tuple[str, dict[str, object]]] = []

    def log(level: str, event: str, **fields: object) -> None:
        assert event == "the session has ended"
        lines.append((level, fields))

    tally = _RunTally()
    for each in verdicts:
        tally.add(each)
    tally.tell(log)
    return lines


BLOCK = Finding("secrets.jwt", "call.arguments")


def test_each_message_is_counted_once_by_what_was_done() -> None:
    cut, redact = (BLOCK._replace(action=action) for action in (Action.CUT, Action.REDACT))
    warn = BLOCK._replace(action=Action.WARN)
    assert told(verdict(BLOCK, redact, warn), verdict(cut), verdict(redact), verdict(warn)) == [
        ("warning", {"blocked": 1, "cut": 1, "redacted": 1, "warned": 1})
    ]


def test_what_only_waits_for_a_decision_is_held() -> None:
    waits = BLOCK._replace(rule="trust.held")
    assert told(verdict(waits), verdict(waits, BLOCK)) == [("warning", {"held": 1, "blocked": 1})]


def test_what_would_have_been_stopped_is_counted_as_such() -> None:
    assert told(verdict(observe_only(BLOCK))) == [("warning", {"would_be_stopped": 1})]
    assert observe_only(BLOCK).action is Action.WARN
    assert observe_only(BLOCK).would is Action.BLOCK


def test_a_run_in_which_nothing_was_done_says_nothing() -> None:
    assert told() == []
    assert told(verdict(BLOCK._replace(action=Action.ALLOW))) == []
    assert told(verdict(BLOCK._replace(action=Action.WARN))) == [("info", {"warned": 1})]

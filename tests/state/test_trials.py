"""Policy changes tried against the audit: differences, and questions it cannot answer."""

from collections.abc import Sequence
from pathlib import Path

from pipeguard.firewall.finding import Action, Confidence, Finding, Severity
from pipeguard.firewall.policy import Exempt, Layer, Mode, Policy, Selector
from pipeguard.firewall.session.guard import EXEMPT
from pipeguard.state.audit import decision_entry, record_decision
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.state.trials import ExceptionUse, Outcomes, find_uses, try_mode
from tests.state.samples import silent, verdict

PASSED = Finding(
    "secrets.aws-access-key-id",
    "call.arguments",
    severity=Severity.HIGH,
    confidence=Confidence.HIGH,
    action=Action.ALLOW,
    note=EXEMPT,
)


def record(store: Path, *events: Sequence[Finding]) -> None:
    """Events of the server `notes`, each with its findings."""
    recorder = Recorder(store, "notes", "AAAAAAAA", log=silent)
    for number, findings in enumerate(events):
        recorder.record(verdict(f"AAAAAAAA.c{number}", b"{}", tuple(findings)))
    recorder.close()


def find_use(store: Path, where: Selector, *others: Exempt) -> ExceptionUse:
    exempt = Exempt(where, "a test key")
    policy = Policy(layers=(Layer(exceptions=(exempt, *others)),))
    with open_store(store) as opened:
        return find_uses(opened, [exempt], policy, "/policy.yaml", "")[0]


def test_an_observed_event_passes_unless_no_exception_could_help(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    blocked = PASSED._replace(action=Action.BLOCK, note="")
    record(
        store,
        [blocked],
        [blocked._replace(rule="protocol.not-json")],
        [blocked._replace(rule="protocol.frame-limit")],
        [PASSED],
        [blocked._replace(action=Action.WARN, would=Action.BLOCK)],
        [blocked._replace(action=Action.WARN)],
    )
    with open_store(store) as opened:
        assert try_mode(opened, Mode.OBSERVE, "").changed == 1
        assert try_mode(opened, Mode.ENFORCE, "") == Outcomes(1, 0)


def test_a_removed_exception_stops_what_it_alone_let_pass(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    faint = PASSED._replace(confidence=Confidence.LOW)
    record(store, [PASSED], [faint], [PASSED._replace(rule="secrets.jwt")])
    use = find_use(store, Selector(PASSED.rule, server="notes"))
    assert (use.times, use.is_least, use.removal) == (2, False, Outcomes(1, 0))
    other = Exempt(Selector("secrets.*", server="notes"), "all of them")
    assert find_use(store, Selector(PASSED.rule), other).removal == Outcomes(0, 0)


def test_of_calls_that_name_several_files_the_audit_cannot_tell(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    record(store, [PASSED._replace(path="/srv/a")], [PASSED])
    use = find_use(store, Selector(PASSED.rule, path="/srv/*"))
    assert (use.times, use.is_least, use.removal) == (1, True, Outcomes(1, 1))


def test_only_what_passed_since_an_exception_was_written_counts(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    record(store, [PASSED])
    assert not find_use(store, Selector(PASSED.rule)).is_dated
    note = "an exception in /policy.yaml (a test key): all calls"
    decision = decision_entry("allow", note=note, by="somebody", moment="2999-01-01T00:00:00.000Z")
    with open_store(store) as opened:
        record_decision(opened, "notes", decision)
    use = find_use(store, Selector(PASSED.rule))
    assert (use.times, use.since, use.is_dated) == (0, decision.time, True)


def test_of_an_empty_audit_nothing_is_known(tmp_path: Path) -> None:
    assert find_use(tmp_path / "store.db", Selector(PASSED.rule)).since == ""

"""The policy's view of a value: the action of a finding, and the names of places."""

from pipeguard.detect.detector import make_guard
from pipeguard.firewall.finding import Action, Confidence, Severity
from pipeguard.firewall.policy import ActionEntry, Layer, Policy, Selector
from pipeguard.firewall.session.guard import Context
from tests.fuzz.rulebook import engines


def scope(policy: Policy | None = None) -> Context:
    guard = make_guard("demo", engines(), policy or Policy(), {})
    return Context(guard, "params", "tools/call", 0.0, "echo")


def test_a_finding_of_our_own_gets_its_action_from_the_policy() -> None:
    level = Severity.HIGH, Confidence.HIGH
    assert scope().finding("protocol.x", "params.other", level).action is Action.BLOCK
    lenient = Policy(
        layers=(Layer(actions=(ActionEntry(Selector(rule="protocol.x"), Action.ALLOW),)),)
    )
    assert scope(lenient).finding("protocol.x", "params.other", level).action is Action.ALLOW

"""Every rule has a next step, and PipeGuard describes it truly: `allow` works or says why not.

tests/wrap/test_next_steps.py follows the advice in front of a real server.
"""

import datetime
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard import Action, Confidence, Finding, PipeGuardError, Severity
from pipeguard.cli import cli
from pipeguard.config.effective_policy import combine_sources
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.firewall.policy import PolicyTarget
from pipeguard.firewall.protocol.places import known_places
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.rule_texts import code_rules
from pipeguard.state.audit import DONE
from pipeguard.state.exceptions import is_wall
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.store import open_store
from pipeguard.transports.http.server.admission import RefusalReason
from tests.each import each
from tests.fuzz.rulebook import ALL
from tests.people import give_token
from tests.state.samples import POISONED, audit_entry, held, record

PACKAGE = Path(__file__).resolve().parent.parent.parent / "pipeguard"
TODAY = datetime.date.today()  # noqa: DTZ011  as the command takes it
FAMILIES = (
    "protocol",
    "trust",
    "policy",
    "entrance",
    "egress",
    "search",
    "audit",
    "flows",
    "apps",
    "secrets",
)
RULE = re.compile(rf"(?<=[\"'])(?:{'|'.join(FAMILIES)})\.[a-z][a-z-]+(?=[\"'])")
NO_RULES = {
    *("policy.yaml", "policy.html", "audit.more", "audit.html"),
    *("egress.addresses", "egress.proxy"),
}
JWT = Finding("secrets.jwt", "call.arguments", tool="search")
FIXED = Severity.HIGH, Confidence.HIGH


def rules_in_code() -> list[str]:
    """List the rules that modules name, and that no pack has."""
    named = {
        rule for path in PACKAGE.rglob("*.py") for rule in RULE.findall(path.read_text("utf-8"))
    }
    return sorted(named - NO_RULES - ALL.keys())


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    give_token(monkeypatch)


def stopped(*findings: Finding, event: str = "E") -> None:
    """Store an event in the audit."""
    record("docs", audit_entry(event, *findings), run=f"RUN-{event}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def passes(finding: Finding, path: str = "") -> bool:
    """True if the policy lets a finding pass now; the file must be valid."""
    text = Path(path or usual_policy_path()).read_text()
    file = parse_policy(text, "p.yaml", PolicyScope.USER, now=0.0, today=TODAY)
    target = PolicyTarget(finding.rule, *FIXED, finding.place, "docs", finding.tool)
    return combine_sources({PolicyScope.USER: file}).action(target, 0.0) is Action.ALLOW


# Of rules in files, one of each pack: they are allowed alike.
@each("rule", [*rules_in_code(), *{name.partition(".")[0]: name for name in ALL}.values()])
def test_every_rule_is_allowed_or_says_what_else_helps(rule: str, tmp_path: Path) -> None:
    remedy, path = find_remedy(rule), tmp_path / f"{rule}.yaml"
    finding = Finding(
        rule, "result.text" if remedy.way is Way.EXCEPTION else "envelope", tool="search"
    )
    beside = (JWT._replace(action=Action.REDACT),) if rule == "protocol.not-redacted" else ()
    stopped(finding, *beside, event=rule)
    result = run("allow", rule, "--why", "a test", "--policy", str(path))
    if remedy.way is Way.EXCEPTION:
        assert result.exit_code == 0, result.exception
        assert passes(*beside or (finding,), str(path))
        return
    assert isinstance(result.exception, PipeGuardError)
    advice = " ".join(remedy.advice.replace("SERVER", "docs").split())
    assert advice in str(result.exception)
    assert not path.exists()


def test_every_rule_of_the_code_is_listed() -> None:
    made = {reason.rule for reason in RefusalReason}
    made |= {f"trust.{word}" for word in DONE.values()}
    made |= {rule for rule in code_rules() if is_wall(rule)}
    assert sorted(code_rules()) == sorted({*rules_in_code(), *made})


@each("rule", rules_in_code())
def test_every_rule_of_the_code_is_explained(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.cli.explain.load_rules", ALL.values)  # once for all
    result = run("explain", rule)
    assert result.exit_code == 0
    assert find_remedy(rule).advice in " ".join(result.output.split())


@pytest.mark.parametrize("place", known_places())
def test_an_exception_can_be_made_for_every_place(place: str) -> None:
    finding = Finding("secrets.jwt", place, tool="search")
    stopped(finding)
    assert run("allow", "E", "--why", "a test").exit_code == 0
    assert passes(finding)


HELD = Finding("trust.held", "tool.name", tool="other", excerpt="pipeguard diff docs/other")
BROKEN = Finding("protocol.duplicate-key", "envelope")


def test_what_no_exception_helps_decides_for_all_that_is_stopped_with_it() -> None:
    stopped(JWT, BROKEN)
    result = run("allow", "E", "--why", "a test")
    assert "protocol.duplicate-key cannot be allowed" in str(result.exception)
    assert "pipeguard allow" not in run("explain", "E").output


def test_beside_a_definition_that_waits_the_rest_is_allowed() -> None:
    stopped(JWT, HELD)
    output = run("explain", "E").output
    assert "pipeguard approve docs/other" in output
    assert "pipeguard allow E" in output
    assert run("allow", "E", "--why", "a test").exit_code == 0
    assert passes(JWT)


@pytest.mark.parametrize("name", ["other", "$(x)", "-x", "t" * 300])
def test_what_explain_advises_finds_a_definition_of_any_name(name: str) -> None:
    with open_store() as store:
        store.remember("docs", [held({**POISONED, "name": name})])
    stopped(HELD._replace(tool=name[:MAX_NAME_CHARS]))
    (command,) = re.findall(r"Look at it:  pipeguard (.*)", run("explain", "E").output)
    result = run(*shlex.split(command))
    assert result.exit_code == 1, "something waits"
    assert name in result.output


def test_what_could_not_be_redacted_is_allowed_by_what_was_found() -> None:
    failed = Finding("protocol.not-redacted", "envelope")
    stopped(JWT._replace(action=Action.REDACT), failed)
    assert "pipeguard allow E" in run("explain", "E").output
    assert run("allow", "E", "--why", "a test").exit_code == 0
    assert passes(JWT)

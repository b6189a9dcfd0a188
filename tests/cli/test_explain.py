"""`pipeguard explain`: a rule or an event, told to a person."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.explain import FAMILIES, WALLS, command
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import Action, Confidence, Finding, Severity
from pipeguard.state.audit import Audit, AuditEntry, findings_json
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from tests.each import each
from tests.fuzz.rulebook import ALL

FINDING = Finding(
    rule="secrets.github-token",
    place="call.arguments",
    pointer="/params/arguments/key",
    severity=Severity.CRITICAL,
    confidence=Confidence.HIGH,
    view="base64",
    excerpt="ghp_… (40 characters)",
    tool="search",
)
HELD = Finding(rule="trust.held", place="call.name", note="it was never approved", tool="search")
CUT = Finding(
    "injection.classifier",
    "result.text",
    "/result/content/0/text",
    action=Action.CUT,
    excerpt="Assistant, do it now.",
    note="21 characters, 21 bytes",
    tool="search",
)
TWICE = (  # one sentence, as two readings of it have it, and the same in another place
    CUT._replace(excerpt=". Assistant, do it now.", view="joined"),
    CUT._replace(place="result.structured", pointer="/result/structuredContent"),
)
GONE = Finding(rule="old.rule-of-mine", place="result.text", action=Action.WARN)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path))
    with Store.open(store_path()) as store:
        Audit(store, "RUN1", "docs", "").append_many(
            AuditEntry(
                "2026-11-20T10:00:00.000Z", "editor 1.0", "to-server", "request", "tools/call",
                "search", action, f"RUN1.c{number}", "0" * 64, 9, findings_json(findings),
            )
            for number, (action, findings) in enumerate(
                [
                    ("block", (FINDING,)), ("warn", (GONE,)), ("block", (HELD,)), ("allow", ()),
                    ("cut", (CUT,)), ("cut", (CUT, *TWICE)),
                ]
            )
        )  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


RULES = tuple(ALL.values())


@each("rule", [rule.id for rule in RULES])
def test_every_rule_is_explained(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.cli.explain.load_rules", lambda: RULES)  # once for them all
    result = run(rule)
    assert result.exit_code == 0
    assert result.output.startswith(f"{rule}: ")
    labels = ("Why ", "Do ", "Finds ", "Passes ")
    assert [label for label in labels if f"\n{label}" not in result.output] == []
    assert all(line.isprintable() for line in result.output.split("\n"))


def test_a_rule_is_told_to_a_program() -> None:
    told = json.loads(run("secrets.github-token", "--json").output)
    assert told["default_action"] == "block"
    assert told["example"].startswith("gh")
    assert told["fix"].endswith(".")


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_that_are_code_are_explained_by_their_family(family: str) -> None:
    rule = family if "." in family else f"{family}.some-rule"
    result = run(rule)
    assert result.exit_code == 0
    assert "\nDo " in result.output
    assert json.loads(run(rule, "--json").output)["why"]


def test_a_rule_that_is_misspelt_is_guessed() -> None:
    error = run("secrets.github-tokn").exception
    assert isinstance(error, PipeGuardError)
    assert "Did you mean `secrets.github-token`?" in str(error)


def test_an_event_is_told_with_the_command_that_allows_it() -> None:
    output = run("RUN1.c0").output
    assert output.startswith("RUN1.c0: 2026-11-20T10:00:00.000Z, server docs: tools/call search\n")
    assert "in call.arguments /params/arguments/key, read as base64; severity critical" in output
    assert "ghp_… (40 characters)" in output
    assert "pipeguard allow RUN1.c0" in output


def test_an_event_tells_a_rule_that_is_gone_and_one_that_is_code() -> None:
    assert "no longer installed" in run("RUN1.c1").output
    output = run("RUN1.c2").output
    assert "it was never approved" in output
    assert "pipeguard approve" in output


def test_an_event_without_findings_is_told() -> None:
    output = run("RUN1.c3").output
    assert "PipeGuard let it pass." in output
    assert "pipeguard allow" not in output


def test_an_event_is_told_to_a_program() -> None:
    told = json.loads(run("RUN1.c0", "--json").output)
    assert told["server"] == "docs"
    assert told["findings"][0]["rule"] == "secrets.github-token"
    assert told["findings"][0]["title"] == "GitHub token"


def test_an_unknown_event_is_told() -> None:
    error = run("XXXX.c1").exception
    assert isinstance(error, PipeGuardError)
    assert "pipeguard audit list" in str(error)
    assert "is a rule" not in str(error)
    assert "has two parts, as K7Q2M9D4.c12" in str(run("RUN1").exception)


def test_help_has_examples() -> None:
    output = run("--help").output
    assert "pipeguard explain secrets." in output


def test_what_was_cut_out_is_shown_with_the_command_that_lets_it_pass() -> None:
    result = run("RUN1.c4")
    assert result.exit_code == 0
    assert "without the passages below; a line is in place of each." in result.output
    assert "Cut      Assistant, do it now." in result.output
    assert "Note     21 characters, 21 bytes" in result.output
    assert result.output.rstrip().endswith("pipeguard allow RUN1.c4")
    assert "is cut out of a result, unless" in run("injection.classifier").output


def test_a_rule_is_told_once_with_all_that_it_found() -> None:
    output = run("RUN1.c5").output
    lines = output.splitlines()
    assert [output.count(label) for label in ("Seen ", "Cut ", "Why ", "Do ")] == [2, 2, 1, 1]
    assert sum(line.startswith("injection.classifier") for line in lines) == 1
    assert len(json.loads(run("RUN1.c5", "--json").output)["findings"]) == 3  # programs get all


def wall(rule: str, excerpt: str, **more: str) -> Finding:
    finding = Finding(rule, "connection", severity=Severity.MEDIUM, excerpt=excerpt)
    return finding._replace(**more)  # type: ignore[arg-type]


def page_of(finding: Finding, action: str) -> str:
    """What is shown of an event at a wall, each blank as one."""
    with Store.open(store_path()) as store:
        Audit(store, f"RUN-{finding.rule}", "docs", "").append_many(
            [
                AuditEntry(
                    "2026-11-20T10:00:00.000Z", "", "to-client", "connection", "", "", action,
                    f"RUN.{finding.rule}", "", 0, findings_json((finding,)),
                )
            ]
        )  # fmt: skip
    shown = CliRunner().invoke(command, [f"RUN.{finding.rule}"])
    assert shown.exit_code == 0, shown.exception
    return " ".join(shown.output.split())


@each(
    "finding, wanted",
    {
        "a host": (wall("egress.host", "api.example"), "Wanted api.example"),
        "a port of a host": (wall("egress.port", "api.example:22"), "Wanted api.example:22"),
        "a private address": (
            wall("egress.address", "10.0.0.5:443", host="git.example"),
            "Wanted git.example, whose name leads to 10.0.0.5:443",
        ),
        "a file": (wall("isolation.read", "…/b", path="/srv/a/b"), "Wanted to read /srv/a/b"),
        "a change": (wall("isolation.write", "/srv/a", path="/srv/a"), "Wanted to change /srv/a"),
        "a port": (wall("isolation.port", "5432"), "Wanted port 5432 of this machine"),
    },
)
def test_a_wall_is_told_as_such(finding: Finding, wanted: str) -> None:
    page = page_of(finding, "block")
    assert wanted in page
    assert f"Why {WALLS[finding.rule]}" in page
    assert f"Give the server exactly that: pipeguard allow RUN.{finding.rule}" in page
    for word in ("false alarm", "let it pass", "confidence", "severity", "detect"):
        assert word not in page


def test_a_given_host_that_fails_was_not_kept_from_the_server() -> None:
    failed = wall("egress.failed", "api.example:443", note="allowed, and could not be reached")
    page = page_of(failed._replace(action=Action.ALLOW), "allow")
    assert "is granted, but could not be reached" in page
    assert "Wanted api.example:443" in page
    assert "confidence" not in page
    assert "pipeguard allow" not in page

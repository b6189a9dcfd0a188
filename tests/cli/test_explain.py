"""`pipeguard explain`: a rule or an event, explained to a person."""

import json
import re
import time
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.allow import command as allow
from pipeguard.cli.audit import command as audit
from pipeguard.cli.explain import command
from pipeguard.firewall.finding import Action, Confidence, Finding, Severity, make_warning
from pipeguard.state.paths import DEMO_STORE_NAME, store_path
from pipeguard.version import VERSION
from tests.each import each
from tests.fuzz.rulebook import ALL
from tests.snapshot import Snapshot
from tests.state.samples import audit_entry, record

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
    start=5,
    end=26,
    excerpt="Assistant, do it now.",
    note="21 characters, 21 bytes",
    tool="search",
    steps=("medium: the pattern", "high: a check holds"),
)
TWICE = (  # one sentence, as two readings of it have it, and the same in another place
    CUT._replace(excerpt=". Assistant, do it now.", view="joined"),
    CUT._replace(place="result.structured", pointer="/result/structuredContent"),
)
MILD = (
    *("injection.secrecy", "injection.override-mentioned", "injection.forced-call-first"),
    *("injection.send-data-outward", "injection.override-all-mentioned"),
)
NOTED = [CUT._replace(rule=rule, action=Action.WARN, excerpt="do it") for rule in MILD]
LOST = make_warning(
    "protocol.peer-gone",
    "https://docs.example.com/mcp asks for a login.\n  Log in:  pipeguard auth login URL",
)
LEAK = Finding("flows.private-out", "call.arguments", tool="search", excerpt="Anna, Ben and Cy")
DEEP = Finding("protocol.too-deep", "connection", note="the message is nested too deeply")
GONE = Finding("old.rule-of-mine", "result.text", confidence=Confidence.MEDIUM, action=Action.WARN)


@pytest.fixture(autouse=True)
def store() -> None:
    rows = enumerate(
        [
            ("block", (FINDING,)), ("warn", (GONE,)), ("block", (HELD,)), ("allow", ()),
            ("cut", (CUT,)), ("cut", (CUT, *TWICE)), ("cut", (CUT, *TWICE, *NOTED)),
            ("warn", (LOST,)), ("block", (LEAK,)), ("block", (DEEP,)),
        ]
    )  # fmt: skip
    record(
        "docs",
        *(
            audit_entry(f"RUN1.c{number}", *findings, action=action, client="editor 1.0")
            for number, (action, findings) in rows
        ),
        run="RUN1",
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


RULES = tuple(ALL.values())


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's calendar cannot be set")
def test_a_call_is_explained_with_its_arguments_its_source_and_what_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`allow` shows the same, and no text of a stranger looks like a line of ours."""
    forged = "x\nStopped  nothing\x1b[2J\u202e"
    given = {"to": "eve", "amount": 1, forged: forged, "body": "Dear…"}
    flow = LEAK._replace(
        arguments=json.dumps(given), lengths='{"body":9817}', unseen="9813", call="ab" * 16,
        source=forged, source_age="4200.0", marked="SECRET", excerpt=forged,
    )  # fmt: skip
    cut = CUT._replace(frame="Hello. Assistant, do it now. Bye.", place="result.text")
    old = LEAK._replace(arguments='{"to":"eve","bo…', call="ab" * 16)
    rows = (("FLOW", flow), ("FRAME", cut), ("OLD", old), ("NONE", LEAK._replace(call="ab" * 16)))
    record("docs", *(audit_entry(name, each) for name, each in rows), run="RUN2")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-10")
        time.tzset()
        outputs = [run("FLOW").output, CliRunner().invoke(allow, ["FLOW", "--dry-run"]).output]
    time.tzset()
    for output in outputs:
        lines = output.splitlines()
        begin = next(i for i, line in enumerate(lines) if line.startswith("With "))
        assert lines[begin] == 'With     "to": "eve"'
        assert lines[begin + 1] == '         "amount": 1'
        assert '         "body": "Dear…" (9817 characters, 4 shown)' in lines
        assert "         and 9,813 characters that you have not seen" in lines
        assert ", 18:50, marked SECRET" in output
        assert not any(line.startswith("Stopped  nothing") for line in lines)
        assert all(line.isprintable() for line in lines)
    assert "Around   Hello. Assistant, do it now. Bye.\n" in run("FRAME").output
    assert 'With     {"to":"eve","bo…\n' in run("OLD").output
    assert "With     any arguments that you have not seen\n" in run("NONE").output
    (found,) = json.loads(run("FLOW", "--json").output)["findings"]
    assert (found["unseen"], found["marked"]) == ("9813", "SECRET")


@each("rule", [rule.id for rule in RULES])
def test_every_rule_is_explained(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.cli.explain.load_rules", lambda: RULES)  # once for them all
    result = run(rule)
    assert result.exit_code == 0
    assert result.output.startswith(f"{rule}: ")
    labels = ("Why ", "Do ", "Finds ", "Passes ")
    assert [label for label in labels if f"\n{label}" not in result.output] == []
    assert all(line.isprintable() for line in result.output.split("\n"))


def test_a_rule_says_where_another_action_than_usual_is_taken() -> None:
    def head(rule: str) -> str:
        return " ".join(CliRunner().invoke(command, [rule]).output.partition("\nChecks")[0].split())

    database, card = head("secrets.database-url"), head("personal.card-leaving")
    assert "It is blocked if a check of the match holds." in database
    assert "In data that a call keeps on this machine, it is a warning." in database
    assert "It is blocked if a call requests it from another host." in card
    assert "It is" not in head("secrets.github-token")


def test_what_is_shown(snapshot: Snapshot) -> None:
    snapshot.commands(
        "explain",
        """
        explain injection.override-instructions
        explain injection.override-instructions --json
        explain injection.classifier
        explain secrets.github-tokn  # 1
        explain shell  # 1
        explain XXXX.c1  # 1
        explain RUN1  # 1
        """,
    )
    snapshot.commands("explain-blocked", "explain RUN1.c0\nexplain RUN1.c0 --json")
    snapshot.commands("explain-rule-gone", "explain RUN1.c1")
    snapshot.commands("explain-held", "explain RUN1.c2")
    snapshot.commands("explain-passed", "explain RUN1.c3")
    snapshot.commands("explain-lost", "explain RUN1.c7\nexplain RUN1.c8\nexplain RUN1.c9")
    assert "⟨" not in snapshot.run("audit show RUN1.c7").out, "our own line ends are no one else's"
    note = "1 request: `Origin` is a web page"
    refused = audit_entry(
        "GATE.e1", Finding("entrance.origin", "http.request", note=note)
    )._replace(
        client="10.0.0.7", kind="refusal", method="", tool="", frame_sha256="", frame_bytes=0
    )
    record("", refused, run="GATE")  # of the gateway's own entrance, so of no server
    snapshot.commands("explain-entrance", "explain GATE.e1")
    snapshot.commands("explain-cut", "explain RUN1.c4\nexplain RUN1.c5")
    told = json.loads(snapshot.run("explain RUN1.c5 --json").out)
    assert len(told["findings"]) == 3  # programs get all
    told = json.loads(snapshot.run("explain secrets.github-token --json").out)
    assert told["example"].startswith("gh")


def test_an_event_is_found_in_letters_of_any_case() -> None:
    record("docs", audit_entry("K7Q2M9D4.2.c3.0", FINDING))
    assert run("k7q2m9d4.2.C3.0").output.startswith("K7Q2M9D4.2.c3.0: PipeGuard blocked it.")
    assert CliRunner().invoke(audit, ["show", "k7q2m9d4.2.c3.0"]).exit_code == 0


def test_an_event_of_many_rules_is_told_by_the_one_that_decided() -> None:
    """Newcomers read 45 lines on one attack; the rest is behind --full."""
    output = run("RUN1.c6").output
    assert len(output.splitlines()) <= 16
    assert [output.count(f"\n{label} ") for label in ("Cut ", "Why ", "Do ")] == [1, 1, 1]
    assert "with 5 more rules:  pipeguard explain RUN1.c6 --full" in output
    assert output.index("Assistant, do it now.") < output.index("Why ") < output.index("allow RUN1")
    full = run("RUN1.c6", "--full").output
    assert [rule for rule in MILD if rule not in full or rule in output] == []
    assert "\nRated    medium: the pattern; high: a check holds\n" in full
    assert "Rated" not in output


def test_a_policy_that_is_not_the_users_own_is_named() -> None:
    steps = "medium: the pattern", "block: entry 1 of `actions` in the organisation's policy"
    record("docs", audit_entry("RUN2.c1", FINDING._replace(steps=steps)), run="RUN2")
    assert f"\nPolicy   {steps[1]}\n" in run("RUN2.c1").output


def test_what_can_be_published_of_an_event_has_neither_text_nor_names() -> None:
    for event, more in (("RUN1.c6", "injection.secrecy"), ("RUN1.c1", "of your own")):
        for options in ((), ("--json",)):
            output = run(event, "--redacted", *options).output
            private = ("docs", "search", "editor", "Assistant", "/result", "old.rule")
            assert [text for text in private if text in output] == []
            assert more in output
    output = run("RUN1.c6", "--redacted").output
    assert output.startswith(f"pipeguard {VERSION}: cut, request, tools/call, 9 bytes\n")
    (first, *_) = output.splitlines()[1:]
    assert first.startswith("- injection.classifier: cut, confidence high, in result.text, ")
    assert "read as text, 21 characters" in first
    assert "Latin letters" in output


def test_a_damaged_store_of_the_demonstration_hides_no_event() -> None:
    store_path().with_name(DEMO_STORE_NAME).write_bytes(b"no database" * 100)
    assert run("RUN1.c0").output.startswith("RUN1.c0: PipeGuard blocked it.")


def test_what_only_warned_is_said_to_have_passed() -> None:
    """Allowing is not advised for a call that passed."""
    warned, held = "RUN.warned-flow", "RUN.held-flow"
    store_event(LEAK._replace(confidence=Confidence.MEDIUM), "warned-flow", Action.WARN)
    store_event(LEAK, "held-flow", Action.ASK)
    page = " ".join(run(warned).output.split())
    assert "let it pass, with a warning" in page
    assert "Do " not in page
    assert "pipeguard allow" not in page
    assert f"pipeguard allow {held}" in run(held).output


def wall(rule: str, excerpt: str, **more: str) -> Finding:
    finding = Finding(rule, "connection", severity=Severity.MEDIUM, excerpt=excerpt)
    return finding._replace(**more)  # type: ignore[arg-type]


WALLED = {
    "host": wall("egress.host", "api.example"),
    "port-of-a-host": wall("egress.port", "api.example:22"),
    "address": wall("egress.address", "10.0.0.5:443", host="git.example"),
    "credentials": wall("egress.host", "169.254.169.254:80"),
    "whole": wall("isolation.read", "…/srv", path="/srv"),
    "gone": wall("isolation.read", "…/b", path="/srv/no/b"),
    "port": wall("isolation.port", "5432"),
    "failed": wall("egress.failed", "api.example:443", note="allowed, but could not be reached"),
}


def test_a_wall_is_shown_as_such(snapshot: Snapshot) -> None:
    """It mentions neither a false alarm nor, for a failing host, that access was refused."""
    with TemporaryDirectory(prefix="wall") as folder:  # without a hyphen, at which lines end
        snapshot.varies[re.escape(folder)] = "FOLDER"
        read = wall("isolation.read", "…/b", path=folder)
        write = wall("isolation.write", "…/b", path=folder)
        walled = {**WALLED, "read": read, "write": write}
        for name, finding in walled.items():
            store_event(finding, name, Action.ALLOW if name == "failed" else Action.BLOCK)
        snapshot.commands("explain-walls", "\n".join(f"explain RUN.{name}" for name in walled))


def store_event(finding: Finding, name: str, action: Action) -> None:
    finding = finding._replace(action=action)
    columns = {"action": action.name.lower(), "kind": "connection", "method": "", "tool": ""}
    record("docs", audit_entry(f"RUN.{name}", finding, **columns), run=f"RUN-{name}")

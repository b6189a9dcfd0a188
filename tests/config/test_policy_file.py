"""The policy file: valid settings, and the errors of invalid ones."""

import datetime
import os
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.cli.policy import EXAMPLE
from pipeguard.config import policy_file
from pipeguard.config.effective_policy import combine_sources
from pipeguard.config.policy_file import (
    DAY_SECONDS,
    HARMFUL,
    HARMLESS,
    PolicyFile,
    PolicyScope,
    parse_policy,
    policy_text,
)
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action, Confidence, Drift, Severity
from pipeguard.firewall.policy import (
    ActionEntry,
    Exempt,
    InClient,
    Layer,
    Limits,
    Mode,
    Policy,
    PolicyTarget,
    Selector,
    Trust,
)
from pipeguard.rulebook.cache import rule_ids
from pipeguard.rulebook.policy_rules import check_actions, describe_missing
from tests.people import share
from tests.snapshot import Snapshot

TODAY = datetime.date(2026, 11, 20)
NOW = 1000.0


def parse(text: str, scope: PolicyScope = PolicyScope.USER) -> PolicyFile:
    return parse_policy(text, "p.yaml", scope, now=NOW, today=TODAY)


def errors(text: str, scope: PolicyScope = PolicyScope.USER) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse(text, scope)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def subject(rule: str = "secrets.github-token", tool: str = "search") -> PolicyTarget:
    bad = Severity.CRITICAL, Confidence.HIGH
    return PolicyTarget(rule, *bad, "call.arguments", "docs", tool)


# --- what it says ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "{}", "\ufeffmode: enforce\n"])
def test_an_empty_file_is_the_default(text: str) -> None:
    assert combine_sources({PolicyScope.USER: parse(text)}) == Policy()


def test_the_example_says_the_defaults() -> None:
    assert combine_sources({PolicyScope.USER: parse(EXAMPLE)}) == Policy()


def test_the_example_with_every_key_is_right() -> None:
    lines = []
    for line in EXAMPLE.splitlines():
        bare = line.removeprefix("# ").removeprefix("  # ")
        begins = bare.lstrip("- {").partition(":")[0]
        known = begins.isidentifier() and begins.islower() and ":" in bare
        lines.append(bare if line.startswith("# ") and known else line)
    text = "\n".join(lines)
    file = parse_policy(text, "p.yaml", PolicyScope.USER, now=NOW, today=TODAY, check=check_actions)
    assert len(file.layer.actions) == 5
    assert file.layer.tools_block == ("delete_*",)
    assert file.drift_allow == frozenset({Drift.WORDING, Drift.NAME_ONLY})
    (exception,) = file.layer.exceptions
    assert describe_missing(exception.where.rule, rule_ids()) == ""


def test_every_key_is_read() -> None:
    file = parse(
        """\
mode: observe
trust: review
drift: {allow: [wording, name-only]}
actions:
- {rule: "secrets.*", place: call.arguments, severity: high, confidence: medium, action: redact}
- {pack: injection, server: "web-*", tool: fetch, action: block}
tools: {allow: ["read_*"], block: ["delete_*"]}
exceptions:
- {rule: injection.forged-turn, server: docs, tool: search, place: result.text, why: "they quote"}
limits: {frame: 1.5 MiB, pending: 12, notifications: 34, timeout: 5 min}
audit: {on_failure: stop, keep: 12 w}
ask_in_client: form
"""
    )
    policy = combine_sources({PolicyScope.USER: file})
    drifts = frozenset({Drift.WORDING, Drift.NAME_ONLY})
    limits = Limits(3 * 2**19, 12, 34, 300.0)
    (layer,) = policy.layers
    assert policy == Policy(
        Mode.OBSERVE, Trust.REVIEW, (layer,), limits, drifts, True, 84, InClient.FORM
    )
    secrets = Selector(
        "secrets.*", "call.arguments", severity=Severity.HIGH, confidence=Confidence.MEDIUM
    )
    injected = Selector("injection.*", server="web-*", tool="fetch")
    entries = ActionEntry(secrets, Action.REDACT), ActionEntry(injected, Action.BLOCK)
    assert layer.actions == entries
    quoted = Selector("injection.forged-turn", "result.text", "docs", "search")
    assert layer.exceptions == (Exempt(quoted, "they quote"),)
    assert (layer.calls("delete_all"), layer.calls("read_file")) == (False, True)


@pytest.mark.parametrize(
    ("texts", "field", "value"),
    [
        (("frame: 16 MiB", "frame: 16384KiB", "frame: 16777216 B"), "frame_bytes", 2**24),
        (("frame: 1 MB", "frame: 1000000"), "frame_bytes", 10**6),
        (("timeout: 90 s", "timeout: 1.5 min", "timeout: 90"), "timeout_seconds", 90),
        (("timeout: 2 h",), "timeout_seconds", 7200),
    ],
)
def test_sizes_and_times(texts: tuple[str, ...], field: str, value: float) -> None:
    for text in texts:
        assert parse(f"limits: {{{text}}}").limits == {field: value}


def test_a_word_that_yaml_takes_for_something_else_is_still_a_name() -> None:
    entry = parse("actions: [{server: no, tool: 1.0, action: block}]").layer.actions[0]
    assert (entry.where.server, entry.where.tool) == ("no", "1.0")


# --- exceptions that end ---------------------------------------------------------------------


def exception(until: str) -> str:
    return f"exceptions: [{{rule: secrets.jwt, server: docs, until: {until}, why: because}}]"


def test_an_exception_holds_on_its_last_day_and_not_after() -> None:
    (exempt,) = parse(exception("2026-11-20")).layer.exceptions
    assert exempt.until == NOW + DAY_SECONDS
    policy = Policy(layers=(Layer(exceptions=(exempt,)),))
    jwt = subject("secrets.jwt")
    assert policy.action(jwt, NOW) is Action.ALLOW
    assert policy.action(jwt, NOW + DAY_SECONDS) is Action.BLOCK
    (exempt,) = parse(exception("2026-11-30")).layer.exceptions
    assert exempt.until == NOW + 11 * DAY_SECONDS
    (lasting,) = parse(exception("9999-12-31")).layer.exceptions
    assert (lasting.until or 0.0) > NOW + 1000 * 365 * DAY_SECONDS


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system's calendar cannot be set")
@pytest.mark.parametrize(
    ("last", "hours"), [("2027-03-27", 24), ("2027-03-28", 47), ("2027-03-29", 71)]
)
def test_a_day_has_as_many_hours_as_where_the_user_is(
    last: str, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        saturday = datetime.date(2027, 3, 27)
        file = parse_policy(exception(last), "p.yaml", PolicyScope.USER, now=NOW, today=saturday)
    time.tzset()
    assert file.layer.exceptions[0].until == NOW + hours * 3600


def test_an_exception_that_ended_is_left_out_and_told() -> None:
    file = parse(exception("2026-11-19"))
    assert file.layer.exceptions == ()
    (note,) = file.notes
    assert "secrets.jwt" in note
    assert "2026-11-19" in note


# --- what is wrong with it -------------------------------------------------------------------


WRONG = yaml.safe_load(Path(__file__).with_name("wrong_policies.yaml").read_bytes())
ONE_ERROR, SEVERAL = WRONG["one"], WRONG["several"]


def test_an_error_names_line_column_and_key(snapshot: Snapshot) -> None:
    found = {text: errors(text) for text in (*ONE_ERROR, *SEVERAL)}
    assert {text for text in ONE_ERROR if len(found[text]) != 1} == set()
    assert [len(found[text]) for text in SEVERAL] == [2, 5]
    blocks = ("\n".join((text, *(f"! {line}" for line in told))) for text, told in found.items())
    snapshot.text("policy-errors", "\n\n".join(blocks))


def test_the_first_line_counts_them() -> None:
    with pytest.raises(PolicyError, match=r"^p\.yaml has 2 errors:\n"):
        parse("mode: a\ntrust: b")


@pytest.mark.parametrize(
    "text",
    [
        "mode: [",
        "--- a\n--- b",
        '"\\UFFFFFFFF"',
        "%YAML 1." + "1" * 5000 + "\n--- a",
        "[" * 5000,
        "x" * 300_000,
    ],
)
def test_what_is_no_yaml_is_told_as_such(text: str) -> None:
    with pytest.raises(PolicyError, match=r"^p\.yaml is "):
        parse(text)


@example("[]{")
@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    for scope in PolicyScope:
        with suppress(PolicyError):  # anything else fails the test
            assert parse(text, scope) == parse(text, scope)


KEYS = st.sampled_from(
    [
        *("mode", "trust", "drift", "actions", "tools", "exceptions", "limits", "audit"),
        *("rule", "pack", "place", "server", "tool", "severity", "confidence", "action"),
        *("allow", "block", "until", "why", "frame", "pending", "timeout", "on_failure", "keep"),
    ]
)
SCALARS = st.one_of(
    st.sampled_from(["enforce", "block", "call.*", "16 MiB", "2027-01-31", "*", "[", "stop", ""]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=8),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES, max_size=8), st.booleans())
def test_any_tree_is_a_policy_or_a_policy_error(tree: dict[str, object], flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    for scope in PolicyScope:
        try:
            file = parse(text, scope)
        except PolicyError:
            continue
        assert combine_sources({scope: file}).action(subject(), NOW) in Action


# --- drift -----------------------------------------------------------------------------------


def test_every_class_of_drift_is_harmless_or_has_a_reason() -> None:
    assert set(HARMLESS) | set(HARMFUL) == set(Drift)
    assert not set(HARMLESS) & set(HARMFUL)


@pytest.mark.parametrize("drift", HARMLESS)
def test_harmless_drift_may_be_let_through(drift: Drift) -> None:
    assert parse(f"drift: {{allow: [{drift.value}]}}").drift_allow == frozenset({drift})


@pytest.mark.parametrize("drift", HARMFUL)
def test_harmful_drift_is_refused_with_the_reason(drift: Drift) -> None:
    (told,) = errors(f"drift: {{allow: [{drift.value}]}}")
    assert HARMFUL[drift] in told


# --- a project's file only tightens ----------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "mode: observe",
        "trust: first-use",
        "audit: {on_failure: continue}",
        "audit: {keep: forever}",
        "ask_in_client: form",
        "actions: [{rule: secrets.*, action: allow}]",
        "exceptions: [{rule: secrets.jwt, server: docs, why: w}]",
        "isolate: [{server: files, read: [~/a]}]",
        "record: {folder: r}",
    ],
)
def test_a_projects_file_may_not_loosen(text: str) -> None:
    parse(text)
    (told,) = errors(text, PolicyScope.PROJECT)
    assert "may only tighten" in told


def test_a_projects_file_tightens_everything() -> None:
    user = parse(
        "mode: observe\nlimits: {frame: 1 MiB, pending: 10}\ndrift: {allow: [wording, name-only]}\n"
        "ask_in_client: form"
    )
    project = parse(
        "mode: enforce\ntrust: review\n"
        "limits: {frame: 2 MiB, pending: 5, timeout: 9 s, notifications: 7}\n"
        "drift: {allow: [wording, output-schema]}\naudit: {on_failure: stop}\n"
        "actions: [{rule: 'commands.*', action: block}]\ntools: {block: [rm]}\n"
        "ask_in_client: url",
        PolicyScope.PROJECT,
    )
    policy = combine_sources({PolicyScope.USER: user, PolicyScope.PROJECT: project})
    assert policy.mode == Mode.ENFORCE
    assert policy.trust == Trust.REVIEW
    assert policy.ask_in_client == InClient.URL
    assert policy.limits == Limits(2**20, 5, 7, 9.0)
    assert policy.drift_allow == {Drift.WORDING}
    assert policy.stop_without_audit
    assert not policy.calls("rm")


@pytest.mark.parametrize(
    ("text", "days"),
    [("", 90), ("audit: {keep: 1d}", 1), ("audit: {keep: 2 w}", 14), ("audit: {keep: forever}", 0)],
)
def test_the_audit_is_kept_for_as_long_as_the_user_says(text: str, days: int) -> None:
    project = parse("audit: {on_failure: stop}", PolicyScope.PROJECT)
    files = {PolicyScope.USER: parse(text), PolicyScope.PROJECT: project}
    assert combine_sources(files).audit_keep_days == days
    assert Policy().audit_keep_days == 90


@pytest.mark.parametrize("keep", ["0 d", "1.5 d", "90 days", "200 y", "40000 d", "never", "-1 d"])
def test_a_time_to_keep_the_audit_is_a_number_of_days_or_weeks(keep: str) -> None:
    (told,) = errors(f"audit: {{keep: {keep}}}")
    assert "audit.keep: expected" in told


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
def test_a_file_that_everybody_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("mode: observe")
    path.chmod(0o666)
    with pytest.raises(PolicyError, match="everybody may write"):
        policy_text(str(path), PolicyScope.USER)
    assert policy_text(str(path), PolicyScope.PROJECT) == "mode: observe"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
def test_a_file_that_a_group_may_write_is_not_believed_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "my policy;x.yaml"
    path.write_text("mode: observe")
    path.chmod(0o664)
    share(path)
    with pytest.raises(PolicyError, match="its group may write") as told:
        policy_text(str(path), PolicyScope.USER)
    *_, fix = str(told.value).partition("Close it:")
    subprocess.run(shlex.split(fix), check=True)
    assert policy_text(str(path), PolicyScope.USER) == "mode: observe"


def test_what_is_no_file_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="is not a regular file"):
        policy_text(str(tmp_path), PolicyScope.PROJECT)
    path = tmp_path / "p.yaml"
    path.write_bytes(b"mode: enforce\n# \xff\n")
    with pytest.raises(PolicyError, match="not UTF-8: line 2"):
        policy_text(str(path), PolicyScope.PROJECT)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(PolicyError, match="larger than"):
        policy_text(str(path), PolicyScope.PROJECT)


# --- wrap's own options ----------------------------------------------------------------------


TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs" / "policy.md").read_text(encoding="utf-8")


def test_the_page_has_every_key_and_every_drift() -> None:
    keys = ["mode", "trust", "drift.allow", "actions", "tools.allow", "tools.block", "exceptions"]
    keys += [f"limits.{name}" for name in ("frame", "pending", "notifications", "timeout")]
    keys += ["audit.on_failure", "audit.keep", "isolate", "egress.proxy", "ask_in_client", "flows"]
    keys += ["servers.allow", "servers.block", "record"]
    assert {key.partition(".")[0] for key in keys} == set(policy_file.POLICY_KEYS)
    rows = [f"\n| `{key}` |" for key in keys]
    rows += [f"\n| `{drift.value}` |" for drift in HARMLESS]
    rows += [f"\n| `{drift.value}` | {why} |\n" for drift, why in HARMFUL.items()]
    assert [row for row in rows if row not in PAGE] == []


def test_what_the_page_shows_is_right() -> None:
    shown = PAGE.split("```yaml\n")[1:]
    assert len(shown) == 2
    for block in shown:
        file = parse(block.partition("```")[0])
        assert file.layer.actions or file.layer.exceptions


def test_an_invalid_file_is_read_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for _ in range(2):
        with pytest.raises(PolicyError) as raised:
            parse("mode: read once\n")
        texts.append(str(raised.value))
        monkeypatch.setattr("pipeguard.config.strict_yaml.Document", None)
    assert texts[0] == texts[1]

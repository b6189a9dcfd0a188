"""`pipeguard policy`: the file validated, located, created."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.policy import EXAMPLE, command
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.state.store import open_store
from tests.files import write_file
from tests.snapshot import Snapshot
from tests.state.samples import seen


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_the_example_is_right_and_goes_where_path_says(home: Path, snapshot: Snapshot) -> None:
    path = Path(run("path").output.strip())
    assert path.is_relative_to(home)
    write_file(path, run("example").output)
    assert path.read_text() == EXAMPLE
    snapshot.commands("policy-example", "policy check\npolicy check --json\npolicy path")


def test_on_a_new_machine_a_policy_is_started(snapshot: Snapshot) -> None:
    """Even without the folder; later edits stay."""
    snapshot.commands("policy-new", "policy check\npolicy init\npolicy check")
    path = Path(usual_policy_path())
    assert path.read_text() == EXAMPLE
    path.write_text("mode: observe\n")
    snapshot.commands("policy-there", "policy init  # 2")
    assert path.read_text() == "mode: observe\n"


ISOLATED = "isolate:\n- {{server: x, {}}}\n"
WRONG = {
    "key": "mod: enforce",
    "address": ISOLATED.format("hosts: ['http://a.com']"),
    "this-machine": ISOLATED.format("hosts: [a.com, localhost]"),
    "port": ISOLATED.format("loopback: [0]"),
    "proxy": "egress: {proxy: ftp://proxy.example}",
    "size": ISOLATED.format("limits: {memory: much}"),
    "many": ISOLATED.format(f"hosts: [{', '.join(f'a:{n}' for n in range(1, 300))}]"),
    "rule": "exceptions:\n- {rule: secrets.githb-token, server: docs, why: mistyped}\n"
    "actions: [{pack: secret, action: block}, {rule: 'injction.*', action: block}]\n",
    "tools": "actions:\n- {rule: 'tools.*', action: ask}\n",
    "rounds": "mod: enforce\nactions: [nothing]\nexceptions:\n"
    "- {rule: secrets.githb-token, server: docs, why: mistyped, untl: 2027-01-31}\n"
    "isolate:\n- {server: x, hosts: ['http://a.com'], limits: {memory: much, mmory: 1}}\n",
    "colon": "mode: enforce\nexceptions:\n- rule: secrets.jwt\n  why: quoted: twice\n",
    "indented": "limits:\n  frame: 1 MiB\n pending: 3\n",
    "dash": "isolate:\n  - {server: a, hosts: [a.example]}\n- server: b\n",
    "tab": "limits:\n\tframe: 1 MiB\n",
    "star": "tools: {allow: [*_read]}\n",
    "open": "tools: {allow: [read,\nmode: enforce\n",
    "quote": "mode: 'enforce\n",
    "no-colon": "mode\ntrust: review\n",
    ".pipeguard": "mode: observe",  # the name of a project's file, which may only tighten
}
NOTED = {
    "folder": ISOLATED.format("read: [~/there, ~/gone], hosts: [a.com, b.com=private]"),
    "hosts": ISOLATED.format("hosts: ['*.com', '*.example.com', 169.254.169.254]"),
    "ended": "exceptions:\n"
    "- {rule: secrets.github-token, server: docs, until: 2020-01-01, why: old}\n"
    "- {rule: protocol.view-limit, server: docs, why: no pack has it}\n"
    "actions: [{pack: secrets, action: block}, {rule: 'injection.*', action: block}]\n",
    "loose": "mode: observe\negress: {proxy: proxy}\n"
    "actions: [{rule: protocol.duplicate-key, action: allow}, {rule: '*', action: allow}]\n",
    "asked": "actions:\n"
    "- {rule: '*', tool: git_commit, action: ask}\n- {tool: 'git_*', action: ask}\n"
    "- {rule: 'secrets.*', tool: git_push, action: ask}\n- {rule: '*', action: ask}\n",
    "no-exception": "exceptions:\n- {rule: policy.tool, server: docs, why: w}\n"
    "- {rule: secrets.githb-token, server: docs, why: mistyped}\n",
}


def test_errors_have_their_line_and_oddities_are_notes(home: Path, snapshot: Snapshot) -> None:
    (home / "there").mkdir()
    for name, text in (WRONG | NOTED).items():
        (home / f"{name}.yaml").write_text(text)
    check = f"policy check {home}"
    lines = [*(f"{check}/{name}.yaml  # 2" for name in WRONG), f"{check}/draft.yaml --project  # 2"]
    lines.append(f"{check}/draft.yaml --project --json  # 2")
    (home / "draft.yaml").write_text("mode: observe")
    snapshot.commands("policy-wrong", "\n".join(lines))
    snapshot.commands("policy-noted", "\n".join(f"{check}/{name}.yaml" for name in NOTED))


def test_names_that_no_server_and_no_tool_has_are_notes(home: Path, snapshot: Snapshot) -> None:
    with open_store() as store:
        store.remember("files", [seen({"name": "a/b", "description": "A name with a slash."})])
        store.remember("files", [seen({"name": "send_mail", "description": "Sends."})])
    (home / "names.yaml").write_text(
        "tools: {block: [a/b, files/read, sned_*], allow: [files__write, 'send_*']}\n"
        "actions: [{rule: 'secrets.*', server: fils, tool: send_mial, action: redact}]\n"
        "exceptions: [{rule: secrets.jwt, tool: 'sned*', why: w}]\n"
        "isolate: [{server: 'file*', read: [/usr]}]\n"
    )
    snapshot.commands("policy-names", f"policy check {home}/names.yaml")


def test_a_pack_that_keeps_servers_from_starting_fails_with_and_without_a_policy(
    home: Path, snapshot: Snapshot
) -> None:
    folder = home / "config/pipeguard/rules"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "mine.yaml").write_text("pack: mine\nrules:\n- id: x\n")
    (home / "policy.yaml").write_text("mode: enforce\n")
    snapshot.commands("policy-pack", f"policy check  # 2\npolicy check {home}/policy.yaml  # 2")


def test_what_is_wrong_in_both_files_is_said_at_once(home: Path) -> None:
    write_file(Path(usual_policy_path()), "mod: enforce\n")
    (home / "project" / ".pipeguard.yaml").write_text("mode: observe\n")
    told = str(run("check").exception)
    assert ("unknown key" in told, "may only tighten" in told) == (True, True)


def test_user_and_project_are_put_together(home: Path) -> None:
    usual = Path(usual_policy_path())
    write_file(usual, "limits: {frame: 1 MiB, timeout: 2 s}\ntools: {allow: [a, b]}\n")
    (home / "project" / ".pipeguard.yaml").write_text("limits: {frame: 8 MiB}\ntrust: review\n")
    told = json.loads(run("check", "--json").output)
    assert [Path(file["path"]) for file in told["files"]] == [
        usual,
        home.resolve() / "project" / ".pipeguard.yaml",
    ]
    keys = ("frame_limit", "timeout", "trust", "drift_allowed", "tools_allowed")
    assert [told["policy"][key] for key in keys] == [2**20, 2, "review", [], [["a", "b"]]]
    assert "timeout          2 s\n" in run("check").output

"""`pipeguard isolate revoke`: one grant goes, and nothing else. cli/_revoke.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from pipeguard.cli.isolate import command
from pipeguard.config.user_policy import usual_policy_path
from tests.each import each
from tests.isolation.test_wrapped import isolated
from tests.launch.processes import until
from tests.people import be_nobody, give_token, on_terminal
from tests.snapshot import Snapshot
from tests.wrap.deciding import decide

POLICY = """# mine
isolate:
- server: files  # by hand
  read: [~/notes, '~/a b']
  write:
  - ~/work  # all of it
  - ~/notes
  hosts: [api.example.com, "*.example.org:8443"]
  loopback: [5432]
  roots: read
- {server: 'file*', hosts: [wide.example.com]}
- {tag: web, hosts: [tagged.example.com]}
- {server: other, read: [~/notes]}
"""


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    give_token(monkeypatch)
    path = Path(usual_policy_path())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(POLICY)
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(command, ["revoke", *words])


TAKEN = {
    "a folder that is given twice": (
        "~/notes",
        [("~/notes, '~/a b'", "'~/a b'"), ("  - ~/notes\n", "")],
        "next start",
    ),
    "a folder by another spelling": ("HOME/./work/", [("  - ~/work  # all of it\n", "")], "next"),
    "a folder with a blank": ("~/a b", [("~/notes, '~/a b'", "~/notes")], "next start"),
    "a host": ("API.example.com", [('api.example.com, "*', '"*')], "now"),
    "a host with a port": ("*.example.org:8443", [(', "*.example.org:8443"', "")], "now"),
    "a port": ("5432", [("  loopback: [5432]\n", "")], "now"),
    "roots": ("roots", [("  roots: read\n", "")], "next start"),
}


@pytest.mark.needs("bubblewrap")
@each("case", list(TAKEN))
def test_one_grant_is_taken_and_all_else_stays(case: str, policy: Path, tmp_path: Path) -> None:
    what, changes, holds = TAKEN[case]
    what = what.replace("HOME", str(tmp_path))
    policy.write_text(POLICY)
    shown = run("files", what, "--dry-run")
    assert shown.exit_code == 0, shown
    assert "Would be removed from" in shown.output
    assert policy.read_text() == POLICY
    result = run("files", what, "--json")
    assert result.exit_code == 0, result
    expected = POLICY
    for old, new in changes:
        assert old in expected
        expected = expected.replace(old, new)
    assert policy.read_text() == expected
    fields = json.loads(result.stdout)
    assert fields["written"] is True
    assert fields["holds"].startswith(holds)
    assert run("files", what).exit_code == 3


def test_what_cannot_be_taken_is_refused_with_what_to_do(policy: Path, snapshot: Snapshot) -> None:
    snapshot.commands(
        "isolate-revoke-refused",
        """
        isolate revoke files wide.example.com  # 2
        isolate revoke files tagged.example.com  # 2
        isolate revoke files ~/work/sub  # 2
        isolate revoke files ~/nothing  # 3
        isolate revoke nobody ~/x  # 3
        isolate revoke fil 5432  # 3
        """,
    )
    assert policy.read_text() == POLICY
    policy.write_text("isolate:\n- {server: own, hosts: ['*.corp.example']}\n")
    snapshot.commands("isolate-revoke-domain", "isolate revoke own git.corp.example  # 2")
    policy.unlink()
    assert run("files", "~/notes").exit_code == 3


FORMS = {
    "pkg.test": "pkg.test:8443, '*.corp.example'",
    "pkg.test:8443": "pkg.test, pkg.test=private, '*.corp",
    "pkg.test=private": "pkg.test, pkg.test:8443, '*.corp",
    "x.corp.example:22": "pkg.test, pkg.test=private, pkg.test:8443, '*.corp.example']",
}


def test_a_host_goes_in_all_its_forms_or_what_still_reaches_it_is_told(
    policy: Path, snapshot: Snapshot
) -> None:
    hosts = "pkg.test, pkg.test=private, pkg.test:8443, '*.corp.example', x.corp.example:22"
    for what, rest in FORMS.items():
        policy.write_text(f"isolate:\n- server: own\n  hosts: [{hosts}]\n")
        assert run("own", what).exit_code == 0
        assert f"hosts: [{rest}" in policy.read_text()
    policy.write_text(f"isolate:\n- server: own\n  hosts: [{hosts}]\n")
    narrow_first = ("pkg.test=private", "x.corp.example:22", "pkg.test:8443", "pkg.test")
    snapshot.commands("isolate-revoke", "\n".join(f"isolate revoke own {x}" for x in narrow_first))


def test_what_gives_a_host_still_and_how_a_server_is_restarted_is_by_its_kind(
    policy: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    policy.write_text("isolate:\n- {server: own, hosts: [pkg.test], read: [~/notes]}\n")
    (tmp_path / "notes").mkdir(exist_ok=True)
    (policy.parent / "pipeguard.yaml").write_text(
        "servers:\n  own: {command: cat, isolate: {hosts: [pkg.test]}}\n"
    )
    snapshot.commands(
        "isolate-revoke-gateway", "isolate revoke own pkg.test\nisolate revoke own ~/notes"
    )


def test_a_server_from_which_all_was_taken_stays_isolated(policy: Path) -> None:
    policy.write_text("isolate:\n- server: files\n  read: [~/notes]\n")
    assert run("files", "~/notes").exit_code == 0
    assert policy.read_text() == "isolate:\n- server: files\n"


def test_a_person_decides(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_nobody(monkeypatch)
    assert run("files", "~/notes").exit_code != 0
    code, said = on_terminal("isolate", "", "revoke", "files", "5432", number="0000")
    assert (code, policy.read_text()) == (1, POLICY), said
    code, said = on_terminal("isolate", "", "revoke", "files", "5432")
    assert code == 0, said
    assert "5432" not in policy.read_text()


def test_servers_and_what_they_are_given_are_completed() -> None:
    def offered(words: list[str], part: str) -> list[str]:
        complete = ShellComplete(command, {}, "isolate", "_X")
        return [each.value for each in complete.get_completions(words, part)]

    assert offered(["revoke"], "") == ["files", "other"]
    assert offered(["revoke", "files"], "~") == ["~/notes", "~/work"]
    assert "5432" in offered(["revoke", "files"], "")
    assert offered(["revoke", "nobody"], "") == []


@pytest.mark.needs("bubblewrap")
def test_a_running_server_keeps_files_until_its_next_start(tmp_path: Path) -> None:
    notes = tmp_path / "home" / "notes"
    environment = {
        "PIPEGUARD_POLICY": str(tmp_path / "policy.yaml"),
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
    }
    given = "isolate:\n- server: reacher\n  read: [~/notes]\n"
    words = ("isolate", "revoke", "reacher", "~/notes")
    with isolated(tmp_path, policy=given) as server:
        assert server.call("read", notes / "one") == "first note"
        code, shown = decide(tmp_path / "state", *words, environment=environment)
        assert code == 0, shown
        assert "keeps it until the server restarts" in shown
        until(lambda: "not_taken_yet" in server.said(), "the log says so")
        assert server.call("read", notes / "one") == "first note"
    with isolated(tmp_path, policy=(tmp_path / "policy.yaml").read_text()) as server:
        assert server.call("read", notes / "one") == "FileNotFoundError"


def entry(folder: Path, *words: str) -> None:
    """An entry of a client for the server `files`."""
    file = folder / ".cursor" / "mcp.json"
    file.parent.mkdir()
    server = {"command": "pipeguard", "args": ["wrap", "--name", "files", *words]}
    file.write_text(json.dumps({"mcpServers": {"files": server}}))


@pytest.mark.needs("bubblewrap")
def test_what_options_and_arguments_give_is_told_with_where(
    policy: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    for name in ("out", "data"):
        (tmp_path / name).mkdir()
    options = ("--isolate", "bubblewrap", "--write", "~/out", "--loopback", "5432")
    entry(tmp_path, *options, "--", "/bin/cat", str(tmp_path / "data"))
    policy.write_text("isolate:\n- {server: files, loopback: [5432]}\n")
    snapshot.commands(
        "isolate-revoke-options",
        """
        isolate revoke files ~/out/sub  # 3
        isolate revoke files ~/data  # 3
        isolate revoke files 5432
        isolate revoke files ~/elsewhere  # 3
        """,
    )


def test_a_host_that_stays_reachable_elsewhere_is_told_with_the_command(
    policy: Path, snapshot: Snapshot
) -> None:
    policy.write_text(
        "isolate:\n- server: files\n"
        "  hosts: [example.com, 'example.com:8080', '*.com', other.example.com]\n"
    )
    snapshot.commands("isolate-revoke-elsewhere", "isolate revoke files example.com")

"""`pipeguard isolate`: list, show, accept, update and forget. cli/isolate.py."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.isolate import command
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.isolation.learning.observed import READ, WRITTEN, Observed, load, save
from pipeguard.isolation.packages import NPM, Package
from pipeguard.isolation.sandbox import packages_folder
from tests.files import write_file
from tests.people import be_nobody, give_token, on_terminal
from tests.snapshot import Snapshot

POLICY = (
    "# mine\nisolate:\n- server: other  # by hand\n  hosts: [api.example.com, unused.example]\n"
)


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's policy, and the observations about two servers."""
    give_token(monkeypatch)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".netrc").write_text("")
    for name in "abc":
        (tmp_path / "notes" / name).write_text("")
    files = {str(tmp_path / "notes" / name): READ for name in "abc"}
    files |= {str(tmp_path / ".netrc"): READ, str(tmp_path / ".config" / "app" / "x"): WRITTEN}
    save("files", Observed(files=files, hosts=["api.example.com"]))
    save("other", Observed(hosts=["api.example.com"]))
    path = Path(usual_policy_path())
    path.write_text(POLICY)
    return path


def put_servers(home: Path, servers: dict[str, object], name: str = ".cursor/mcp.json") -> Path:
    """Write a client's file."""
    write_file(home / name, json.dumps({"mcpServers": servers}))
    return home / name


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def put_package(name: str = "some-server", version: str = "1.0.0") -> Path:
    package = Package(NPM, (name,), "", ())
    folder = packages_folder() / package.identity
    folder.mkdir(parents=True)
    facts = {"registry": NPM, "specs": [name], "fetched": 1, "version": version}
    (folder / "pipeguard.json").write_text(json.dumps(facts))
    return folder


def test_what_was_learned_is_shown(snapshot: Snapshot) -> None:
    put_package()
    snapshot.commands(
        "isolate",
        """
        isolate list
        isolate list --json
        isolate show files
        isolate show other
        isolate show @modelcontextprotocol/server-github
        isolate show nobody  # 3
        isolate update  # 2
        isolate update some-server --all  # 2
        isolate update another  # 3
        """,
    )


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """Entries of a client that have never run."""
    words = ["--write", str(tmp_path / "notes"), "--connect", "api.example.com"]
    wrap = ["wrap", "--name", "held", "--isolate", "auto", *words, "--", "uvx", "mcp-server-fetch"]
    servers: dict[str, object] = {
        "held": {"command": "pipeguard", "args": wrap},
        "other": {"command": "pipeguard", "args": ["wrap", "--name", "other", "--", "srv"]},
        "bare": {"command": "pipeguard", "args": ["wrap", "--name", "bare", "--", "srv"]},
        "open": {"command": "srv"},
    }
    return put_servers(tmp_path, servers)


@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("entries")
def test_servers_of_clients_are_listed_with_what_they_are_given(snapshot: Snapshot) -> None:
    snapshot.commands(
        "isolate-list",
        """
        isolate list
        isolate list --json
        isolate show bare
        isolate show held
        isolate show mcp-server-fetch
        isolate show held --json
        """,
    )


def test_a_server_that_a_client_starts_bare_is_told_as_not_isolated_first(
    policy: Path, entries: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    """Nor is one isolated that a container's own words confine, or whose entry says `none`."""
    policy.write_text(
        "isolate:\n- {server: open, hosts: [api.example.com]}\n- {server: own, hosts: [a.test]}\n"
    )
    wrap = ["wrap", "--name", "own", "--isolate", "none", "--", "srv"]
    box = ["run", "-i", "-v", "/srv/x:/x", "mcp/time"]
    odd = ["run", "--no-such-option", "mcp/time"]
    servers: dict[str, object] = {
        "open": {"command": "srv"},
        "own": {"command": "pipeguard", "args": wrap},
        "box": {"command": "docker", "args": box},
        "odd": {"command": "docker", "args": odd},
    }
    put_servers(tmp_path, servers)
    snapshot.commands(
        "isolate-not",
        """
        isolate show open
        isolate show open --json
        isolate show srv
        isolate show own
        isolate show own --json
        isolate show box
        isolate show odd
        """,
    )
    entries.unlink()
    snapshot.commands("isolate-no-entry", "isolate show open")


def test_a_file_of_servers_that_cannot_be_read_is_told_and_the_rest_is_listed(
    policy: Path, entries: Path, snapshot: Snapshot
) -> None:
    file = policy.parent / "pipeguard.yaml"
    file.write_text("servers: [")
    snapshot.commands("isolate-broken-servers", "isolate list  # 2\nisolate show nobody  # 3")
    file.write_text("servers:\n  x: {comand: y}\n")
    result = run("list", "--json")
    assert (result.exit_code, "unknown key" in result.stderr) == (2, True)
    assert json.loads(result.stdout)["servers"]
    entries.write_text('{"mcpServers": {')
    file.unlink()
    result = run("list")
    assert (result.exit_code, str(entries) in result.stderr) == (2, True)


@pytest.mark.needs("bubblewrap")
def test_a_program_gets_all_servers_whole_and_in_order(policy: Path, tmp_path: Path) -> None:
    hosts = [f"{'a-long-name.' * 4}{n}.example" for n in "12"]
    wrap = ["wrap", "--isolate", "bubblewrap", *(w for h in hosts for w in ("--connect", h))]
    entry = {"command": "pipeguard", "args": [*wrap, "--", sys.executable, "-c", ""]}
    put_servers(tmp_path, {"zeta": entry, "alpha": entry})
    said = run("list").output
    assert ", ".join(hosts) in said
    assert "…" not in said
    assert said.index("  alpha ") < said.index("  zeta ")
    code, shown = on_terminal("isolate", "", "list")
    assert code == 0
    assert "…" in shown
    assert hosts[1] not in shown


@pytest.mark.needs("bubblewrap")
def test_a_server_is_shown_with_all_that_it_can_touch(tmp_path: Path, snapshot: Snapshot) -> None:
    program = write_file(tmp_path / "weather" / "server.sh", "")
    for name in (".env", "package.json"):
        (program.parent / name).write_text("")
    words = ["--keep-home", "--limit", "memory=1536MiB", "--limit", "cpu=60", "--loopback", "5432"]
    wrap = ["wrap", "--isolate", "bubblewrap", "--roots", "read", *words]
    entry = {"args": [*wrap, "--", "/bin/sh", str(program)], "env": {"TOKEN": "x"}}
    put_servers(tmp_path, {"mine": {"command": "pipeguard", **entry}})
    snapshot.commands(
        "isolate-show",
        """
        isolate show mine
        isolate show mine --json
        isolate list
        isolate show mne  # 3
        """,
    )
    assert not list((tmp_path / "state").glob("isolation/*/home"))  # nothing is made by looking


@pytest.mark.needs("bubblewrap")
def test_a_name_that_not_every_client_isolates_is_no_promise(tmp_path: Path) -> None:
    wrap = ["wrap", "--name", "mine", "--isolate"]
    given = {"cursor": ["auto", "--write", str(tmp_path)], "gemini": ["none"]}
    for folder, file in (("cursor", "mcp.json"), ("gemini", "settings.json")):
        entry = {"command": "pipeguard", "args": [*wrap, *given[folder], "--", "srv"]}
        put_servers(tmp_path, {"mine": entry}, f".{folder}/{file}")
    listed = run("list").output
    assert [name in listed for name in ("mine (cursor) ", "mine (gemini-cli) ")] == [True, True]
    said = " ".join(run("show", "mine").output.split())
    assert "mine: NOT isolated" in said
    assert "does not see ~/.cursor" in said
    assert "only reads ~/.cursor" not in said, "it is not there at all"


@pytest.mark.needs("bubblewrap")
def test_a_server_behind_the_gateway_is_shown_too(policy: Path, snapshot: Snapshot) -> None:
    box = "{command: docker, args: [run, -i, -v, '/srv/x:/x', mcp/time], isolate: {}}"
    held = "{command: sh, isolate: {hosts: [api.test], keep_home: true, limits: {cpu: 5}}}"
    (policy.parent / "pipeguard.yaml").write_text(
        f"servers:\n  box: {box}\n  held: {held}\n  open: {{command: sh}}\n"
    )
    snapshot.commands(
        "isolate-gateway",
        """
        isolate show held
        isolate show open
        isolate show box
        isolate list
        """,
    )
    fields = json.loads(run("show", "held", "--json").output)
    assert fields["isolated"] is True
    assert fields["servers"][0]["extent"]["engine"] in ("bubblewrap", "container")


@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("entries")
def test_what_cannot_be_given_is_told_where_it_is_listed(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    (tmp_path / "notes").rename(tmp_path / "elsewhere")
    snapshot.commands("isolate-gone", "isolate list")
    said = " ".join(run("show", "held").output.split())
    assert "notes: there is no such file or folder to give the server" in said


def test_where_nothing_is_it_says_how_to_begin(policy: Path, snapshot: Snapshot) -> None:
    policy.unlink()
    snapshot.commands(
        "isolate-nothing",
        """
        isolate forget files  # 1
        isolate forget files --yes
        isolate forget files --yes  # 3
        isolate forget other --yes
        isolate list
        """,
    )
    assert load("files") is None


def test_what_is_added_to_a_container_is_shown(snapshot: Snapshot) -> None:
    snapshot.commands(
        "isolate-container",
        """
        isolate show -- docker run -i --network bridge mcp/time
        isolate show --json -- docker run -i mcp/time
        isolate show -- docker run --privileged mcp/time  # 2
        """,
    )


@pytest.mark.needs("bubblewrap")
def test_what_a_server_would_get_is_shown_before_it_first_starts(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    snapshot.commands(
        "isolate-would",
        """
        isolate show -- npx -y @modelcontextprotocol/server-filesystem docs
        isolate show -- npx -y @modelcontextprotocol/server-github
        isolate show --json -- npx -y @modelcontextprotocol/server-github
        isolate show -- bunx some-server  # 2
        """,
    )


def test_what_is_accepted_is_written_and_nothing_else_changes(
    policy: Path, snapshot: Snapshot
) -> None:
    snapshot.commands("isolate-accept", "isolate accept files --dry-run\nisolate accept files")
    accepted = POLICY + (
        "- server: files\n  read: [~/notes]\n  hosts: [api.example.com]\n  keep_home: true\n"
    )
    assert policy.read_text() == accepted
    snapshot.commands("isolate-accepted", "isolate show files\nisolate accept files")
    assert policy.read_text() == accepted


def test_nothing_is_accepted_without_a_person(
    policy: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_nobody(monkeypatch)
    assert run("accept", "files", "--dry-run").exit_code == 0
    snapshot.commands("isolate-accept-agent", "isolate accept files  # 2")
    assert policy.read_text() == POLICY


def test_a_person_types_the_number(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_nobody(monkeypatch)
    code, said = on_terminal("isolate", "", "accept", "files", number="0000")
    assert (code, policy.read_text()) == (1, POLICY), said
    assert "isolate files with what is marked +, type" in said
    notes = Path.home() / "notes"
    save("files", Observed(files={str(notes / "new"): WRITTEN}))
    code, said = on_terminal("isolate", "", "accept", "files")
    assert code == 0, said
    assert "what is marked +, so that it may change everything in ~/notes, type" in said
    assert "server: files" in policy.read_text()


def test_no_later_entry_isolates_what_is_never_isolated(policy: Path, snapshot: Snapshot) -> None:
    policy.write_text("isolate:\n- {server: 'f*', engine: none}\n")
    snapshot.commands("isolate-never", "isolate accept files  # 2\nisolate accept nobody  # 3")
    assert "files" not in policy.read_text()


def test_a_name_is_no_pattern(policy: Path) -> None:
    save("a*[b]", Observed(hosts=["h.example"]))
    assert run("accept", "a*[b]").exit_code == 0
    assert "'a[*][[]b]'" in policy.read_text() or "a[*][[]b]" in policy.read_text()
    assert "a*[b]: isolated" in run("show", "a*[b]").output


def test_a_file_that_is_damaged_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "state" / "learned" / "files.json").write_text("{")
    assert "other" in run("list").output
    assert run("show", "files").exit_code != 0
    assert run("forget", "files", "--yes").exit_code == 0


@pytest.mark.exhaustive
@pytest.mark.needs("bubblewrap")
@pytest.mark.real
def test_a_package_is_fetched_anew() -> None:
    name = "@modelcontextprotocol/server-sequential-thinking"
    folder = put_package(name, "0.0.1")
    result = run("update", name)
    assert result.exit_code == 0, result.output
    assert f"{name}  0.0.1 -> 20" in result.output
    assert not folder.exists()

"""`pipeguard isolate`: list, show, accept, update and forget. cli/isolate.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.isolate import command
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.errors import PolicyError
from pipeguard.isolation.learning.observed import READ, WRITTEN, Observed, load, save_more
from pipeguard.isolation.packages import NPM, Package
from pipeguard.isolation.sandbox import packages_folder
from tests.people import be_nobody, give_token, on_terminal

POLICY = (
    "# mine\nisolate:\n- server: other  # by hand\n  hosts: [api.example.com, unused.example]\n"
)


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's policy, and what was learned of two servers."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    give_token(monkeypatch)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".netrc").write_text("")
    for name in "abc":
        (tmp_path / "notes" / name).write_text("")
    files = {str(tmp_path / "notes" / name): READ for name in "abc"}
    files |= {str(tmp_path / ".netrc"): READ, str(tmp_path / ".config" / "app" / "x"): WRITTEN}
    save_more("files", Observed(1, files=files, hosts={"api.example.com": {443}}))
    save_more("other", Observed(1, hosts={"api.example.com": {443}}))
    path = Path(usual_policy_path())
    path.write_text(POLICY)
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def put_package(version: str = "1.0.0") -> Path:
    package = Package(NPM, ("some-server",), "", ())
    folder = packages_folder() / package.identity
    folder.mkdir(parents=True)
    facts = {
        "registry": NPM,
        "specs": ["some-server"],
        "fetched": 1,
        "versions": {"some-server": version},
    }
    (folder / "pipeguard.json").write_text(json.dumps(facts))
    return folder


def test_all_that_is_known_is_listed() -> None:
    put_package()
    said = run("list").output
    for part in ("other  auto; hosts api.example.com", "files  1 run", "some-server  1.0.0"):
        assert part in said
    fields = json.loads(run("list", "--json").output)
    assert [each["server"] for each in fields["isolated"]] == ["other"]
    assert [each["server"] for each in fields["learned"]] == ["files", "other"]
    assert [each["specs"] for each in fields["packages"]] == [["some-server"]]


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """Entries of a client, of which none has ever run."""
    words = ["--write", str(tmp_path / "notes"), "--connect", "api.example.com"]
    wrap = ["wrap", "--name", "held", "--isolate", "auto", *words, "--", "uvx", "mcp-server-fetch"]
    servers = {
        "held": {"command": "pipeguard", "args": wrap},
        "other": {"command": "pipeguard", "args": ["wrap", "--name", "other", "--", "srv"]},
        "bare": {"command": "pipeguard", "args": ["wrap", "--name", "bare", "--", "srv"]},
        "open": {"command": "srv"},
    }
    file = tmp_path / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


@pytest.mark.needs("bubblewrap")
def test_servers_of_clients_are_listed_with_what_they_are_given(entries: Path) -> None:
    rows = [line.split(maxsplit=3) for line in run("list").output.splitlines()]
    assert ["held", "its", "entry", "changes ~/notes; reaches api.example.com"] in rows
    assert ["bare", "no", "all", "that you may do"] in rows
    given = "reaches api.example.com, unused.example"
    assert ["other", "your", "policy", given] in rows
    assert ["open", "not", "guarded", "all that you may do"] in rows
    listed = json.loads(run("list", "--json").output)["servers"]
    assert [(each["server"], each["isolated"]) for each in listed] == [
        ("held", True),
        ("other", True),
        ("bare", False),
        ("open", False),
    ]
    assert [each["guarded"] for each in listed] == [True, True, True, False]


def test_a_server_that_a_client_starts_bare_is_told_as_not_isolated_first(
    policy: Path, entries: Path
) -> None:
    policy.write_text("isolate:\n- {server: open, hosts: [api.example.com]}\n")
    result = run("show", "open")
    first = result.output.splitlines()[0]
    assert first == "open is NOT isolated: Cursor starts it without PipeGuard:"
    said = " ".join(result.output.split())
    assert "pipeguard setup cursor --server=open --isolate" in said
    for wrong in ("enforced", "open is isolated", "by hand", "To give it more"):
        assert wrong not in said
    assert json.loads(run("show", "open", "--json").output)["isolated"] is False
    assert run("show", "srv").output.startswith("srv is NOT isolated")
    entries.unlink()
    assert "No client's entry starts it." in run("show", "open").output


def test_an_entry_without_isolation_counts_more_than_the_policy(
    policy: Path, tmp_path: Path
) -> None:
    policy.write_text("isolate:\n- {server: own, hosts: [api.example.com]}\n")
    wrap = ["wrap", "--name", "own", "--isolate", "none", "--", "srv"]
    (tmp_path / ".cursor").mkdir()
    servers = {"own": {"command": "pipeguard", "args": wrap}}
    (tmp_path / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert run("show", "own").output.startswith("own is NOT isolated as it is started now")
    assert json.loads(run("show", "own", "--json").output)["isolated"] is False


def test_a_container_that_no_guard_starts_is_shown_by_its_own_words(tmp_path: Path) -> None:
    box = ["run", "-i", "-v", "/srv/x:/x", "mcp/time"]
    odd = ["run", "--no-such-option", "mcp/time"]
    servers = {"box": {"command": "docker", "args": box}, "odd": {"command": "docker", "args": odd}}
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert "Its command mounts /srv/x:/x." in run("show", "box").output
    shown = " ".join(run("show", "odd").output.split())
    assert "PipeGuard cannot tell what it mounts: --no-such-option" in shown
    assert shown.endswith("pipeguard setup cursor --server=odd")


def test_a_file_of_servers_that_cannot_be_read_is_told_and_the_rest_is_listed(
    policy: Path, entries: Path
) -> None:
    file = policy.parent / "pipeguard.yaml"
    for text, why in (("servers: [", "line 1"), ("servers:\n  x: {comand: y}\n", "unknown key")):
        file.write_text(text)
        result = run("list")
        assert result.exit_code == 2
        assert why in result.stderr
        assert str(file) in result.stderr
        assert "held" in result.stdout
        as_json = run("list", "--json")
        assert (as_json.exit_code, why in as_json.stderr) == (2, True)
        assert json.loads(as_json.stdout)["servers"]
        assert why in run("show", "nobody").stderr
    entries.write_text('{"mcpServers": {')
    file.unlink()
    result = run("list")
    assert (result.exit_code, str(entries) in result.stderr) == (2, True)


@pytest.mark.needs("bubblewrap")
def test_nothing_is_cut_off_for_a_program_and_servers_are_in_order(
    policy: Path, tmp_path: Path
) -> None:
    hosts = [f"{'a-long-name.' * 4}{n}.example" for n in "12"]
    wrap = ["wrap", "--isolate", "bubblewrap", *(w for h in hosts for w in ("--connect", h))]
    entry = {"command": "pipeguard", "args": [*wrap, "--", sys.executable, "-c", ""]}
    (tmp_path / ".cursor").mkdir()
    servers = {"zeta": entry, "alpha": entry}
    (tmp_path / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    said = run("list").output
    assert ", ".join(hosts) in said
    assert "…" not in said
    assert said.index("  alpha ") < said.index("  zeta ")
    code, shown = on_terminal("isolate", "", "list")
    assert code == 0
    assert "…" in shown
    assert hosts[1] not in shown


@pytest.mark.needs("bubblewrap")
def test_a_server_that_never_ran_is_shown_by_each_of_its_names(entries: Path) -> None:
    for name in ("held", "mcp-server-fetch"):
        result = run("show", name)
        assert result.exit_code == 0
        assert f"{name} is isolated:" in result.output
        said = [" ".join(line.split()) for line in result.output.splitlines()]
        assert "held in ~/.cursor/mcp.json" in said
        assert "changes ~/notes (its options)" in said
        assert "network api.example.com (its options)" in said
        assert "its own a home, /var/tmp, /tmp, /run: in memory, empty at each start" in said
        assert max(map(len, result.output.splitlines())) <= 80
        assert "not isolated" not in result.output
        assert "Name each host that it may fetch from" in result.output
    assert "isolated neither by your policy nor" in run("show", "bare").output
    assert json.loads(run("show", "held", "--json").output)["servers"][0]["engine"] == "auto"


@pytest.mark.needs("bubblewrap")
def test_a_server_is_shown_with_all_that_it_can_touch(tmp_path: Path) -> None:
    program = tmp_path / "weather" / "server.py"
    program.parent.mkdir()
    program.write_text("")
    for name in (".env", "package.json"):
        (program.parent / name).write_text("")
    words = ["--keep-home", "--limit", "memory=1536MiB", "--limit", "cpu=60", "--loopback", "5432"]
    wrap = ["wrap", "--isolate", "bubblewrap", "--roots", "read", *words]
    entry = {"args": [*wrap, "--", sys.executable, str(program)], "env": {"TOKEN": "x"}}
    (tmp_path / ".cursor").mkdir()
    servers = {"mine": {"command": "pipeguard", **entry}}
    (tmp_path / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    result = run("show", "mine")
    said = " ".join(result.output.split())
    for part in (
        "reads ~/weather (the project that its program is in)",
        "~/weather/.env among it, which may hold keys",
        "the client's roots: the projects open in it",
        "the system: /usr",
        "its own /var/tmp, /tmp, /run: in memory",
        "its home, kept in ~/state/isolation/",
        "network port 5432 (its options) of this machine",
        "1,536 MiB of memory a process, 1,024 processes, 4,096 open files",
        "60 CPU seconds a process",
        "variables TOKEN, of its entry",
    ):
        assert part in said
    (shown,) = json.loads(run("show", "mine", "--json").output)["servers"]
    assert shown["variables"] == ["TOKEN"]
    assert shown["extent"]["limits"]["cpu"] == 60
    assert shown["extent"]["secrets"] == [f"{program.parent}/.env"]
    assert not list((tmp_path / "state").glob("isolation/*/home"))  # nothing is made by looking
    assert (
        "mine    its entry    reaches port 5432 here; reads open projects; reads "
        in run("list").output
    )
    unknown = run("show", "mne")
    assert unknown.exit_code == 3
    assert "Did you mean mine?" in unknown.output


@pytest.mark.needs("bubblewrap")
def test_a_server_behind_the_gateway_is_shown_too(policy: Path, tmp_path: Path) -> None:
    box = "{command: docker, args: [run, -i, -v, '/srv/x:/x', mcp/time], isolate: {}}"
    held = "{command: sh, isolate: {hosts: [api.test], keep_home: true, limits: {cpu: 5}}}"
    (policy.parent / "pipeguard.yaml").write_text(
        f"servers:\n  box: {box}\n  held: {held}\n  open: {{command: sh}}\n"
    )
    said = " ".join(run("show", "held").output.split())
    for part in ("network api.test (its options)", "its home, kept in", "5 CPU seconds a process"):
        assert part in said
    assert "under `isolate` in its entry in pipeguard.yaml" in said
    fields = json.loads(run("show", "held", "--json").output)
    assert fields["isolated"] is True
    assert fields["servers"][0]["extent"]["engine"] in ("bubblewrap", "container")
    assert "`isolate: {}` in its entry in pipeguard.yaml" in run("show", "open").output
    said = " ".join(run("show", "box").output.split())
    assert "it is started with: --network none --cap-drop ALL" in said
    assert "Its command mounts /srv/x:/x." in said
    assert "its own container; no network" in run("list").output


@pytest.mark.needs("bubblewrap")
def test_what_cannot_be_given_is_told_where_it_is_listed(entries: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").rename(tmp_path / "elsewhere")
    assert "held    its entry    does not start:" in run("list").output
    said = " ".join(run("show", "held").output.split())
    assert "notes: there is no such file or folder to give the server" in said
    assert "enforced" not in said


def test_paths_are_shown_in_one_form(policy: Path, tmp_path: Path) -> None:
    policy.write_text(f"isolate:\n- server: files\n  read: [{tmp_path}/notes, ~/notes/a]\n")
    said = run("show", "files").output
    assert "read ~/notes, ~/notes/a" in said
    assert str(tmp_path) not in said


def test_where_nothing_is_it_says_how_to_begin(policy: Path) -> None:
    policy.unlink()
    for name in ("files", "other"):
        assert run("forget", name, "--yes").exit_code == 0
    assert "wrap --isolate auto" in run("list").output


def test_what_was_learned_is_shown_as_a_difference() -> None:
    said = run("show", "files").output
    assert "+ read      ~/notes  (3 paths read)" in said
    assert "+ keep_home true" in said
    assert "reads ~/.netrc: not given unless you name it" in said
    assert "isolate accept files" in said
    other = run("show", "other").output
    assert "      hosts     api.example.com" in other
    assert "- hosts     unused.example" in other
    assert "accept" not in other


def test_a_package_that_is_known_is_told() -> None:
    said = run("show", "@modelcontextprotocol/server-github")
    assert said.exit_code == 0
    assert "is a package that PipeGuard knows.\n  --isolate auto gives it hosts" in said.output
    assert run("show", "nobody").exit_code == 3


def test_what_is_added_to_a_container_is_shown() -> None:
    shown = run("show", "--", "docker", "run", "-i", "--network", "bridge", "mcp/time")
    assert shown.exit_code == 0
    assert "is started with: --cap-drop ALL" in shown.output
    assert "does not judge its connections" in shown.output
    fields = json.loads(run("show", "--json", "--", "docker", "run", "-i", "mcp/time").output)
    assert "--network" in fields["added"]
    for words in (("docker", "run", "--privileged", "mcp/time"), ("npx", "-y", "some-server")):
        with pytest.raises(PolicyError, match=r"privileged|starts no container"):
            CliRunner().invoke(command, ["show", "--", *words], catch_exceptions=False)


def test_what_is_accepted_is_written_and_nothing_else_changes(policy: Path) -> None:
    assert run("accept", "files").exit_code == 0
    assert policy.read_text() == POLICY + (
        "- server: files\n  read: [~/notes]\n  hosts: [api.example.com]\n  keep_home: true\n"
    )
    shown = run("show", "files").output
    assert "isolated by your policy:" in shown
    assert "To isolate it" not in shown
    again = run("accept", "files")
    assert "already grants files all of this" in again.output
    assert policy.read_text().count("server: files") == 1


def test_trying_writes_nothing(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_nobody(monkeypatch)
    assert "Would be written" in run("accept", "files", "--dry-run").output
    assert policy.read_text() == POLICY


def test_nothing_is_accepted_without_a_person(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_nobody(monkeypatch)
    result = run("accept", "files")
    assert result.exit_code != 0
    assert "no terminal to ask on" in str(result.exception)
    assert policy.read_text() == POLICY


def test_a_person_types_the_number(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_nobody(monkeypatch)
    code, said = on_terminal("isolate", "", "accept", "files", number="0000")
    assert (code, policy.read_text()) == (1, POLICY), said
    code, said = on_terminal("isolate", "", "accept", "files")
    assert code == 0, said
    assert "server: files" in policy.read_text()


def test_another_file_is_written_where_it_is_named(tmp_path: Path, policy: Path) -> None:
    other = tmp_path / "mine.yaml"
    assert run("accept", "other", "--policy", str(other)).exit_code == 0
    assert other.read_text() == "isolate:\n- server: other\n  hosts: [api.example.com]\n"
    assert policy.read_text() == POLICY


def test_who_is_never_isolated_is_not_isolated_by_an_entry_behind_that(policy: Path) -> None:
    policy.write_text("isolate:\n- {server: 'f*', engine: none}\n")
    result = run("accept", "files")
    assert isinstance(result.exception, PolicyError)
    assert "engine: none" in str(result.exception)
    assert "files" not in policy.read_text()


def test_of_what_nothing_was_learned_it_says_how() -> None:
    result = run("accept", "nobody")
    assert result.exit_code == 3
    assert "--isolate learn --name nobody" in result.output


def test_a_name_is_no_pattern(policy: Path) -> None:
    save_more("a*[b]", Observed(1, hosts={"h.example": {443}}))
    assert run("accept", "a*[b]").exit_code == 0
    assert "'a[*][[]b]'" in policy.read_text() or "a[*][[]b]" in policy.read_text()
    assert "isolated by your policy:" in run("show", "a*[b]").output


def test_a_file_that_is_damaged_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "state" / "learned" / "files.json").write_text("{")
    assert "other" in run("list").output
    assert run("show", "files").exit_code != 0
    assert run("forget", "files", "--yes").exit_code == 0


def test_what_is_forgotten_is_gone() -> None:
    refused = run("forget", "files")
    assert (refused.exit_code, "--yes" in refused.stderr) == (1, True)
    assert load("files") is not None
    assert run("forget", "files", "--yes").exit_code == 0
    assert load("files") is None
    assert run("forget", "files", "--yes").exit_code == 3
    folder = put_package()
    assert run("forget", "some-server", "--yes").exit_code == 0
    assert not folder.exists()


@pytest.mark.parametrize("words", [(), ("some-server", "--all")])
def test_an_update_is_of_one_or_all(words: tuple[str, ...]) -> None:
    assert run("update", *words).exit_code == 2


def test_a_package_that_is_not_there_is_not_updated() -> None:
    put_package()
    result = run("update", "another")
    assert result.exit_code == 3
    assert "Fetched: some-server" in result.output


@pytest.mark.needs("bubblewrap")
@pytest.mark.real
def test_a_package_is_fetched_anew() -> None:
    name = "@modelcontextprotocol/server-sequential-thinking"
    package = Package(NPM, (name,), "", ())
    folder = packages_folder() / package.identity
    folder.mkdir(parents=True)
    facts = {"registry": NPM, "specs": [name], "fetched": 1, "versions": {name: "0.0.1"}}
    (folder / "pipeguard.json").write_text(json.dumps(facts))
    result = run("update", name)
    assert result.exit_code == 0, result.output
    assert f"{name}  0.0.1 -> 20" in result.output
    assert not folder.exists()

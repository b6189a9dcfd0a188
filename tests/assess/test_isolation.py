"""Isolation of servers, by entry and policy, and findings about the others."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeguard.assess.assessing import assess, report
from pipeguard.assess.cures import shared_cure
from pipeguard.assess.isolation import EntryIsolation
from pipeguard.assess.reports.html import draw
from pipeguard.assess.target import AssessmentTarget
from pipeguard.firewall.finding import Severity
from tests.assess.places import Entry, machine, of, repository
from tests.files import write_file, write_program

GIVEN = "machine-given"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed engine, on any test machine; and only the tests' own policy."""
    program = write_program(tmp_path / "programs" / "bwrap")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("pipeguard.isolation.bubblewrap.FOLDERS", (str(program.parent),))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PIPEGUARD_POLICY", str(tmp_path / "policy.yaml"))
    (tmp_path / "policy.yaml").write_text("{}\n")
    return program


def wrapped(*options: str, command: Sequence[str] = ("srv",)) -> dict[str, Entry]:
    words = ["wrap", *options, "--", *command]
    return {"one": {"command": "pipeguard", "args": words}}


def held(target: AssessmentTarget) -> EntryIsolation:
    (server,) = target.servers
    found = target.isolation(server)
    assert found is not None
    return found


def policy(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(f"isolate:\n{text}")


def test_a_guarded_and_an_open_server_are_found_with_one_cure(tmp_path: Path) -> None:
    target = machine(tmp_path, {**wrapped(), "two": {"command": "npx", "args": ["-y", "srv"]}})
    found = of(target, "server-not-isolated")
    assert [one.severity for one in found] == [Severity.LOW] * 2
    assert found[0].fix == ("pipeguard", "setup", "cursor", "--server=one", "--isolate")
    assert set(shared_cure(found)) == {*found[0].fix, "--server=two"}


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("docker", "run", "-i", "--privileged", "--pid=host", "-v", "/:/host", "srv"), 3),
        (("docker", "run", "--mount", "type=bind,src=/var/run/docker.sock,dst=/s", "srv"), 1),
        (("npx", "-y", "@modelcontextprotocol/server-filesystem", "/"), 1),
        (("docker", "run", "-i", "--rm", "-v", "./docs:/docs", "--pid=container:x", "srv"), 0),
        (("srv", "--prefix", "/", "/srv/docs"), 0),
    ],
)
def test_a_server_that_is_given_the_machine(
    tmp_path: Path, words: tuple[str, ...], count: int
) -> None:
    found = of(machine(tmp_path, {"one": {"command": words[0], "args": [*words[1:]]}}), GIVEN)
    assert [one.severity for one in found] == [Severity.HIGH] * count
    assert len(of(machine(tmp_path, wrapped(command=words)), GIVEN)) == count


def test_a_package_that_is_fetched_once_needs_no_version(tmp_path: Path) -> None:
    command = ("npx", "-y", "srv")
    for options, count in ((("--isolate", "auto"), 0), (("--isolate", "none"), 1), ((), 1)):
        target = machine(tmp_path, wrapped(*options, command=command))
        assert len(of(target, "package-not-pinned")) == count, options
    image = ("docker", "run", "srv")
    target = machine(tmp_path, wrapped("--isolate", "auto", command=image))
    assert len(of(target, "package-not-pinned")) == 1


def test_nothing_is_found_without_an_engine(tmp_path: Path, engine: Path) -> None:
    engine.unlink()
    assert of(machine(tmp_path, wrapped()), "server-not-isolated") == []
    root = tmp_path / "repository"
    assert of(repository(root, {"one": {"command": "srv"}}), "server-not-isolated") == []


def test_what_is_isolated_or_not_here_is_left_alone(tmp_path: Path) -> None:
    servers = {
        "remote": {"url": "https://x.test/mcp"},
        "isolated": wrapped("--isolate", "auto")["one"],
        "contained": wrapped("--isolate=container")["one"],
        "off": {"command": "srv", "disabled": True},
    }
    assert of(machine(tmp_path, servers), "server-not-isolated") == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("- {server: one}", False),
        ("- {server: 'o*', engine: bubblewrap}", False),
        ("- {server: two}", True),
        ("- {server: one, engine: none}", True),
    ],
)
def test_the_policy_isolates_by_the_name_of_the_server(
    tmp_path: Path, text: str, *, is_found: bool
) -> None:
    policy(tmp_path, text)
    found = of(machine(tmp_path, wrapped("--name", "one")), "server-not-isolated")
    assert [("engine: none" in one.message) for one in found] == ["none" in text] * is_found


def test_the_policy_does_not_isolate_what_no_guard_starts(tmp_path: Path) -> None:
    policy(tmp_path, "- {server: '*'}")
    assert of(machine(tmp_path, {"one": {"command": "srv"}}), "server-not-isolated") != []


def test_a_server_that_is_learned_from_is_not_isolated(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path, wrapped("--isolate", "learn")), "server-not-isolated")
    assert "learn" in found.message


def test_a_container_without_isolation_is_told_as_isolate_list_does(tmp_path: Path) -> None:
    docker = ("docker", "run", "-i", "-v", "/srv:/srv", "image")
    (found,) = of(machine(tmp_path, wrapped(command=docker)), "server-not-isolated")
    assert found.message.startswith("The command and defaults of its container")
    assert found.fix[-1] == "--isolate"
    isolated = wrapped("--isolate", "auto", command=docker)
    assert of(machine(tmp_path, isolated), "server-not-isolated") == []


def test_a_server_that_cannot_be_isolated_has_no_command_for_it(tmp_path: Path) -> None:
    commands = {
        "bunx srv": Severity.LOW,
        "/usr/bin/sudo srv": Severity.LOW,
        "docker run -i --privileged image": Severity.LOW,
        "docker run -i -v /:/host image": Severity.MEDIUM,
        "docker run -i --network host image": Severity.MEDIUM,
    }
    servers = {line: wrapped(command=line.split())["one"] for line in commands}
    found = of(machine(tmp_path, servers), "server-not-isolated")
    assert {one.server: one.severity for one in found} == commands
    assert {(one.fix, "cannot be isolated" in one.message) for one in found} == {((), True)}


def test_isolation_that_is_given_away_is_a_weakened_guard(tmp_path: Path) -> None:
    weak = {
        "--isolate none": "--isolate none",
        "--isolate auto --write ~": "--write ~",
        f"--isolate auto --read={tmp_path}/": f"--read {tmp_path}/",
        "--isolate auto --write ${HOME}": "--write ${HOME}",
        "--isolate auto --connect *.com:443": "--connect *.com:443",
        "--isolate auto --connect 169.254.169.254": "--connect 169.254.169.254",
    }
    others = (
        *("--isolate auto --connect *.example.com", "--isolate auto --name --write --read /srv"),
        "--isolate auto --connect api.test --read ~/notes",
    )
    servers = {line: wrapped(*line.split())["one"] for line in (*weak, *others)}
    target = machine(tmp_path, servers)
    assert {one.server: one.key for one in of(target, "guard-weakened")} == weak
    assert of(target, "server-not-isolated") == []


def test_an_entry_that_overrides_the_policy_is_worse(tmp_path: Path) -> None:
    servers = wrapped("--isolate", "none", "--name", "one")
    assert [one.severity for one in of(machine(tmp_path, servers), "guard-weakened")] == [
        Severity.LOW
    ]
    policy(tmp_path, "- {server: one}")
    assert [one.severity for one in of(machine(tmp_path, servers), "guard-weakened")] == [
        Severity.MEDIUM
    ]


def test_what_is_given_comes_from_arguments_options_and_policy(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    policy(tmp_path, "- {server: one, hosts: [api.test], read: [~/data]}")
    options = ("--name", "one", "--write", f"{tmp_path}/out", "--loopback", "5432")
    found = held(machine(tmp_path, wrapped(*options, command=("srv", f"{tmp_path}/notes"))))
    assert found.is_held
    assert found.given == ("~/notes", "~/out", "~/data, to read", "api.test", "port 5432 here")


def test_a_known_server_has_its_own_hosts_and_a_container_itself(tmp_path: Path) -> None:
    github = ("npx", "-y", "@modelcontextprotocol/server-github")
    for engine in ("auto", "bubblewrap", "container"):
        target = machine(tmp_path, wrapped("--isolate", engine, command=github))
        assert held(target).given == ("api.github.com",)
    docker = ("docker", "run", "-i", "image")
    assert held(machine(tmp_path, wrapped("--isolate", "auto", command=docker))).given == (
        "its own container",
    )


def test_servers_of_the_gateway_are_found_unless_pipeguard_yaml_isolates_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config/pipeguard/pipeguard.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "servers:\n  a: {command: srv}\n  b: {command: srv, isolate: {hosts: [api.test]}}\n"
        "  c: {command: srv, isolate: {engine: none}}\n  d: {command: srv}\n"
    )
    policy(tmp_path, "- {server: d}")
    found = of(machine(tmp_path, {}), "server-not-isolated")
    assert [(one.server, one.fix) for one in found] == [("a", ()), ("c", ())]


def test_a_policy_that_is_wrong_is_told_and_isolates_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("isolate: [")
    checks = {one.check for one in assess(machine(tmp_path, wrapped())).findings}
    assert {"policy-wrong", "server-not-isolated"} <= checks


@pytest.mark.needs("bubblewrap")
def test_reports_tell_what_is_enforced_from_what_is_only_said(tmp_path: Path) -> None:
    servers = {
        "held": wrapped("--isolate", "auto", "--write", "/srv/x", "--connect", "api.test")["one"],
        "none": wrapped("--isolate", "auto")["one"],
        "files": wrapped()["one"],
    }
    found = assess(machine(tmp_path, servers))
    rows = {row["name"]: row for row in json.loads(report("json", found))["servers"]}
    assert [rows[name]["isolated"] for name in servers] == [True, True, False]
    assert [rows[name]["given"] for name in servers] == [["/srv/x", "api.test"], [], []]
    page = report("html", found)
    assert "only /srv/x, api.test (enforced)" in page
    assert "by enforcement" in page
    assert "by enforcement" not in report("html", assess(machine(tmp_path, wrapped())))


@pytest.mark.needs("bubblewrap")
def test_the_drawing_has_other_lines_to_what_is_enforced(tmp_path: Path) -> None:
    hosts = [word for number in range(7) for word in ("--connect", f"h{number}.test")]
    servers = {"held": wrapped("--isolate", "auto", *hosts)["one"], "files": wrapped()["one"]}
    drawing = draw(assess(machine(tmp_path, servers)).reached, {})
    kinds = [kind.split()[1:] for kind, _ in drawing["lines"]]
    assert (kinds.count(["held"]), kinds.count(["word"])) == (5, 2)
    texts = [box.text for box in drawing["boxes"] if box.kind == "held"]
    assert texts == ["h0.test", "h1.test", "h2.test", "h3.test", "3 more of held"]


def test_what_a_repository_names_is_not_looked_for_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("isolate: [{server: one, hosts: [mine.test]}]")
    options = ("--isolate", "auto", "--policy", str(tmp_path / "policy.yaml"), "--name", "one")
    folders = ("srv", "/nowhere/at/all", "//other/share", "~nobody/x", "a\0/b", "word")
    root = tmp_path / "repository"
    found = held(repository(root, wrapped(*options, command=folders)))
    assert found.given == ("/nowhere/at/all",)
    entry = {**wrapped(*options[:2], command=folders)["one"], "cwd": "~nobody/x"}
    assert held(machine(tmp_path, {"one": entry})).given == ()


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the home of this process, too, like that of a real machine; programs exist and work."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return home


def together(home: Path, files: Sequence[str], fetch: Sequence[str]) -> AssessmentTarget:
    """Make a client with a server that reads files and one that fetches pages."""
    servers = {
        "filesystem": wrapped(*files, command=("sh",))["one"],
        "fetch": wrapped(*fetch, command=("sh",))["one"],
    }
    return machine(home, servers)


AUTO = ("--isolate", "auto")


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(
    ("files", "fetch", "told"),
    [
        ((), AUTO, "fetch has no network and no file of yours"),
        (AUTO, (), "filesystem has no network and no file of yours"),
        ((), (*AUTO, "--read", "/srv"), "fetch has no network"),
        ((), (*AUTO, "--connect", "example.com"), ""),
        ((), ("--isolate", "learn"), ""),
    ],
)
def test_what_isolation_keeps_from_a_server_is_no_part_of_a_combination(
    own_home: Path, files: Sequence[str], fetch: Sequence[str], told: str
) -> None:
    (found,) = of(together(own_home, files, fetch), "toxic-flow")
    assert found.severity is (Severity.INFO if told else Severity.LOW)
    assert ("enforced: " + told + "." in found.message) is bool(told)


@pytest.mark.needs("bubblewrap")
def test_a_combination_is_lowered_only_where_the_engine_works(own_home: Path, engine: Path) -> None:
    target = together(own_home, (), AUTO)
    assert of(target, "toxic-flow")[0].severity is Severity.INFO
    engine.write_text("#!/bin/sh\necho no namespaces >&2; exit 1\n")
    target = together(own_home, (), AUTO)
    assert of(target, "toxic-flow")[0].severity is Severity.LOW
    assert not any(row.isolated for row in assess(target).reached)


def test_another_machines_isolation_lowers_nothing(tmp_path: Path, own_home: Path) -> None:
    assert of(together(tmp_path, (), AUTO), "toxic-flow")[0].severity is Severity.LOW
    servers = {"filesystem": wrapped()["one"], "fetch": wrapped(*AUTO)["one"]}
    (found,) = of(repository(tmp_path / "repository", servers), "toxic-flow")
    assert found.severity is Severity.LOW


@pytest.mark.needs("bubblewrap")
def test_commands_in_a_sandbox_without_anything_are_none_of_this_machine(own_home: Path) -> None:
    servers = {"fetch": wrapped(command=("sh",))["one"]}
    for options, severity in (((), Severity.LOW), (AUTO, Severity.INFO)):
        shell = {"shell": wrapped(*options, command=("sh",))["one"]}
        (found,) = of(machine(own_home, servers | shell), "toxic-command")
        assert found.severity is severity


@pytest.mark.needs("bubblewrap")
def test_the_project_of_a_server_is_among_what_it_can_touch(own_home: Path) -> None:
    program = write_file(own_home / "weather" / "server.py", "")
    servers = wrapped(*AUTO, "--connect", "api.test", command=("python3", str(program)))
    (row,) = assess(machine(own_home, servers)).reached
    assert row.given == ("~/weather, to read", "api.test")

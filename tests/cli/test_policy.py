"""`pipeguard policy`: the file checked, found, begun."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.policy import EXAMPLE, command
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.errors import InputError, PolicyError
from tests.each import each


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_the_example_is_right_and_goes_where_path_says(home: Path) -> None:
    path = Path(run("path").output.strip())
    assert path.is_relative_to(home)
    path.parent.mkdir(parents=True)
    path.write_text(run("example").output)
    assert path.read_text() == EXAMPLE
    result = run("check")
    assert result.exit_code == 0
    assert result.output.startswith(f"{path}: valid\n  mode             enforce\n")


def test_on_a_new_machine_a_policy_is_started(home: Path) -> None:
    """Where not even the folder exists; what was edited since then stays."""
    started = run("init")
    path = Path(usual_policy_path())
    assert (started.exit_code, str(path) in started.output) == (0, True)
    assert path.read_text() == EXAMPLE
    assert run("check").output.startswith(f"{path}: valid\n")
    path.write_text("mode: observe\n")
    again = run("init")
    assert isinstance(again.exception, InputError)
    assert path.read_text() == "mode: observe\n"


def test_without_a_file_the_defaults_are_told() -> None:
    result = run("check")
    assert result.exit_code == 0
    assert usual_policy_path() in result.output
    assert "mode             enforce" in result.output


def test_a_wrong_file_is_told_with_its_exit_code(home: Path) -> None:
    (home / "p.yaml").write_text("mod: enforce")
    result = run("check", str(home / "p.yaml"))
    assert isinstance(result.exception, PolicyError)
    assert result.exception.exit_code == 2
    assert "line 1, column 1: mod: unknown key" in str(result.exception)


WRONG = {
    "an address for a host": ("hosts: ['http://a.com']", "isolate[0].hosts[0]: 'http://a.com'"),
    "this machine by name": ("hosts: [a.com, localhost]", "isolate[0].hosts[1]: 'localhost'"),
    "no port": ("loopback: [0]", "isolate[0].loopback[0]: '0' is not a TCP port"),
    "no size": ("limits: {memory: much}", "isolate[0].limits.memory: 'much' is not a size"),
    "too many ports": (
        f"hosts: [{', '.join(f'a:{n}' for n in range(1, 300))}]",
        "hosts: more than",
    ),
    "roots in a container": ("engine: container, roots: read", "isolate[0].roots: nothing can be"),
}


@each("case", list(WRONG))
def test_what_no_isolated_server_can_be_given_is_an_error_with_its_line(
    case: str, home: Path
) -> None:
    keys, why = WRONG[case]
    (home / "p.yaml").write_text(f"mode: enforce\nisolate:\n- {{server: x, {keys}}}\n")
    result = run("check", str(home / "p.yaml"))
    assert isinstance(result.exception, PolicyError)
    assert "line 3, column" in str(result.exception)
    assert why in str(result.exception)


def test_a_folder_that_is_not_there_is_noted(home: Path) -> None:
    (home / "there").mkdir()
    text = "isolate:\n- {server: x, read: [~/there, ~/gone], hosts: [a.com, b.com=private]}\n"
    (home / "p.yaml").write_text(text)
    result = run("check", str(home / "p.yaml"))
    assert result.exit_code == 0
    assert "note: isolate, read: ~/gone: there is no such file or folder" in result.output
    assert result.output.count("note:") == 1


def test_hosts_that_give_more_than_a_service_are_noted(home: Path) -> None:
    hosts = "['*.com', '*.example.com', 169.254.169.254]"
    (home / "p.yaml").write_text(f"isolate:\n- {{server: x, hosts: {hosts}}}\n")
    result = run("check", str(home / "p.yaml"))
    assert result.exit_code == 0
    assert "note: isolate, hosts: *.com gives hosts that anybody can have" in result.output
    assert "note: isolate, hosts: 169.254.169.254 gives the service" in result.output
    assert result.output.count("note:") == 2


def test_what_has_ended_and_what_fits_no_rule_is_noted(home: Path) -> None:
    (home / "p.yaml").write_text(
        "exceptions:\n"
        "- {rule: secrets.github-token, server: docs, until: 2020-01-01, why: old}\n"
        "- {rule: secrets.githb-token, server: docs, why: mistyped}\n"
        "- {rule: protocol.view-limit, server: docs, why: no pack has it}\n"
        "actions: [{pack: secret, action: block}, {rule: 'injection.*', action: block}]\n"
    )
    result = run("check", str(home / "p.yaml"))
    notes = [line for line in result.output.splitlines() if "note:" in line]
    assert len(notes) == 3
    assert "line 2: the exception for secrets.github-token ended on 2020-01-01" in notes[0]
    assert "no rule matches `secret.*`." in notes[1]
    assert "Did you mean `secrets.github-token`?" in notes[2]


def test_a_projects_file_is_known_by_its_name_or_by_a_flag(home: Path) -> None:
    for name, more in ((".pipeguard.yaml", ()), ("draft.yaml", ("--project",))):
        (home / name).write_text("mode: observe")
        result = run("check", str(home / name), *more)
        assert "may only tighten" in str(result.exception)


def test_user_and_project_are_put_together(home: Path) -> None:
    usual = Path(usual_policy_path())
    usual.parent.mkdir(parents=True)
    usual.write_text("limits: {frame: 1 MiB}")
    (home / "project" / ".pipeguard.yaml").write_text("limits: {frame: 8 MiB}\ntrust: review\n")
    told = json.loads(run("check", "--json").output)
    assert [Path(file["path"]) for file in told["files"]] == [
        usual,
        home.resolve() / "project" / ".pipeguard.yaml",
    ]
    assert told["files"][1]["notes"] == [
        "limits.frame has no effect, or only part of one: your own policy is stricter"
    ]
    assert told["policy"]["frame limit"] == "1048576 bytes"
    assert told["policy"]["trust"] == "review"


@pytest.mark.parametrize("verb", ["check", "path", "example"])
def test_each_verb_has_an_example(verb: str) -> None:
    assert f"pipeguard policy {verb}" in run(verb, "--help").output

"""`assess` checks pipeguard.yaml like a client's file, and its gateway settings."""

import os
from pathlib import Path

import pytest

from pipeguard.assess import gateway_file
from pipeguard.assess.checks.gateway import in_clear
from pipeguard.assess.target import AssessmentTarget, of_repository, read_configs
from pipeguard.runtime.start import RunningGuard
from tests.assess.places import SECRET, machine, of
from tests.files import write_file

PIPEGUARD_SERVE = {"command": "pipeguard", "args": ["serve"]}
FILE = f"""\
management:
  add: true
servers:
  notes:
    command: npx
    args: [-y, notes-server]
    env: {{API_TOKEN: {SECRET}}}
    trust: first-use
  remote: {{url: "http://mcp.example.com/mcp"}}
  off: {{command: npx, args: [-y, other], enabled: false, trust: first-use}}
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssessmentTarget:
    """A machine with the gateway's file, and one client without servers."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = write_file(tmp_path / "config" / "pipeguard" / "pipeguard.yaml", FILE)
    file.chmod(0o666)
    return machine(tmp_path, {})


def test_all_checks_of_clients_files_look_at_it(target: AssessmentTarget) -> None:
    (secret,) = of(target, "secret-in-config")
    assert (secret.line, secret.server, secret.client) == (7, "notes", "pipeguard-serve")
    (clear,) = of(target, "remote-in-clear")
    assert (clear.line, clear.server) == (9, "remote")
    assert [each.server for each in of(target, "package-not-pinned")] == ["notes"]
    assert [each.file for each in of(target, "config-writable")] == [clear.file]
    for check in ("server-not-guarded", "server-cannot-be-guarded"):
        assert of(target, check) == [], "the gateway guards them"


def test_the_gateway_is_no_server_to_isolate(
    target: AssessmentTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeguard.assess.checks.isolation._has_engine", lambda: True)
    (found,) = of(machine(tmp_path, {"all": PIPEGUARD_SERVE}), "server-not-isolated")
    assert (found.server, found.fix) == ("notes", ())
    assert "`isolate: {}` in its entry of pipeguard.yaml" in found.message


def test_trust_and_proposals_are_told_with_their_lines(target: AssessmentTarget) -> None:
    (trusting,) = of(target, "gateway-trusts-first-use")
    assert (trusting.server, trusting.line) == ("notes", 5)
    (proposing,) = of(target, "agents-may-propose")
    assert proposing.line == 1
    assert proposing.message == "They may ask you to add servers."


def test_a_file_that_is_no_yaml_is_told(target: AssessmentTarget, tmp_path: Path) -> None:
    (tmp_path / "config" / "pipeguard" / "pipeguard.yaml").write_text("servers: [")
    assert len(of(machine(tmp_path, {}), "config-unreadable")) == 1


def test_that_of_a_repository_is_looked_at(target: AssessmentTarget, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "pipeguard.yaml").write_text(FILE)
    found = of_repository(root, target.machine, target.engines)
    assert [each.server for each in of(found, "secret-in-config")] == ["notes"]


def test_those_of_this_folder_and_of_a_gateway_that_runs_are_looked_at(
    target: AssessmentTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "pipeguard.yaml").write_text(FILE)
    words = ("pipeguard", "serve", "--config", str(there / "pipeguard.yaml"))
    guard = RunningGuard(str(os.getpid()), "serve", "", words)
    monkeypatch.setattr(gateway_file, "running_guards", lambda: iter([guard]))
    user = target.configs[0].path
    found = [each.path for each in read_configs(target.machine._replace(project=here))]
    assert found == [user, here / "pipeguard.yaml", there / "pipeguard.yaml"]
    assert len(gateway_file.gateway_config(here)) == 1, "of a repository, nothing else"


@pytest.mark.parametrize(
    ("command", "is_told"),
    [
        ("pipeguard serve --listen 0.0.0.0:8080", True),
        ("python -m pipeguard serve --listen=[::]:8080 --token-env X", True),
        ("pipeguard serve --listen 0.0.0.0:8443 --tls-cert c.pem", False),
        ("pipeguard serve --listen 127.0.0.1:8080", False),
        ("other serve --listen 0.0.0.0:80", False),
    ],
)
def test_a_gateway_that_others_reach_in_clear_is_told(command: str, *, is_told: bool) -> None:
    assert (in_clear(command.split()) is not None) is is_told

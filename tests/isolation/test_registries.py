"""Installers in a sandbox without their registry: they ask once. isolation/sandbox.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.packages import NPM_HOSTS, PYPI_HOSTS
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import Sandbox, without_retries
from pipeguard.launch.child import Command
from tests.isolation.test_escapes import Records
from tests.launch.processes import read_all
from tests.tools import node, path_with_node

RETRIES = {"npm_config_fetch_retries", "UV_HTTP_RETRIES", "PIP_RETRIES"}


@pytest.mark.needs("bubblewrap")
def test_npm_asks_once_for_what_it_was_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    project = tmp_path.resolve() / "project"
    project.mkdir()
    (project / "package.json").write_text(json.dumps({"dependencies": {"left-pad": "1"}}))
    quick = {"PATH": path_with_node(), "npm_config_fetch_retry_mintimeout": "10"}
    once = times_asked(project, quick)
    assert once > 0
    assert times_asked(project, quick | {"npm_config_fetch_retries": "3"}) > once


def times_asked(project: Path, variables: dict[str, str]) -> int:
    """How often npm in a sandbox asks for the name of its registry, to install a project."""
    records = Records()
    wheel = node().parents[1]
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = Command([str(node()), str(npm), "install"], variables, str(project))
    child = Sandbox(
        "npm", command, Profile((str(wheel),), (str(project),)), report=records.add
    ).start()
    try:
        child.wait_started()
        assert b"ENOTFOUND" in read_all(child.stderr_fd)
    finally:
        child.close()
    return sum(record.host == NPM_HOSTS[0] for record in records.all)


def test_who_was_given_a_registry_or_says_it_is_left_alone() -> None:
    nothing = HostRules.parse([])
    assert without_retries({"A": "b"}, nothing) == {"A": "b"} | dict.fromkeys(RETRIES, "0")
    assert without_retries({"PIP_RETRIES": "9"}, nothing)["PIP_RETRIES"] == "9"
    assert without_retries({}, HostRules.parse(NPM_HOSTS)).keys() == RETRIES - {
        "npm_config_fetch_retries"
    }
    assert without_retries({}, HostRules.parse(PYPI_HOSTS)).keys() == {"npm_config_fetch_retries"}

"""Installers in a sandbox without their registry: they ask once. isolation/registries.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from shutil import which

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.packages import NPM_HOSTS, PYPI_HOSTS
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.registries import without_retries
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Command
from tests.isolation.test_escapes import Records
from tests.launch.processes import read_all

RETRIES = {"npm_config_fetch_retries", "UV_HTTP_RETRIES", "PIP_RETRIES"}


@pytest.mark.skipif(which("npm") is None, reason="npm is not here")
def test_npm_asks_once_for_what_it_was_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    project = tmp_path.resolve() / "project"
    project.mkdir()
    (project / "package.json").write_text(json.dumps({"dependencies": {"left-pad": "1"}}))
    records = Records()
    command = Command(["npm", "install"], {"PATH": os.environ["PATH"]}, str(project))
    child = Sandbox("npm", command, Profile(write=(str(project),)), records.add).start()
    try:
        child.wait_started()
        said = read_all(child.stderr_fd)
        assert b"ENOTFOUND" in said
    finally:
        child.close()
    asked = [record for record in records.all if record.host == NPM_HOSTS[0]]
    assert 1 <= len(asked) <= 2  # for an IPv4 and an IPv6 address


def test_who_was_given_a_registry_or_says_it_is_left_alone() -> None:
    nothing = HostRules.parse([])
    assert without_retries({"A": "b"}, nothing) == {"A": "b"} | dict.fromkeys(RETRIES, "0")
    assert without_retries({"PIP_RETRIES": "9"}, nothing)["PIP_RETRIES"] == "9"
    assert without_retries({}, HostRules.parse(NPM_HOSTS)).keys() == RETRIES - {
        "npm_config_fetch_retries"
    }
    assert without_retries({}, HostRules.parse(PYPI_HOSTS)).keys() == {"npm_config_fetch_retries"}

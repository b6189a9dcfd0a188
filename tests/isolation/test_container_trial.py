"""Which engine for containers is found, and what is told where none is. container_trial.py."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation import container_trial
from pipeguard.isolation.container_engines import (
    DOCKER,
    PODMAN,
    ContainerEngine,
    find_client,
    sockets,
)
from pipeguard.isolation.container_trial import FOUND, find_engine
from pipeguard.isolation.engines import container_state
from pipeguard.isolation.sandbox import this_host
from tests.each import each
from tests.isolation.containers import engine_here


def none_installed(_kind: str) -> None:
    """As where neither podman nor docker is."""


def test_without_programs_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_trial, "find_client", none_installed)
    with pytest.raises(LaunchError, match="podman is not installed; docker is not installed"):
        find_engine(this_host(), str(tmp_path))


def test_other_systems_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LaunchError, match="needs Linux"):
        find_engine(this_host(), str(tmp_path))


@pytest.mark.engine
def test_a_daemon_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = find_client(DOCKER)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:  # bound, and nobody listens
        dead.bind("daemon")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/daemon")
    monkeypatch.setattr(
        container_trial, "find_client", lambda kind: None if kind == PODMAN else program
    )
    state = container_state(lambda: find_engine(this_host(), str(tmp_path / "state")).name)
    assert not state.works
    assert "docker: its daemon is not running" in state.why


@each("host", ["tcp://192.0.2.1:2375", "ssh://ada@example.com"])
def test_another_machines_daemon_is_not_used(host: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", host)
        assert list(sockets()) == []


MEANINGS = {
    "cannot find mappings for user ada: no subuid ranges found": "subordinate user numbers",
    "exec: newuidmap: executable file not found in $PATH": "subordinate user numbers",
    "permission denied while trying to connect to the Docker daemon socket": "not open to you",
    "Cannot connect to the Docker daemon at unix:///x. Is it running?": "daemon is not running",
    "crun: cgroups in hybrid mode not supported": "control groups",
    "cannot clone: Operation not permitted; user namespaces are not enabled": "user namespaces",
    "something else": "something else",
}


@each("text", list(MEANINGS))
def test_what_engines_say_is_explained(text: str) -> None:
    explained = container_trial._explain_failure(text)
    assert MEANINGS[text] in explained
    assert text in explained


def test_what_was_found_is_kept_until_something_changes(tmp_path: Path) -> None:
    engine = engine_here(tmp_path)
    found = tmp_path / FOUND
    kept = json.loads(found.read_text())
    assert find_engine(this_host(), str(tmp_path)) == engine
    found.write_text(json.dumps(kept | {"boot": "another"}))
    assert container_trial._read_cached(found) is None
    found.write_text(json.dumps(kept | {"changed": 1}))
    assert container_trial._read_cached(found) is None
    for broken in ("", "{}", "[]", '{"engine": ["podman"]}'):
        found.write_text(broken)
        assert container_trial._read_cached(found) is None


def test_a_rootless_engine_says_so() -> None:
    engine = ContainerEngine(PODMAN, "/usr/bin/podman", is_rootless=True, is_limited=False)
    assert engine.name == (
        "/usr/bin/podman, rootless, without limits of memory and processes together"
    )
    assert engine.user(this_host()) == (
        *("--userns", "keep-id", "--user", f"{os.getuid()}:{os.getgid()}"),
    )

"""Starts of isolated servers: broken engines, and the servers that need them."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeguard.clients.machine import Machine
from pipeguard.doctor import isolating
from pipeguard.doctor.diagnosis import Diagnosis, DiagnosisState
from pipeguard.errors import LaunchError
from pipeguard.isolation.bubblewrap import find
from pipeguard.isolation.engines import Isolation, choose_engine
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Command
from tests.commands import run_command
from tests.doctor.examined import Person

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="servers are isolated on Linux")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that is searched for engines, and a home with an isolated server."""
    home = tmp_path / "home"
    (home / ".cursor").mkdir(parents=True)
    args = ["wrap", "--isolate", "auto", "--", "srv"]
    entry = {"command": "/usr/bin/pipeguard", "args": args}
    (home / ".cursor/mcp.json").write_text(json.dumps({"mcpServers": {"files": entry}}))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr("pipeguard.isolation.bubblewrap.FOLDERS", (str(folder),))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def told(programs: Path) -> list[Diagnosis]:
    home = programs.parent / "home"
    return list(isolating.isolation(Machine("linux", home, os.environ)))


def worst(programs: Path) -> str:
    found = [each.what for each in told(programs) if each.state is DiagnosisState.WRONG]
    return "\n".join(found)


def test_an_entry_whose_engine_does_not_work_is_wrong(programs: Path) -> None:
    put(programs, "podman", "echo no user namespaces >&2; exit 1")
    said = "\n".join(each.what for each in told(programs))
    assert "no user namespaces" in said
    assert "there is no `bwrap` in" in said
    assert "files in " in worst(programs)
    assert "isolated by auto, which does not work" in worst(programs)


def test_without_servers_that_are_isolated_it_is_a_note(programs: Path) -> None:
    (programs.parent / "home/.cursor/mcp.json").unlink()
    assert worst(programs) == ""
    assert max(each.state for each in told(programs)) is DiagnosisState.NOTE


@pytest.mark.needs("bubblewrap")
def test_the_engine_that_an_entry_names_counts(programs: Path) -> None:
    put(programs, "bwrap", "exit 0")
    assert worst(programs) == ""
    file = programs.parent / "home/.cursor/mcp.json"
    file.write_text(file.read_text().replace("auto", "container"))
    assert "isolated by container, which does not work" in worst(programs)


def test_an_engine_that_does_not_work_is_told(programs: Path) -> None:
    put(programs, "podman", "echo no user namespaces >&2; exit 1")
    assert choose_engine("auto") == Isolation.CONTAINER
    with pytest.raises(LaunchError) as caught:
        Sandbox("x", Command(["/bin/true"], {}, "/"), Profile(), engine=Isolation.CONTAINER).start()
    assert "no user namespaces" in str(caught.value)


def test_an_engine_that_is_missing_is_told_where_it_was_looked_for(programs: Path) -> None:
    put(programs, "podman", "exit 0")
    with pytest.raises(LaunchError, match="bubblewrap is not installed") as caught:
        choose_engine(Isolation.BUBBLEWRAP)
    assert str(programs) in str(caught.value)
    assert "only root may change" in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="a file of root's is to be made")
def test_on_the_path_the_engine_of_root_counts_alone(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programs, "bwrap", "exit 0")
    monkeypatch.setattr("pipeguard.isolation.bubblewrap.FOLDERS", ())
    monkeypatch.setenv("PATH", f"relative:{programs}")
    assert find() == str(programs.resolve() / "bwrap")
    for path, mode in ((programs, 0o777), (programs / "bwrap", 0o775)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert find() is None
        path.chmod(before)
    os.chown(programs, 1, 1)
    assert find() is None


@pytest.mark.needs("bubblewrap")
def test_a_system_that_forbids_namespaces_is_named(tmp_path: Path) -> None:
    person = Person(tmp_path)
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -m pipeguard"
    for words in ("wrap --isolate bubblewrap -- /bin/true", "doctor isolation"):
        done = run_command(
            ["unshare", "--user", "--map-root-user", "/bin/sh", "-c", f"{script} {words}"],
            env=person.environment,
        )
        said = done.stdout + done.stderr
        if "max_user_namespaces" in said and "ermission" in said.partition("\n")[0]:
            pytest.skip("no user namespace can be made here")
        assert "user.max_user_namespaces = 0 forbids user namespaces" in said

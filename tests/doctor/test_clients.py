"""Clients' files, broken for real: guards that are missing, do not start or are old."""

import json
import subprocess

import pytest

from pipeguard.clients.machine import Machine
from pipeguard.doctor import clients
from tests.doctor.examined import RUN, Person
from tests.doctor.test_installation import program
from tests.files import write_file
from tests.snapshot import Snapshot

SECRET = "zq7" + "Rt55Kp0s81Lm"  # of no real service


def guard(person: Person, launcher: str, file: str = ".cursor/mcp.json") -> None:
    entry = {
        "command": launcher,
        "args": ["wrap", "--", "sh", "srv", "--api-key", SECRET],
        "env": {"API_KEY": SECRET},
    }
    write_file(person.home / file, json.dumps({"mcpServers": {"notes": entry}}))


def test_that_command_fixes_it(person: Person) -> None:
    guard(person, str(person.home / "gone" / "pipeguard"))
    new = program(person.home / "bin" / "pipeguard")
    words = person.examined("clients").of("clients").fix.split()[1:]
    done = person.run(*words, "--launcher", str(new), start=RUN[:-1])
    assert done.returncode == 0, done.stderr
    assert person.examined("clients").of("clients").state == "good"


@pytest.mark.needs("git")
def test_as_many_servers_are_not_guarded_as_setup_counts(person: Person) -> None:
    servers = '{"mcpServers": {"a": {"command": "srv"}, "b": {"command": "srv"}}}'
    for folder in (person.home / ".cursor", person.home / "work" / ".cursor"):
        folder.mkdir(parents=True)
        (folder / "mcp.json").write_text(servers)
    work = person.home / "work"
    subprocess.run(["git", "init", "--quiet", str(work)], check=True)
    machine = Machine("linux", person.home, person.environment, work)
    with person.here():
        (told,) = clients.clients(machine)
        listed = person.run("setup", f"--project={work}", "--check", start=RUN[:-1]).stdout
    assert told.what == "4 servers in 2 files: 2 not guarded, 2 that cannot be guarded"
    assert "4 servers: 2 not guarded, 2 cannot be guarded." in listed


def test_no_name_in_a_file_becomes_a_command(person: Person) -> None:
    guard(person, str(person.home / "gone" / "pipeguard"))
    file = person.home / ".cursor" / "mcp.json"
    for name in ("$(touch owned)", "`touch owned`", "'; touch owned; '", "\\n touch owned #"):
        file.write_text(file.read_text().replace('"notes"', f'"{name}"'))
        program(person.home / "bin" / "pipeguard", "exit 0")
        told = person.examined("clients").of("clients")
        assert told.state == "wrong"
        person.fix(f"PATH={person.home}/bin:$PATH; {told.fix}")
        assert not (person.home / "owned").exists()
        file.write_text(file.read_text().replace(f'"{name}"', '"notes"'))


def test_what_clients_start_is_looked_at(person: Person, snapshot: Snapshot) -> None:
    guard(person, str(person.home / "gone" / "pipeguard"))
    with person.here():
        snapshot.commands("doctor-clients-gone", "doctor clients  # 1\ndoctor clients --json  # 1")
        guard(person, str(program(person.home / "bin" / "pipeguard", "exit 3")))
        snapshot.commands("doctor-clients-broken", "doctor clients  # 1")
        program(person.home / "bin" / "pipeguard", "echo pipeguard, version 0.0.1")
        snapshot.commands("doctor-clients-old", "doctor clients")
        file = person.home / ".cursor" / "mcp.json"
        file.write_text('{"mcpServers": {"a": {"command": "srv"}}}')
        (person.home / ".claude.json").write_text('{"mcpServers": {')
        snapshot.commands("doctor-clients-open", "doctor clients")
        (person.home / ".claude.json").unlink()
        file.write_text('{"mcpServers": {"a": {"url": "https://mcp.example.com/mcp"}}}')
        snapshot.commands("doctor-clients-login", "doctor clients")
        (person.home / ".config" / "pipeguard").mkdir(parents=True)
        (person.home / ".config" / "pipeguard" / "pipeguard.yaml").write_text(
            "servers: {}\nbad: [\n"
        )
        snapshot.commands("doctor-clients-gateway", "doctor clients  # 1\nstatus")


def test_what_a_project_s_file_names_is_not_run(person: Person) -> None:
    project = person.home / "clone"
    (project / ".git").mkdir(parents=True)
    ran = person.home / "ran"
    guard(person, str(program(project / "pipeguard", f"touch {ran}")), "clone/.mcp.json")
    machine = Machine("linux", person.home, {}, project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(person.home))
        patch.setenv("PIPEGUARD_STATE_DIR", str(person.home / "state"))
        told = list(clients.clients(machine))
    assert "1 server in 1 file" in told[-1].what  # it was seen
    assert not ran.exists()

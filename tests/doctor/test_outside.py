"""What PipeGuard stands between, broken for real: clients' files, proxies, trust, loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.doctor import outside
from pipeguard.doctor.diagnosis import Case, DiagnosisState
from pipeguard.version import VERSION
from tests.doctor.examined import RUN, Person
from tests.doctor.test_installation import program
from tests.snapshot import Snapshot

SECRET = "zq7" + "Rt55Kp0s81Lm"  # of no real service


def guard(person: Person, launcher: str, file: str = ".cursor/mcp.json") -> None:
    entry = {
        "command": launcher,
        "args": ["wrap", "--", "sh", "srv", "--api-key", SECRET],
        "env": {"API_KEY": SECRET},
    }
    path = person.home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": {"notes": entry}}))


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of a proxy: it is only called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_that_command_fixes_it(person: Person) -> None:
    guard(person, str(person.home / "gone" / "pipeguard"))
    new = program(person.home / "bin" / "pipeguard")
    words = person.examined("clients").of("clients").fix.split()[1:]
    run = (sys.executable, "-E", "-P", "-m", "pipeguard")
    done = person.run(*words, "--launcher", str(new), start=run)
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
    case = Case(person.environment, person.home, work, 0.0)
    with person.here():
        (told,) = outside.clients(case)
        listed = person.run("setup", f"--project={work}", "--check", start=RUN[:-1]).stdout
    counted = "2 of them not guarded, and 2 that cannot be guarded"
    assert told.what == f"4 servers in 2 files, {counted}"
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


def test_a_guarded_server_whose_program_is_not_here_is_told(person: Person) -> None:
    launcher = str(program(person.home / "bin" / "pipeguard", f"echo pipeguard, version {VERSION}"))
    guard(person, launcher)
    assert person.examined("clients").of("clients").state == "good"
    file = person.home / ".cursor" / "mcp.json"
    file.write_text(file.read_text().replace('"sh"', '"no-such-program"'))
    told = person.examined("clients").of("clients")
    assert told.state == "note"
    assert "may not start: its program is not on the PATH here: no-such-program" in told.what


def test_what_a_project_s_file_names_is_not_run(person: Person) -> None:
    project = person.home / "clone"
    (project / ".git").mkdir(parents=True)
    ran = person.home / "ran"
    guard(person, str(program(project / "pipeguard", f"touch {ran}")), "clone/.mcp.json")
    case = Case({}, person.home, project, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(person.home))
        patch.setenv("PIPEGUARD_STATE_DIR", str(person.home / "state"))
        told = list(outside.clients(case))
    assert "1 server in 1 file" in told[-1].what  # it was seen
    assert not ran.exists()


def test_a_proxy_that_answers_is_good_and_its_password_is_not_shown(
    person: Person, listening: int
) -> None:
    address = f"http://kim:{SECRET}@127.0.0.1:{listening}"
    person.environment |= {"HTTPS_PROXY": address, "HTTP_PROXY": address, "NO_PROXY": "127.0.0.1"}
    result = person.examined("proxies")
    assert (result.code, result.of("proxies").state) == (0, "good")
    assert f"127.0.0.1:{listening}" in result.of("proxies").what
    assert SECRET not in result.stdout


PROXIES = (
    "http://127.0.0.1:1",
    f"http://kim:{SECRET}@127.0.0.1:1",
    "socks5://127.0.0.1:1080",
    "http://127.0.0.1:99999",
)


def test_a_proxy_that_cannot_be_used_is_wrong(person: Person, snapshot: Snapshot) -> None:
    shown = []
    for address in PROXIES:
        person.environment["HTTPS_PROXY"] = address
        with person.here():
            shown.append(snapshot.shown("doctor proxies  # 1"))
    assert SECRET not in "".join(shown)
    snapshot.text("doctor-proxies", "\n\n".join(shown))


def test_a_proxy_whose_name_leads_nowhere_is_wrong(person: Person) -> None:
    person.environment["HTTPS_PROXY"] = "http://proxy.invalid:3128"
    assert person.examined("proxies").code == 1


def test_a_proxy_for_this_machine_too_is_a_note(person: Person, listening: int) -> None:
    person.environment |= {"http_proxy": f"http://127.0.0.1:{listening}", "no_proxy": "intra"}
    result = person.examined("proxies")
    assert result.of("proxies").state == "note"
    assert result.of("proxies").fix == "export NO_PROXY=intra,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_authorities_that_are_none_are_told(person: Person, content: str | None) -> None:
    file = person.home / "ca.pem"
    if content is not None:
        file.write_text(content)
    person.environment["SSL_CERT_FILE"] = str(file)
    result = person.examined("trust")
    assert (result.code, result.of("trust").state) == (1, "wrong")
    assert str(file) in result.of("trust").what
    del person.environment["SSL_CERT_FILE"]
    person.environment["NODE_EXTRA_CA_CERTS"] = str(file)  # that of servers, not ours
    assert person.examined("trust").of("trust").state == "note"


def test_the_system_s_authorities_are_found(person: Person) -> None:
    assert person.examined("trust").of("trust").state == "good"


def test_loopback_can_be_listened_on(person: Person) -> None:
    assert person.examined("loopback").of("loopback").state == "good"


@pytest.mark.skipif(os.name != "posix", reason="limits of processes are POSIX's")
def test_where_no_socket_can_be_had_it_is_told() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        (told,) = outside.loopback(Case({}, Path(), Path(), 0.0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told.state is DiagnosisState.WRONG
    assert "too many open files" in told.what

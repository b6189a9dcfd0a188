"""Targets that an isolated server cannot reach: a real process, a real sandbox."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.profile import MEBIBYTE, Profile, ResourceLimits
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Child, Command
from tests.isolation.egress.sandbox import Records
from tests.launch.processes import read_all

pytestmark = pytest.mark.needs("bubblewrap")

ATTEMPTS = Path(__file__).with_name("escape_attempts.py")
CANARY = "canary-5f1c"
TIMEOUT_SECONDS = 120.0
LIMITS = ResourceLimits(
    memory=512 * MEBIBYTE, processes=64, files=256, file_size=64 * MEBIBYTE, scratch=32 * MEBIBYTE
)


@contextmanager
def answering(kind: int, address: object) -> Iterator[socket.socket]:
    """A server outside that answers whoever connects."""
    listener = socket.socket(kind)
    listener.bind(address)  # type: ignore[arg-type]  # of each family
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(b"reached")
            connection.close()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    for name in (".ssh", ".aws", ".config/pipeguard", ".mozilla", "work", "work/given"):
        (folder / name).mkdir(parents=True)
    for name in (".ssh/id_ed25519", ".aws/credentials", ".claude.json", ".bash_history", "work/x"):
        (folder / name).write_text(CANARY)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    return folder


def tried(
    home: Path,
    tmp_path: Path,
    profile: Profile,
    records: Records,
    engine: str = Isolation.BUBBLEWRAP,
) -> dict[str, str]:
    """Run the attempts in a sandbox, with everything outside that they could reach."""
    with surrounded(home, tmp_path) as facts:
        command = Command(
            [sys.executable, "-I", "-S", str(ATTEMPTS), json.dumps(facts)],
            {"PATH": os.environ["PATH"]},
            str(facts["folder"]),
        )
        child = Sandbox("test", command, profile, report=records, engine=engine).start()
        try:
            outcomes: dict[str, str] = json.loads(answer(child))
        finally:
            child.close()
    return outcomes


@contextmanager
def surrounded(home: Path, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Create everything that the attempts could reach outside, with the facts that they need."""
    given = home / "work" / "given"
    link = given / "outside"
    link.unlink(missing_ok=True)
    link.symlink_to(home / ".ssh" / "id_ed25519")
    victim = subprocess.Popen(["sleep", "300"], env={**os.environ, "TOKEN": CANARY})
    abstract = f"pipeguard-test-{os.getpid()}"
    path = str(tmp_path / "socket")
    try:
        with (
            answering(socket.AF_UNIX, "\0" + abstract),
            answering(socket.AF_UNIX, path),
            answering(socket.AF_INET, ("0.0.0.0", 0)) as tcp,  # noqa: S104  on all addresses, to be refused
        ):
            yield {
                "secret": str(home / ".ssh" / "id_ed25519"),
                "files": [
                    str(home / name) for name in (".aws/credentials", ".claude.json", "work/x")
                ],
                "home": str(home),
                "state": str(tmp_path / "state"),
                "canary": CANARY,
                "process": victim.pid,
                "folder": str(given),
                "abstract": abstract,
                "sockets": [path, "/var/run/docker.sock", "/run/dbus/system_bus_socket"],
                "port": tcp.getsockname()[1],
                "addresses": [own_address(), "169.254.169.254", "10.0.0.1"],
                "names": ["localhost.localdomain.test", "metadata.google.internal", "example.com"],
            }
    finally:
        Path(path).unlink(missing_ok=True)
        victim.kill()
        victim.wait()


def answer(child: Child) -> bytes:
    """Return a child's output until it ends."""
    child.wait_started()
    said: list[bytes] = []
    errors = Thread(target=lambda: said.append(read_all(child.stderr_fd)), daemon=True)
    errors.start()
    printed = read_all(child.stdout_fd)
    ended = child.wait(TIMEOUT_SECONDS)
    errors.join()
    assert ended is not None, said
    assert ended.code == 0, said
    return printed


def own_address() -> str:
    """An address of this machine that is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


def test_nothing_that_was_not_given_can_be_reached(home: Path, tmp_path: Path) -> None:
    records = Records()
    given = str(home / "work" / "given")
    outcomes = tried(home, tmp_path, Profile(write=(given,), limits=LIMITS), records)
    check_outcomes(outcomes)
    check_refused(records)


def check_outcomes(outcomes: dict[str, str]) -> None:
    """Check that no attempt succeeded."""
    assert outcomes.pop("home") == "escaped: ['work']"  # the way to what was given
    assert {name: how for name, how in outcomes.items() if "escaped" in how} == {}
    assert len(outcomes) > 60
    assert CANARY not in str(outcomes)


def check_refused(records: Records) -> None:
    """Check that hosts were refused and reported, and none was reached."""
    refused = {record.host for record in records.all if record.reason is not None}
    assert {"example.com", "metadata.google.internal", "169.254.169.254"} <= refused
    assert all(record.reason or record.error for record in records.all)


def test_a_granted_home_does_not_give_its_keys(home: Path, tmp_path: Path) -> None:
    outcomes = tried(home, tmp_path, Profile(write=(str(home),), limits=LIMITS), Records())
    kept = ("key", "climbing", "link to it", "symbolic link", "hard link", "root of processes")
    assert {name: outcomes[name] for name in kept if "escaped" in outcomes[name]} == {}
    for name, how in outcomes.items():
        if ".aws" in name or ".claude" in name:
            assert CANARY not in how, name
    assert "escaped" in outcomes[f"file 2 {home}/work/x"]  # the twin: the rest of it is given

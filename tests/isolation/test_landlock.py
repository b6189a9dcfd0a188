"""Landlock's rules in a sandbox, and what they refuse by themselves. isolation/landlock.py."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from pipeguard.clients.machine import Machine
from pipeguard.doctor.diagnosis import DiagnosisState
from pipeguard.doctor.isolating import isolation
from pipeguard.isolation import landlock
from pipeguard.isolation.landlock import PROGRAM, obstacle, version, write_rules
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.view import FileView, build_view
from tests.commands import run_command
from tests.each import each
from tests.isolation.sandboxes import make_home, printed
from tests.isolation.test_escapes import CANARY, answering

needs_landlock = pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path, monkeypatch, ".ssh work/data notes", ".ssh/id notes/x")


def seen_by(home: Path) -> FileView:
    given = Profile(read=(f"{home}/notes",), write=(f"{home}/work",))
    return build_view(given, this_host(), (), f"{home}/work", None)


def ruled(view: FileView, script: str) -> str:
    """Run a shell with the rules of a view and no sandbox around it; return its output."""
    # A home in memory is not there, outside: its rule would give the real one.
    mounts = tuple(mount for mount in view.mounts if mount.path not in (view.home, "/tmp"))
    descriptor = os.memfd_create("rules")
    os.write(descriptor, write_rules(view._replace(mounts=mounts), version()))
    own = os.open(PROGRAM, os.O_PATH)
    done = run_command(
        [PROGRAM, f"{descriptor:x}", f"{own:x}", "/bin/sh", "-c", f"exec 2>&1; {script}"],
        pass_fds=(descriptor, own),
    )
    os.close(descriptor)
    os.close(own)
    return done.stdout + done.stderr


@needs_landlock
def test_rules_hold_where_no_namespace_does(home: Path) -> None:
    view = seen_by(home)
    said = ruled(view, f"cat {home}/.ssh/id; cat /root/.bashrc {home}/.ssh/../.ssh/id")
    assert CANARY not in said
    assert said.count("denied") == 3
    said = ruled(view, f"cat {home}/notes/x; echo > {home}/notes/y; echo > /etc/made; mkdir /made")
    assert CANARY in said
    assert not (home / "notes" / "y").exists()
    assert said.count("denied") >= 3
    work = f"{home}/work"
    said = ruled(view, f"cd {work}; mkdir a; echo x > a/f; mv a/f data/g; ln -s g data/l; ls data")
    assert said.split() == ["g", "l"]
    said = ruled(
        view, f"cd {work}; mkfifo p && ls p; mknod d b 8 0; ls /proc/self/fd; echo > /dev/null"
    )
    assert "p\n" in said
    assert not (home / "work" / "d").exists()
    assert said.split()[-4:] == ["0", "1", "2", "3"]  # neither the rules nor the program are left


@needs_landlock
@pytest.mark.skipif(version() < 6, reason="this kernel's Landlock has no scopes")
def test_no_signal_and_no_abstract_socket_reaches_outside(home: Path) -> None:
    name = f"pipeguard-landlock-{os.getpid()}"
    code = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('escaped')"
    victim = subprocess.Popen(["sleep", "60"])
    try:
        with answering(socket.AF_UNIX, f"\0{name}"):
            said = ruled(
                seen_by(home),
                f'kill -0 {victim.pid} && echo escaped; /usr/bin/python3 -c "{code}"; true',
            )
        assert "escaped" not in said.split()
        assert said.count("not permitted") == 2
        victim.send_signal(signal.SIGCONT)  # the twin: from here it can be reached
    finally:
        victim.kill()
        victim.wait()


HELPED = """
import array, os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    _, sent, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
    folder = array.array("i", sent[0][2])[0]
for name in ("id", "../notes/x", "../work/made"):
    try:
        print(os.read(os.open(name, os.O_RDWR if ".." in name else 0, dir_fd=folder), 100))
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.needs("bubblewrap")
@needs_landlock
def test_a_folder_that_an_accomplice_hands_in_is_of_no_use(home: Path) -> None:
    """The namespace by itself does not refuse that: the descriptor leads out of it."""
    (home / "work" / "made").write_text("own")
    path = str(home / "work" / "socket")
    folder = os.open(home / ".ssh", os.O_RDONLY)
    given = Profile((sys.base_prefix, sys.prefix), (f"{home}/work",))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(60)  # seconds; a sandbox that does not start connects to nothing

        def hand_in() -> None:
            connection, _ = listener.accept()
            with connection:
                socket.send_fds(connection, [b"x"], [folder])

        thread = Thread(target=hand_in, daemon=True)
        thread.start()
        try:
            said = printed([sys.executable, "-I", "-c", HELPED, path], given).splitlines()
        finally:
            thread.join()
            os.close(folder)
    assert said == ["Permission denied", "Permission denied", "b'own'"]


@each("kernel, ruled, scopes", [(2, 0x3FFF, 0), (3, 0x7FFF, 0), (6, 0xFFFF, 3)])
def test_what_a_kernel_does_not_know_is_not_ruled(
    kernel: int, ruled: int, scopes: int, home: Path
) -> None:
    fields = write_rules(seen_by(home), kernel).decode().split("\0")
    assert [int(field, 16) for field in fields[:2]] == [ruled, scopes]
    accesses = dict(zip(fields[3::2], fields[2::2], strict=False))
    for path in (f"{home}/work", "/tmp", str(home)):
        assert int(accesses[path], 16) == ruled & ~landlock.MAKE_DEVICE & ~landlock.IOCTL_OF_DEVICE
    assert int(accesses[f"{home}/notes"], 16) == landlock.READ
    assert int(accesses["/"], 16) == landlock.READ_FOLDER


@pytest.mark.needs("bubblewrap")
def test_without_its_program_servers_run_and_doctor_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "PROGRAM", str(home / "none"))
    assert printed(["/bin/echo", "runs"]) == "runs\n"
    told = [found for found in isolation(Machine.here()) if "Landlock" in found.what]
    assert [found.state for found in told] == [DiagnosisState.GOOD]
    assert "C compiler" in told[0].what


@pytest.mark.parametrize(
    "compiler",
    [
        pytest.param("cc", marks=pytest.mark.needs("cc")),
        pytest.param("aarch64-linux-gnu-gcc", marks=pytest.mark.exhaustive),
    ],
)
def test_its_program_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    alone = ("-Os", "-static", "-no-pie", "-nostdlib", "-ffreestanding", "-fno-stack-protector")
    warnings = ("-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, *alone, *warnings, "-o", made, f"{PROGRAM}.c"], check=True)
    assert made.read_bytes()[:4] == b"\x7fELF"

"""`wrap --isolate learn`: a real run, a real server, and the observations."""

import json
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.isolate import command as isolate
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PolicyError
from pipeguard.isolation.learning.observed import Observed, load
from pipeguard.isolation.servers.starter import ServerStarter
from pipeguard.launch.person import new_token
from tests.each import each
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import answering
from tests.isolation.test_wrapped import REACHER, Isolated
from tests.launch.processes import until

pytestmark = pytest.mark.needs("strace")
LEARN = ("--isolate", "learn")
PYTHON = (sys.executable, "-I", "-u", "-c")
KILLS = 3


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with files, and the state folder of the runs."""
    folder = make_home(tmp_path, monkeypatch, "notes .aws")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    for path in ("notes/a", "notes/b", "notes/c", ".aws/config", "diary"):
        (folder / path).write_text(path)
    return folder


@contextmanager
def learning(folder: Path, *options: str) -> Iterator[Isolated]:
    """Run a server that ends as a client ends it."""
    with Isolated(folder, *LEARN, *options) as run:
        yield run.ready()
        run.hang_up()
        assert run.code() == 0, run.said()


def learned() -> Observed:
    found = load("reacher")
    assert found is not None
    return found


def command(*words: str) -> Result:
    """Run `pipeguard isolate`."""
    return CliRunner().invoke(isolate, words)


@pytest.mark.needs("bubblewrap")
def test_what_is_learned_is_proposed_accepted_and_then_holds(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with learning(tmp_path) as run:
            for name in ("a", "b", "c"):
                assert run.call("read", home / "notes" / name) == f"notes/{name}"
            assert run.call("write", home / "new") == "written"
            assert run.call("connect", f"127.0.0.1:{port}") == "reached"
    said = command("show", "reacher", "--json")
    added = {(each["kind"], each["value"]) for each in json.loads(said.stdout)["added"]}
    assert added == {("read", "~/notes"), ("write", "~/new")}
    monkeypatch.setenv("PIPEGUARD_APPROVAL_TOKEN", new_token()[0])
    done = command("accept", "reacher")
    assert done.exit_code == 0, done.output
    policy = home / ".config" / "pipeguard" / "policy.yaml"
    with Isolated(tmp_path, policy=policy.read_text()) as run:
        run.ready()
        assert run.call("read", home / "notes" / "a") == "notes/a"
        assert run.call("write", home / "new") == "written"
        assert run.call("read", home / "diary") == "FileNotFoundError"
        assert run.call("connect", f"127.0.0.1:{port}") == "ConnectionRefusedError"
    assert "given already" not in done.stdout
    assert "already grants reacher all of this" in command("accept", "reacher").stdout


@pytest.mark.needs("bubblewrap")
def test_a_server_s_own_folder_is_there_with_what_it_had_before(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = home / ".config" / "app"
    own.mkdir(parents=True)
    (own / "settings").write_text("dark")
    with learning(tmp_path) as run:
        assert run.call("read", own / "settings") == "dark"
        assert run.call("write", own / "state") == "written"
    (own / "state").unlink()
    monkeypatch.setenv("PIPEGUARD_APPROVAL_TOKEN", new_token()[0])
    assert command("accept", "reacher").exit_code == 0
    policy = (home / ".config" / "pipeguard" / "policy.yaml").read_text()
    for before in ("FileNotFoundError", "written"):
        with Isolated(tmp_path, policy=policy) as run:
            run.ready()
            assert run.call("read", own / "settings") == "dark"
            assert run.call("read", own / "state") == before
            assert run.call("write", own / "state") == "written"
    assert not (own / "state").exists()


def test_folders_among_arguments_are_given_to_the_server(tmp_path: Path, home: Path) -> None:
    words = (*REACHER, "--root=notes")
    with Isolated(tmp_path, *LEARN, "--cwd", "home", command=words) as run:
        run.ready()
        assert run.call("write", home / "notes" / "new") == "written"
        assert run.call("read", home / "diary") == "a day"
        run.hang_up()
        assert run.code() == 0, run.said()
    files = learned().files
    assert str(home / "diary") in files
    assert not [path for path in files if "notes" in path]


USES = """
import os, subprocess
os.chdir({home!r})
open("notes/a").close()
os.open("b", os.O_RDONLY, dir_fd=os.open("notes", os.O_RDONLY))
os.link("notes/c", "/tmp/" + os.urandom(8).hex())
subprocess.run(["cat", "diary"])
open("notes/x", "w")
os.rename("notes/x", "notes/y")
os.mkdir("notes/z")
os.symlink("a", "notes/l")
os.remove(".aws/config")
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto({question!r}, ("127.0.0.1", 9))
with socket.socket() as made:
    made.settimeout(0.1)
    try:
        made.connect(("192.0.2.1", 8443))
    except OSError:
        pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.2", 443))
raise SystemExit(42)
"""


def test_files_and_hosts_are_seen_however_they_are_used(tmp_path: Path, home: Path) -> None:
    name = b"\x09localhost\x0blocaldomain\x00"  # asked of nobody: only that counts
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x01\x00\x01"
    words = (*PYTHON, USES.format(home=str(home), question=question))
    with Isolated(tmp_path, *LEARN, command=words) as run:
        assert run.code() == 42, run.said()  # the server's
    files = learned().files
    read, written = ("notes/a", "notes/b", "notes/c", "diary"), ("x", "y", "z", "l")
    assert {files[str(home / name)] for name in read} == {"read"}
    changed = (".aws/config", *(f"notes/{name}" for name in written))
    assert {files[str(home / name)] for name in changed} == {"written"}
    assert learned().hosts == ["192.0.2.1:8443"]  # that name leads elsewhere; UDP is no way out


def test_a_server_is_asked_to_end_as_ever(tmp_path: Path, home: Path) -> None:
    code = f"""
import pathlib, signal, sys
def save(*_):
    pathlib.Path({str(home / "saved")!r}).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":1}}}}')
while True:
    signal.pause()
"""
    with Isolated(tmp_path, *LEARN, "--grace", "0.2", command=(*PYTHON, code)) as run:
        run.frame()
        run.hang_up()
        run.code()
    assert (home / "saved").read_text() == "saved"
    assert learned().files[str(home / "saved")] == "written"


def test_nothing_waits_for_ever_once_pipeguard_is_gone(tmp_path: Path) -> None:
    """It opens files all the time: the calls fail, and the warden ends it (`none_is_left`)."""
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}')
while True:
    try:
        open("/etc/passwd").close()
    except OSError:
        pass
"""
    with Isolated(tmp_path, *LEARN, command=(*PYTHON, code)) as run:
        run.frame()
        os.kill(run.process.pid, signal.SIGKILL)


def test_nothing_is_left_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    """`none_is_left` looks, after each."""
    chance = random.Random(11)  # noqa: S311  when to kill
    for _ in range(KILLS):
        with Isolated(tmp_path, *LEARN) as run:
            if chance.random() < 0.7:
                run.request("initialize", protocolVersion="2025-11-25")
            sleep(chance.uniform(0.0, 0.5))
            os.kill(run.process.pid, signal.SIGKILL)


def test_many_processes_and_threads_at_once_are_all_answered(tmp_path: Path, home: Path) -> None:
    code = f"""
import os, signal, threading
os.chdir({str(home)!r})
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def work(number):
    for turn in range(200):
        os.close(os.open(f"notes/{{number}}-{{turn % 7}}", os.O_WRONLY | os.O_CREAT))
children = [os.fork() for _ in range(2)]
threads = [threading.Thread(target=work, args=(f"{{os.getpid()}}-{{n}}",)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
signal.setitimer(signal.ITIMER_REAL, 0)
if all(children):
    [os.waitpid(child, 0) for child in children]
"""
    with Isolated(tmp_path, *LEARN, command=(*PYTHON, code)) as run:
        assert run.code() == 0, run.said()
    made = {str(path) for path in (home / "notes").iterdir() if "-" in path.name}
    assert len(made) == 4 * 4 * 7
    assert made <= learned().files.keys()


def test_a_client_that_kills_loses_little(tmp_path: Path, home: Path) -> None:
    with Isolated(tmp_path, *LEARN) as run:
        run.ready().call("read", home / "diary")
        read = str(home / "diary")
        until(lambda: read in (load("reacher") or Observed()).files, "it is saved meanwhile")
        os.kill(run.process.pid, signal.SIGKILL)
    assert read in learned().files


@each(
    "words, lists, why",
    [
        (("/bin/true",), {"--read": ("/tmp",)}, "it refuses nothing"),
        (("docker", "run", "-i", "image"), {}, "cannot see inside a container"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    words: tuple[str, ...], lists: dict[str, tuple[str, ...]], why: str
) -> None:
    with pytest.raises(PolicyError, match=why):
        ServerStarter(WrapOptions(words, {"--isolate": "learn"}, lists, ()), {})

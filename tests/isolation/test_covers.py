"""Covers in a granted folder survive programs outside that replace files, as editors do."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from pipeguard.isolation.covers import Doorway
from pipeguard.isolation.profile import Profile
from pipeguard.launch.child import Exit
from tests.each import each
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import CANARY
from tests.isolation.test_roots import Shell, children, mounting_process, shell
from tests.isolation.test_wrapped import isolated
from tests.launch.processes import until

pytestmark = pytest.mark.needs("bubblewrap")

OLD, NEW = "old", "new"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders = ".aws app/.git/hooks app/.vscode"
    folder = make_home(tmp_path, monkeypatch, folders, ".netrc .aws/credentials")
    for name in (".envrc", ".git/config", ".git/hooks/pre-commit", ".vscode/tasks.json"):
        (folder / "app" / name).write_text(OLD)
    return folder


def replace(path: Path) -> None:
    """Replace it in one step, as editors do; a folder by another one."""
    new = path.with_name(f"{path.name}.new")
    if path.is_dir():
        subprocess.run(["cp", "-a", str(path), str(new)], check=True)
        path.rename(path.with_name(f"{path.name}.old"))
    else:
        new.write_text(CANARY if path.read_text() == CANARY else NEW)
    new.rename(path)


def is_fixed(server: Shell, path: Path) -> bool:
    """True if the server cannot change a file, or the files in a folder."""
    target = path / "planted" if path.is_dir() else path
    said = server.run(f"true < {path}; echo >> {target}")
    return "Read-only" in said


@each("name", [".envrc", ".git/config", ".git/hooks", ".vscode", ".git"])
def test_what_is_run_later_stays_as_it_is(name: str, home: Path) -> None:
    app = home / "app"
    held = app / name if name != ".git" else app / ".git" / "hooks"
    with shell(Profile(write=(str(app),))) as server:
        for _ in range(2):
            assert is_fixed(server, held)
            subprocess.run(["rm", "-rf", f"{app / name}.old"], check=True)
            replace(app / name)
            until(lambda: is_fixed(server, held), "it is covered again")
        assert "busy" in server.run(f"mv {app}/.git {app}/moved")
        said = server.run(f"echo x > {app}/other && cat {app}/other {app}/.envrc")
        assert said.startswith("x\n")


@each("name", [".netrc", ".aws"])
@each("how", ["read", "write"])
def test_keys_stay_covered(name: str, how: str, home: Path) -> None:
    path = home / name
    keys = path / "credentials" if path.is_dir() else path
    given = Profile(read=(str(home),)) if how == "read" else Profile(write=(str(home),))
    with shell(given) as server:
        for _ in range(2):
            assert CANARY not in server.run(f"cat {keys}")
            subprocess.run(["rm", "-rf", f"{path}.old"], check=True)
            replace(path)
            until(lambda: CANARY not in server.run(f"cat {keys}"), "it is covered again")


def test_what_was_removed_is_covered_when_it_comes_again(home: Path) -> None:
    config = home / "app" / ".git" / "config"
    with shell(Profile(write=(f"{home}/app",))) as server:
        config.unlink()
        assert "No such" in server.run(f"cat {config}")
        config.write_text(NEW)
        until(lambda: is_fixed(server, config), "it is covered again")


def test_what_is_replaced_while_the_server_starts_is_covered_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, mounted, replaced = home / "app", home / "mounted", home / "replaced"
    opened = Doorway.open

    def late(doorway: Doorway) -> None:
        mounted.touch()
        until(replaced.exists, "it is replaced")
        opened(doorway)

    def replace_it() -> None:
        until(mounted.exists, "all is mounted, and nobody watches yet")
        replace(app / ".envrc")
        replaced.touch()

    monkeypatch.setattr(Doorway, "open", late)
    Thread(target=replace_it, daemon=True).start()
    with shell(Profile(write=(str(app),))) as server:
        until(lambda: is_fixed(server, app / ".envrc"), "it is covered again")


def test_folders_that_are_replaced_again_and_again_stay_watched(home: Path) -> None:
    app, moved = home / "app", home / "moved"
    with shell(Profile(write=(str(app),))) as server:
        before = watches_of(server)
        for number in range(5):
            (app / ".git").rename(moved)
            subprocess.run(["cp", "-a", str(moved), str(app / ".git")], check=True)
            moved.rename(home / f"moved{number}")
            until(lambda: is_fixed(server, app / ".git" / "config"), "it is covered again")
        until(lambda: watches_of(server) == before, "only what is there is watched")


def watches_of(server: Shell) -> int:
    """Count the folders that are watched for a server (proc(5), fdinfo)."""
    process = mounting_process(server.warden)
    infos = Path(f"/proc/{process}/fdinfo").iterdir()
    return sum(info.read_text().count("inotify wd:") for info in infos)


def test_a_server_that_makes_much_noise_uncovers_nothing(home: Path) -> None:
    app = home / "app"
    with shell(Profile(write=(str(app),))) as server:
        server.run(f"cd {app}; for i in $(seq 500); do : > n$i; mkdir -p d/.git; rm -r d n$i; done")
        replace(app / ".envrc")
        until(lambda: is_fixed(server, app / ".envrc"), "it is covered again")


@each("setting", ["max_inotify_instances", "max_inotify_watches"])
def test_what_cannot_be_watched_is_told(setting: str, home: Path) -> None:
    app = home / "app"
    script = f"""
from pathlib import Path
from pipeguard.isolation.covers import Doorway
from pipeguard.isolation.profile import Profile
from tests.isolation.test_roots import Shell
limit = Path("/proc/sys/user/{setting}")
limit.write_text("0")
server = Shell(Profile(write=("{app}", )))
limit.write_text("9")
print(server.run("echo runs; echo x >> {app}/.git/config"))
server.child.close()
server.sandbox.hang_up()
print(server.said)
"""
    # In a user namespace, whose limits it may change (user_namespaces(7)).
    words = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "runs" in found.stdout, found.stderr
    assert "Read-only" in found.stdout
    assert found.stdout.count("cannot watch what is covered") == 1, found.stdout


@each("is_killed", [True, False])
def test_a_server_ends_if_nothing_can_be_covered_again(is_killed: bool, home: Path) -> None:
    app = home / "app"
    with shell(Profile(write=(str(app),))) as server:
        assert is_fixed(server, app / ".envrc")
        mounter = mounting_process(server.warden)
        if is_killed:
            os.kill(mounter, signal.SIGKILL)
        else:
            resource.prlimit(mounter, resource.RLIMIT_NOFILE, (0, 0))
            replace(app / ".envrc")
        assert server.child.wait() == Exit.by_signal(signal.SIGKILL)
    (said,) = server.said
    assert said.startswith("rooted was ended: PipeGuard's process that keeps covered")


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can make a control group")
def test_what_covers_is_not_ended_by_what_the_server_uses_up(home: Path) -> None:
    with shell(Profile(write=(f"{home}/app",))) as server:
        group = Path(f"/proc/{mounting_process(server.warden)}/cgroup").read_text()
        (engine,) = children(server.warden)
        assert "pipeguard-" in Path(f"/proc/{engine}/cgroup").read_text()
        assert "pipeguard-" not in group


def test_nothing_is_left_of_what_covers(tmp_path: Path) -> None:
    (tmp_path / "home" / "notes" / ".git" / "hooks").mkdir(parents=True)
    with isolated(tmp_path, "--isolate", "auto", "--write", "home/notes") as run:
        assert run.call("write", tmp_path / "home/notes/two") == "written"
        assert run.call("write", tmp_path / "home/notes/.git/hooks/x") == "OSError"
    # as it ends, the client looks that no process of the run is left

"""The client's roots, which a server gets at its next start. isolation/roots.py."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError, PolicyError
from pipeguard.isolation.profile import READ_ROOTS, WRITE_ROOTS, Profile, roots_mode
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Child, Command
from tests.each import each
from tests.files import write_program
from tests.isolation.sandboxes import make_home
from tests.isolation.test_escapes import CANARY
from tests.isolation.test_swapped_paths import swapped

pytestmark = pytest.mark.needs("bubblewrap")

END = "== end =="
GIVES = 5
MOST_SAID = 500


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders = ".ssh .config/gcloud app/.git/hooks app/sub private given"
    folder = make_home(tmp_path, monkeypatch, folders, ".ssh/id .config/gcloud/id private/id")
    (folder / "app" / "own").write_text("own")
    return folder


class Shell:
    """A shell in a sandbox that is given roots."""

    def __init__(self, profile: Profile, *argv: str) -> None:
        self.said: list[str] = []
        command = Command([*(argv or ("/bin/sh",))], {"PATH": os.defpath}, "/")
        self.sandbox = Sandbox("rooted", command, profile, say=self.said.append)
        others = children(os.getpid())
        self.child: Child = self.sandbox.start()
        try:
            self.child.wait_started()
        except LaunchError:
            self.child.close()
            raise
        (self.warden,) = children(os.getpid()) - others

    def run(self, script: str) -> str:
        """Run a script; return its output, including errors."""
        os.write(self.child.stdin_fd, f"{{ {script}\n}} 2>&1; echo '{END}'\n".encode())
        printed = ""
        while END not in printed:
            more = os.read(self.child.stdout_fd, 65536).decode()
            assert more, printed
            printed += more
        return printed.partition(END)[0]

    def note(self, *roots: object) -> None:
        """The client answers with these roots."""
        uris = (each["uri"] if isinstance(each, dict) else f"file://{each}" for each in roots)
        self.sandbox.note_roots(tuple(uris))


@contextmanager
def shell(profile: Profile, *argv: str) -> Iterator[Shell]:
    made = Shell(profile, *argv)
    try:
        yield made
    finally:
        made.child.close()
        made.sandbox.hang_up()


def note(profile: Profile, *roots: object) -> list[str]:
    """Run a server whose client answers with these roots; return the messages to the user."""
    with shell(profile) as server:
        server.note(*roots)
    return server.said


def test_roots_are_given_from_the_next_start(home: Path) -> None:
    app, private = home / "app", home / "private"
    for roots, own, other in (((app,), False, False), ((app, private), True, False), ((), 1, 1)):
        with shell(Profile(roots=WRITE_ROOTS)) as server:
            assert server.said == []
            assert (server.run(f"cat {app}/own") == "own") is bool(own)
            assert (CANARY in server.run(f"cat {private}/id")) is bool(other)
            server.note(*roots)
            server.note(*roots)
            (said,) = server.said
            assert "from its next start" in said


def test_roots_that_may_be_read_cannot_be_changed(home: Path) -> None:
    app = home / "app"
    note(Profile(roots=READ_ROOTS), app)
    with shell(Profile(roots=READ_ROOTS)) as server:
        said = server.run(f"cat {app}/own; echo x > {app}/made; mkdir {app}/sub/x; rm {app}/own")
    assert said.startswith("own")
    assert said.count("Read-only") == 3


def test_a_root_gives_no_more_than_a_folder_that_is_named(home: Path) -> None:
    app = home / "app"
    program = write_program(app / "sub" / "server", "#!/bin/sh\nexec /bin/sh\n")
    (app / "dotfiles").mkdir()
    (home / ".ssh").rename(app / "dotfiles" / "ssh")
    (home / ".ssh").symlink_to(app / "dotfiles" / "ssh")
    profile = Profile(roots=WRITE_ROOTS)
    with shell(profile, str(program)) as server:
        server.note(app)
    with shell(profile, str(program)) as server:
        said = server.run(
            f"cd {app}; cat dotfiles/ssh/id; mv dotfiles moved; echo > .git/hooks/pre-commit;"
            " mv .git moved; echo y >> sub/server; mv sub other; ls"
        )
        assert "own" in said, server.said
    assert CANARY not in said
    assert said.count("busy") == 3
    assert not list((app / ".git" / "hooks").iterdir())
    assert program.read_text() == "#!/bin/sh\nexec /bin/sh\n"


def test_what_no_argument_gives_is_no_root(home: Path) -> None:
    (home / "link").symlink_to(".ssh")
    refused: list[object] = [home, home.parent, "/", "/etc", "/usr", home / ".ssh", home / "link"]
    refused += [home / "none", home / "private" / "id", f"{home}/app/../.ssh"]
    refused += [f"{home}/%2essh", {"uri": f"http://x{home}/app"}, {"uri": f"file://x{home}/app"}]
    refused += [{"uri": f"{home}/app"}, {"uri": f"file://{home}/app%00"}, f"{home}/app?x"]
    for mode in (READ_ROOTS, WRITE_ROOTS):
        said = note(Profile(roots=mode), *refused, home / "app", home / ".config")
        assert len(said) >= len(refused) - 3
        assert all("is not given" in text for text in said[:-1])
        with shell(Profile(roots=mode)) as server:
            seen = server.run(f"cat {home}/.ssh/id {home}/link/id {home}/.config/*/id; ls {home}")
            assert CANARY not in seen
            assert seen.splitlines()[-1:] == ["app"]


def test_a_link_of_another_run_is_no_root(home: Path) -> None:
    (home / "private" / "sub").mkdir()
    (home / "front").symlink_to("given")  # the user's own, in the home
    with shell(Profile(write=(f"{home}/given",))) as server:
        server.run(
            f"cd {home}/given; mkdir deep; ln -s {home}/private out; ln -s ../../private deep/out;"
            " ln -s deep/out chain; chmod a-w deep"
        )
    links = [
        home / each
        for each in ("given/out", "given/deep/out", "given/out/sub", "front/out", "given/chain")
    ]
    said = note(Profile(roots=WRITE_ROOTS), *links)
    assert len(said) == len(links)
    assert all("is not given" in text for text in said)
    with shell(Profile(roots=WRITE_ROOTS)) as server:
        assert CANARY not in server.run(f"cat {home}/private/id {links[0]}/id")


def test_a_link_that_no_server_can_have_made_is_followed(home: Path) -> None:
    (home / "work").symlink_to(home / "app")
    (home / "app" / "current").symlink_to("sub")
    (home / "app" / "sub" / "own").write_text("own")
    links = ("work/sub", "work/current")
    for link in links:
        note(Profile(roots=READ_ROOTS), home / link)
        with shell(Profile(roots=READ_ROOTS)) as server:
            assert server.run(f"cat {(home / link).resolve()}/own") == "own"


def test_a_link_that_the_server_made_in_a_root_is_no_root(home: Path) -> None:
    app = home / "app"
    note(Profile(roots=WRITE_ROOTS), app)
    with shell(Profile(roots=WRITE_ROOTS)) as server:
        server.note(app / "sub")  # and then it is replaced
        server.run(f"mv {app}/sub {app}/old; ln -s {home}/private {app}/sub")
    for roots in ((app, app / "sub"), (app / "sub" / "..",)):
        with shell(Profile(roots=WRITE_ROOTS)) as server:
            assert CANARY not in server.run(f"cat {home}/private/id {app}/sub/id")
            server.note(*roots)


def test_many_and_long_addresses_are_told_in_short(home: Path) -> None:
    said = note(Profile(roots=WRITE_ROOTS), "/a" * 500_000, *["/b" * 500_000] * 100, home / "app")
    assert max(map(len, said)) < MOST_SAID
    with shell(Profile(roots=WRITE_ROOTS)) as server:
        assert server.run(f"cat {home}/app/own") == "own"


@each("mode", [READ_ROOTS, WRITE_ROOTS])
def test_a_root_that_becomes_a_link_gives_nothing(mode: str, home: Path) -> None:
    folder, trap = home / "app" / "sub", home / "app" / f"trap-{mode}"
    trap.symlink_to(home / ".ssh")
    note(Profile(roots=mode), folder)
    with swapped(folder, trap):
        for _ in range(GIVES):
            with suppress(LaunchError, PolicyError), shell(Profile(roots=mode)) as server:
                assert CANARY not in server.run(f"cat {folder}/id {home}/.ssh/id; ls {folder}")
                server.note(folder)


def test_without_the_option_no_root_is_given(home: Path) -> None:
    note(Profile(roots=WRITE_ROOTS), home / "app")
    with shell(Profile()) as server:
        server.note(home / "app")
        assert "No such file" in server.run(f"cat {home}/app/own")


def test_a_mode_of_roots_is_read_and_combined() -> None:
    with pytest.raises(PolicyError, match="read, write"):
        roots_mode("all")
    both = Profile(roots=READ_ROOTS).with_more(Profile(roots=WRITE_ROOTS))
    assert both.with_more(Profile()).roots == WRITE_ROOTS


def mounting_process(warden: int) -> int:
    """Find the engine's child that it did not start: it keeps the name of its parent."""
    (engine,) = children(warden)
    (found,) = [
        each
        for each in children(engine)
        if b"bwrap" not in Path(f"/proc/{each}/cmdline").read_bytes()
    ]
    return found


def children(parent: int) -> set[int]:
    """The processes that have this one for their parent."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(path.parent.name))
    return found

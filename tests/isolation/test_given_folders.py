"""Write access to a folder gives a server no more than that, now and at the next start."""

import os
import pwd
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.errors import LaunchError, PolicyError
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.runtimes import folders_among
from pipeguard.isolation.sandbox import Sandbox, this_host
from pipeguard.isolation.servers.starter import ServerStarter
from pipeguard.launch.child import Command
from tests.each import each
from tests.files import write_file, write_program
from tests.isolation.sandboxes import make_home, printed, script
from tests.isolation.test_escapes import CANARY, answering

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folders, secrets = ".ssh .config/gcloud work/data private", ".ssh/id .ssh/known_hosts"
    return make_home(tmp_path, monkeypatch, folders, f"{secrets} .config/gcloud/token private/x")


def ran(profile: Profile, text: str, **variables: str) -> str:
    return printed(script(text), profile, **variables)


def test_what_is_covered_cannot_be_moved_out_of_the_way(home: Path) -> None:
    given = Profile(write=(str(home),))
    assert "busy" in ran(given, f"mv {home}/.config {home}/moved")
    assert CANARY not in ran(given, f"cat {home}/moved/gcloud/token {home}/.config/gcloud/token")
    assert (home / ".config" / "gcloud" / "token").read_text() == CANARY


def test_what_its_folder_gives_anyway_can_be_renamed_and_removed(home: Path) -> None:
    work = home / "work"
    for name in ("file", "gone", "app/.git/hooks/x", "app/y"):
        write_file(work / name, "old")
    inside = (f"{work}/file", f"{work}/gone", f"{work}/data", f"{work}/app")
    text = (
        "echo new > .tmp && mv .tmp file; rm gone; mv data moved; echo > app/.git/hooks/x;"
        " mv app/y y && mv app other"
    )
    said = ran(Profile(write=(str(work), *inside)), f"cd {work}; {text}")
    assert (work / "file").read_text() == "new\n"
    assert not (work / "gone").exists()
    assert (work / "moved").is_dir()
    assert (work / "y").read_text() == "old"
    assert said.count("Read-only") == 1
    assert said.count("busy") == 1
    assert (work / "app" / ".git" / "hooks" / "x").read_text() == "old"


def test_a_file_that_is_given_alone_cannot_be_renamed(home: Path) -> None:
    (home / "work" / "file").write_text("old")
    given = Profile(write=(f"{home}/work/file",))
    said = ran(given, f"cd {home}/work; echo new > file; rm file; echo > t; mv t file")
    assert said.count("busy") == 2
    assert (home / "work" / "file").read_text() == "new\n"


@each("option", ["--read", "--write"])
def test_a_grant_that_became_a_link_of_the_server_gives_nothing(option: str, home: Path) -> None:
    ran(Profile(write=(f"{home}/work",)), f"cd {home}/work; mv data old; ln -s ../private data")
    named, link = {"--write": (f"{home}/work",), "--read": ()}, (f"{home}/work/data",)
    for command, words in (
        (("/bin/true",), {**named, option: named[option] + link}),
        (("/bin/ls", f"{home}/work"), {option: link}),
    ):
        with pytest.raises(PolicyError, match="may have made the link"):
            ServerStarter(WrapOptions(command, {"--isolate": "auto"}, words, ()), {})


def test_a_folder_that_is_run_is_not_given_for_being_among_the_words(home: Path) -> None:
    app = home / "work" / "app"
    app.mkdir()
    writes = "import pathlib, sys\npathlib.Path(sys.path[0], 'planted').write_text('x')\n"
    (app / "__main__.py").write_text(
        f"try:\n    exec({writes!r})\nexcept OSError as error:\n    print(error)\n"
    )
    assert "Read-only" in printed([sys.executable, str(app)])
    assert not (app / "planted").exists()


def test_a_folder_given_to_read_stays_so_as_an_argument(home: Path) -> None:
    for name in ("notes/old", "other/in"):
        (home / name).mkdir(parents=True)
    notes, other = f"{home}/notes", f"{home}/other"
    words = ("server", notes, f"{notes}/old", other, f"{other}/in")
    argv = script('for f in "$@"; do echo x > "$f/new"; done', *words)
    given = Profile(read=(other, f"{notes}/old"))
    assert printed(argv, given).count("Read-only") == 3
    assert [path.relative_to(home).as_posix() for path in home.rglob("new")] == ["notes/new"]
    named = Profile(read=(other,), write=(other,))
    assert "Read-only" not in printed(argv, named)
    assert (home / "other" / "in" / "new").exists()


def test_a_program_in_a_given_folder_cannot_be_changed(home: Path) -> None:
    environment = home / "work" / "env"
    write_file(environment / "pyvenv.cfg", "home = /usr/bin\n")
    program = write_program(environment / "bin" / "server", '#!/bin/sh\neval "$2"\n')
    text = (
        f"exec 2>&1; cd {home}/work; echo x >> env/pyvenv.cfg; echo x >> env/bin/server;"
        " mv env other; echo y > new"
    )
    said = printed([str(program), "-c", text], Profile(write=(f"{home}/work",)))
    assert said.count("Read-only") == 2
    assert "busy" in said
    assert (environment / "pyvenv.cfg").read_text() == "home = /usr/bin\n"
    assert (home / "work" / "new").exists()


def test_one_key_that_is_named_does_not_give_those_beside_it(home: Path) -> None:
    given = Profile(read=(str(home), f"{home}/.ssh/known_hosts"))
    said = ran(given, f"cat {home}/.ssh/known_hosts && echo; cat {home}/.ssh/id")
    assert said.count(CANARY) == 1


def test_keys_that_a_link_leads_to_are_keys(home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / ".ssh").rename(home / "dotfiles" / "ssh")
    (home / ".ssh").symlink_to("dotfiles/ssh")
    (home / ".config").rename(home / "dotfiles" / "config")
    (home / ".config").symlink_to(home / "dotfiles" / "config")
    for given in (str(home), f"{home}/dotfiles"):
        said = ran(
            Profile(write=(given,)),
            f"cat {home}/dotfiles/ssh/id {home}/.ssh/id {home}/dotfiles/config/gcloud/token",
        )
        assert CANARY not in said


def test_the_variables_of_a_server_are_in_no_process_outside(home: Path) -> None:
    command = Command(["/bin/cat"], {"LD_PRELOAD": f"{home}/{CANARY}.so", "TOKEN": "a\nb"}, "/")
    child = Sandbox("given", command, Profile()).start()
    try:
        child.wait_started()
        os.write(child.stdin_fd, b"x")
        assert os.read(child.stdout_fd, 1) == b"x"
        holders = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # not ours to read
                if f"{home}/{CANARY}" in (folder / "environ").read_text("ascii", "replace"):
                    holders.append((folder / "comm").read_text("ascii").strip())
    finally:
        child.close()
    assert holders == ["cat"]


def test_what_variables_hold_arrives(home: Path) -> None:
    said = ran(
        Profile(),
        'printf "%s|" "$LINES_OF" "$BYTES" "$LONG" | wc -c',
        LINES_OF="a\nb=c",
        BYTES=os.fsdecode(b"\xff"),
        LONG="x" * 100_000,
    )
    assert int(said) == 5 + 1 + 100_000 + 3


def test_a_folder_whose_name_is_no_text_is_given(home: Path) -> None:
    folder = os.fsdecode(os.fsencode(home) + b"/work/\xff")
    Path(folder).mkdir()
    ran(Profile(write=(folder,)), "cd $HOME/work/*; touch made")
    assert Path(folder, "made").exists()


def test_a_folder_that_was_removed_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(LaunchError, match="was removed"):
        Sandbox("given", Command(["/bin/true"], {}), Profile())


def test_the_keys_of_the_user_are_keys_whatever_home_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    for home in ("", "/", "/nowhere"):
        monkeypatch.setenv("HOME", home)
        assert f"{real}/.ssh" in this_host().sensitive


def test_a_link_in_a_kept_home_leads_nothing_outside(home: Path) -> None:
    outside = home / "private"
    kept = Profile(keeps_home=True)
    planted = f"ln -s /oldroot{outside} work; ln -s /oldroot{outside}/made file; echo > other"
    ran(kept, f"cd {home}; {planted}")
    (home / "file").write_text(CANARY)
    (home / "other").mkdir()
    given = Profile(
        read=(f"{home}/file",), write=(f"{home}/work/data", f"{home}/other"), keeps_home=True
    )
    text = f"cd {home}; cat file; touch work/data/one other/two; mv work work2"
    for _ in range(2):
        said = ran(given, text)
        assert CANARY in said
        assert "busy" in said
    assert (home / "work" / "data" / "one").exists()
    assert (home / "other" / "two").exists()
    assert [path.name for path in outside.iterdir()] == ["x"]


def test_an_argument_that_became_a_link_of_the_server_gives_nothing(home: Path) -> None:
    work, out = f"{home}/work", f"{home}/work/out"
    text = f"ln -s {home}/private {out}; cat {out}/x"
    argv = script(text, "x", f"{work}/data/../", f"--out={out}")
    for given in (Profile(), Profile(write=(work,))):
        for _ in range(2):
            assert CANARY not in printed(argv, given)
        assert Path(out).is_symlink()
    (home / "link").symlink_to("private")
    words = [f"{home}/link", work, f"{work}/../private"]
    assert folders_among(words, "/", this_host()) == (f"{home}/private", work)


def test_a_home_that_may_be_written_is_not_run_and_keeps_its_keys(home: Path) -> None:
    for name in (".claude", "bin", ".local/bin", ".config/git", "work/bin"):
        (home / name).mkdir(parents=True)
    for name in (".claude/x", ".config/git/credentials"):
        (home / name).write_text(CANARY)
    text = f"cd {home}; cat .claude/x .config/git/credentials; echo > bin/x; echo > .local/bin/x"
    said = ran(Profile(write=(str(home),)), f"{text}; echo > work/bin/x")
    assert CANARY not in said
    assert said.count("Read-only") == 2
    assert (home / "work" / "bin" / "x").exists()


def test_sockets_of_the_session_are_not_given_with_their_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(home / "work" / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r}); print('escaped')"
    given = Profile((sys.prefix, sys.base_prefix), (f"{home}/work",))
    with answering(socket.AF_UNIX, path):
        said = ran(given, f'{sys.executable} -I -c "{code}"')
    assert "Error" in said
    assert "escaped" not in said.splitlines()

"""The dependencies of a program, found on this machine. isolation/runtimes.py."""

import os
import sys
from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation.runtimes import find_runtime, folders_among, paths_among, with_paths
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import SandboxUser
from tests.each import each
from tests.files import write_program

PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def host(home: Path) -> SandboxUser:
    return SandboxUser(
        str(home), "kim", 1000, 1000, sensitive_paths(str(home), []), str(home / "packages")
    )


def needed(host: SandboxUser, *argv: str, folder: str = "/", **env: str) -> set[str]:
    return set(find_runtime(argv, {**PATH, **env}, folder, host).needed)


def test_an_installation_is_given_whole(host: SandboxUser, home: Path) -> None:
    tool = write_program(home / ".nvm" / "v22" / "bin" / "tool")
    found = needed(host, "tool", PATH=f"{tool.parent}:/bin")
    assert str(home / ".nvm" / "v22") in found
    assert str(home) not in found


def test_a_program_in_the_home_itself_is_given_alone(host: SandboxUser, home: Path) -> None:
    tool = write_program(home / "tool")
    assert needed(host, str(tool)) == {str(tool)}
    local = write_program(home / ".local" / "bin" / "tool")
    assert needed(host, str(local)) == {str(local), str(local.parent)}


def test_a_script_is_given_with_its_project(host: SandboxUser, home: Path) -> None:
    script = write_program(home / "app" / "src" / "deep" / "server.py")
    (home / "app" / "pyproject.toml").touch()
    assert str(home / "app") in needed(host, "sh", "src/deep/server.py", folder=str(home / "app"))
    assert str(home / "app") in needed(host, "sh", str(script))


def test_a_folder_that_an_interpreter_runs_is_needed(host: SandboxUser, home: Path) -> None:
    write_program(home / "app" / "__main__.py")
    python = str(write_program(home / "bin" / "python3"))
    assert str(home / "app") in needed(host, python, "app", folder=str(home))
    assert str(home) not in needed(host, python, ".", folder=str(home))  # not the home itself
    write_program(home / "mcp" / "__main__.py")
    assert str(home / "mcp") in needed(host, python, str(home / "mcp"))


def test_a_folder_that_a_server_works_in_is_not_needed(host: SandboxUser, home: Path) -> None:
    """Dependencies are read-only, and `server-filesystem` is there to change its folder."""
    server = write_program(home / "bin" / "mcp-server-filesystem")
    (home / "notes").mkdir()
    assert needed(host, str(server), str(home / "notes")) == needed(host, str(server))
    database = write_program(home / "notes" / "a.sqlite", "")
    assert needed(host, str(server), "--db-path", str(database)) == needed(host, str(server))


def test_a_link_that_the_server_may_have_made_gives_no_file(host: SandboxUser, home: Path) -> None:
    write_program(home / "diary")
    (home / "work").mkdir()
    (home / "work" / "db").symlink_to(home / "diary")
    words = [str(home / "work" / "db")]
    assert [*paths_among(words, "/", host)] == [str(home / "diary")]
    assert not [*paths_among(words, "/", host, [str(home / "work")])]


def test_the_folder_that_a_program_is_told_to_run_in_is_read(host: SandboxUser, home: Path) -> None:
    uv = str(write_program(home / "bin" / "uv"))
    write_program(home / "app" / "server.py")
    app = str(home / "app")
    for words in (
        ("--directory", app, "run", "server.py"),
        ("run", "--directory", "app", "server.py"),
        ("run", f"--project={app}", "server"),
        ("--directory", app, "run", "--project", str(home / "bin"), "server"),
    ):
        assert app in needed(host, uv, *words, folder=str(home)), words
    bun = str(write_program(home / "bin" / "bun"))
    assert app in needed(host, bun, "--cwd", app, "run", "index.ts", folder=str(home))
    (home / "empty").mkdir()
    assert str(home / "empty") not in needed(host, "sh", "-p", "x", folder=str(home / "empty"))
    after = ("run", "server", "--", "--directory", app)
    assert app not in needed(host, uv, *after, folder=str(home))
    assert needed(host, uv, "--directory", str(home)) == needed(host, uv)


def test_a_script_without_a_project_is_given_with_its_folder(host: SandboxUser, home: Path) -> None:
    script = write_program(home / "tools" / "server.sh")
    for words in ((str(script),), ("-lc", str(script)), ("--norc", str(script))):
        assert needed(host, "sh", *words) == {str(script), str(home / "tools")}, words
    loose = write_program(home / "server.sh")
    assert needed(host, "sh", str(loose)) == {str(loose)}


def test_a_module_is_given_with_all_modules(host: SandboxUser, home: Path) -> None:
    script = write_program(home / "app" / "node_modules" / "pkg" / "dist" / "index.js")
    assert str(home / "app" / "node_modules") in needed(host, "sh", str(script))
    assert str(home / "app") not in needed(host, "sh", str(script))


def test_the_interpreter_of_a_first_line_is_needed(host: SandboxUser, home: Path) -> None:
    write_program(home / "node" / "bin" / "mynode")
    script = write_program(home / "app" / "bin" / "run", "#!/usr/bin/env -S mynode --x\n")
    found = needed(host, str(script), PATH=f"{home}/node/bin:/usr/bin:/bin")
    assert str(home / "node") in found


def test_a_circle_of_first_lines_ends(host: SandboxUser, home: Path) -> None:
    one, other = home / "a" / "one", home / "a" / "other"
    write_program(one, f"#!{other}\n")
    write_program(other, f"#!{one}\n")
    assert str(home / "a") in needed(host, str(one))


def test_an_environment_of_python_is_given_with_what_it_is_made_from(host: SandboxUser) -> None:
    found = needed(host, sys.executable)
    assert sys.prefix in found or sys.prefix.startswith("/usr")
    base = os.path.realpath(sys.base_prefix)
    assert base in found or base.startswith("/usr")


def test_what_an_environment_links_to_is_given(host: SandboxUser, home: Path) -> None:
    packages = home / "env" / "lib" / "python3.12" / "site-packages"
    packages.mkdir(parents=True)
    (home / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (home / "source").mkdir()
    (packages / "editable.pth").write_text(f"{home}/source\nimport os\n{home}\n/nowhere\n")
    found = needed(host, str(write_program(home / "env" / "bin" / "server")))
    assert {str(home / "env"), str(home / "source")} <= found
    assert str(home) not in found


def test_a_program_that_cannot_be_run_is_told(host: SandboxUser, home: Path) -> None:
    assert needed(host, "sh", "-c", "x") == set()  # of the system, and its code is no script
    (home / "plain").touch()
    for path, why, code in (
        ("no-such-program", "command not found", 127),
        (f"{home}/gone", "there is no such file", 127),
        (str(home), "it is a directory", 127),
        (f"{home}/plain", "not executable", 126),
    ):
        with pytest.raises(LaunchError, match=why) as caught:
            needed(host, path)
        assert caught.value.exit_code == code


AMONG = {
    "a folder": (["--root={home}/notes", "notes", "./notes", "-v", "/usr"], "notes"),
    "a file": (["--config=app/settings", "/etc/hostname", "app", "http://a/b"], "app/settings"),
    "the home": (["{home}", "/", "{home}/.."], ""),
    "keys": (["{home}/.ssh/id", "./.ssh", "--data={home}/.config/google-chrome/one"], ""),
}


@each("words, found", AMONG)
def test_what_arguments_name_is_given(
    words: list[str], found: str, host: SandboxUser, home: Path
) -> None:
    for name in ("notes", ".config/google-chrome/one"):
        (home / name).mkdir(parents=True, exist_ok=True)
    write_program(home / "app" / "settings")
    write_program(home / ".ssh" / "id")
    named = [*paths_among([word.format(home=home) for word in words], str(home), host)]
    assert named == ([str(home / found)] if found else [])


@each("path", ["/etc", "/var/lib", "/proc/self", "//", "/home"])
def test_folders_of_the_machine_are_not_given_by_an_argument(
    host: SandboxUser, home: Path, path: str
) -> None:
    link = home / path.replace("/", "-")
    link.symlink_to(path)
    words = [path, f"--exclude={path}", f"{path}/", str(link), f"..{path}"]
    assert folders_among(words, "/usr", host) == ()


OWN_WORDS = {
    "a binary": (
        "server",
        ["notes", "--root=notes", "none"],
        ["./notes", "--root=./notes", "none"],
    ),
    "a script's": ("python3", ["-I", "notes", "notes", "-n"], ["-I", "notes", "./notes", "-n"]),
    "a module's": ("python3.12", ["-m", "notes", "notes"], ["-m", "notes", "./notes"]),
    "uv": ("uv", ["--quiet", "run", "notes", "notes"], ["--quiet", "run", "notes", "./notes"]),
    "uv's own": ("uv", ["notes", "notes"], ["notes", "notes"]),
    "paths": ("server", ["./notes", "/notes", "--x=a/b"], ["./notes", "/notes", "--x=a/b"]),
}


@each("case", list(OWN_WORDS))
def test_a_name_alone_is_a_path_where_it_is_a_server_s_own(case: str, tmp_path: Path) -> None:
    program, words, read = OWN_WORDS[case]
    (tmp_path / "notes").mkdir(exist_ok=True)
    assert list(with_paths((program, *words), str(tmp_path))) == read

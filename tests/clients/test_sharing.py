"""A file in a repository is shared, and no program of a repository is run.

Each hostile repository is tried with the commands that a person types in a fresh clone. Its canary
is a file that its program would make; if git is installed, the test shows that git makes it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.clients.machine import Machine, is_in_repository
from tests.files import write_file, write_program

SERVERS = json.dumps({"servers": {"one": {"command": "srv"}}, "mcpServers": {}})
COMMANDS = (
    ["setup"],
    ["setup", "--check"],
    ["setup", "--check", "--json"],
    ["setup", "--dry-run", "--scope", "all"],
    ["setup", "--all", "--yes", "--scope", "project", "--launcher", "/bin/true"],
)
needs_git = pytest.mark.needs("git")
on_posix = pytest.mark.skipif(os.name != "posix", reason="scripts with a shebang")


@pytest.fixture
def user(home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    return Machine("linux", home, {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    return folder


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(
        ["git", *identity, "-c", "protocol.file.allow=always", *words],
        cwd=folder,
        capture_output=True,
        check=True,
    )


def program(path: Path, canary: Path) -> Path:
    return write_program(path, f"#!/bin/sh\necho $0 >> '{canary}'\nexit 1\n")


def pipeguard(*arguments: str, cwd: Path, home: Path, **variables: str) -> int:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],  # else each would compile the rules
        **variables,
        "HOME": str(home),
        "PIPEGUARD_STATE_DIR": str(home / "state"),
    }
    command = [sys.executable, "-P", "-m", "pipeguard", *arguments]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert b"internal error" not in done.stderr
    return done.returncode


@pytest.mark.parametrize("name", [".git/", ".git", "packages/.git"])
def test_a_file_below_git_s_folder_or_file_is_shared(root: Path, name: str) -> None:
    if name.endswith("/"):
        (root / name).mkdir()
    else:
        write_file(root / name, "gitdir: elsewhere")
    write_file(root / ".gitignore", "*")
    assert is_in_repository(write_file(root / "packages/.mcp.json"))


def test_a_link_into_a_repository_is_shared(root: Path, tmp_path: Path) -> None:
    (root / ".git").mkdir()
    link = tmp_path / ".mcp.json"
    link.symlink_to(write_file(root / ".mcp.json"))
    assert is_in_repository(link)


def test_a_file_in_no_repository_is_not_shared(root: Path) -> None:
    assert not is_in_repository(write_file(root / ".mcp.json"))


# --- hostile repositories ---------------------------------------------------------------


def _bare(folder: Path, settings: str) -> None:
    """Make a folder that git takes for a repository, by four names that a clone may contain."""
    write_file(folder / "HEAD", "ref: refs/heads/main\n")
    write_file(folder / "refs" / "keep", "")
    write_file(folder / "objects" / "keep", "")
    write_file(folder / "config", settings)


def _monitor_beside_the_file(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    hook = program(root / "hook", canary)
    (root / ".vscode").mkdir()
    core = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
    core += f'\tworktree = "{root}"\n\tfsmonitor = "{hook}"\n'
    _bare(root / ".vscode", core)


def _settings_of_many_kinds(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    hook = str(program(root / "hook", canary))
    write_file(root / ".gitattributes", "* filter=x diff=x\n")
    for name in ("post-index-change", "post-checkout", "fsmonitor-watchman"):
        program(root / "hooks" / name, canary)
    settings = {
        "core.fsmonitor": hook,
        "core.hooksPath": str(root / "hooks"),
        "core.pager": hook,
        "core.editor": hook,
        "core.sshCommand": hook,
        "filter.x.clean": hook,
        "filter.x.process": hook,
        "diff.x.textconv": hook,
        "diff.external": hook,
        "gpg.program": hook,
        "credential.helper": f"!{hook}",
        "alias.ls-files": f"!{hook}",
        "alias.check-ignore": f"!{hook}",
        "include.path": str(write_file(root / "more", f"[core]\n\tfsmonitor = {hook}\n")),
    }
    for name, value in settings.items():
        git(root, "config", name, value)


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "a monitor beside the file": _monitor_beside_the_file,
    "settings of many kinds": _settings_of_many_kinds,
}


@needs_git
@on_posix
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_no_program_of_a_repository_runs(
    tmp_path: Path, root: Path, user: Machine, make: Callable[[Path, Path], None]
) -> None:
    canary = tmp_path / "canary"
    make(root, canary)
    file = write_file(root / ".vscode" / "mcp.json", SERVERS)
    for arguments in COMMANDS:
        pipeguard(*arguments, cwd=root, home=user.home)
        assert not canary.exists(), arguments
    file.write_text(SERVERS)
    pipeguard("setup", "vscode", "--file", str(file), "--dry-run", cwd=root, home=user.home)
    assert not canary.exists()
    for words in (["ls-files", "mcp.json"], ["check-ignore", "mcp.json"], ["status"]):
        subprocess.run(["git", *words], cwd=file.parent, capture_output=True, check=False)
    assert canary.exists(), "git itself would have run it"


@on_posix
def test_without_git_it_is_told_the_same(tmp_path: Path, root: Path, user: Machine) -> None:
    (root / ".git").mkdir()
    file = write_file(root / ".vscode" / "mcp.json", SERVERS)
    before = file.read_bytes()
    words = ("setup", "vscode", "--scope", "project", "--yes", "--launcher", "/bin/true")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert pipeguard(*words, cwd=root, home=user.home, PATH=str(empty)) == 6
    assert file.read_bytes() == before
    assert pipeguard(*words, "--shared", cwd=root, home=user.home, PATH=str(empty)) == 0
    assert file.read_bytes() != before
    undo = ("setup", "vscode", "--undo", "--scope", "project", "--yes")
    assert pipeguard(*undo, cwd=root, home=user.home, PATH=str(empty)) == 0
    assert file.read_bytes() == before

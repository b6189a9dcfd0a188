"""Git's state is read without git, and no program of a repository is run.

Each hostile repository is tried with the commands that a person types in a fresh clone. Its canary
is a file that its program would make; if git is installed, the test shows that git makes it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.clients.machine import Machine
from pipeguard.clients.sharing import MAX_TEXT_BYTES, find_sharing

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


def touch(path: Path, content: str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(
        ["git", *identity, "-c", "protocol.file.allow=always", *words],
        cwd=folder,
        capture_output=True,
        check=True,
    )


def program(path: Path, canary: Path) -> Path:
    touch(path, f"#!/bin/sh\necho $0 >> '{canary}'\nexit 1\n").chmod(0o755)
    return path


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


# --- what git has, as git itself says it ------------------------------------------------


FILES = (".mcp.json", ".vscode/mcp.json", ".cursor/mcp.json", "packages/a/.vscode/mcp.json")
IGNORED = {
    "nothing": "",
    "the file": ".mcp.json\n",
    "a file that is no folder": "mcp.json/\n",
    "all in it but one": ".vscode/*\n!.vscode/settings.json\n",
    "all in it, and this one back": ".vscode/*\n!.vscode/mcp.json\n",
    "a folder, and what is in it not back": ".vscode\n!.vscode/mcp.json\n",
    "all below but": "packages/**\n!packages/a/\n!packages/a/.vscode/\n!packages/a/**/mcp.json\n",
    "by signs": "*.json\n.cu?sor\n",
    "a comment and blanks": "# .mcp.json\n\n.cursor/mcp.json   \n",
    "all, and folders back": "*\n!*/\n!.mcp.json\n",
    "with carriage returns": ".cursor/\r\n.mcp.json\r\n",
    "more stars than two": "***/mcp.json\n!***/.vscode\n!.vscode/***/mcp.json\n",
    "a comment with what ends a line elsewhere": "# no\x0c*\n# nor\u2028*\n# nor\r*\r\r\n",
}


@needs_git
@pytest.mark.parametrize("ignored", IGNORED.values(), ids=IGNORED)
@pytest.mark.parametrize("place", [".gitignore", "packages/a/.gitignore"])
def test_ignored_files_are_those_that_git_ignores(
    root: Path, user: Machine, ignored: str, place: str
) -> None:
    git(root, "init", "--quiet")
    touch(root / place, ignored)
    for name in FILES:
        touch(root / name)
    command = ["git", "check-ignore", "--stdin", "-z"]
    names = "\0".join(FILES).encode()
    known = subprocess.run(command, cwd=root, input=names, capture_output=True, check=False)
    shared = {name for name in FILES if find_sharing(root / name, user)}
    assert shared == set(FILES) - set(known.stdout.decode().split("\0"))


@needs_git
def test_what_git_has_is_shared_though_it_be_ignored(root: Path, user: Machine) -> None:
    git(root, "init", "--quiet")
    touch(root / ".gitignore", "*\n")
    for name in FILES:
        touch(root / name)
    assert not any(find_sharing(root / name, user) for name in FILES)
    git(root, "add", "--force", *FILES)
    assert all(find_sharing(root / name, user) for name in FILES)
    assert not find_sharing(touch(root / "other.json"), user)


@needs_git
@pytest.mark.parametrize("options", [("index.version=4",), ("core.splitIndex=true",)])
def test_an_index_of_another_kind_has_everything(
    root: Path, user: Machine, options: tuple[str, ...]
) -> None:
    git(root, "init", "--quiet")
    touch(root / ".gitignore", "*\n")
    git(
        root,
        *(word for one in options for word in ("-c", one)),
        "add",
        "-f",
        str(touch(root / "a")),
    )
    assert find_sharing(root / "a", user)


@needs_git
def test_a_worktree_and_a_submodule_have_an_index_of_their_own(
    tmp_path: Path, root: Path, user: Machine
) -> None:
    git(root, "init", "--quiet")
    git(root, "add", str(touch(root / ".mcp.json")), str(touch(root / ".gitignore", ".cursor\n")))
    git(root, "commit", "--quiet", "-m", "first")
    git(root, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    touch(root / ".git/info/exclude", ".windsurf\n")
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "--quiet", "add", str(root), "inner")
    touch(outer / ".gitignore", "*\n")
    for top in (tmp_path / "tree", outer / "inner"):
        assert (top / ".git").is_file()
        assert find_sharing(top / ".mcp.json", user)
        assert find_sharing(touch(top / "new.json"), user)
        assert not find_sharing(touch(top / ".cursor/mcp.json"), user)
    assert not find_sharing(touch(tmp_path / "tree/.windsurf/mcp.json"), user)


@needs_git
def test_a_user_s_own_list_counts(root: Path, user: Machine) -> None:
    git(root, "init", "--quiet")
    file = touch(root / ".claude/settings.local.json")
    assert find_sharing(file, user)
    usual = touch(user.home / ".config/git/ignore", "**/.claude/settings.local.json\n")
    assert not find_sharing(file, user)
    usual.unlink()
    touch(user.home / "mine", ".claude\n")
    touch(user.home / ".gitconfig", "[core]\n\texcludesFile = ~/mine\n")
    assert not find_sharing(file, user)


def test_a_file_in_no_repository_is_not_shared(root: Path, user: Machine) -> None:
    assert not find_sharing(touch(root / ".mcp.json"), user)


# --- what cannot be read counts as shared -----------------------------------------------


def _folder(root: Path) -> Path:
    (root / ".git" / "info").mkdir(parents=True)
    touch(root / ".gitignore", "*\n")
    return root / ".git"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


ODD: dict[str, Callable[[Path], object]] = {
    "an index that is none": lambda root: touch(_folder(root) / "index", "nothing"),
    "an index that is a pipe": lambda root: _pipe(_folder(root) / "index"),
    "an index that leads to itself": lambda root: (_folder(root) / "index").symlink_to("index"),
    "a list without an end": lambda root: touch(
        _folder(root) / "info/exclude", "a\n" * MAX_TEXT_BYTES
    ),
    "a file that leads to another machine": lambda root: touch(root / ".git", "gitdir: //x/y"),
    "a file without an end": lambda root: (root / ".git").symlink_to("/dev/zero"),
}


@on_posix
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_is_not_understood_is_shared(
    root: Path, user: Machine, make: Callable[[Path], object]
) -> None:
    file = touch(root / ".mcp.json")
    make(root)
    assert find_sharing(file, user)


@on_posix
def test_the_same_folder_in_order_is_read(root: Path, user: Machine) -> None:
    _folder(root)
    assert not find_sharing(touch(root / ".mcp.json"), user)


# --- hostile repositories ---------------------------------------------------------------


def _bare(folder: Path, settings: str) -> None:
    """Make a folder that git takes for a repository, by four names that a clone may contain."""
    touch(folder / "HEAD", "ref: refs/heads/main\n")
    touch(folder / "refs" / "keep", "")
    touch(folder / "objects" / "keep", "")
    touch(folder / "config", settings)


def _hostile_partial_clone(folder: Path, canary: Path) -> None:
    """Make an index with a list of ignored files, which git would fetch with their command."""
    git(folder, "init", "--quiet")
    listed = touch(folder / ".gitignore", "x\n")
    git(folder, "add", ".gitignore")
    listed.unlink()
    shutil.rmtree(folder / ".git" / "objects")
    command = f"touch '{canary}' #"
    _bare(
        folder,
        f'[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tworktree = "{folder}"\n'
        '[extensions]\n\tpartialClone = origin\n[remote "origin"]\n\tpromisor = true\n'
        f'\turl = "{folder}"\n\tuploadpack = "{command}"\n',
    )
    shutil.copy(folder / ".git" / "index", folder / "index")
    shutil.rmtree(folder / ".git")
    git(folder, "--git-dir=.", "update-index", "--skip-worktree", ".gitignore")


def _partial_clone_beside_the_file(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    folder = root / ".vscode"
    folder.mkdir()
    _hostile_partial_clone(folder, canary)


def _monitor_beside_the_file(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    hook = program(root / "hook", canary)
    (root / ".vscode").mkdir()
    core = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
    core += f'\tworktree = "{root}"\n\tfsmonitor = "{hook}"\n'
    _bare(root / ".vscode", core)


def _monitor_of_the_top(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    git(root, "config", "core.fsmonitor", str(program(root / "hook", canary)))


def _partial_clone_of_the_top(root: Path, canary: Path) -> None:
    inner = root / "store"
    inner.mkdir()
    _hostile_partial_clone(inner, canary)
    touch(root / ".git", "gitdir: store\n")


def _settings_of_many_kinds(root: Path, canary: Path) -> None:
    git(root, "init", "--quiet")
    hook = str(program(root / "hook", canary))
    touch(root / ".gitattributes", "* filter=x diff=x\n")
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
        "include.path": str(touch(root / "more", f"[core]\n\tfsmonitor = {hook}\n")),
    }
    for name, value in settings.items():
        git(root, "config", name, value)


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    "a partial clone beside the file": _partial_clone_beside_the_file,
    "a partial clone that .git leads to": _partial_clone_of_the_top,
    "a monitor beside the file": _monitor_beside_the_file,
    "a monitor of the top": _monitor_of_the_top,
    "settings of many kinds": _settings_of_many_kinds,
}


@pytest.mark.often("a monitor beside the file", "settings of many kinds")
@needs_git
@on_posix
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_no_program_of_a_repository_runs(
    tmp_path: Path, root: Path, user: Machine, make: Callable[[Path, Path], None]
) -> None:
    canary = tmp_path / "canary"
    make(root, canary)
    file = touch(root / ".vscode" / "mcp.json", SERVERS)
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
    file = touch(root / ".vscode" / "mcp.json", SERVERS)
    before = file.read_bytes()
    words = ("setup", "vscode", "--scope", "project", "--yes", "--launcher", "/bin/true")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert pipeguard(*words, cwd=root, home=user.home, PATH=str(empty)) == 6
    assert file.read_bytes() == before
    touch(root / ".gitignore", ".vscode/\n")
    assert pipeguard(*words, cwd=root, home=user.home, PATH=str(empty)) == 0
    assert file.read_bytes() != before
    undo = ("setup", "vscode", "--undo", "--scope", "project", "--yes")
    assert pipeguard(*undo, cwd=root, home=user.home, PATH=str(empty)) == 0
    assert file.read_bytes() == before

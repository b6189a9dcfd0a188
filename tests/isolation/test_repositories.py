"""The user's next `git status` runs no code that a server put into a project."""

import os
import subprocess
from pathlib import Path

import pytest

from pipeguard.isolation import ServerPreview, run_later
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.extent import compute_extent
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.run_later import find_named, list_submodules
from pipeguard.isolation.sandbox import HOMES, Sandbox
from pipeguard.isolation.servers.extent_report import extent_rows
from pipeguard.launch.child import Command
from tests.each import each
from tests.isolation.containers import engine_here
from tests.isolation.sandboxes import make_home, printed, script

pytestmark = [pytest.mark.needs("bubblewrap"), pytest.mark.needs("git")]

COMMIT = "git -c user.name=a -c user.email=b commit"
GIT = ("git", "-c", "user.name=a", "-c", "user.email=b", "-c", "protocol.file.allow=always")
RAN = "ran"  # the file that a program makes which git ran outside
# Of each way, what a server does in a project, which is `$PWD`; `$evil` are settings for git.
WAYS = {
    "settings": 'printf "$evil" >> .git/config',
    "other settings": (
        "mkdir .x; cp -r .git/objects .git/refs .git/config .x; printf '%s' \"$evil\" >> .x/config;"
        " echo ../.x > .git/commondir"
    ),
    "worktree": (
        "git init -q --bare .x; printf '[core]\\nbare = false\\n%s' \"$evil\" >> .x/config;"
        " echo 'gitdir: .x' > .git"
    ),
    "index": (
        "git init -q sub; git -C sub -c user.name=a -c user.email=b commit -q --allow-empty -m x;"
        " git update-index --add --cacheinfo 160000,$(git -C sub rev-parse HEAD),sub;"
        ' printf "$evil" >> sub/.git/config'
    ),
    "settings of a worktree": 'printf "$evil" > .git/config.worktree',
    "hooks": (
        'mkdir .git/hooks; printf "#!/bin/sh\\ntouch $PWD/ran\\n" > .git/hooks/post-index-change;'
        " chmod +x .git/hooks/post-index-change"
    ),
    "submodule": 'printf "$evil" >> .git/modules/sub/config',
    "file of a submodule": (
        "cp -r .git/modules/sub .x;"
        " printf '[core]\\nworktree = ../sub\\n%s' \"$evil\" >> .x/config;"
        " echo 'gitdir: ../.x' > sub/.git"
    ),
    "submodule that is not there yet": 'git init -q sub; printf "$evil" >> sub/.git/config',
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def made(folder: Path) -> dict[str, Path]:
    """A project for each way."""
    other = repository(folder / "other")
    projects = {way: folder / "given" / str(number) for number, way in enumerate(WAYS)}
    for way, project in projects.items():
        if way == "worktree":
            project.parent.mkdir(parents=True, exist_ok=True)
            git(other, "worktree", "add", "-q", str(project))
            continue
        repository(project)
        if "submodule" in way:
            git(project, "submodule", "add", "-q", str(other), "sub")
            git(project, "commit", "-qm", "sub")
        if way == "submodule that is not there yet":
            git(project, "submodule", "deinit", "-q", "-f", "sub")
        if way == "settings of a worktree":
            git(project, "config", "extensions.worktreeConfig", "true")
    return projects


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "--template=")
    (folder / "file").write_text("own")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "one")
    return folder


def attacks(projects: dict[str, Path]) -> str:
    """Attack each project in its own way; return the output."""
    done = (
        f"(cd '{project}';"
        f" evil='[core]\n\tfsmonitor = \"touch {project}/ran; false\"\n'; {WAYS[way]})"
        for way, project in projects.items()
    )
    return "; ".join(done)


def run_by_git(projects: dict[str, Path]) -> list[str]:
    """The ways in which git ran a program of the server's, when the user asks for the status."""
    found = []
    for way, project in projects.items():
        for path in project.rglob(RAN):
            path.unlink()  # by the server's own git, isolated
        os.utime(project / "file", (1, 1))
        subprocess.run(["git", "status", "-s"], cwd=project, check=False, capture_output=True)
        if any(project.rglob(RAN)):
            found.append(way)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_home(tmp_path, monkeypatch)


def ran(profile: Profile, text: str, engine: str = Isolation.BUBBLEWRAP, *words: str) -> str:
    return printed(script(text, *words), profile, engine=engine)


def test_git_runs_what_a_server_without_isolation_leaves(home: Path) -> None:
    projects = made(home)
    subprocess.run(script(attacks(projects)), check=True, capture_output=True)
    assert run_by_git(projects) == list(WAYS)


@pytest.mark.often("*-bubblewrap", "what they are-container")
@pytest.mark.parametrize("engine", [Isolation.BUBBLEWRAP, Isolation.CONTAINER])
@pytest.mark.parametrize("given", ["each project", "what they are in", "what is above that"])
def test_git_runs_nothing_that_an_isolated_server_leaves(
    given: str, engine: str, home: Path
) -> None:
    if engine == Isolation.CONTAINER:
        engine_here(home.parent / "state" / HOMES)
    projects = made(home / "work")
    folders = {
        "each project": tuple(map(str, projects.values())),
        "what they are in": (f"{home}/work/given",),
        "what is above that": (f"{home}/work",),
    }
    said = ran(Profile(write=folders[given]), attacks(projects), engine)
    assert "Read-only file system" in said
    assert run_by_git(projects) == []
    assert said.count("busy") == 0


@pytest.mark.parametrize("engine", [Isolation.BUBBLEWRAP, Isolation.CONTAINER])
def test_what_is_run_later_is_only_read_in_projects_below(engine: str, home: Path) -> None:
    if engine == Isolation.CONTAINER:
        engine_here(home.parent / "state" / HOMES)
    held = {project / name: name for project in later_projects(home) for name in LATER}
    innocent = [project / name for project in later_projects(home) for name in INNOCENT]
    for path in (*held, *innocent):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("own\n")
    changes = "; ".join(f"echo x >> '{path}'" for path in (*held, *innocent))
    moves = "; ".join(f"mv '{path.parent}' '{path.parent}.old'" for path in held)
    linked = home / "work" / "shared"
    linked.mkdir()
    (home / "work" / "app" / ".cursor").symlink_to(linked)
    changes += f"; touch '{linked}/new'"
    said = ran(
        Profile(write=(f"{home}/work",)), f"{changes}; {moves}; cat {next(iter(held))}", engine
    )
    assert "own" in said.splitlines()
    assert [path for path in held if not path.exists() or path.read_text() != "own\n"] == []
    assert {path.read_text() for path in innocent} == {"own\nx\n"}
    assert not (linked / "new").exists()


LATER = (".claude/settings.json", ".mcp.json", ".vscode/tasks.json", ".husky/pre-commit")
INNOCENT = ("main.py", ".vscode-notes.txt", "src/.editorconfig", "claude/settings.json")


def later_projects(home: Path) -> list[Path]:
    return [home / "work" / name for name in ("", "app", "group/app", "a/b/c/.d/e/app")]


def test_what_is_named_by_hand_may_be_changed(home: Path) -> None:
    project = repository(home / "project")
    commit = f"cd {project}; echo x > made; git add made; {COMMIT} -qm two"
    given = Profile(write=(str(project), f"{project}/.git"))
    ran(given, commit)
    assert "two" in git(project, "log", "--oneline")
    alone = Profile(read=(str(project),), write=(f"{project}/.git",))
    ran(alone, f"cd {project}; git config a.b c; echo > lost")
    assert git(project, "config", "a.b") == "c\n"
    assert not (project / "lost").exists()


def test_a_server_of_git_commits_and_keeps_hooks_and_settings(home: Path) -> None:
    project = repository(home / "projects" / "one")
    (project / ".git" / "hooks").mkdir()
    given = Profile(write=(f"{home}/projects",), serves_git=True)
    said = ran(
        given,
        f"cd {project}; echo x > made; git add made; {COMMIT} -qm two;"
        " git config a.b c; echo > .git/hooks/post-commit",
    )
    assert "two" in git(project, "log", "--oneline")
    assert "cannot create .git/hooks" in said
    assert "could not write config" in said
    assert not list((project / ".git" / "hooks").iterdir())


def test_an_argument_gives_no_repository_s_own_folder_to_be_changed(home: Path) -> None:
    project = repository(home / "project")
    text = f"cd {project}; cat .git/HEAD; echo > .git/commondir; echo > made"
    said = ran(
        Profile(), text, Isolation.BUBBLEWRAP, "server", str(project), f"--exclude={project}/.git"
    )
    assert "ref: " in said
    assert "Read-only" in said
    assert (project / "made").exists()
    assert not (project / ".git" / "commondir").exists()


@pytest.mark.parametrize("version", ["2", "4"])
@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_submodules_are_those_of_the_index(version: str, kind: str, home: Path) -> None:
    inner = home / "inner"
    top = home / "top"
    for folder in (inner, top):
        git(home, "init", "-q", f"--object-format={kind}", str(folder))
        git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    number = git(inner, "rev-parse", "HEAD").strip()
    for name in ("a", "a/b", "some/where/deep/c", "n" * 200, "u ü"):
        (top / name).mkdir(parents=True)
        git(top, "update-index", "--add", "--cacheinfo", f"160000,{number},{name}/sub")
        (top / name / "sub").mkdir()
        (top / name / "file").write_text("x")
    git(top, "add", "a/file", "some")
    git(top, "update-index", "--index-version", version)
    (top / "a" / "sub" / ".git").write_text("gitdir: none")
    found = {Path(path).relative_to(top).as_posix() for path in list_submodules(f"{top}/.git")}
    others = ("a/b", "some/where/deep/c", "n" * 200, "u ü")
    assert found == {"a/sub/.git", *(f"{name}/sub" for name in others)}


def test_only_so_far_is_looked_for_repositories(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = ["/".join("abcdefghijk"[:depth]) for depth in range(2, 12)]
    seen = ("a", ".hidden", *deep[:-1])
    for name in (*seen, deep[-1], ".venv/x", "node_modules/x"):
        (home / name / ".git").mkdir(parents=True)
    for number in range(run_later.MOST_ENTRIES):
        (home / ".hidden" / str(number)).touch()
    assert list(find_named(str(home), [".git"])) == [f"{home}/{name}/.git" for name in seen]
    monkeypatch.setattr(run_later, "MOST_ENTRIES", 0)
    assert list(find_named(str(home), [".git"])) == []


@each("server", ["of git", "named", "other"])
def test_it_is_told_where_a_server_may_have_git_run_programs(server: str, home: Path) -> None:
    project = home / "projects" / "one"
    if not project.exists():
        repository(project)
    profiles = {
        "of git": Profile(write=(f"{home}/projects",), serves_git=True),
        "named": Profile(write=(f"{home}/projects", f"{project}/.git")),
        "other": Profile(write=(f"{home}/projects",)),
    }
    command = Command(["/bin/sh"], {"PATH": os.defpath}, "/")
    extent = compute_extent(
        Isolation.BUBBLEWRAP, Sandbox("git", command, profiles[server]).seen, ()
    )
    rows = extent_rows(ServerPreview(extent))
    told = ("~/projects/one/.git", "run at your next git command")
    assert (told in rows.get("changes in git", ())) == (server != "other")
    assert (("~/projects/one/.git", "") in rows.get("only reads", ())) == (server == "other")

"""The parts of the user's configuration that a git server gets. isolation/git_settings.py."""

import json
import os
import re
from pathlib import Path

import pytest

from pipeguard.isolation.git_settings import IGNORED, PLACE, find_settings
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import SandboxUser
from tests.commands import run_command
from tests.isolation.test_wrapped import Isolated
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.needs("git")


def made(home: Path) -> SandboxUser:
    """A user with an identity, another for one folder, and secrets in the same file."""
    (home / ".config/git").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh/key").write_text("SECRET")
    (home / ".config/git/ignore").write_text("*.log\n")
    (home / ".gitconfig").write_text(
        "[include] path = names.inc\n"
        '[includeIf "gitdir:~/work/"] path = ~/work.inc\n'
        "[core]\n\tattributesFile = ~/.ssh/key\n\tsshCommand = SECRET\n\tautocrlf = input\n"
        "[credential] helper = SECRET\n[http] extraHeader = SECRET\n[commit] gpgSign = true\n"
        '[url "https://SECRET@host/"] insteadOf = https://host/\n'
    )
    (home / "names.inc").write_text(
        '[user]\nname = "Ada \\"A\\" # B"  # who\nemail = ada@home.test'
    )
    (home / "work.inc").write_text("[user] email = ada@work.test\n[http] proxy = SECRET\n")
    text = str(home)
    return SandboxUser(text, "ada", 1000, 1000, sensitive_paths(text, ()), "/packages")


def given(home: Path, folder: Path, **variables: str) -> tuple[str, dict[str, str]]:
    """Return the file that a server gets, and the sources of the mounts next to it."""
    mounts = [*find_settings(made(home), {"PATH": os.environ["PATH"], **variables}, str(folder))]
    texts = [each.source for each in mounts if each.path == PLACE]
    return "".join(texts), {each.path: each.source for each in mounts if each.path != PLACE}


def test_no_secret_and_no_program_is_given(tmp_path: Path) -> None:
    text, beside = given(tmp_path, tmp_path)
    assert not re.search(r"SECRET|gpg|attributes", text)
    assert 'name = "Ada \\"A\\" # B"\n' in text
    assert 'email = "ada@home.test"' in text
    assert 'autocrlf = "input"' in text
    assert beside == {IGNORED: str(tmp_path / ".config/git/ignore")}


def test_the_file_that_a_variable_names_is_read_instead_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("[user] name = Other\n[core] excludesFile = ~/.ssh/key")
    text, beside = given(tmp_path, tmp_path, GIT_CONFIG_GLOBAL=str(tmp_path / "other"))
    assert text == '[user]\n\tname = "Other"\n'
    assert not beside, "what has to be named is no list"


@pytest.mark.parametrize("broken", ["[user", "[core] excludesFile = ~/pipe"])
def test_nothing_unreadable_is_given_or_waited_for(broken: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "other").write_text(broken)
    text, beside = given(tmp_path, tmp_path, GIT_CONFIG_GLOBAL=str(tmp_path / "other"))
    assert ("user" in text, len(beside)) == (False, broken.startswith("[user"))


@pytest.mark.often("work/project-npx*")
@pytest.mark.needs("bubblewrap")
@pytest.mark.real
@pytest.mark.parametrize("server", ["uvx mcp-server-git", "npx -y @cyanheads/git-mcp-server"])
@pytest.mark.parametrize("folder", ["work/project", "project"])
def test_a_git_server_commits_as_the_user_does(
    server: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path.resolve() / "home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    home.mkdir()
    made(home)
    repository = home / folder
    repository.mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: str) -> str:
        said = run_command(["git", "-C", repository, *words], env=environment, check=True)
        return said.stdout.strip()

    git("init", "--quiet")
    git("-c", "commit.gpgSign=false", "commit", "--allow-empty", "-qm", "bare")
    (repository / "one").write_text("1")
    (repository / "a.log").write_text("1")
    key = "repo_path" if server.startswith("uvx") else "path"
    place: Object = {key: str(repository)}
    git("add", "one")
    with Isolated(
        tmp_path, "--isolate", "auto", "--write", str(repository), command=tuple(server.split())
    ) as run:
        run.ready()
        said = [
            run.ask("tools/call", name="git_status", arguments=place),
            run.ask("tools/call", name="git_commit", arguments={**place, "message": "isolated"}),
        ]
    assert git("log", "-1", "--format=%s") == "isolated", said
    bare, isolated = (
        git("log", "-1", "--format=%an <%ae> %cn <%ce>", each) for each in ("HEAD~1", "HEAD")
    )
    assert isolated == bare
    assert ("work" in isolated) is ("work" in folder)
    assert "a.log" not in json.dumps(said[0])

"""What a git server is given of the user's configuration. isolation/git_settings.py."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipeguard.isolation.git_settings import PLACE, read_settings
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import SandboxUser
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
    (home / "names.inc").write_text("[user]\nname = Ada\nemail = ada@home.test")
    (home / "work.inc").write_text("[user] email = ada@work.test\n[http] proxy = SECRET\n")
    text = str(home)
    return SandboxUser(text, "ada", 1000, 1000, sensitive_paths(text, ()), "/packages")


def test_no_secret_and_no_program_is_given(tmp_path: Path) -> None:
    settings = read_settings(made(tmp_path), {})
    whole = "".join(settings.texts.values())
    assert "SECRET" not in whole
    assert "gpg" not in whole
    assert "autocrlf" in whole
    assert "*.log" in whole
    assert PLACE in settings.texts
    assert str(tmp_path / ".gitconfig") in settings.sources
    assert str(tmp_path / ".ssh/key") not in settings.sources


def test_the_file_that_a_variable_names_is_read_in_place_of_the_others(tmp_path: Path) -> None:
    host = made(tmp_path)
    (tmp_path / "other").write_text("[user] name = Other\n")
    settings = read_settings(host, {"GIT_CONFIG_GLOBAL": str(tmp_path / "other")})
    assert "Other" in settings.texts[PLACE]
    assert "Ada" not in "".join(settings.texts.values())


def test_a_condition_and_what_git_quotes_stay(tmp_path: Path) -> None:
    host = made(tmp_path)
    (tmp_path / ".gitconfig").write_text(
        '[user] name = "Ada # \\"A\\" "  # who\n[includeIf "gitdir:./w/\\"x\\"/"] path = work.inc\n'
    )
    texts = read_settings(host, {"PATH": os.environ["PATH"]}).texts
    assert '\tname = "Ada # \\"A\\" "\n' in texts[PLACE]
    assert f'[includeIf "gitdir:{tmp_path}/w/\\"x\\"/"]' in texts[PLACE]
    assert any("ada@work.test" in text for place, text in texts.items() if place != PLACE)


def test_files_that_include_each_other_under_a_condition_end(tmp_path: Path) -> None:
    host = made(tmp_path)
    with (tmp_path / "work.inc").open("a") as file:
        file.write('[includeIf "gitdir:~/work/"] path = work.inc\n')
    assert "ada@work.test" in "".join(read_settings(host, {}).texts.values())


def test_a_configuration_that_git_cannot_read_gives_nothing(tmp_path: Path) -> None:
    host = made(tmp_path)
    (tmp_path / ".gitconfig").write_text("[user")
    assert "user" not in read_settings(host, {}).texts.get(PLACE, "")


def test_a_list_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    host = made(tmp_path)
    (tmp_path / ".config/git/ignore").unlink()
    os.mkfifo(tmp_path / ".config/git/ignore")
    read_settings(host, {})


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
        said = subprocess.run(
            ["git", "-C", repository, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
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

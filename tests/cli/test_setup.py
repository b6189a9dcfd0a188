"""`pipeguard setup`: a home folder with eight clients at once, as a new user would meet it."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeguard.auth.place import Place
from pipeguard.auth.secrets import store
from pipeguard.cli import cli
from pipeguard.cli.setup import command
from pipeguard.clients import files, readiness
from pipeguard.clients.edit import edit_entries
from pipeguard.clients.entries import MAX_ENTRIES_CHARS
from pipeguard.clients.history import records
from pipeguard.config import directories
from pipeguard.config.user_policy import usual_policy_path
from tests.files import write_file, write_program
from tests.people import on_terminal
from tests.snapshot import FOLDER, Snapshot

SECRET = "zq7" + "Rt55Kp0s81Lm"  # of no real service
FILES = {
    ".claude.json": """{
  "numStartups": 12,
  "oauthAccount": {"accessToken": "SECRET"},
  "mcpServers": {
    "files": {"type": "stdio", "command": "npx", "args": ["-y", "srv"], "env": {"KEY": "SECRET"}},
    "api": {"type": "http", "url": "https://x.test/mcp",
            "headers": {"Authorization": "Bearer SECRET"}}
  }
}
""",
    ".config/Claude/claude_desktop_config.json": (
        '{"mcpServers": {"time": {"command": "uvx", "args": ["t"]}}}'
    ),
    ".cursor/mcp.json": '{"mcpServers": {"login": {"url": "https://x.test/mcp"}}}',
    ".config/Code/User/mcp.json": """{
  // mine
  "servers": {"files": {"type": "stdio", "command": "srv", "args": ["--api-key", "SECRET"],},},
}
""",
    ".codex/config.toml": """[mcp_servers.notes]
command = "srv" # mine

[mcp_servers.notes.env]
K = "SECRET"
""",
    ".gemini/settings.json": '{"mcpServers": {"web": {"httpUrl": "http://localhost:9/mcp"}}}',
    ".config/goose/config.yaml": """extensions:
  dev: {type: builtin, enabled: true}
  fs:
    type: stdio
    cmd: srv
    args: []
    envs: {T: SECRET}
    enabled: true
""",
    ".config/opencode/opencode.json": '{"mcp": {"fs": {"type": "local", "command": ["srv", "a"]}}}',
}
OPEN = 8  # of the servers in them, that can be guarded


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the files of eight clients, and an installed pipeguard."""
    folder = tmp_path / "home"
    for name, text in FILES.items():
        write_file(folder / name, text.replace("SECRET", SECRET))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def launcher(tmp_path: Path) -> str:
    return str(write_program(tmp_path / "bin" / "pipeguard"))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert SECRET not in result.output
    return result


def contents(home: Path) -> dict[str, str]:
    return {name: (home / name).read_text() for name in FILES}


def test_all_is_shown_and_nothing_changed(home: Path, launcher: str, snapshot: Snapshot) -> None:
    before = contents(home)
    snapshot.commands("setup", "setup  # 1\nsetup --json  # 1")
    snapshot.commands("setup-dry-run", f"setup --all --dry-run --launcher {launcher}  # 1")
    (home / ".codeium" / "windsurf").mkdir(parents=True)
    snapshot.commands("setup-no-servers", "setup  # 1")
    assert contents(home) == before
    assert records() == []


def test_no_secret_is_shown() -> None:
    assert [file for file in FOLDER.glob("setup*") if SECRET in file.read_text("utf-8")] == []


def test_all_is_guarded_and_given_back(home: Path, launcher: str) -> None:
    before = contents(home)
    result = run("--all", "--yes", "--launcher", launcher)
    assert result.exit_code == 6  # the one that logs in cannot be
    assert sum(text.count(launcher) for text in contents(home).values()) == OPEN
    again = run("--all", "--yes", "--launcher", launcher)
    assert again.exit_code == 6
    assert "Guarded" not in again.output
    assert len(records()) == 7
    undone = run("--undo", "--all", "--yes")
    assert undone.exit_code == 0
    assert contents(home) == before
    assert records() == []
    assert run("--undo", "--all", "--yes").exit_code == 7


def test_without_records_all_entries_are_opened_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"command": "pipeguard", "args": ["wrap", "--name", "it", "--", "srv", "a"]}
    path = home / ".cursor" / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {f"it-{number}": entry for number in range(300)}}))
    edits: list[object] = []

    def edit(*of: Any) -> Any:
        edits.append(of)
        return edit_entries(*of)

    monkeypatch.setattr("pipeguard.clients.edit.edit_entries", edit)
    done = run("--undo", "cursor", "--yes")
    assert (done.exit_code, "Restored the entries in ~" in done.output) == (0, True)
    assert len(edits) == 1
    assert path.read_text().count('{"command": "srv", "args": ["a"]}') == 300


def test_a_client_that_writes_its_guard_back_is_noticed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"command": "pipeguard", "args": ["wrap", "--name", "it", "--", "srv", "a"]}
    path = home / ".cursor" / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"it": entry}}))
    replace, before = files.replace, path.read_bytes()

    def write_back(real: Path, content: bytes, digest: str) -> None:
        replace(real, content, digest)
        real.write_bytes(before)

    monkeypatch.setattr(files, "replace", write_back)
    done = run("--undo", "cursor", "--yes")
    assert (done.exit_code, "PipeGuard still starts it; its client may" in done.output) == (5, True)
    assert "Restored" not in done.output


def test_uninstalling_removes_the_guard_and_names_what_is_left(
    home: Path, launcher: str, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.setattr(readiness, "directories", directories)
    caches = home / "caches"
    ignored = shutil.ignore_patterns("clean-*")
    shutil.copytree(directories.cache_folder(), caches / "pipeguard", ignore=ignored)
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    before = contents(home)
    (home / ".bashrc").write_text('alias a=b\neval "$(pipeguard completion bash)"\n')
    run("--all", "--yes", "--launcher", launcher)
    guarded = contents(home)
    write_file(Path(usual_policy_path()).with_name("approval-token"), "its hash")
    snapshot.commands("uninstall-dry", "uninstall --dry-run  # 1\nuninstall  # 1")
    assert contents(home) == guarded
    snapshot.commands("uninstall", "uninstall --yes\nuninstall --yes")
    assert contents(home) == before


def test_what_only_pipeguard_reads_is_told_before_its_removal(home: Path, launcher: str) -> None:
    entry = {"command": "srv", "args": ["--key=keyring:demo"], "env": {"TOKEN": "keyring:demo"}}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": {"it": entry}}))
    assert "--key=keyring:demo" in run("cursor", "--yes", "--launcher", launcher).output
    store("demo", SECRET, Place.FILE)
    told = CliRunner().invoke(cli, ["uninstall", "--dry-run"]).output
    assert "it: the variable TOKEN is `keyring:demo`, which only PipeGuard reads: put its" in told
    assert "it: the argument --key is `keyring:demo`" in told
    assert "the secrets demo" in told


def test_what_could_not_be_read_and_undone_is_not_written(home: Path, launcher: str) -> None:
    path = home / ".cursor" / "mcp.json"
    entry = {"command": "srv", "args": ["a" * (MAX_ENTRIES_CHARS - 50)]}
    path.write_text(json.dumps({"mcpServers": {"it": entry}}))
    before = path.read_bytes()
    done = run("cursor", "--yes", "--launcher", launcher)
    assert done.exit_code == 5
    assert "too large to read" in done.output
    assert path.read_bytes() == before


def test_programs_get_json(home: Path, launcher: str, snapshot: Snapshot) -> None:
    snapshot.commands(
        "setup-json",
        f"""
        setup cursor codex --json --yes --launcher {launcher}  # 6
        setup --undo --all --yes --json
        """,
    )


def test_a_check_for_ci_says_how_it_stands(home: Path, launcher: str) -> None:
    assert run("--check", "codex").exit_code == 1
    assert run("--check", "cursor").exit_code == 6
    assert run("--check", "windsurf").exit_code == 7
    run("codex", "--yes", "--launcher", launcher)
    assert run("--check", "codex").exit_code == 0
    (home / ".codex" / "config.toml").write_text("[")
    assert run("--check", "codex").exit_code == 5


def test_the_beginning_of_a_name_means_every_client_that_has_it(home: Path, launcher: str) -> None:
    before = contents(home)
    done = run("claude", "--yes", "--launcher", launcher)
    changed = {name for name, text in contents(home).items() if text != before[name]}
    assert changed == {".claude.json", ".config/Claude/claude_desktop_config.json"}
    assert "claude.ai" not in done.output
    assert run("--undo", "claude", "--yes").exit_code == 0
    assert contents(home) == before


def test_one_broken_file_does_not_keep_the_others(
    home: Path, launcher: str, snapshot: Snapshot
) -> None:
    (home / ".gemini" / "settings.json").write_text("{")
    snapshot.commands("setup-broken", f"setup gemini-cli codex --yes --launcher {launcher}  # 5")
    assert (home / ".gemini" / "settings.json").read_text() == "{"
    assert launcher in (home / ".codex" / "config.toml").read_text()


def test_what_cannot_be_is_refused(home: Path, launcher: str, snapshot: Snapshot) -> None:
    before = contents(home)
    snapshot.commands(
        "setup-refused",
        """
        setup --all cursor  # 2
        setup --yes  # 2
        setup --check --yes --all  # 2
        setup --file .  # 2
        setup cursr  # 2
        setup claud  # 2
        setup nothing-like-it  # 2
        setup visual --check --scope project  # 7
        setup cursor --server nope  # 2
        setup cursor --launcher nowhere --yes  # 2
        setup cherry-studio  # 7
        setup chatgpt  # 7
        setup copilot-cloud-agent  # 7
        """,
    )
    run("claude-code", "--yes", "--launcher", launcher)
    snapshot.commands("setup-undo-refused", "setup --undo --all --yes --server nope  # 2")
    assert run("--undo", "--all", "--yes").exit_code == 0
    assert contents(home) == before


def project(home: Path, *, in_git: bool) -> Path:
    folder = home / "work"
    (folder / ".cursor").mkdir(parents=True)
    (folder / ".cursor" / "mcp.json").write_text('{"mcpServers": {"it": {"command": "srv"}}}')
    if in_git:
        (folder / ".git").mkdir()
    return folder


def test_a_file_of_git_gets_no_path_of_this_machine(home: Path, launcher: str) -> None:
    folder = project(home, in_git=True)
    where = ("cursor", "--scope", "project", "--project", str(folder), "--launcher", launcher)
    assert run(*where, "--yes").exit_code == 6
    assert run(*where, "--yes", "--shared").exit_code == 0
    text = (folder / ".cursor" / "mcp.json").read_text()
    args = '["wrap", "--name", "it", "--", "srv"]'
    assert text == f'{{"mcpServers": {{"it": {{"command": "pipeguard", "args": {args}}}}}}}'
    assert run("--check", "--scope", "project", "--project", str(folder)).exit_code == 0


def test_with_a_scope_only_its_files_are_undone(home: Path, launcher: str) -> None:
    where = ("--project", str(project(home, in_git=False)))
    before = contents(home)
    run("--all", "--scope", "all", *where, "--yes", "--launcher", launcher)
    guarded = contents(home)
    assert run("--undo", "--scope", "project", *where, "--all", "--yes").exit_code == 0
    assert contents(home) == guarded
    assert launcher not in (home / "work" / ".cursor" / "mcp.json").read_text()
    done = run("--all", "--scope", "project", *where, "--yes", "--launcher", launcher)
    assert f"Undo it:  pipeguard setup --undo --scope project --project={where[1]}\n" in done.output
    assert run("--undo", "--scope", "user", *where, "--all", "--yes").exit_code == 0
    assert contents(home) == before
    assert launcher in (home / "work" / ".cursor" / "mcp.json").read_text()
    assert run("--undo", "--all", "--yes").exit_code == 0  # in the project too, wherever one is
    assert launcher not in (home / "work" / ".cursor" / "mcp.json").read_text()


def test_the_command_that_is_advised_chooses_what_was_chosen(home: Path, launcher: str) -> None:
    """The command that a person is told to type changes exactly the servers that were shown."""

    def advised(output: str) -> list[str]:
        (line,) = (line for line in output.splitlines() if " --yes" in line)
        return shlex.split(line.rpartition("pipeguard setup ")[2])

    only = ("cursor", "--server", "login", "--no-login")
    before = contents(home)
    run(*advised(run(*only, "--launcher", launcher).output))
    after = contents(home)
    assert [name for name in FILES if after[name] != before[name]] == [".cursor/mcp.json"]
    assert '"login", "--upstream", "https://x.test/mcp"' in after[".cursor/mcp.json"]
    run("--all", "--yes", "--launcher", launcher)
    guarded = contents(home)
    run(*advised(run("--undo", "claude-code", "--server", "files").output))
    after = contents(home)
    assert [name for name in FILES if after[name] != guarded[name]] == [".claude.json"]


def test_what_is_only_shown_makes_no_folder(home: Path, launcher: str) -> None:
    def folders() -> set[Path]:
        return {path for path in home.rglob("*") if path.is_dir()}

    before = folders()
    assert run("--dry-run", "--launcher", launcher).exit_code == 1
    assert run("--check").exit_code == 1
    assert run("--undo", "--dry-run").exit_code == 7
    assert folders() == before
    assert not (home.parent / "state").exists()


def test_a_file_anywhere_can_be_named(home: Path, launcher: str) -> None:
    path = write_file(home / "elsewhere" / "mcp.json", '{"servers": {"it": {"command": "srv"}}}')
    assert run("vscode", "--file", str(path), "--yes", "--launcher", launcher).exit_code == 0
    assert launcher in path.read_text()


def test_an_invalid_policy_is_told_before_a_question(home: Path, launcher: str) -> None:
    write_file(home / ".config" / "pipeguard" / "policy.yaml", "mode: nope")
    before = contents(home)
    code, output = on_terminal("setup", "y", "--launcher", launcher)
    assert (code, contents(home)) == (2, before)
    assert "`nope` is not one of enforce, observe" in output
    assert "Guard" not in output
    assert run("--check").exit_code != 2


def test_a_guarded_entry_whose_program_is_gone_is_told(home: Path, launcher: str) -> None:
    entry = {"command": launcher, "args": ["wrap", "--", "/no/such/srv", "a"]}
    path = home / ".cursor" / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"one": entry}}))
    checked = run("cursor", "--check")
    assert (checked.exit_code, "does not exist: /no/such/srv" in checked.output) == (6, True)


def test_two_clients_that_share_a_file_by_a_link_have_one_change(home: Path, launcher: str) -> None:
    link = home / ".cursor" / "mcp.json"
    link.unlink()
    link.symlink_to(home / ".config" / "Claude" / "claude_desktop_config.json")
    before = contents(home)
    done = run("cursor", "claude-desktop", "--yes", "--launcher", launcher)
    assert (done.exit_code, done.output.count("Guarded time")) == (0, 1)
    assert "Cursor, Claude Desktop  ~/" in done.output
    assert json.loads(run("--undo", "cursor", "--yes", "--json").output)["files"][0]["servers"]
    assert contents(home) == before


def test_a_person_is_asked(home: Path, launcher: str) -> None:
    before = contents(home)
    code, output = on_terminal("setup", "n", "--launcher", launcher)
    assert (code, contents(home)) == (1, before)
    told, question, _ = output.partition("Guard 8 servers in 7 files? [y/N]")
    assert question
    assert "Claude Code: Close running sessions first" in told
    assert "pipeguard auth login https://x.test/mcp" in output
    code, output = on_terminal("setup", "y", "--launcher", launcher)
    assert code == 6
    assert "Undo it:  pipeguard setup --undo" in output
    code, output = on_terminal("setup", "y", "--undo")
    assert (code, contents(home)) == (0, before)
    assert "Remove the guard? [y/N]" in output


# What a repository calls its files and servers: a terminal's sequences, and a CI system's commands.
OBEYED = "x\x1b]0;x\x07\u202e\r\n::add-mask::x ##vso[task.setvariable variable=PATH]x ##[error]x"


@pytest.mark.skipif(os.name != "posix", reason="other systems take no such name for a file")
def test_no_name_of_a_repository_is_obeyed(
    home: Path, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(home, in_git=True) / ".continue/mcpServers"
    folder.mkdir(parents=True)
    monkeypatch.chdir(home / "work")
    entry = {"name": OBEYED, "command": "srv", "args": [OBEYED]}
    (folder / f"{OBEYED}.yaml").write_text(json.dumps({"mcpServers": [entry]}))
    (folder / f"{OBEYED}-broken.yaml").write_text("mcpServers: [")
    for arguments in (
        "--check",
        "--check --json",
        f"--dry-run --scope all --shared --launcher {launcher}",
        "continue --server nope --check",
        f"--all --yes --scope all --shared --launcher {launcher}",
    ):
        done = CliRunner().invoke(command, arguments.split())
        told = f"{done.output}{done.stderr}{done.exception}"
        lines = told.split("\n")
        assert not [line for line in lines if not line.isprintable()]
        assert not [line for line in lines if line.startswith("::") or "##" in line]
        if "--json" in arguments:
            files = json.loads(done.output)["files"]
            assert OBEYED in [one["name"] for file in files for one in file["servers"]]

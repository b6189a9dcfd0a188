"""`pipeguard setup --isolate`: its changes, messages, refusals and undo."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.setup import command
from tests.files import write_program
from tests.snapshot import Snapshot

ENTRIES = """{"mcpServers": {
  "files": {"command": "npx", "args": ["-y", "srv"], "env": {"KEY": "x"}},   // mine
  "api":  {"url": "http://localhost:9/mcp"},
  "held": {"command": "LAUNCHER", "args": ["wrap", "--name", "a", "--observe", "--", "srv", 7]},
  "kept": {"command": "LAUNCHER", "args": ["wrap", "--isolate", "bubblewrap", "--", "srv"]},
  "bare": {"command": "LAUNCHER", "args": ["wrap", "--isolate=none", "--read", "/a", "--", "srv"]},
  "bunx": {"command": "bunx", "args": ["srv"]}
}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VS Code-like comments in Cursor's file, in a home with bubblewrap on the PATH."""
    home = tmp_path / "home"
    path = home / ".cursor/mcp.json"
    path.parent.mkdir(parents=True)
    for name in ("bwrap", "pipeguard"):
        write_program(tmp_path / "bin" / name)
    text = ENTRIES.replace("   // mine", "").replace("LAUNCHER", str(tmp_path / "bin/pipeguard"))
    path.write_text(text)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("pipeguard.isolation.bubblewrap.FOLDERS", (str(tmp_path / "bin"),))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(home)
    return path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, ["cursor", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def launcher(file: Path) -> Path:
    return file.parents[2] / "bin/pipeguard"


def guard(file: Path, *options: str) -> Result:
    return run(*options, "--isolate", "--yes", "--launcher", str(launcher(file)))


def args(file: Path) -> dict[str, list[object]]:
    servers = json.loads(file.read_text())["mcpServers"]
    return {name: server.get("args", []) for name, server in servers.items()}


@pytest.mark.needs("bubblewrap")
def test_only_local_servers_are_isolated_and_undo_restores_all(file: Path) -> None:
    before, content = args(file), file.read_bytes()
    result = guard(file)
    assert result.exit_code == 6  # the one that cannot be isolated is left
    after = args(file)
    assert after["files"][:4] == ["wrap", "--name", "files", "--isolate"]
    assert after["files"][4:] == ["auto", "--env", "KEY", "--", "npx", "-y", "srv"]
    assert "--isolate" not in after["api"]
    held = ["wrap", "--name", "a", "--observe", "--isolate", "auto", "--", "srv", 7]
    assert after["held"] == held
    assert after["bare"] == ["wrap", "--read", "/a", "--isolate", "auto", "--", "srv"]
    assert after["kept"] == before["kept"]
    assert after["bunx"] == before["bunx"]
    run("--undo", "--yes")
    assert file.read_bytes() == content


@pytest.mark.needs("bubblewrap")
def test_isolation_later_is_undone_with_the_guard(file: Path) -> None:
    before = file.read_bytes()
    run("--server=files", "--yes", "--launcher", str(launcher(file)))
    guarded = file.read_bytes()
    guard(file, "--server=files")
    assert file.read_bytes() == guarded.replace(b'"KEY", "--"', b'"KEY", "--isolate", "auto", "--"')
    run("--undo", "--server=files", "--yes")
    assert file.read_bytes() == before


@pytest.mark.needs("bubblewrap")
def test_each_server_is_told_what_will_be(file: Path, snapshot: Snapshot) -> None:
    before = file.read_bytes()
    snapshot.commands(
        "setup-isolate",
        f"""
        setup cursor --isolate --dry-run --launcher {launcher(file)}  # 1
        setup cursor --check  # 1
        setup cursor --isolate --check --server=files  # 1
        setup cursor --isolate --undo  # 2
        setup cursor --isolate --gateway  # 2
        setup cursor --gateway --dry-run --server=kept --launcher {launcher(file)}  # 6
        """,
    )
    assert file.read_bytes() == before


@pytest.mark.needs("bubblewrap")
def test_the_place_of_what_a_server_kept_is_told(file: Path, snapshot: Snapshot) -> None:
    home = file.parents[1]
    folder = home / ".npm/_npx/3f/node_modules/@modelcontextprotocol/server-memory/dist"
    folder.mkdir(parents=True)
    (folder / "memory.jsonl").write_text("{}")
    words = ["-y", "@modelcontextprotocol/server-memory"]
    servers = {
        "one": {"command": "npx", "args": words},
        "two": {"command": "npx", "args": words, "env": {"MEMORY_FILE_PATH": "/srv/m.jsonl"}},
        "whole": {"command": "npx", "args": words, "env": {"MEMORY_FILE_PATH": f"{home}/m.jsonl"}},
        "remote": {"url": "https://mcp.example.com/mcp"},
    }
    file.write_text(json.dumps({"mcpServers": servers}))
    snapshot.commands(
        "setup-isolate-kept", f"setup cursor --isolate --yes --no-login --launcher {launcher(file)}"
    )


@pytest.mark.needs("bubblewrap")
def test_what_it_will_be_given_is_a_sentence_and_what_is_said_of_all_is_said_once(
    file: Path, snapshot: Snapshot
) -> None:
    servers = {
        "git": {"command": "uvx", "args": ["mcp-server-git"]},
        "hub": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-github"]},
        "own": {"command": "node", "args": ["/srv/app/server.js"]},
    }
    notes = file.parents[1] / "notes"
    notes.mkdir()
    words = ["-y", "@modelcontextprotocol/server-filesystem", str(notes)]
    servers |= {name: {"command": "npx", "args": words} for name in ("one", "two")}
    file.write_text(json.dumps({"mcpServers": servers}))
    snapshot.commands(
        "setup-isolate-given",
        f"""
        setup cursor --isolate --dry-run --launcher {launcher(file)}  # 1
        setup cursor --isolate --yes --launcher {launcher(file)}
        setup cursor --undo  # 1
        """,
    )


@pytest.mark.needs("bubblewrap")
def test_programs_see_what_is_isolated(file: Path) -> None:
    def isolated(*arguments: str) -> list[str]:
        (read,) = json.loads(run(*arguments, "--json").output)["files"]
        assert {s["state"] for s in read["servers"] if s["isolated"]} <= {"guarded"}
        return [server["name"] for server in read["servers"] if server["isolated"]]

    assert isolated("--isolate") == ["kept"]
    every = ["files", "held", "kept", "bare"]
    assert isolated("--isolate", "--yes", "--launcher", str(launcher(file))) == every
    assert isolated() == every


@pytest.mark.needs("bubblewrap")
def test_without_an_engine_that_works_nothing_is_written(
    file: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, engine = file.read_bytes(), file.parents[2] / "bin/bwrap"
    guards = "setup cursor --isolate --yes  # 2"
    engine.write_text("#!/bin/sh\necho no namespaces >&2; exit 1\n")
    snapshot.commands("setup-isolate-broken-engine", guards)
    monkeypatch.setenv("PATH", "/nowhere")
    engine.rename(engine.with_name("podman"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{file.parent}/none.sock")
    daemon = "#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n"
    engine.with_name("podman").write_text(daemon)
    snapshot.commands("setup-isolate-no-daemon", guards)
    engine.with_name("podman").unlink()
    snapshot.commands("setup-isolate-no-engine", guards)
    assert file.read_bytes() == before


@pytest.mark.needs("bubblewrap")
def test_a_file_in_git_stays_unless_it_is_shared(file: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    shared = project / ".mcp.json"
    held = {"command": str(launcher(file)), "args": ["wrap", "--", "srv"]}
    text = json.dumps({"mcpServers": {"open": {"command": "srv"}, "held": held}})
    shared.write_text(text)
    where = f"claude-code --scope=project --project={project}"
    words = [*where.split(), "--launcher", str(launcher(file))]
    result = CliRunner().invoke(command, [*words, "--isolate", "--yes"])
    assert result.exit_code == 6
    assert "others may get the change: `pipeguard setup --isolate --shared`" in result.output
    assert shared.read_text() == text
    CliRunner().invoke(command, [*words, "--isolate", "--yes", "--shared"])
    assert args(shared)["held"] == ["wrap", "--isolate", "auto", "--", "srv"]
    assert args(shared)["open"][-4:] == ["--isolate", "auto", "--", "srv"]


@pytest.mark.needs("bubblewrap")
def test_what_cannot_be_isolated_is_guarded_by_the_command_that_is_told(file: Path) -> None:
    result = guard(file)
    assert result.exit_code == 6
    assert "--isolate none" not in result.output
    told = "to guard it without isolation: pipeguard setup cursor --server=bunx"
    assert told in " ".join(result.output.split())
    words = told.partition("pipeguard setup cursor ")[2].split()
    assert run(*words, "--yes", "--launcher", str(launcher(file))).exit_code == 0
    assert args(file)["bunx"] == ["wrap", "--name", "bunx", "--", "bunx", "srv"]

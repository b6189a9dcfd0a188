"""What `isolate show` says of a server is what the server can touch. isolation/extent.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.isolate import command
from pipeguard.config.options import read
from pipeguard.isolation.extent import ITS_OPTIONS, KNOWN, POLICY, Given
from pipeguard.isolation.servers.preview import preview
from tests.isolation.test_wrapped import REACHER, Isolated, isolated

pytestmark = pytest.mark.real
POLICY_TEXT = "isolate:\n- {server: reacher, write: [~/notes], limits: {files: 500}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a state folder, the same for what is started and for who asks."""
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PIPEGUARD_POLICY", str(tmp_path / "policy.yaml"))
    (tmp_path / "policy.yaml").write_text(POLICY_TEXT)
    return home


def show(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["show", *words])
    return result.exit_code, result.output


@pytest.mark.needs("bubblewrap")
def test_what_is_foretold_is_what_is_given(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--isolate", "bubblewrap", "--read", str(here / "diary"), "--limit", "cpu=9"]
    (here / "diary").write_text("a day")
    options = read([*words, "--", *REACHER, str(here / "notes")])
    assert options is not None
    with Isolated(
        tmp_path, *words, command=(*REACHER, str(here / "notes")), policy=POLICY_TEXT
    ) as run:
        run.ready()
        foretold = preview(options, "reacher", "bubblewrap", os.environ, folder=str(tmp_path))
        assert run.call("read", here / "diary") == "a day"
        assert run.call("write", here / "notes" / "two") == "written"
        assert run.call("read", here / "other") == "FileNotFoundError"
    assert foretold.write == (Given(str(here / "notes"), POLICY),)
    assert foretold.read[0] == Given(str(here / "diary"), ITS_OPTIONS)
    assert foretold.limits.cpu == 9
    assert foretold.is_offline


@pytest.mark.parametrize("engine", ["auto", "bubblewrap", "container"])
def test_a_known_server_gets_its_profile_from_every_engine(engine: str) -> None:
    command = ["npx", "-y", "@modelcontextprotocol/server-github"]
    options = read(["--isolate", engine, "--", *command])
    assert options is not None
    extent = preview(options, "github", engine, os.environ, folder="/")
    assert extent.hosts == (Given("api.github.com", KNOWN),)


def test_a_server_that_was_started_open_is_said_to_be_so(tmp_path: Path) -> None:
    with isolated(tmp_path, "--name", "opened", "--isolate", "none") as run:
        assert run.call("read", tmp_path / "home" / "diary") == "a day"
    code, said = show("opened")
    assert code == 0
    assert "no client's entry starts it" in said


@pytest.mark.needs("bubblewrap")
def test_a_run_that_is_older_than_its_entry_or_the_policy_is_told(
    tmp_path: Path, here: Path
) -> None:
    entry, policy = here / ".cursor" / "mcp.json", tmp_path / "policy.yaml"
    entry.parent.mkdir()
    with isolated(tmp_path, "--isolate", "bubblewrap", policy=POLICY_TEXT) as run:
        line = Path(f"/proc/{run.process.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        server = {"command": "pipeguard", "args": line[line.index("wrap") :]}
        entry.write_text(json.dumps({"mcpServers": {"reacher": server}}))
        for path in (entry, policy):
            os.utime(path, (0, 0))
        assert "It has run since" not in show("reacher")[1]
        os.utime(policy, (time.time() + 60,) * 2)
        said = " ".join(show("reacher")[1].split())
        assert "It has run since" in said
        assert "policy.yaml changed on" in said
        assert "changes ~/notes (your policy)" in said
        assert json.loads(show("reacher", "--json")[1])["servers"][0]["older_run"] is True
    assert "It has run since" not in show("reacher")[1], "it has ended"

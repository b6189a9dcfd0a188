"""What `isolate show` says of a server is what the server can touch. isolation/extent.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.cli.isolate import command
from pipeguard.config.options import read
from pipeguard.isolation import last_starts
from pipeguard.isolation.extent import ITS_OPTIONS, POLICY, Extent, Given
from pipeguard.runtime.isolation_preview import preview
from tests.isolation.test_wrapped import REACHER, Isolated, isolated
from tests.launch.processes import until

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
def test_a_server_that_was_started_by_hand_is_shown_by_its_name(tmp_path: Path, here: Path) -> None:
    options = ("--isolate", "bubblewrap", "--read", str(here / "diary"), "--connect", "api.test")
    with isolated(tmp_path, *options, policy=POLICY_TEXT) as run:
        assert run.call("read", here / "diary") == "a day"
        assert run.call("write", here / "notes" / "two") == "written"
        assert run.call("read", here / "other") == "FileNotFoundError"
    code, said = show("reacher")
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "changes ~/notes (your policy)" in lines
    assert "reads ~/diary (its options)" in lines
    assert "network api.test (its options)" in lines
    assert any("500 open files" in line for line in lines)
    assert max(map(len, said.splitlines())) <= 80
    listed = CliRunner().invoke(command, ["list"]).output
    assert "changes ~/notes; reaches api.test; reads ~/diary" in " ".join(listed.split())
    started = json.loads(show("reacher", "--json")[1])["started"]["extent"]
    assert started["write"] == [{"what": str(here / "notes"), "why": POLICY}]


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
    start = last_starts.load("reacher")
    assert start is not None
    assert start.extent == foretold
    assert foretold.write == (Given(str(here / "notes"), POLICY),)
    assert foretold.read[0] == Given(str(here / "diary"), ITS_OPTIONS)
    assert foretold.limits.cpu == 9
    assert foretold.is_offline


def test_a_server_that_was_started_open_is_said_to_be_so(tmp_path: Path) -> None:
    with isolated(tmp_path, "--name", "opened", "--isolate", "none") as run:
        assert run.call("read", tmp_path / "home" / "diary") == "a day"
    code, said = show("opened")
    assert code == 0
    assert "not isolated: it could touch all that" in said


@pytest.mark.needs("bubblewrap")
def test_what_was_given_is_forgotten(tmp_path: Path) -> None:
    with isolated(tmp_path, "--isolate", "auto"):
        pass
    assert last_starts.load("reacher") is not None
    assert CliRunner().invoke(command, ["forget", "reacher", "--yes"]).exit_code == 0
    assert last_starts.load("reacher") is None
    assert last_starts.load("x" * 300) is None
    assert not last_starts.forget("reacher")


def test_a_file_that_is_not_ours_is_no_start(tmp_path: Path) -> None:
    folder = tmp_path / "state" / last_starts.FOLDER
    folder.mkdir(parents=True, mode=0o700)
    for number, text in enumerate(["{", "[]", '{"version": 9}', '{"version": 1, "extent": 3}']):
        (folder / f"n{number}.json").write_text(text)
        assert last_starts.load(f"n{number}") is None
    assert show("n0")[0] == 3


@pytest.mark.needs("bubblewrap")
def test_what_is_given_and_taken_while_it_runs_is_shown(tmp_path: Path, here: Path) -> None:
    policy = tmp_path / "policy.yaml"
    with isolated(tmp_path, "--isolate", "bubblewrap", policy=POLICY_TEXT):
        assert "none: no host" in show("reacher")[1]
        policy.write_text(
            "isolate:\n- {server: reacher, write: [~/notes], hosts: [api.test], loopback: [5432]}\n"
        )
        until(lambda: "network api.test (your policy)" in words(), "the host is shown as given")
        assert "port 5432 (your policy) of this machine" in words()
        assert "hosts and ports as your policy changed them" in words()
        policy.write_text("isolate:\n- {server: reacher, read: [~/diary]}\n")
        until(lambda: "none: no host" in words(), "what is taken is not shown")
        assert "changes ~/notes (your policy)" in words()  # it has that until it is started again
        assert "From its next start it is also given read ~/diary." in words()
        assert "From its next start it is no longer given write ~/notes." in words()
    policy.write_text("isolate:\n- {server: reacher, hosts: [later.test]}\n")
    assert "From its next start it is also given later.test." in words()
    listed = CliRunner().invoke(command, ["list"]).output
    assert "other from its next start: changes ~/notes" in " ".join(listed.split())
    fields = json.loads(show("reacher", "--json")[1])
    assert (fields["isolated"], fields["isolated_by"]) == (True, "policy")
    assert fields["next_start"]["more"] == {"hosts": ["later.test"]}
    assert fields["next_start"]["less"] == {"write": [str(here / "notes")]}
    policy.write_text("mode: enforce\n")
    assert "reacher, as it was last started isolated:" in words()
    assert "Your policy does not isolate it: `--isolate` in its command alone does." in words()
    fields = json.loads(show("reacher", "--json")[1])
    assert (fields["isolated"], fields["isolated_by"]) == (True, "last start")


def test_another_start_is_not_overwritten_by_a_change_of_an_older_one(here: Path) -> None:
    older = last_starts.save("two", Extent("bubblewrap"))
    newer = last_starts.save("two", Extent("container"))
    more = older.extent._replace(hosts=(Given("api.test", POLICY),))
    assert last_starts.save_change("two", older, more) == older
    assert last_starts.load("two") == newer


def words() -> str:
    """What is shown of the server, each blank as one."""
    return " ".join(show("reacher")[1].split())

"""`pipeguard servers`: what agents proposed, shown whole, decided by a person."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeguard.cli.diff import command as diff
from pipeguard.cli.servers import command
from pipeguard.errors import PipeGuardError
from pipeguard.state.paths import store_path
from pipeguard.state.proposals import propose, withdraw
from pipeguard.state.store import Store
from tests.people import be_nobody, give_token

ENTRY = json.dumps({"command": "sh", "args": ["-c", "x\u200b"], "env": {"GIT_ASKPASS": "/tmp/x"}})


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    give_token(monkeypatch)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, PipeGuardError):
        raise result.exception
    return result


def proposed(name: str = "new") -> None:
    with Store.open(store_path()) as store:
        propose(store, name, ENTRY, "ci", "It helps.\x1b[2J")


def test_all_of_a_proposal_is_shown() -> None:
    assert "No agent has proposed" in run("list").stderr
    proposed()
    assert run("list").stdout == "new: waits for you\n"
    page = run("show", "new").stdout
    for part in ("proposed by ci", "/tmp/x", "⟨U+200B⟩", "It helps."):
        assert part in page
    assert "\x1b" not in page
    (fields,) = json.loads(run("list", "--json").stdout)
    assert fields["entry"] == json.loads(ENTRY)
    assert fields["state"] == "waiting"
    assert "pipeguard servers list" in CliRunner().invoke(diff, []).stderr


def test_a_person_approves_rejects_and_removes() -> None:
    proposed()
    approved = run("approve", "new")
    assert approved.exit_code == 0
    assert approved.stdout.endswith("wait for you:  pipeguard approve new --all\n")
    assert run("list").stdout.startswith("new: approved on ")
    assert run("approve", "new").exit_code == 1
    with Store.open(store_path()) as store:
        withdraw(store, "new", "ci")
    assert "waits for you" in run("list").stdout
    assert json.loads(run("reject", "new", "--json").stdout)["is_done"] is True
    assert run("remove", "new").stdout.endswith("Removed new.\n")
    proposed("other")
    assert run("reject", "other").stdout.endswith("Forgot the proposal of other.\n")
    with pytest.raises(PipeGuardError, match="There is none"):
        run("show", "other")


def test_an_agent_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    proposed()
    be_nobody(monkeypatch)
    for verb in ("approve", "reject", "remove"):
        with pytest.raises(PipeGuardError, match="there is no terminal"):
            run(verb, "new")
    assert run("list").stdout == "new: waits for you\n"

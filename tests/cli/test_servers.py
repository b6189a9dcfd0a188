"""`pipeguard servers`: agents' proposals, shown whole, decided by a person."""

import json

import pytest

from pipeguard.state.proposals import propose
from pipeguard.state.store import open_store
from tests.people import be_nobody, give_token
from tests.snapshot import Snapshot

ENTRY = json.dumps({"command": "sh", "args": ["-c", "x\u200b"], "env": {"GIT_ASKPASS": "/tmp/x"}})


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch) -> None:
    give_token(monkeypatch)


def proposed(name: str = "new") -> None:
    with open_store() as store:
        propose(store, name, ENTRY, "ci", "It helps.\x1b[2J")


def test_a_person_approves_and_rejects(snapshot: Snapshot) -> None:
    snapshot.commands("servers-none", "servers list")
    proposed()
    shown = snapshot.run("servers show new")
    assert "\x1b" not in shown.out
    snapshot.commands(
        "servers",
        """
        servers list
        servers list --json
        servers show new
        servers approve new
        servers list
        servers approve new  # 1
        """,
    )
    proposed("other")
    snapshot.commands(
        "servers-withdrawn",
        """
        servers reject new --json
        servers reject other
        servers show other  # 2
        """,
    )


def test_an_agent_decides_nothing(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    proposed()
    be_nobody(monkeypatch)
    snapshot.commands(
        "servers-agent",
        """
        servers approve new  # 2
        servers reject new  # 2
        servers list
        """,
    )

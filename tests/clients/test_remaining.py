"""Undoing and isolating if a record or the words of an entry are not enough."""

import json

import pytest

from pipeguard.clients import undoing
from pipeguard.clients.entries import GuardState
from pipeguard.clients.isolating import needs
from pipeguard.clients.machine import Machine
from tests.clients.config_file import plan, put, states, undo


@pytest.mark.parametrize("mount", ["/:/host", "/srv:/srv"])
def test_a_container_that_would_not_start_isolated_is_not_isolated(
    machine: Machine, mount: str
) -> None:
    server = {"command": "docker", "args": ["run", "-i", "-v", mount, "image"]}
    put(machine.home, json.dumps({"mcpServers": {"it": server}}))
    is_refused = mount == "/:/host"
    state = GuardState.CANNOT if is_refused else GuardState.OPEN
    assert states(plan(machine, isolate=True, entries=())) == {"it": state}


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "pipeguard", "args": ["serve", "--stdio"]},
        {"command": "sh", "args": ["-c", "exec '/opt/pipeguard' wrap -- srv"]},
    ],
)
def test_an_entry_that_still_starts_us_is_not_undone(machine: Machine, entry: object) -> None:
    put(machine.home, json.dumps({"mcpServers": {"it": entry}}))
    assert undo(machine) == [undoing.UndoMethod.LEFT]


@pytest.mark.parametrize(
    ("word", "is_told"), [("HOME", True), ("~", True), ("/", True), ("HOME/notes", False)]
)
def test_a_home_among_arguments_is_told_as_withheld(
    machine: Machine, word: str, is_told: bool
) -> None:
    word = word.replace("HOME", str(machine.home))
    server = {"command": "srv", "args": [word]}
    put(machine.home, json.dumps({"mcpServers": {"it": server}}))
    (judged,) = plan(machine).servers
    assert ("not given as a whole" in needs(judged.server, str(machine.home))) is is_told

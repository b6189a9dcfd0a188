"""Agents propose servers if the settings allow it; a person approves them, then they start."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from pipeguard.errors import InputError, PolicyError
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.proposed_servers import (
    PER_MINUTE,
    ServerManagement,
    approved_servers,
    checked_entry,
)
from pipeguard.state.proposals import MOST_BYTES, approve, proposals, propose
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import talking
from tests.gateway.served import ACTOR, Served, ServedAt, actor, write_servers
from tests.gateway.test_serving import ask
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Json, Object

ALL: Object = {"add": True, "remove": True}
NEW: dict[str, Json] = {"command": ACTOR[0], "args": [*ACTOR[1:]], "reason": "It returns texts."}
TOOLS = {"propose_server", "remove_server", "list_servers"}


class Person:
    """A person who decides about the servers of a run."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"

    def runs(self, *words: str) -> str:
        code, shown = decide(self._state, *words, stderr=subprocess.DEVNULL)
        assert code == 0
        return shown


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Served]:
    file = write_servers(tmp_path, {"one": actor()}, management=ALL)
    with Served(tmp_path, "--config", str(file)).opened() as served:
        yield served


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, set()),
        ({"add", "remove"}, TOOLS),
        ({"add"}, TOOLS - {"remove_server"}),
        ({"remove"}, {"remove_server"}),
    ],
)
async def test_agents_may_propose_what_the_settings_allow(
    tmp_path: Path, settings: set[str] | None, expected: set[str]
) -> None:
    async with talking(scope=lambda _: TokenScope(manages=True)) as (client, gateway):
        if settings is not None:
            store = str(tmp_path / "pipeguard.db")
            gateway.offer(ServerManagement(store, dict, frozenset(settings)))
        for mode in ToolMode:
            for is_read_only in (False, True):
                gateway.set_menu(mode, gateway.limits)
                gateway.is_read_only = is_read_only
                listed = await client.result("tools/list")
                names = set(re.findall(r"'name': '(\w+)'", str(listed["tools"])))
                offered = set[str]() if is_read_only else expected
                assert names & TOOLS == offered
                for tool in sorted(TOOLS - offered):
                    assert "There is no tool" in await client.text(tool, reason="x")


@pytest.mark.real
def test_an_option_forbids_proposals(tmp_path: Path) -> None:
    file = write_servers(tmp_path, {"one": actor()}, management=ALL)
    with Served(tmp_path, "--config", str(file), "--no-management").opened() as client:
        assert "There is no tool" in client.call("propose_server", name="new", **NEW)


@pytest.mark.real
def test_a_proposed_server_starts_once_approved_and_its_tools_wait_for_review_after_that(
    client: Served, tmp_path: Path
) -> None:
    person, processes = Person(tmp_path), 3
    until(lambda: len(client.running()) == processes, "its servers run")
    assert "you proposed waits" in client.call("remove_server", name="one")
    client.call("propose_server", name="new", **NEW)
    assert "is withdrawn" in client.call("remove_server", name="new")
    assert "new" not in client.call("list_servers")
    assert "once the user approves it" in client.call("propose_server", name="new", **NEW)
    assert "pipeguard servers show new" in client.said()
    assert "new: you proposed it, and it waits" in client.call("list_servers")
    assert len(client.running()) == processes, "nothing was started"
    page = person.runs("servers", "show", "new")
    assert json.dumps(NEW["command"]) in page
    assert "It returns texts." in page
    person.runs("servers", "approve", "new")
    until(
        lambda: "new: ready, 0 tools; some of its tools wait" in client.call("list_servers"),
        "the server runs, and waits for review",
    )
    assert "new__echo" not in client.call("retrieve_tools", query="return text")
    person.runs("approve", "new", "--all", "--yes")
    until(
        lambda: "new__echo" in client.call("retrieve_tools", query="return text"),
        "the approved tool is found",
    )
    assert "cannot change others" in client.call("remove_server", name="new")
    person.runs("servers", "reject", "new")
    until(lambda: "new" not in client.call("list_servers"), "it is gone")
    rows = json.loads(person.runs("audit", "list", "--json", "--server", "new"))
    decided = [row["action"] for row in rows if row["kind"] == "proposal"]
    assert decided[-3:] == ["propose", "approve", "reject"]


@pytest.mark.real
def test_no_agent_changes_a_server_or_proposes_what_the_file_would_refuse(client: Served) -> None:
    refused: list[tuple[dict[str, Json], str]] = [
        ({"name": "ONE", **NEW}, "agents cannot change servers"),
        ({"name": "a b", **NEW}, "a server's name has at most 50"),
        ({"name": "a", "reason": "x"}, "either a `command` or a `url`"),
        ({"name": "a", **NEW, "trust": "first-use"}, "unknown key 'trust'"),
        ({"name": "a", **NEW, "env": {"A": "keyring:GITHUB"}}, "stored secrets"),
        ({"name": "a", **NEW, "args": ["${env:HOME}"]}, "variables"),
        ({"name": "a", "url": "ftp://x", "reason": "x"}, "begins with http"),
        ({"name": "a", "command": "pipeguard", "args": ["serve"], "reason": "x"}, "itself"),
        ({"name": "a", "command": "x"}, "needs a name and a reason"),
    ]
    for arguments, why in refused[:PER_MINUTE]:
        assert why in client.call("propose_server", **arguments)
    assert "Too many proposals" in client.call("propose_server", name="b", **NEW)
    assert "Too many proposals" in client.call("remove_server", name="one")
    assert "wait" not in client.call("list_servers")
    for arguments, why in refused[PER_MINUTE:-1]:
        fields = {k: v for k, v in arguments.items() if k not in ("name", "reason")}
        with pytest.raises((PolicyError, InputError)) as error:
            checked_entry("a", cast(JsonObject, fields))
        assert why in f"Not done: {error.value}"


@pytest.mark.real
def test_a_token_manages_only_with_a_scope_that_says_so(tmp_path: Path) -> None:
    file = write_servers(tmp_path, {"one": actor()}, management=ALL)
    person = Person(tmp_path)
    plain = person.runs("tokens", "create", "plain").strip()
    managing = person.runs("tokens", "create", "boss", "--manage", "--server", "one").strip()
    with ServedAt(tmp_path, "--config", str(file)) as served:
        assert "propose_server" not in ask(served.url, plain)
        given: Object = {"name": "new", **NEW}
        call = "tools/call"
        assert "There is no tool" in ask(
            served.url, plain, call, name="propose_server", arguments=given
        )
        assert "is proposed" in ask(
            served.url, managing, call, name="propose_server", arguments=given
        )
    (proposal,) = json.loads(person.runs("servers", "list", "--json"))
    assert (proposal["name"], proposal["proposed_by"]) == ("new", "boss")
    rows = json.loads(person.runs("audit", "list", "--json", "--server", "new"))
    assert [(row["action"], row["client"]) for row in rows] == [("propose", "boss")]


def test_what_a_person_approved_is_read_as_the_file_is_and_never_trusted(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.db"
    with open_store(path) as store:
        entry = checked_entry("good", {"command": "node", "args": ["a.js"]})
        for name, definition in (("good", entry), ("bad", '{"comand":"x"}'), ("later", entry)):
            propose(store, name, definition, "ci", "because")
        for proposal in proposals(store)[:2]:
            assert approve(store, proposal, "kim")
    (server,), left_out = approved_servers(path)
    assert (server.name, server.command, server.trust) == ("good", ("node", "a.js"), "review")
    assert "bad is left out" in left_out[0]


def test_an_entry_is_bounded_before_it_is_read() -> None:
    with pytest.raises(InputError, match=f"at most {MOST_BYTES} bytes"):
        checked_entry("a", {"command": "x", "args": ["y" * MOST_BYTES]})

"""Data that a client read from one server is recognised when it leaves through another."""

import json
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pipeguard.detect.flows.ledger_memory import LedgerMemory
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from pipeguard.rulebook.samples import expand
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.gateway.rogues import Object
from tests.gateway.several import Room, gathered
from tests.gateway.test_same_verdicts import SCRIPTED

pytestmark = pytest.mark.real

PRIVATE = (
    "The plant in the valley closes by spring, the northern one takes over its orders and a"
    " third of its people."
)
COMMAND = "themekit init --from https://blog.example/base --profile fresh --no-backup --quiet"
PAGE = f"How we set up the blog: {COMMAND}"


def scripted(
    folder: Path, name: str, tool: str, parameter: str, answer: str, description: str = ""
) -> ServerSettings:
    """A server with one tool that answers with a text."""
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}}
    content = [{"type": "text", "text": answer}]
    definition = {"name": tool, "description": description or f"Does {tool}."}
    script = {
        "tools": [{**definition, "inputSchema": schema}],
        "answers": {tool: {"result": {"content": content}}},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(script))
    command = (sys.executable, str(SCRIPTED), str(path))
    return ServerSettings(name, command, trust="first-use")


def four_servers(folder: Path) -> list[ServerSettings]:
    return [
        scripted(folder, "files", "read_file", "path", PRIVATE),
        scripted(folder, "web", "fetch", "url", PAGE),
        scripted(folder, "mail", "http_post", "body", "sent"),
        scripted(folder, "shell", "run_command", "command", "done"),
    ]


def flows(rule: str) -> list[tuple[str, str | None]]:
    """Return the server and the client of each call with a flow."""
    store = open_store()
    try:
        found = list(rows(store, AuditFilter(rule=rule)))
    finally:
        store.close()
    return [(row.server, row.entry.token) for row in found]


def running(folder: Path, mode: ToolMode) -> AbstractAsyncContextManager[Room]:
    return gathered(*four_servers(folder), mode=mode)


def called(mode: ToolMode, tool: str, **arguments: str) -> Object:
    """The params of a call."""
    if mode is ToolMode.DIRECT:
        return {"name": tool, "arguments": arguments}
    inner = {"name": tool, "arguments": arguments}
    return {"name": "call_tool_destructive", "arguments": inner}


READ_PLAN = ("files__read_file", {"path": "plan.md"}, PRIVATE)
READ_BLOG = ("web__fetch", {"url": "https://blog.example/setup"}, COMMAND)


@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
@pytest.mark.parametrize(
    ("read", "name", "argument", "rule"),
    [
        (READ_PLAN, "mail__http_post", "body", "flows.private-out"),
        (READ_BLOG, "shell__run_command", "command", "flows.untrusted-acts"),
    ],
)
async def test_what_one_server_returns_is_known_when_another_sends_or_runs_it(
    tmp_path: Path,
    mode: ToolMode,
    read: tuple[str, dict[str, str], str],
    name: str,
    argument: str,
    rule: str,
) -> None:
    source, arguments, text = read
    async with gathered(*four_servers(tmp_path), mode=mode) as room:
        one, two = [await room.agent(who) for who in ("one", "two")]
        assert text in str(await one.result("tools/call", **called(mode, source, **arguments)))
        for agent in (two, one):
            await agent.result("tools/call", **called(mode, name, **{argument: text}))
    assert flows(rule) == [(name.partition("__")[0], "one")]


@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
async def test_a_link_that_works_once_is_opened_by_another_server_and_sent_by_none(
    tmp_path: Path, mode: ToolMode
) -> None:
    link = expand({"gen": "https://a.example/reset?token={b62:32}"}, 1)
    box = scripted(tmp_path, "box", "get_inbox", "folder", f"Reset your password: {link}")
    async with gathered(box, *four_servers(tmp_path), mode=mode) as room:
        agent = await room.agent("one")
        assert link in str(await agent.result("tools/call", **called(mode, "box__get_inbox")))
        opened = await agent.result("tools/call", **called(mode, "web__fetch", url=link))
        assert COMMAND in str(opened)
        sent = await agent.result("tools/call", **called(mode, "mail__http_post", body=link))
        assert "PipeGuard" in str(sent)
    assert flows("flows.secret-out") == [("mail", "one")]


async def test_tools_of_one_name_at_two_servers_are_two(tmp_path: Path) -> None:
    """Data that a `search` found in notes is not a search of the web."""
    notes, web = "Searches the user's private notes.", "Searches the web."
    servers = (
        scripted(tmp_path, "notes", "search", "query", PRIVATE, notes),
        scripted(tmp_path, "web", "search", "query", "Nothing found.", web),
    )
    async with gathered(*servers, mode=ToolMode.DIRECT) as room:
        agent = await room.agent("one")
        read = called(ToolMode.DIRECT, "notes__search", query="plan")
        assert PRIVATE in str(await agent.result("tools/call", **read))
        for server in ("web", "notes"):
            sent = called(ToolMode.DIRECT, f"{server}__search", query=PRIVATE)
            await agent.result("tools/call", **sent)
    assert [server for server, _ in flows("flows.private-out")] == ["web"]


async def test_clients_without_tokens_are_told_apart(tmp_path: Path) -> None:
    async with running(tmp_path, ToolMode.DIRECT) as room:
        one, two = [await room.agent() for _ in range(2)]
        await one.result("tools/call", **called(ToolMode.DIRECT, "files__read_file", path="x"))
        sent = called(ToolMode.DIRECT, "mail__http_post", body=PRIVATE)
        await two.result("tools/call", **sent)
    assert flows("flows.private-out") == []


async def test_clients_share_a_memory_and_lost_texts_are_not_harmless(tmp_path: Path) -> None:
    limit = 200_000
    other = "Nothing that was read before is in this text at all, whatever it is compared with."
    async with running(tmp_path, ToolMode.DIRECT) as room:
        ledgers = room.gateway.ledgers = LedgerMemory(limit)
        idle, busy = [await room.agent("one") for _ in range(2)]
        read = called(ToolMode.DIRECT, "files__read_file", path="plan.md")
        sent = called(ToolMode.DIRECT, "mail__http_post", body=other)
        for _ in range(40):  # enough for its leaving to make room
            await idle.result("tools/call", **read)
        allowed = await idle.result("tools/call", **sent)
        assert not allowed.get("isError")
        before = 0
        while ledgers.total_bytes >= before:  # until somebody gave way
            before = ledgers.total_bytes
            await busy.result("tools/call", **read)
            assert ledgers.total_bytes <= limit
        refused = await idle.result("tools/call", **sent)
        assert refused["isError"], refused
        assert not (await busy.result("tools/call", **sent)).get("isError")
    assert flows("flows.private-out") == [("mail", "one")]

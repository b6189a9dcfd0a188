"""An edit of the servers' file reaches clients that are connected, and costs them no call."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from tests.gateway.rogues import rogue, talking, until
from tests.gateway.served import Served, ServedAt, actor, write_servers
from tests.launch.processes import until as until_so
from tests.wrap.wrapped import Json

pytestmark = pytest.mark.real


async def test_a_client_goes_on_when_settings_of_an_address_change(tmp_path: Path) -> None:
    config = write_servers(tmp_path / "far", {"far": actor()})
    with ServedAt(tmp_path / "far", "--config", str(config)) as served:
        far = ServerSettings("b", url=served.at("/servers/far/mcp"), trust="first-use")
        async with talking(far) as (client, gateway):
            assert await client.text("b__echo", text="before") == "before"
            for tag in ("one", "two", "three"):
                await gateway.apply([replace(far, tags=(tag,))])
                await until(lambda: gateway.catalog.find("b__echo") is not None)
                assert await client.text("b__echo", text=tag) == tag


def test_the_file_says_how_much_an_agent_reads_at_once(tmp_path: Path) -> None:
    servers = {name: actor() for name in ("a", "b", "c")}
    config = write_servers(tmp_path, servers, top_k=1, tools_limit=2, response_chars=10)
    with Served(tmp_path, "--config", str(config)).opened() as client:

        def find(**more: Json) -> int:
            return client.call("retrieve_tools", query="echo", **more).count("__echo(")

        listed = json.dumps(client.ask("tools/list"))
        assert '"maximum": 2, "default": 1' in listed
        assert (find(), find(limit=5)) == (1, 2)
        call: dict[str, Json] = {"name": "a__echo", "arguments": {"text": "x" * 12}}
        assert "2 more characters" in client.call("call_tool_destructive", **call)
        write_servers(tmp_path, servers, top_k=3)
        until_so(lambda: find() == 3, "the edit has taken effect")
        assert client.call("call_tool_destructive", **call) == "x" * 12
        client.end()


async def test_a_changed_server_waits_for_no_other_one_to_end() -> None:
    before = rogue("b", tools=["run"])
    async with talking(before, rogue("slow")) as (client, gateway):
        stop = gateway.members["slow"].stop

        async def stop_late() -> None:
            await may_end.wait()
            await stop()

        may_end = asyncio.Event()
        gateway.members["slow"].stop = stop_late  # type: ignore[method-assign]
        applying = asyncio.create_task(gateway.apply([replace(before, tags=("new",))]))
        try:
            await until(lambda: "slow" not in gateway.members)
            await until(lambda: gateway.catalog.find("b__run") is not None)
            assert await client.text("b__run") == "run ran at b"
            assert not applying.done()
        finally:
            may_end.set()
            changes = await applying
        restarted = "started again with other settings"
        assert changes == {"added": [], restarted: ["b"], "removed": ["slow"]}


@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
async def test_who_waits_for_a_server_that_is_edited_away_is_told_so(mode: ToolMode) -> None:
    server = rogue("b", tools=["run"], mute=["tools/call"])
    async with talking(server, mode=mode) as (client, gateway):
        is_menu = mode is ToolMode.SEARCH
        tool = "call_tool_destructive" if is_menu else "b__run"
        arguments = {"name": "b__run", "arguments": {}} if is_menu else {}
        asked = client.ask("tools/call", name=tool, arguments=arguments)
        calling = asyncio.ensure_future(asked)
        await until(lambda: any(leg.is_busy for leg in gateway.members["b"]._legs))
        await gateway.apply([])
        told = str(await calling)
        assert "changed or removed this server, before it answered" in told
        assert "may have taken effect" in told
        assert "Usage" not in told


def test_clients_are_told_of_other_tools_where_the_mode_has_changed(tmp_path: Path) -> None:
    servers = {"a": actor()}
    config = write_servers(tmp_path, servers, mode="search")
    with Served(tmp_path, "--config", str(config)).opened() as client:
        assert "retrieve_tools" in str(client.ask("tools/list"))
        write_servers(tmp_path, servers, mode="direct")
        while client.frame().get("method") != "notifications/tools/list_changed":
            pass
        assert "a__echo" in str(client.ask("tools/list"))

"""Skills and pages of several servers, through the gateway, in both eras of MCP."""

import sys
from pathlib import Path

import pytest

from pipeguard.gateway.life import State
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.servers_file import ServerSettings, Start
from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import Object, until
from tests.gateway.several import Agent, gathered
from tests.gateway.test_eras import as_object, envelope
from tests.gateway.test_eras import talking as talking_in_era

pytestmark = pytest.mark.real
SKILLED = Path(__file__).with_name("skilled.py")
PREFIX = "io.modelcontextprotocol/"
SKILLS: Object = {f"{PREFIX}skills": {"directoryRead": True}}
QUERY: Object = {"query": "refunds"}


def skilled(name: str, era: str, *skills: str, **settings: object) -> ServerSettings:
    command = (sys.executable, str(SKILLED), name, era, *skills)
    return ServerSettings(name, command, **{"trust": "first-use", **settings})  # type: ignore[arg-type]


A = skilled("a", "handshake", "refunds", "hidden")
B = skilled("b", "stateless", "refunds", "orders")


async def list_addresses(agent: Agent, method: str, **params: object) -> object:
    """The addresses of files, of the one skill or folder, or of each skill by its own."""
    result = await agent.result(method, **params)
    if isinstance(skills := result.get("skills"), list):
        return {each["uri"]: [file["uri"] for file in each["resources"]] for each in skills}
    listed = as_object(result.get("skill", result))["resources"]
    assert isinstance(listed, list)
    return [file["uri"] for file in listed]


def below(folder: str) -> list[str]:
    return [f"{folder}/SKILL.md", f"{folder}/templates/mail.md"]


async def test_files_of_a_skill_keep_one_folder_and_are_read_in_it() -> None:
    async with gathered(A, B) as room:
        agent = await room.agent()
        folders = {"skill://refunds": "a", "b+skill://refunds": "b", "skill://orders": "b"}
        skills = {f"{folder}/SKILL.md": below(folder) for folder in folders}
        assert await list_addresses(agent, "skills/list") == skills
        for folder, server in folders.items():
            for uri in below(folder):
                contents = str((await agent.result("resources/read", uri=uri))["contents"])
                assert f"Refunds at {server}." in contents
                assert f"'uri': '{uri}'" in contents
            asked = {"resources/directory/read": folder, "skills/get": below(folder)[0]}
            for method, uri in asked.items():
                assert await list_addresses(agent, method, uri=uri) == below(folder)


async def test_a_skill_that_no_list_has_is_found_by_its_address() -> None:
    async with gathered(A, B) as room:
        for method in ("skills/get", "resources/read"):
            agent = await room.agent()
            main, file = below("skill://hidden")
            assert "hidden" in str(await agent.result(method, uri=main))
            assert "Refunds at a." in str(await agent.result("resources/read", uri=file))
            assert "no such resource" in str(await agent.ask(method, uri="skill://no/SKILL.md"))


async def test_a_client_without_a_handshake_gets_cache_hints() -> None:
    async with talking_in_era(A, B) as (client, gateway):
        await gateway.settle()
        meta = envelope({"extensions": {f"{PREFIX}ui": {"mimeTypes": ["text/html"]}}})
        found = await client.result("server/discover", _meta=meta)
        assert as_object(found["capabilities"])["extensions"] == SKILLS
        listed = await client.result("skills/list", _meta=meta)
        assert (listed["ttlMs"], listed["cacheScope"]) == (0, "private")
        for skill, hints in (("refunds", (0, "private")), ("orders", (5, "public"))):
            got = await client.result("skills/get", uri=f"skill://{skill}/SKILL.md", _meta=meta)
            assert (got["ttlMs"], got["cacheScope"]) == hints
        for server in "ab":
            assert f'"{PREFIX}ui"' in str(await client.call_tool(f"{server}__show", meta))


async def test_a_client_with_a_handshake_gets_no_hints() -> None:
    async with talking_in_era(B) as (client, _):
        opened = await client.shake_hands()
        assert as_object(opened["capabilities"])["extensions"] == SKILLS
        got = await client.result("skills/get", uri="skill://orders/SKILL.md")
        assert got.keys() == {"skill"}


async def test_a_sleeping_server_keeps_its_skills() -> None:
    lazy = skilled("a", "handshake", "refunds", start=Start.LAZY, idle_seconds=0.1)
    async with gathered(lazy) as room:
        member, skills = room.gateway.members["a"], below("skill://refunds")
        await until(lambda: member.state is State.ASLEEP and member.remembered is not None)
        agent = await room.agent()
        assert room.gateway.capabilities("a")["extensions"] == SKILLS
        assert await list_addresses(agent, "skills/list") == {skills[0]: skills}
        assert member.state is State.ASLEEP
        assert "Refunds at a." in str(await agent.result("resources/read", uri=skills[0]))


async def test_only_approved_skills_are_found_and_never_called() -> None:
    held = skilled("b", "handshake", "refunds", trust="review")
    scopes = {"": TokenScope(), "tools": TokenScope(tools=("a__show",))}
    async with gathered(A, held, mode=ToolMode.SEARCH, scope=scopes.get) as room:
        agent, limited = await room.agent(), await room.agent("tools")
        await until(lambda: room.gateway.members["b"].offer.waiting == 4)
        found = await agent.call("retrieve_tools", QUERY)
        assert found.startswith("refunds: a skill of the server a\n  Refunds at a.\n")
        assert "read the resource: skill://refunds/SKILL.md" in found
        assert found.count("a skill of") == 1
        assert "skill" not in await limited.call("retrieve_tools", QUERY)
        for tool in ("call_tool_destructive", "describe_tool"):
            for name in ("refunds", "a__refresh"):  # which is for pages alone
                answer = await agent.call(tool, {"name": name, "arguments": {}})
                assert f"There is no tool '{name}' here." in answer
                assert "skill" not in answer
        assert "a__refresh" not in await agent.call("retrieve_tools", {"query": "refresh"})
        await agent.call("call_tool_destructive", {"name": "a__change", "arguments": {}})
        await agent.result("skills/list")
        assert "a skill of" not in await agent.call("retrieve_tools", QUERY)


async def test_a_page_is_read_though_no_list_has_it() -> None:
    async with gathered(A, B) as room:
        for server, page in (("a", "ui://board/view.html"), ("b", "ui://b+board/view.html")):
            agent = await room.agent()
            assert f"Board of {server}" in str(await agent.result("resources/read", uri=page))
            assert str(await agent.result("tools/list")).count(f"'{page}'") == 3

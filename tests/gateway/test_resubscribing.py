"""Subscriptions to a resource survive a restart or an edit of its server."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from pipeguard.gateway.life import State
from pipeguard.gateway.servers_file import ServerSettings, Start
from tests.gateway.rogues import until
from tests.gateway.several import Agent, Room, gathered, stateful

pytestmark = pytest.mark.real
UPDATED = "notifications/resources/updated"
Break = Callable[[Room, Agent, ServerSettings], Coroutine[Any, Any, None]]


async def die(_: Room, agent: Agent, server: ServerSettings) -> None:
    answer = await agent.ask("tools/call", name=f"{server.name}__die", arguments={})
    assert "error" in answer


async def edit(room: Room, _: Agent, server: ServerSettings) -> None:
    await room.gateway.apply([replace(server, tags=("edited",))])


async def subscribed(agent: Agent) -> object:
    """Return the server's subscriptions, once it is back."""
    while True:
        answer = await agent.ask("tools/call", name="a__state", arguments={})
        result = answer.get("result")
        if isinstance(result, dict) and not result.get("isError"):
            return json.loads(result["content"][0]["text"])["subscribed"]
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("breaks", [die, edit])
async def test_a_subscription_survives_the_end_of_its_server(breaks: Break) -> None:
    server = stateful("a")
    async with gathered(server) as room:
        agent, other = [await room.agent() for _ in range(2)]
        await agent.result("resources/subscribe", uri="a://a")
        await agent.result("resources/subscribe", uri="a://b")
        await agent.result("resources/unsubscribe", uri="a://b")
        await breaks(room, agent, server)
        # It may have changed while nobody was subscribed.
        await until(lambda: agent.heard_of(UPDATED) == [{"uri": "a://a"}])
        assert await subscribed(agent) == ["a://a"]
        await other.call("a__announce", {"uri": "a://a"})
        await until(lambda: len(agent.heard_of(UPDATED)) == 2)
        await agent.result("resources/unsubscribe", uri="a://a")
        await breaks(room, agent, replace(server, tags=("again",)))
        assert await subscribed(agent) == []
        assert other.heard_of(UPDATED) == []


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_lazy_server_falls_asleep_once_nobody_is_subscribed(*, leaves: bool) -> None:
    async with gathered(stateful("a", start=Start.LAZY, idle_seconds=0.1)) as room:
        agent = await room.agent()
        await agent.result("resources/subscribe", uri="a://a")
        member = room.gateway.members["a"]
        await until(lambda: member.seconds_to_idle() < 0)
        await until(lambda: member.seconds_to_idle() > 0)  # it was looked at
        assert member.state is State.READY
        if leaves:
            await agent.close()
        else:
            await agent.result("resources/unsubscribe", uri="a://a")
        await until(lambda: member.state is State.ASLEEP)


async def test_a_server_that_refuses_a_subscription_is_not_asked_for_it_again() -> None:
    async with gathered(stateful("a")) as room:
        agent = await room.agent()
        answer = await agent.ask("resources/subscribe", uri="a://none")
        assert "error" in answer
        await agent.ask("tools/call", name="a__die", arguments={})
        assert await subscribed(agent) == []
        assert agent.heard_of(UPDATED) == []

"""A client's settings at a server apply only to that client: log level and subscriptions."""

import pytest

from pipeguard.gateway.menu import ToolMode
from tests.gateway.several import Agent, Room, gathered, stateful

pytestmark = pytest.mark.real
LOGGED, UPDATED = "notifications/message", "notifications/resources/updated"


async def levels_heard(agent: Agent) -> list[object]:
    await agent.state("b")
    return [params["level"] for params in agent.heard_of(LOGGED)]


async def opened(room: Room) -> Agent:
    """Make a client with an open server: it gets that server's announcements."""
    agent = await room.agent()
    await agent.state("b")
    return agent


async def test_each_client_hears_the_log_from_its_own_level_on() -> None:
    async with gathered(stateful("b")) as room:
        one, two, three = [await opened(room) for _ in range(3)]
        await one.result("logging/setLevel", level="debug")
        await two.result("logging/setLevel", level="error")
        assert (await one.state("b"))["level"] == "debug"
        for level in ("debug", "info", "error"):
            await one.call("b__log", {"level": level})
        assert await levels_heard(one) == ["debug", "info", "error"]
        assert await levels_heard(two) == ["error"]
        assert await levels_heard(three) == ["info", "error"]
        await one.close()
        assert (await two.state("b"))["level"] == "info"
        await three.close()
        assert (await two.state("b"))["level"] == "error"


async def test_a_client_that_comes_later_hears_the_log_as_if_alone() -> None:
    async with gathered(stateful("b")) as room:
        one = await opened(room)
        await one.result("logging/setLevel", level="emergency")
        assert (await one.state("b"))["level"] == "emergency"
        two = await opened(room)
        assert (await one.state("b"))["level"] == "info"
        await one.call("b__log", {"level": "notice"})
        assert await levels_heard(one) == []
        assert await levels_heard(two) == ["notice"]


async def test_a_level_that_there_is_not_is_refused_by_the_server() -> None:
    async with gathered(stateful("b")) as room:
        one = await opened(room)
        await one.result("logging/setLevel", level="whatever")
        assert (await one.state("b"))["level"] == "whatever"  # it takes all


async def test_a_subscription_ends_with_the_last_who_has_it() -> None:
    async with gathered(stateful("b"), mode=ToolMode.DIRECT) as room:
        one, two, three = [await opened(room) for _ in range(3)]
        for agent in (one, two):
            await agent.result("resources/subscribe", uri="b://a")
        await three.result("resources/subscribe", uri="b://b")
        await one.result("resources/unsubscribe", uri="b://a")
        assert (await one.state("b"))["subscribed"] == ["b://a", "b://b"]
        await three.call("b__announce", {"uri": "b://a/below"})
        for agent in (one, two, three):
            await agent.state("b")
        assert [len(agent.heard_of(UPDATED)) for agent in (one, two, three)] == [0, 1, 0]
        await two.close()
        assert (await one.state("b"))["subscribed"] == ["b://b"]
        await three.result("resources/unsubscribe", uri="b://b")
        assert (await one.state("b"))["subscribed"] == []

"""Misbehaving, ended and removed servers: their clients still get answers."""

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path

import pytest

from pipeguard.gateway import gateway as gateway_module
from pipeguard.gateway import gateway as gateways
from pipeguard.gateway import leg, pages
from pipeguard.gateway.answers import dial
from pipeguard.gateway.life import State
from pipeguard.gateway.menu import ToolMode
from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import ANSWER_SECONDS, INITIALIZE, Client, rogue, talking, until

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SECONDS", 60.0)  # where a test does not measure it


async def test_what_was_listed_is_not_read_once_a_token_is_revoked() -> None:
    scopes: list[TokenScope | None] = [TokenScope()]
    async with talking(
        rogue("b", resources=["x://b"], prompts=["p"]), scope=lambda _: scopes[0]
    ) as (client, _):
        await client.result("prompts/list")
        await client.result("resources/list")
        scopes[0] = None
        assert "error" in await client.ask("resources/read", uri="x://b")
        assert "error" in await client.ask("prompts/get", name="b__p")


async def test_who_waits_for_a_server_to_start_is_answered_when_it_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_module, "SETTLING_SECONDS", 1.0)
    async with talking(rogue("b", mute=["initialize"])) as (client, gateway):
        asking = asyncio.ensure_future(client.result("resources/list"))
        await asyncio.sleep(0)  # it is asked
        await gateway.apply([])
        assert (await asking)["resources"] == []


async def test_a_list_without_end_ends_and_the_other_servers_are_read() -> None:
    async with talking(rogue("a", endless=True), rogue("b", resources=["x://b"])) as (client, _):
        page = await client.result("resources/list")
        again = await client.result("resources/list", cursor=page["nextCursor"])
        assert page["resources"] == again["resources"] == []
        read = await client.result("resources/read", uri="x://b")
        assert "read at b" in str(read)


async def test_a_list_says_whose_part_is_missing_where_a_server_ends_meanwhile() -> None:
    async with talking(rogue("a", dies=["tasks/list"]), rogue("b")) as (client, _):
        listed = await client.result("tasks/list")
        assert listed["tasks"] == []
        meta = listed["_meta"]
        assert isinstance(meta, dict)
        assert list(meta[pages.UNAVAILABLE]) == ["a"]


async def test_many_resources_of_one_server_hide_none_of_another() -> None:
    many = [f"x://{number}" for number in range(1500)]
    async with talking(rogue("a", resources=many), rogue("b", resources=["x://b"])) as (client, _):
        assert "read at b" in str(await client.result("resources/read", uri="x://b"))


async def test_a_server_that_never_answers_is_left_out_of_a_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "PAGE_SECONDS", 2.0)
    log = tmp_path / "log"
    mute = rogue("a", mute=["resources/list"], tools=["run"], log=str(log))
    async with talking(mute, rogue("b", resources=["x://b"])) as (client, _):
        await client.result("tools/call", name="a__run", arguments={})  # it is open by now
        assert "x://b" in str(await client.result("resources/list"))
        await client.result("tools/call", name="a__run", arguments={})
        assert "did not answer in time" in log.read_text()


async def test_mute_servers_are_waited_for_together_and_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "PAGE_SECONDS", 2.0)
    logs = [tmp_path / name for name in "abc"]
    mute = [rogue(log.name, mute=["prompts/list"], log=str(log)) for log in logs]
    async with talking(*mute, rogue("z", prompts=["p"])) as (client, _):
        async with asyncio.timeout(len(logs) * pages.PAGE_SECONDS):  # of them one after the other
            first = await client.result("prompts/list")
        again = await client.result("prompts/list")
        for listed in (first, again):
            assert [prompt["name"] for prompt in objects(listed["prompts"])] == ["z__p"]
            meta = listed["_meta"]
            assert meta == {pages.UNAVAILABLE: dict.fromkeys("abc", gateways.SILENT)}
        # Once by the gateway itself, as it starts, and once for this client.
        assert [log.read_text().count("prompts/list") for log in logs] == [2, 2, 2]
        assert "prompt of z" in str(await client.result("prompts/get", name="z__p"))
        assert "error" in await client.ask("prompts/get", name="z__other")


async def test_a_client_waits_once_for_servers_that_do_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateways, "SETTLING_SECONDS", 0.5)
    monkeypatch.setattr(pages, "PAGE_SECONDS", 60.0)
    mute = rogue("a", mute=["initialize"]), rogue("b", mute=["tools/list"])
    async with talking(*mute, rogue("z", prompts=["p"], tools=["run"])) as (client, gateway):
        await until(lambda: gateway.members["z"].state is State.READY)
        assert gateway.members["a"].state is gateway.members["b"].state is State.STARTING
        monkeypatch.setattr(gateways, "SETTLING_SECONDS", 60.0)
        assert gateway.why_silent("a", "tools/list") == ""
        monkeypatch.setattr(gateways, "SETTLING_SECONDS", 0.5)
        async with asyncio.timeout(pages.PAGE_SECONDS):
            assert tools_of(await client.result("tools/list")) == ["z__run"]
            listed = await client.result("prompts/list")
        assert [prompt["name"] for prompt in objects(listed["prompts"])] == ["z__p"]
        reasons = dict.fromkeys("ab", "it is still starting")
        assert listed["_meta"] == {pages.UNAVAILABLE: reasons}


@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
async def test_a_call_waits_for_its_server_to_start_or_says_when_to_try_again(
    mode: ToolMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "SETTLING_SECONDS", 0.0)

    def call(client: Client) -> Awaitable[str]:
        if mode is ToolMode.DIRECT:
            return client.text("late__run")
        return client.text("call_tool_destructive", name="late__run", arguments={})

    late = rogue("late", tools=["run"], gate=str(tmp_path / "gate"))
    async with talking(late, rogue("z", tools=["run"]), mode=mode) as (client, gateway):
        await until(lambda: gateway.members["z"].state is State.READY)
        early = await call(client)
        assert "late is still starting" in early
        assert re.search(r"[Tt]ry again in \d+ seconds", early)
        if mode is ToolMode.SEARCH:
            found = await client.text("retrieve_tools", query="run")
            assert found.startswith("z__run")
            assert found.endswith("late is still starting. Try again in 5 seconds.")
            found = await client.text("retrieve_tools", query="paint the fence")
            assert found.startswith("No tool matches yet.\nlate is still starting.")
        monkeypatch.setattr(gateways, "SETTLING_SECONDS", ANSWER_SECONDS)
        calling = asyncio.ensure_future(call(client))
        await asyncio.sleep(0)  # it is called
        (tmp_path / "gate").touch()
        assert await calling == "run ran at late"


async def test_an_opening_waits_for_no_server_and_a_list_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "SETTLING_SECONDS", 2 * ANSWER_SECONDS)
    async with talking(
        rogue("late", tools=["run"], gate=str(tmp_path / "gate")), settles=False
    ) as (client, gateway):
        answer = await client.result("initialize", **INITIALIZE)
        capabilities = answer["capabilities"]
        assert isinstance(capabilities, dict)
        assert {"tools", "prompts", "resources"} <= capabilities.keys()
        assert gateway.starting() == ["late"]
        listing = asyncio.ensure_future(client.result("tools/list"))
        await asyncio.sleep(0)  # it waits
        (tmp_path / "gate").touch()
        assert tools_of(await listing) == ["late__run"]


@pytest.mark.parametrize("mode", [ToolMode.DIRECT, ToolMode.SEARCH])
async def test_a_call_waits_for_a_server_that_starts_anew(mode: ToolMode) -> None:
    async with talking(rogue("a", tools=["run"]), mode=mode) as (client, gateway):
        assert tools_of(await client.result("tools/list"))
        replacing = asyncio.ensure_future(gateway.apply([rogue("a", tools=["run", "walk"])]))
        await asyncio.sleep(0)  # it ends the old one
        assert not gateway.members["a"].has_settled
        if mode is ToolMode.DIRECT:
            ran = await client.text("a__walk")
        else:
            found = await client.text("retrieve_tools", query="walk", server="a")
            assert found.startswith("a__walk")
            ran = await client.text("call_tool_destructive", name="a__walk", arguments={})
        assert ran == "walk ran at a"
        assert ["a"] in (await replacing).values()


async def test_one_that_never_lists_tools_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "LISTING_SECONDS", 0.2)
    async with talking(rogue("b", mute=["tools/list"])) as (_, gateway):
        await until(lambda: gateway.members["b"].state is State.DOWN)
        assert "it did not list its tools in time" in gateway.absent()["b"]


async def test_a_tool_list_is_read_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "MOST_LISTED_BYTES", 100)
    many = [f"tool{number}" for number in range(20)]
    async with talking(rogue("b", tools=many), rogue("z", tools=["run"])) as (client, gateway):
        assert tools_of(await client.result("tools/list")) == ["z__run"]
        assert gateway.members["b"].state is State.READY


def objects(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def tools_of(listed: dict[str, object]) -> list[object]:
    return [tool["name"] for tool in objects(listed["tools"])]


async def test_one_address_at_many_servers_stays_many() -> None:
    async with talking(*(rogue(name, resources=["x://r"]) for name in ("a", "c-d", "c_d"))) as (
        client,
        _,
    ):
        listed = (await client.result("resources/list"))["resources"]
        assert isinstance(listed, list)
        read = [
            str(await client.result("resources/read", uri=resource["uri"])) for resource in listed
        ]
        for name, text in zip(("a", "c-d", "c_d"), read, strict=True):
            assert f"read at {name}" in text


async def test_a_template_for_everything_takes_no_others_addresses() -> None:
    async with talking(rogue("a", templates=["{+x}"]), rogue("b", templates=["notes://{day}"])) as (
        client,
        _,
    ):
        assert "read at b" in str(await client.result("resources/read", uri="notes://today"))


async def test_a_task_is_asked_for_by_the_id_that_its_call_gave() -> None:
    async with talking(rogue("b", tools=["run"])) as (client, _):
        called = await client.result("tools/call", name="b__run", arguments={}, task={})
        task = called["task"]
        assert isinstance(task, dict)
        found = await client.result("tasks/get", taskId=task["taskId"])
        assert found["taskId"] == task["taskId"]


async def test_tools_stay_when_their_server_ends_while_they_are_listed() -> None:
    async with talking(rogue("b", tools=["relist_and_die"])) as (client, gateway):
        sizes = set()

        def is_ready_again() -> bool:
            sizes.add(len(gateway.catalog))
            return gateway.members["b"].state is State.READY

        await client.ask("tools/call", name="b__relist_and_die", arguments={})
        await until(lambda: gateway.members["b"].state is State.DOWN)
        await until(is_ready_again)
        assert sizes == {1}


async def test_a_storm_of_changes_is_told_a_few_times(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(rogue("b", tools=["storm", "run"], log=str(log))) as (client, _):
        await client.result("tools/list")
        client.unrequested.clear()  # of its start
        await client.result("tools/call", name="b__storm", arguments={})
        await until(lambda: log.read_text().count("tools/list") == 2)
        await client.result("tools/list")
        await client.result("tools/call", name="b__run", arguments={})
        told = [message["method"] for message in client.unrequested]
        assert set(told) <= {"notifications/tools/list_changed"}
        assert len(told) <= 2


async def test_a_blocked_tool_is_gone_before_its_server_starts_again() -> None:
    async with talking(rogue("b", tools=["run"])) as (client, gateway):
        editing = asyncio.ensure_future(
            gateway.apply([rogue("b", settings={"block": ("run",)}, tools=["run"])])
        )
        assert (await client.result("tools/list"))["tools"] == []
        await editing


async def test_a_client_that_leaves_while_a_server_is_opened_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(rogue("b", tools=["run"], mute=["logging/setLevel"], log=str(log))) as (
        _,
        gateway,
    ):
        channel = await dial(gateway)
        client = Client(channel)
        await client.result("initialize", **INITIALIZE)
        await client.result("logging/setLevel", level="info")
        calling = asyncio.ensure_future(client.ask("tools/call", name="b__run", arguments={}))
        await until(lambda: "logging/setLevel" in log.read_text())
        calling.cancel()
        await channel.close()
        await until(lambda: "the client hung up" in log.read_text())


async def test_the_end_waits_for_a_server_that_an_edit_is_ending(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(rogue("b", log=str(log))) as (_, gateway):
        editing = asyncio.ensure_future(gateway.apply([]))
        await asyncio.sleep(0)  # it has begun
        assert not gateway.members
        editing.cancel()
        await gateway.close()
        assert log.read_text().endswith("ended\n")

"""Tasks of one server: one owner each, bounded, and forgotten when the server may have."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeguard.firewall.protocol.framing import Lost
from pipeguard.firewall.protocol.json_values import JsonObject, Number
from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http.client import task_owners
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient, _TaskOwners
from pipeguard.transports.judging import LARGE_BYTES
from tests.transports.http.client.test_multiplexer import Server, Source, send, told
from tests.transports.talking import Object
from tests.transports.wire import PATIENCE_SECONDS


def a_task(name: str, ttl: str | None = None) -> JsonObject:
    return {"taskId": name, "status": "working", "ttl": None if ttl is None else Number(ttl)}


def test_a_task_is_forgotten_once_the_server_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(task_owners, "monotonic", lambda: now[0])
    tasks = _TaskOwners()
    tasks.add(a_task("a", "1000"), "one", "run")
    tasks.add(a_task("b"), "one", "run")
    now[0] = 1.5
    assert tasks.find("a") is None
    assert (kept := tasks.find("b")) is not None
    assert (kept.owner, kept.tool) == ("one", "run")
    tasks.update(a_task("b", "1000"))
    assert tasks.find("b") is None
    assert len(tasks._tasks) == 0


def test_one_client_with_many_tasks_takes_the_room_of_no_other() -> None:
    tasks = _TaskOwners()
    tasks.add(a_task("mine"), "one", "run")
    for number in range(2 * task_owners.MOST_TASKS_OF_ONE):
        tasks.add(a_task(f"t{number}"), "two", "run")
    assert tasks.find("mine") is not None
    assert len(tasks._tasks) == 1 + task_owners.MOST_TASKS_OF_ONE


def test_many_clients_with_tasks_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_owners, "MOST_TASKS", 100)
    tasks = _TaskOwners()
    for number in range(task_owners.MOST_TASKS + 10):
        tasks.add(a_task(f"t{number}"), number, "run")
    assert len(tasks._tasks) == task_owners.MOST_TASKS
    assert tasks.find("t0") is None


def test_an_id_that_is_used_again_is_of_the_last_who_got_it() -> None:
    tasks = _TaskOwners()
    tasks.add(a_task("a"), "one", "run")
    tasks.add(a_task("a"), "two", "run")
    assert (found := tasks.find("a")) is not None
    assert found.owner == "two"


@asynccontextmanager
async def owning() -> AsyncIterator[tuple[OwnedDialler, Source]]:
    source = Source()
    dialler = OwnedDialler(source)
    yield dialler, source
    await dialler.close()


def creation(number: int, task: str) -> Object:
    return {"jsonrpc": "2.0", "id": number, "result": {"task": {"taskId": task, "ttl": None}}}


async def create(port: AsyncChannel, server: Server, task: str) -> None:
    params: Object = {"name": "run", "task": {}}
    await send(port, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    server.say(creation(1, task))
    await told(port)


async def test_what_a_client_escapes_is_read_as_the_server_reads_it() -> None:
    async with owning() as (dialler, source):
        one, two = (
            await dialler.dial(SharingClient(object())),
            await dialler.dial(SharingClient(object())),
        )
        first, second = source.servers
        await create(one, first, "t1")
        escaped = rb'"method":"\u0074asks/get","params":{"t\u0061skId":"t1"'
        frame = rb'{"jsonrpc":"2.0","id":2,' + escaped + rb',"TASKID":"t1"}}'
        await one.write(frame)
        await two.write(frame)
        assert first.heard[-1]["params"] == {"taskId": "t1"}
        assert second.heard[-1]["params"] != {"taskId": "t1"}


async def test_tasks_of_the_later_revision_have_owners_too() -> None:
    async with owning() as (dialler, source):
        one, two = [await dialler.dial(SharingClient(name)) for name in ("one", "two")]
        first, second = source.servers
        made: Object = {"resultType": "task", "taskId": "t1", "ttlMs": 60000}
        first.say({"jsonrpc": "2.0", "id": 1, "result": made})
        await told(one)
        for port in (one, two):
            wanted: Object = {"taskIds": ["t1", "t2"], "toolsListChanged": True}
            params: Object = {"notifications": wanted}
            listen = "subscriptions/listen"
            await send(port, {"jsonrpc": "2.0", "id": 3, "method": listen, "params": params})
        for server, own in ((first, ["t1"]), (second, [])):
            expected = {"notifications": {"toolsListChanged": True, "taskIds": own}}
            assert server.heard[-1]["params"] == expected
            note: Object = {"taskId": "t1", "status": "completed"}
            server.say({"jsonrpc": "2.0", "method": "notifications/tasks", "params": note})
            server.say({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        assert (await told(one))["method"] == "notifications/tasks"
        assert (await told(two))["method"] == "notifications/message"


async def test_a_long_answer_of_a_task_passes_and_so_does_one_that_is_lost() -> None:
    async with owning() as (dialler, source):
        port = await dialler.dial(SharingClient(object()))
        [server] = source.servers
        text = "task " * LARGE_BYTES
        long: Object = {"jsonrpc": "2.0", "id": 1, "result": {"content": text}}
        server.say(long)
        assert await told(port) == long
        server.frames.put_nowait(Lost.of("1", "it is lost"))
        assert isinstance(await asyncio.wait_for(port.read(), PATIENCE_SECONDS), Lost)
        server.frames.put_nowait(b"task {")
        assert await asyncio.wait_for(port.read(), PATIENCE_SECONDS) == b"task {"


async def test_of_a_batch_the_messages_about_other_tasks_are_left_out() -> None:
    async with owning() as (dialler, source):
        port = await dialler.dial(SharingClient(object()))
        [server] = source.servers
        about: Object = {"taskId": "t1"}
        status: Object = {"method": "notifications/tasks/status", "params": about}
        meta: Object = {"io.modelcontextprotocol/related-task": about}
        related: Object = {"method": "notifications/message", "params": {"_meta": meta}}
        server.say([status, related])
        server.say([status, creation(1, "t1")])
        frame = await asyncio.wait_for(port.read(), PATIENCE_SECONDS)
        assert json.loads(frame or b"") == [creation(1, "t1")]

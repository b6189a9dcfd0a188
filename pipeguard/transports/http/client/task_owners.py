"""The tasks of one server, each with the client whose call created it; no other may use it.

Clients share the server, which sees one peer, so its own check cannot tell them apart (MCP
2025-11-25, basic/utilities/tasks, "Task Isolation and Access Control"). A client that names a task
of another gets the server's answer for a missing task.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from secrets import token_hex
from time import monotonic
from typing import NamedTuple
from weakref import WeakSet

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import answers, framing, methods
from pipeguard.firewall.protocol.ids import MAX_ID_BYTES, match_answer, write_answered_id, write_id
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, as_object
from pipeguard.transports.channel import AsyncChannel, Dialler
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.correlator import find_related_task
from pipeguard.transports.judging import parse_value, to_frame

MOST_TASKS = 10_000  # of one server; the oldest are dropped
MOST_TASKS_OF_ONE = 1_000  # of one client at one server; the oldest are dropped
MOST_ASKED = 1_024  # requests of one conversation that wait for a task
UNKNOWN_BYTES = 16  # of an id that no task has
_BY_ID = frozenset({"tasks/get", "tasks/result", "tasks/cancel", "tasks/update"})
_STATUS = ("notifications/tasks/status", "notifications/tasks")  # of two revisions


class SharingClient(NamedTuple):
    """A client of a server that others use, too.

    Attributes:
        owner: represents it, on all its channels.
        may_use: True for a tool whose tasks it may use now.
        is_listening: False for a client that wants no log, and no news of resources.
    """

    owner: Hashable
    may_use: Callable[[str], bool] = lambda _tool: True
    is_listening: bool = True


class _Task(NamedTuple):
    """A task.

    Attributes:
        owner: whose call created it.
        tool: that was called; empty if unknown.
        began: when it was created, in seconds of our clock.
        ttl_seconds: for which the server remembers it; None for no limit.
    """

    owner: Hashable
    tool: str
    began: float
    ttl_seconds: float | None

    def has_expired(self) -> bool:
        """True once the server may have forgotten it."""
        return self.ttl_seconds is not None and monotonic() > self.began + self.ttl_seconds


class _TaskOwners:
    """The creator of each task of one server."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def add(self, task: JsonObject, owner: Hashable, tool: str) -> None:
        """A client's call created a task."""
        task_id = task.get("taskId")
        if type(task_id) is not str or len(task_id) > MAX_ID_BYTES:
            return  # no client can ask for it
        self._forget_old(owner)
        self._tasks.pop(task_id, None)
        self._tasks[task_id] = _Task(owner, tool, monotonic(), _ttl_seconds(task))

    def update(self, task: JsonObject) -> None:
        """A server describes a task: it may say for how long it remembers it."""
        task_id = str(task.get("taskId"))
        if task_id in self._tasks and ("ttl" in task or "ttlMs" in task):
            self._tasks[task_id] = self._tasks[task_id]._replace(ttl_seconds=_ttl_seconds(task))

    def are_left(self) -> bool:
        """True while the server remembers a task that a client may still ask for."""
        return any(self.find(task_id) is not None for task_id in list(self._tasks))

    def clear(self) -> None:
        """Forget all tasks: the server is gone, and may use their ids again."""
        self._tasks.clear()

    def find(self, task_id: JsonValue) -> _Task | None:
        """The task with an id; None if the server has none, or may have forgotten it."""
        key = task_id if type(task_id) is str else ""
        task = self._tasks.get(key)
        if task is not None and task.has_expired():
            del self._tasks[key]
            return None
        return task

    def _forget_old(self, owner: Hashable) -> None:
        """Make room for a task of a client."""
        while self._tasks:
            oldest = next(iter(self._tasks))
            if len(self._tasks) < MOST_TASKS and not self._tasks[oldest].has_expired():
                break
            del self._tasks[oldest]
        own = [task_id for task_id, task in self._tasks.items() if task.owner == owner]
        if len(own) >= MOST_TASKS_OF_ONE:
            del self._tasks[own[0]]


class OwnedDialler:
    """Opens channels to one server; on each, a client sees only its own tasks.

    Args:
        inner: opens channels to the server.

    Attributes:
        inner: as it was given.
        tasks: of the server.
    """

    def __init__(self, inner: Dialler) -> None:
        self.inner = inner
        self.tasks = _TaskOwners()
        self._open: WeakSet[_OwnTasks] = WeakSet()  # at a server that others do not share

    async def dial(self, client: SharingClient) -> AsyncChannel:
        """Open a channel for a client.

        Raises:
            ChannelClosed: the server cannot be started.
        """
        if isinstance(self.inner, Multiplexer):
            channel = await self.inner.dial(is_listening=client.is_listening)
            return _OwnTasks(channel, self.tasks, client)
        own = _OwnTasks(await self.inner.dial(), self.tasks, client)
        self._open.add(own)
        return own

    async def close(self) -> None:
        """Close the open channels, and forget the tasks: another process may use their ids."""
        self.tasks.clear()
        await asyncio.gather(*(channel.close() for channel in list(self._open)))
        await self.inner.close()


class _OwnTasks:
    """A channel to a server on which one client sees its own tasks only."""

    def __init__(self, inner: AsyncChannel, tasks: _TaskOwners, client: SharingClient) -> None:
        self._inner = inner
        self._tasks = tasks
        self._client = client
        self._tools: OrderedDict[str, str] = OrderedDict()  # called, by the id of the request

    async def read(self) -> bytes | None:
        """Wait for the next whole frame; None once the channel has ended."""
        while (frame := await self._inner.read()) is not None:
            shown = await _change_frame(frame, self._receive)
            if shown is not None:
                return shown
        return None

    async def write(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        sent = await _change_frame(frame, self._send_request)
        if sent is not None:
            await self._inner.write(sent)

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        await self._inner.close()

    def _owns(self, task_id: JsonValue) -> bool:
        """True for a task of this client's that it may use now."""
        task = self._tasks.find(task_id)
        if task is None or task.owner != self._client.owner:
            return False
        return self._client.may_use(task.tool)

    # --- to the server ------------------------------------------------------------------

    def _send_request(self, value: JsonObject) -> JsonObject:
        """A client's message; another client's task gets an id that no task has."""
        method, body = value.get("method"), as_object(value.get("params"))
        if method in _BY_ID:
            # Some servers read names of members in any case.
            others = {name: item for name, item in body.items() if name.casefold() != "taskid"}
            task_id = body.get("taskId")
            own_id = task_id if self._owns(task_id) else token_hex(UNKNOWN_BYTES)
            return {**value, "params": {**others, "taskId": own_id}}
        if method == methods.LISTEN:
            return self._listening(value, body)
        token = write_id(value.get("id"))
        name = body.get("name")
        if method == "tools/call" and token is not None:
            while len(self._tools) >= MOST_ASKED:
                self._tools.popitem(last=False)
            self._tools[token] = name if type(name) is str else ""
        return value

    def _listening(self, value: JsonObject, params: JsonObject) -> JsonObject:
        """A subscription to no other tasks than its own (MCP 2026-07-28, extension `tasks`)."""
        wanted = as_object(params.get("notifications"))
        if not any(map(_is_task_ids, wanted)):
            return value
        ids = wanted.get("taskIds")
        own: list[JsonValue] = [
            task_id for task_id in (ids if isinstance(ids, list) else []) if self._owns(task_id)
        ]
        others = {name: detail for name, detail in wanted.items() if not _is_task_ids(name)}
        return {**value, "params": {**params, "notifications": {**others, "taskIds": own}}}

    # --- from the server ----------------------------------------------------------------

    def _receive(self, value: JsonObject) -> JsonObject | None:
        """A server's message as this client may read it; None for another client's."""
        if "method" not in value:
            return self._receive_answer(value)
        if "id" in value:
            return value
        is_status = any(value["method"] == method for method in _STATUS)
        named = as_object(value.get("params")).get("taskId")
        task_id = named if is_status else find_related_task(value)
        return value if task_id is None or self._owns(task_id) else None

    def _receive_answer(self, value: JsonObject) -> JsonObject:
        token = match_answer(write_answered_id(value.get("id")) or "", self._tools.__contains__)
        tool = self._tools.pop(token, "")
        result = as_object(value.get("result"))
        if answers.creates_task(result):
            created = as_object(result.get("task")) or result
            self._tasks.add(created, self._client.owner, tool)
        elif self._owns(result.get("taskId")):
            self._tasks.update(result)
        listed = result.get("tasks")
        if not isinstance(listed, list):
            return value
        own: list[JsonValue] = [
            item for item in listed if isinstance(item, dict) and self._owns(item.get("taskId"))
        ]
        return {**value, "result": {**result, "tasks": own}}


async def _change_frame(
    frame: bytes, change: Callable[[JsonObject], JsonObject | None]
) -> bytes | None:
    """A frame with changed messages; itself without a change; None if no message is left.

    Every name of a task's method or member has `task` in it, unless a letter is escaped.
    """
    if isinstance(frame, framing.Lost) or not (b"task" in frame or b"\\u00" in frame):
        return frame
    try:
        value = await parse_value(frame)
    except Refusal:
        return frame  # the Session refuses it as well
    members = value if isinstance(value, list) else [value]
    changed = [change(member) if isinstance(member, dict) else member for member in members]
    if all(after is before for after, before in zip(changed, members, strict=True)):
        return frame
    left: list[JsonValue] = [member for member in changed if member is not None]
    return await to_frame(left if isinstance(value, list) else left[0]) if left else None


def _is_task_ids(name: str) -> bool:
    return name.casefold() == "taskids"


def _ttl_seconds(task: JsonObject) -> float | None:
    ttl = task.get("ttl", task.get("ttlMs"))
    try:
        return float(ttl) / 1000 if isinstance(ttl, Number) else None
    except ValueError:
        return None

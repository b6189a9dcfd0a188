"""Plays sessions over WebSocket with the first line of the official Python SDK.

stdin: {targets, answers, roots, seconds}; stdout: as tests/parity/clients/python_client.py has it.
It runs in the environment of tests/requirements-servers-1.txt: later lines have no WebSocket.
"""

import json
import sys
import traceback
import warnings
from typing import Any

import anyio
from mcp import ClientSession, McpError, types
from mcp.client.websocket import websocket_client
from pydantic import AnyUrl

Outcome = dict[str, Any]
LISTS = {
    "tools": "list_tools",
    "prompts": "list_prompts",
    "resources": "list_resources",
    "templates": "list_resource_templates",
}


def plain(model: Any) -> Any:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Play:
    """One session: its answers to the server, and its observations."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.seen: list[Outcome] = []
        self.news = anyio.Event()
        self.client: Any = None

    def note(self, method: str, params: object) -> None:
        self.seen.append({"method": method, "params": params})
        self.news.set()
        self.news = anyio.Event()

    async def sample(self, _context: Any, params: Any) -> Any:
        self.note("sampling/createMessage", plain(params))
        return types.CreateMessageResult.model_validate(self.plan["answers"]["sampling"])

    async def elicit(self, _context: Any, params: Any) -> Any:
        self.note("elicitation/create", plain(params))
        return types.ElicitResult.model_validate(self.plan["answers"]["elicitation"])

    async def list_roots(self, _context: Any) -> Any:
        self.note("roots/list", None)
        return types.ListRootsResult.model_validate({"roots": self.plan["roots"]})

    async def heard(self, message: Any) -> None:
        # What is no notification is an answer that nobody waits for, as after a call is given up.
        if isinstance(message, types.ServerNotification):
            params = message.root.params
            self.note(message.root.method, None if params is None else plain(params))

    async def play(self) -> Outcome:
        async with (
            websocket_client(self.plan["url"]) as streams,
            ClientSession(
                *streams,
                sampling_callback=self.sample,
                elicitation_callback=self.elicit,
                list_roots_callback=self.list_roots,
                message_handler=self.heard,
            ) as self.client,
        ):
            agreed = await self.client.initialize()
            outcomes: list[Outcome] = [{"result": plain(agreed), "failed": False}]
            outcomes += [await self.outcome(step) for step in self.plan["steps"]]
        return {"steps": outcomes, "seen": self.seen}

    async def outcome(self, step: Any) -> Outcome:
        try:
            result = await getattr(self, f"do_{next(iter(step))}")(step)
        except McpError as error:
            told = {"code": error.error.code, "message": error.error.message}
            return {"error": told, "failed": True}
        failed = isinstance(result, dict) and result.get("isError") is True
        return {"result": result, "failed": failed}

    async def do_list(self, step: Any) -> object:
        return plain(await getattr(self.client, LISTS[step["list"]])())

    async def do_call(self, step: Any) -> object:
        reached = anyio.Event()

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            self.note("progress", {"progress": progress, "total": total, "message": message})
            reached.set()

        call = step["call"], step.get("arguments", {})
        if not step.get("cancel"):
            wanted = progressed if step.get("progress") else None
            return plain(await self.client.call_tool(*call, progress_callback=wanted))
        # This line of the SDK tells no server that a call is given up: that is left to its user.
        number = self.client._request_id
        async with anyio.create_task_group() as group:
            group.start_soon(self.given_up, call, progressed)
            await reached.wait()
            params = types.CancelledNotificationParams(requestId=number, reason="parity")
            cancelled = types.CancelledNotification(params=params)
            await self.client.send_notification(types.ClientNotification(cancelled))
            group.cancel_scope.cancel()
        return {"isError": True, "cancelled": True}

    async def given_up(self, call: Any, progressed: Any) -> None:
        await self.client.call_tool(*call, progress_callback=progressed)

    async def do_read(self, step: Any) -> object:
        return plain(await self.client.read_resource(AnyUrl(step["read"])))

    async def do_prompt(self, step: Any) -> object:
        return plain(await self.client.get_prompt(step["prompt"], step.get("arguments", {})))

    async def do_complete(self, step: Any) -> object:
        reference = types.PromptReference.model_validate(step["complete"])
        return plain(await self.client.complete(reference, step["argument"]))

    async def do_subscribe(self, step: Any) -> object:
        return plain(await self.client.subscribe_resource(AnyUrl(step["subscribe"])))

    async def do_unsubscribe(self, step: Any) -> object:
        return plain(await self.client.unsubscribe_resource(AnyUrl(step["unsubscribe"])))

    async def do_level(self, step: Any) -> object:
        return plain(await self.client.set_logging_level(step["level"]))

    async def do_await(self, step: Any) -> object:
        while not any(message["method"] == step["await"] for message in self.seen):
            await self.news.wait()
        return None

    async def do_ping(self, _step: Any) -> object:
        return plain(await self.client.send_ping())


async def played(plan: Any) -> list[Outcome]:
    """Play each session; one that breaks off is reported, and ends no other."""
    told: list[Outcome] = []
    for target in plan["targets"]:
        try:
            with anyio.fail_after(plan["seconds"]):
                told.append(await Play({**plan, **target}).play())
        except (Exception, BaseExceptionGroup):  # noqa: BLE001  whatever the SDK raises
            told.append({"broken": traceback.format_exc()})
    return told


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the SDK announces that WebSocket goes
    json.dump(anyio.run(played, json.load(sys.stdin)), sys.stdout)

"""Plays sessions with the official Python SDK and prints its client's observations.

stdin: {command, args, env, steps, …}; stdout: {steps: [outcome…], seen: [message…]}, as JSON.
`transport` and `url` replace the command if the server is reached over HTTP. With `targets`, a list
of the differences of each session, stdout is a list too. It runs in the environment of
tests/requirements-servers.txt, not in PipeGuard's.
"""

import json
import sys
import traceback
import warnings
from typing import Any

import anyio  # type: ignore[import-not-found, unused-ignore]
import mcp_types as types  # type: ignore[import-not-found, unused-ignore]
from mcp import Client, MCPError, StdioServerParameters  # type: ignore[import-not-found, unused-ignore]
from mcp.client import session  # type: ignore[import-not-found, unused-ignore]
from mcp.client.sse import sse_client  # type: ignore[import-not-found, unused-ignore]

Outcome = dict[str, object]
CALLS = {  # of one argument
    "read": "read_resource",
    "subscribe": "subscribe_resource",
    "unsubscribe": "unsubscribe_resource",
    "level": "set_logging_level",
}
UNAVAILABLE = "pipeguard/unavailable"  # in `_meta` of a list: the servers that are not in it
AGAIN_SECONDS = 0.2


def plain(model: Any) -> Any:
    """Convert a result of the SDK to JSON."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def reached(plan: Any) -> Any:
    """Return the SDK's parameters of a server, by its transport."""
    transport = plan.get("transport", "stdio")
    if transport == "stdio":
        return StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
    if transport not in ("sse", "http"):
        raise ValueError(f"this SDK has no transport {transport!r}")
    return sse_client(plan["url"]) if transport == "sse" else plan["url"]


async def played(plan: Any) -> object:
    """Play one session, or several; one that breaks off is reported, and ends no other."""
    if "targets" not in plan:
        return await Play(plan).connect()
    told: list[object] = []
    for target in plan["targets"]:
        try:
            with anyio.fail_after(plan["seconds"]):
                told.append(await Play({**plan, **target}).connect())
        except (Exception, BaseExceptionGroup):  # noqa: BLE001  whatever the SDK raises
            told.append({"broken": traceback.format_exc()})
    return told


class Play:
    """A client's session: its answers to the server, and its observations."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.roots = plan["roots"]
        self.seen: list[Outcome] = []
        self.news = anyio.Event()
        self.client: Any = None
        self.listening: Any = None
        self.subscription: Any = None

    def note(self, method: str, params: object) -> None:
        self.seen.append({"method": method, "params": params})
        self.news.set()
        self.news = anyio.Event()

    async def until(self, method: str, count: int) -> None:
        while sum(message["method"] == method for message in self.seen) < count:
            await self.news.wait()

    async def sample(self, context: Any, params: Any) -> Any:
        self.note("sampling/createMessage", plain(params))
        return types.CreateMessageResult.model_validate(self.plan["answers"]["sampling"])

    async def elicit(self, context: Any, params: Any) -> Any:
        self.note("elicitation/create", plain(params))
        by_url = getattr(params, "mode", None) == "url"
        answer = {"action": "accept"} if by_url else self.plan["answers"]["elicitation"]
        return types.ElicitResult.model_validate(answer)

    async def list_roots(self, context: Any) -> Any:
        self.note("roots/list", None)
        return types.ListRootsResult.model_validate({"roots": self.roots})

    async def heard(self, message: Any) -> None:
        if isinstance(message, Exception):
            raise message
        params = message.params
        self.note(message.method, None if params is None else plain(params))

    async def connect(self) -> Outcome:
        plan = self.plan
        self.client = Client(
            reached(plan),
            sampling_callback=self.sample,
            elicitation_callback=self.elicit,
            list_roots_callback=self.list_roots,
            message_handler=self.heard,
            mode="auto",  # asks for the newest revision, falls back to the handshake
            log_level="debug",
            cache=None,
        )
        async with self.client as client:
            info = client.server_info
            result = {
                "server": None if info is None else plain(info),
                "capabilities": plain(client.server_capabilities),
                "instructions": client.instructions,
            }
            outcomes: list[Outcome] = [{"result": result, "failed": False}]
            outcomes += [await self.outcome(step) for step in plan["steps"]]
        return {"steps": outcomes, "seen": self.seen}

    async def outcome(self, step: Any) -> Outcome:
        try:
            word = next(iter(step))
            if word in CALLS:
                result = plain(await getattr(self.client, CALLS[word])(step[word]))
            else:
                result = await getattr(self, f"do_{word}")(step)
        except MCPError as error:
            return {"error": {"code": error.code, "message": error.message}, "failed": True}
        failed = isinstance(result, dict) and result.get("isError") is True
        return {"result": result, "failed": failed}

    async def do_list(self, step: Any) -> object:
        kind = step["list"].replace("templates", "resource_templates")
        fetch = getattr(self.client, f"list_{kind}")
        pages = [plain(await fetch())]
        while step.get("complete") and UNAVAILABLE in (pages[0].get("_meta") or {}):
            await anyio.sleep(AGAIN_SECONDS)
            pages = [plain(await fetch())]
        while (cursor := pages[-1].get("nextCursor")) is not None:
            pages.append(plain(await fetch(cursor=cursor)))
        return pages

    async def do_call(self, step: Any) -> object:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            self.note("progress", {"progress": progress, "total": total, "message": message})
            if step.get("cancel"):
                scope.cancel("parity")

        wanted = step.get("progress") or step.get("cancel")
        result = None
        with anyio.CancelScope() as scope:
            result = await self.client.call_tool(
                step["call"],
                step.get("arguments", {}),
                progress_callback=progressed if wanted else None,
            )
        if scope.cancelled_caught:
            return {"isError": True, "cancelled": True}
        return plain(result)

    async def do_prompt(self, step: Any) -> object:
        return plain(await self.client.get_prompt(step["prompt"], step.get("arguments", {})))

    async def do_complete(self, step: Any) -> object:
        reference = step["complete"]
        is_prompt = reference["type"] == "ref/prompt"
        kind = types.PromptReference if is_prompt else types.ResourceTemplateReference
        result = await self.client.complete(
            kind.model_validate(reference), step["argument"], step.get("context")
        )
        return plain(result)

    async def do_roots(self, step: Any) -> object:
        self.roots = step["roots"]
        await self.client.send_roots_list_changed()
        return None

    async def do_await(self, step: Any) -> object:
        await self.until(step["await"], step.get("count", 1))
        return None

    async def do_listen(self, step: Any) -> object:
        wanted = types.SubscriptionFilter.model_validate(step["listen"])
        self.listening = self.client.listen(
            tools_list_changed=bool(wanted.tools_list_changed),
            resource_subscriptions=wanted.resource_subscriptions or (),
        )
        self.subscription = await self.listening.__aenter__()
        return plain(self.subscription.honored)

    async def do_hear(self, step: Any) -> object:
        events = [await anext(self.subscription) for _ in step["hear"]]
        return [repr(event) for event in events]

    async def do_unlisten(self, _step: Any) -> object:
        await self.listening.__aexit__(None, None, None)
        return None

    async def do_ping(self, _step: Any) -> object:
        return plain(await self.client.send_ping())


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the SDK calls what the newest revision left out deprecated
    session.DISCOVER_TIMEOUT_SECONDS = 60.0  # its 10 s are few on a machine that is busy
    json.dump(anyio.run(played, json.load(sys.stdin)), sys.stdout)

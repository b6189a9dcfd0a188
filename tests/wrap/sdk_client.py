"""Calls tools with the official Python SDK over any transport, and prints the outcomes.

stdin: {url, transport, command, env, mode, calls: [[tool, arguments]…], elicits: its answer to
questions about each call, if there are any; calls are made one by one then}; stdout: {tools:
[name…], results: [outcome…], asked: [params…]}, as JSON. It runs in the environment of
tests/requirements-servers.txt.
"""

import json
import sys
import warnings
from typing import Any

import anyio  # type: ignore[import-not-found, unused-ignore]
from mcp import Client, MCPError, StdioServerParameters  # type: ignore[import-not-found, unused-ignore]
from mcp.client import session  # type: ignore[import-not-found, unused-ignore]
from mcp.client.sse import sse_client  # type: ignore[import-not-found, unused-ignore]
from mcp_types import ElicitResult  # type: ignore[import-not-found, unused-ignore]

warnings.simplefilter("ignore")
session.DISCOVER_TIMEOUT_SECONDS = 60.0  # its 10 s are few where a busy machine starts the server


def server(plan: Any) -> Any:
    if plan["transport"] == "sse":
        return sse_client(plan["url"])
    if plan["transport"] == "stdio":
        command, *arguments = plan["command"]
        return StdioServerParameters(command=command, args=arguments, env=plan["env"])
    return plan["url"]


async def outcome(client: Any, name: str, arguments: Any) -> object:
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return {"error": {"code": error.code, "message": error.message}}
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


async def main() -> None:
    plan = json.loads(sys.stdin.read())
    asked: list[object] = []

    async def elicit(context: Any, params: Any) -> Any:
        asked.append(params.model_dump(by_alias=True, mode="json", exclude_none=True))
        return ElicitResult(**plan["elicits"][current])

    callback: Any = elicit if plan.get("elicits") else None
    current, at_once = 0, anyio.CapacityLimiter(1 if callback else len(plan["calls"]))
    async with Client(server(plan), mode=plan["mode"], elicitation_callback=callback) as client:
        tools = (await client.list_tools()).tools
        results: list[object] = [None] * len(plan["calls"])

        async def call(number: int) -> None:
            nonlocal current
            async with at_once:
                current = number
                results[number] = await outcome(client, *plan["calls"][number])

        async with anyio.create_task_group() as group:
            for number in range(len(results)):
                group.start_soon(call, number)
    names = [tool.name for tool in tools]
    print(json.dumps({"tools": names, "results": results, "asked": asked}))


anyio.run(main)

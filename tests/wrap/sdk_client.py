"""Calls tools with the official Python SDK over any transport, and prints what came of it.

stdin: {url, transport, command, env, mode, calls: [[tool, arguments]…]}; stdout: {tools: [name…],
results: [outcome…]}, as JSON. It runs in the environment of tests/requirements-servers.txt.
"""

import json
import sys
import warnings
from typing import Any

import anyio  # type: ignore[import-not-found, unused-ignore]
from mcp import Client, MCPError, StdioServerParameters  # type: ignore[import-not-found, unused-ignore]
from mcp.client import session  # type: ignore[import-not-found, unused-ignore]
from mcp.client.sse import sse_client  # type: ignore[import-not-found, unused-ignore]

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
    async with Client(server(plan), mode=plan["mode"]) as client:
        tools = (await client.list_tools()).tools
        results: list[object] = [None] * len(plan["calls"])

        async def call(number: int) -> None:
            results[number] = await outcome(client, *plan["calls"][number])

        async with anyio.create_task_group() as group:
            for number in range(len(results)):
                group.start_soon(call, number)
    print(json.dumps({"tools": [tool.name for tool in tools], "results": results}))


anyio.run(main)

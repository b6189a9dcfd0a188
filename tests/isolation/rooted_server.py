"""An MCP server whose tool asks for the client's roots, and reads a file in the first one."""

import json
import sys
from typing import Any

SCHEMA = {"type": "object", "properties": {}}
INFO = {"name": "rooted", "version": "1"}


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def seen_in(answer: dict[str, Any]) -> dict[str, Any]:
    """Make a tool's result: the content of the first root."""
    path = answer["roots"][0]["uri"].removeprefix("file://")
    try:
        with open(path + "/own") as file:
            text = file.read()
    except OSError as error:
        text = str(error.strerror)
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result of a request."""
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": INFO,
        }
    if method == "server/discover":
        return {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "serverInfo": INFO,
            "ttlMs": 0,
            "cacheScope": "private",
        }
    if method == "tools/list":
        tool = {"name": "look", "description": "Looks.", "inputSchema": SCHEMA}
        return {"resultType": "complete", "tools": [tool], "ttlMs": 0, "cacheScope": "private"}
    if "inputResponses" in params:
        return seen_in(params["inputResponses"]["where"])
    return {
        "resultType": "input_required",
        "inputRequests": {"where": {"method": "roots/list", "params": {}}},
    }


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        send({"id": asked["id"], "result": answer(asked["method"], asked["params"])})

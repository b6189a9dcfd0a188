"""A stdio MCP server that misbehaves as it is told: `rogue.py '{"tools": ["echo"], "mute": []}'`.

Standard library only. Keys: `tools`, `prompts` (names), `resources`, `templates` (addresses),
`mute` (methods that it never answers), `endless` (resources without end, on empty pages),
`fails` (methods that it answers with an error), `failure` (its text), `dies` (methods at which it
ends), `log` (a file with a line for each request), `gate` (a file that it waits for at its start).
"""

import json
import sys
import time
from pathlib import Path

SAID = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
NO_SCHEMA = {"type": "object", "properties": {}}


def send(**members: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **members}) + "\n")
    sys.stdout.flush()


def named(key: str) -> list[str]:
    return [str(name) for name in SAID.get(key, [])]


def listed(method: str, cursor: str) -> dict[str, object]:
    if method == "tools/list":
        tools = [{"name": name, "description": f"Does {name}."} for name in named("tools")]
        return {"tools": [{**tool, "inputSchema": NO_SCHEMA} for tool in tools]}
    if method == "prompts/list":
        return {"prompts": [{"name": name} for name in named("prompts")]}
    if method == "resources/templates/list":
        templates = [{"uriTemplate": uri, "name": uri} for uri in named("templates")]
        return {"resourceTemplates": templates}
    if SAID.get("endless"):
        return {"resources": [], "nextCursor": str(int(cursor or "0") + 1)}
    return {"resources": [{"uri": uri, "name": uri} for uri in named("resources")]}


def result(method: str, params: dict[str, object]) -> dict[str, object]:
    own = str(SAID.get("name", "rogue"))
    if method == "initialize":
        capabilities = {name: {"listChanged": True} for name in ("tools", "prompts", "resources")}
        capabilities["logging"] = {}
        tasks: dict[str, object] = {"requests": {"tools": {"call": {}}}, "cancel": {}, "list": {}}
        info = {"name": own, "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {**capabilities, "tasks": tasks},
            "serverInfo": info,
        }
    if method.endswith("/list"):
        return listed(method, str(params.get("cursor", "")))
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": f"read at {own}"}]}
    if method == "prompts/get":
        content = {"type": "text", "text": f"prompt of {own}"}
        return {"messages": [{"role": "user", "content": content}]}
    if method == "tools/call" and "task" in params:
        return {"task": {"taskId": "t1", **TASK}}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"{params['name']} ran at {own}"}]}
    if method == "tasks/get":
        return {"taskId": params["taskId"], **TASK}
    return {}


TASK = {
    "status": "working",
    "createdAt": "2026-01-01T00:00:00Z",
    "lastUpdatedAt": "2026-01-01T00:00:00Z",
    "ttl": 60000,
}


def note(text: str) -> None:
    if "log" in SAID:
        with open(SAID["log"], "a") as log:
            log.write(f"{text}\n")


while "gate" in SAID and not Path(SAID["gate"]).exists():
    time.sleep(0.02)
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    note(f"{method} {json.dumps(message.get('params', {}))}")
    if "id" not in message or method in SAID.get("mute", []):
        continue
    if method in SAID.get("dies", []):
        break
    if method in SAID.get("fails", []):
        send(id=message["id"], error={"code": -32603, "message": SAID.get("failure", "it failed")})
        continue
    if method == "tools/call" and message["params"].get("name") == "storm":
        for _ in range(200):
            send(method="notifications/tools/list_changed")
    send(id=message["id"], result=result(method, message.get("params", {})))
    if method == "tools/call" and message["params"].get("name") == "relist_and_die":
        send(method="notifications/tools/list_changed")
        break
note("ended")

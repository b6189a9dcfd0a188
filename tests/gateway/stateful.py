"""A stdio MCP server with state that its clients share, since it sees one peer. Standard library.

Its tools: `work` (as a task), `finish` (ends a task), `announce` (a resource has changed), `log`,
`state` (the messages that it got), `ask` (asks the client, with progress), `roots`, `sample`,
`progress`, `echo`, `die`. A resource whose address ends in `none` does not exist. `stateful.py
NAME` gives it its own name.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

NAME = sys.argv[1] if len(sys.argv) > 1 else "stateful"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
TASK = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttl": 60000}
CAPABILITIES = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True},
    "prompts": {},
    "completions": {},
    "logging": {},
    "tasks": {"requests": {"tools": {"call": {}}}, "cancel": {}, "list": {}},
}

levels = ["debug"]  # as set, the last one counts
subscribed: list[str] = []
tasks: dict[str, str] = {}
tokens: dict[str, object] = {}  # under which clients hear of the progress of tasks
cancelled: list[object] = []


def send(**members: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **members}) + "\n")
    sys.stdout.flush()


def text(words: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": words}]}


def described(task: str) -> dict[str, object]:
    return {"taskId": task, "status": tasks[task], **TASK}


def answer_to(method: str, params: dict[str, object]) -> str:
    """Return the client's answer to a request."""
    send(id=method, method=method, params=params)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") == method:
            return json.dumps(message.get("result", message.get("error")))
    return ""


def ask_client() -> str:
    """Ask, with a progress token that every server may use; return the answer."""
    params = {
        "message": f"{NAME} asks",
        "requestedSchema": {"type": "object", "properties": {}},
        "_meta": {"progressToken": 1},
    }
    send(id="question", method="elicitation/create", params=params)
    reports = []
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/progress":
            reports.append(message["params"])
        elif message.get("method") == "notifications/cancelled":
            cancelled.append(message["params"].get("reason"))
            break
        elif message.get("id") == "question":
            return json.dumps({"answer": message.get("result"), "progress": reports})
    return ""


def work(params: dict[str, Any]) -> dict[str, object]:
    task = f"t{len(tasks) + 1}"
    tasks[task] = "working"
    tokens[task] = params.get("_meta", {}).get("progressToken")
    return {"task": described(task)}


def finish(params: dict[str, Any]) -> None:
    task = params["arguments"]["task"]
    tasks[task] = "completed"
    if tokens[task] is not None:
        send(method="notifications/progress", params={"progressToken": tokens[task], "progress": 1})
    send(method="notifications/tasks/status", params=described(task))


def log(params: dict[str, Any]) -> None:
    level = params["arguments"]["level"]
    if LEVELS.index(level) >= LEVELS.index(levels[-1]):
        line = {"level": level, "data": f"{NAME} logs {level}"}
        send(method="notifications/message", params=line)


def announce(params: dict[str, Any]) -> None:
    uri = params["arguments"]["uri"]
    send(method="notifications/resources/updated", params={"uri": uri})


def progress(params: dict[str, Any]) -> None:
    token = params.get("_meta", {}).get("progressToken")
    report = {"progressToken": token, "progress": 1, "message": f"{NAME} works"}
    send(method="notifications/progress", params=report)


def state(_: dict[str, Any]) -> str:
    known = {"subscribed": subscribed, "cancelled": cancelled, "tasks": tasks}
    return json.dumps({"level": levels[-1], **known})


ACTIONS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "finish": finish,
    "log": log,
    "announce": announce,
    "progress": progress,
    "state": state,
    "ask": lambda _: ask_client(),
    "roots": lambda _: answer_to("roots/list", {}),
    "sample": lambda _: answer_to("sampling/createMessage", {"messages": [], "maxTokens": 1}),
    "echo": lambda params: str(params["arguments"].get("text", "")),
    "die": lambda _: sys.exit(),
}
TOOLS = ("work", *ACTIONS)


def called(params: dict[str, Any]) -> dict[str, object]:
    name = params["name"]
    if name == "work":
        return work(params) if "task" in params else text("no task was asked for")
    return text(ACTIONS[name](params) or f"{name} done at {NAME}")


def listed(method: str) -> dict[str, object]:
    tools = [
        {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}
        for name in TOOLS
    ]
    lists: dict[str, dict[str, object]] = {
        "tools/list": {"tools": tools},
        "resources/list": {
            "resources": [{"uri": f"{NAME}://{item}", "name": item} for item in "ab"]
        },
        "resources/templates/list": {
            "resourceTemplates": [{"uriTemplate": f"{NAME}-item://{{id}}", "name": "item"}]
        },
        "prompts/list": {"prompts": [{"name": "greet", "arguments": [{"name": "whom"}]}]},
        "tasks/list": {"tasks": [described(task) for task in tasks]},
    }
    return lists[method]


def result(method: str, params: dict[str, Any]) -> dict[str, object]:
    if method.endswith("/list"):
        return listed(method)
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": CAPABILITIES,
            "serverInfo": {"name": NAME, "version": "1"},
        }
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": f"read at {NAME}"}]}
    if method == "prompts/get":
        return {"messages": [{"role": "user", "content": {"type": "text", "text": "Hello."}}]}
    if method == "completion/complete":
        return {"completion": {"values": [f"{params['argument']['value']} at {NAME}"]}}
    if method == "tools/call":
        return called(params)
    if method.startswith("tasks/"):
        return task_result(method, params["taskId"])
    remember(method, params)
    return {}


def remember(method: str, params: dict[str, Any]) -> None:
    if method == "resources/subscribe" and params["uri"].endswith("none"):
        raise LookupError
    if method == "resources/subscribe" and params["uri"] not in subscribed:
        subscribed.append(params["uri"])
    if method == "resources/unsubscribe" and params["uri"] in subscribed:
        subscribed.remove(params["uri"])
    if method == "logging/setLevel":
        levels.append(params["level"])


def task_result(method: str, task: str) -> dict[str, object]:
    if task not in tasks:
        raise LookupError
    if method == "tasks/result":
        related = {"io.modelcontextprotocol/related-task": {"taskId": task}}
        return {**text(f"result of {task}"), "_meta": related}
    if method == "tasks/cancel":
        tasks[task] = "cancelled"
    return described(task)


for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "notifications/cancelled":
        cancelled.append(message["params"].get("reason"))
    if "id" not in message or "method" not in message:
        continue
    try:
        send(id=message["id"], result=result(message["method"], message.get("params", {})))
    except LookupError:
        send(id=message["id"], error={"code": -32602, "message": "Task not found"})

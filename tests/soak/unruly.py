"""A stdio MCP server whose tools flood, write garbage, hang and die on request."""

import json
import os
import sys
import time

NAMES = ("echo", "flood", "garbage", "hang", "die", "large")


def send(**members: object) -> None:
    data = json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def text(said: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": said}]}


def called(name: str, said: str) -> dict[str, object]:
    if name == "flood":
        for number in range(2000):
            send(method="notifications/message", params={"level": "info", "data": f"{number}"})
    elif name == "garbage":
        os.write(1, b"Traceback (most recent call last):\n\xff\xfe{\n" * 50)
    elif name == "hang":
        time.sleep(3)
    elif name == "die":
        os._exit(1)
    elif name == "large":
        return text("word " * 400_000)
    return text(said)


def main() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        method, params = request.get("method"), request.get("params", {})
        if "id" not in request or method is None:
            continue
        result: dict[str, object] = {}
        if method == "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}, "logging": {}},
                "serverInfo": {"name": "unruly", "version": "1"},
            }
        elif method == "tools/list":
            words = {name: f"Does {name}." for name in NAMES}
            result = {
                "tools": [
                    {"name": name, "description": said, "inputSchema": schema}
                    for name, said in words.items()
                ]
            }
        elif method == "tools/call":
            result = called(params["name"], params["arguments"].get("text", ""))
        send(id=request["id"], result=result)


main()

"""An MCP server whose tools fail as real ones do, in the words of Node and Python."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
Result = dict[str, Any]


def text(words: str, **more: Any) -> Result:
    return {"content": [{"type": "text", "text": words}], **more}


def fetch(what: str) -> Result:
    """Fetch a page of a host, and say little of what went wrong."""
    host, _, port = what.partition(":")
    try:
        socket.create_connection((host, int(port or 443)), 5).close()
    except OSError:
        return text("Failed to fetch: connection issue", isError=True)
    return text("fetched")


def chatter(what: str) -> Result:
    """Reach for a host beside a call that works."""
    fetch(what)
    return text("The sun is shining.")


def scan(what: str) -> Result:
    """Reach for several hosts, and say only that it failed."""
    return [fetch(each) for each in what.split()][-1]


def protest(what: str) -> Result:
    """Reach for a host, and fail as the protocol has it."""
    fetch(what)
    raise ValueError(what)


def read_text_file(what: str) -> Result:
    """Read a file."""
    try:
        return text(Path(what).read_text())
    except OSError as error:
        return text(str(error), isError=True)


def write_file(what: str) -> Result:
    """Write a file, and fail as Node does."""
    try:
        Path(what).write_text("written")
    except OSError as error:
        name = {30: "EROFS: read-only file system", 2: "ENOENT: no such file or directory"}
        why = name.get(error.errno or 0, "EACCES: permission denied")
        return text(f"Error: {why}, open '{what}'", isError=True)
    return text("written")


def call_port(what: str) -> Result:
    """Connect to a port of this machine, by one of its names."""
    host, _, port = what.rpartition(":")
    host = host or "127.0.0.1"
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return text(f"connect ECONNREFUSED {host}:{port}", isError=True)
    return text("connected")


def proxied(what: str) -> Result:
    """Connect to a host and port through the proxy of a sandbox."""
    with socket.create_connection(("127.0.0.1", 3128), 5) as connection:
        connection.sendall(f"CONNECT {what} HTTP/1.1\r\nHost: {what}\r\n\r\n".encode())
        head = connection.recv(1000).decode()
    return text(head, isError=" 200 " not in head)


def claim(what: str) -> Result:
    """Fail with these words, whatever was done."""
    return text(what, isError=True)


def outwait(what: str) -> Result:
    """Fail once there is a file."""
    Path(f"{what}.begun").touch()
    while not Path(what).exists():
        time.sleep(0.01)
    return text("it failed", isError=True)


TOOLS = (
    *(fetch, scan, chatter, protest, read_text_file, write_file, call_port),
    *(proxied, outwait, claim),
)


def answer(message: dict[str, Any]) -> Result:
    if message["method"] == "initialize":
        return {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "failing", "version": "1"},
        }
    if message["method"] == "tools/list":
        return {
            "tools": [
                {"name": tool.__name__, "description": tool.__doc__, "inputSchema": SCHEMA}
                for tool in TOOLS
            ]
        }
    params = message["params"]
    tool = next(tool for tool in TOOLS if tool.__name__ == params["name"])
    return tool(params["arguments"]["what"])


def reply(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request."""
    made: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
    try:
        made["result"] = answer(asked)
    except ValueError:
        made["error"] = {"code": -32000, "message": "upstream is unreachable"}
    return made


for line in sys.stdin:
    received = json.loads(line)
    batch = received if isinstance(received, list) else [received]
    replies = [reply(asked) for asked in batch if "id" in asked]
    if replies:
        answered = replies if isinstance(received, list) else replies[0]
        os.write(1, (json.dumps(answered) + "\n").encode())

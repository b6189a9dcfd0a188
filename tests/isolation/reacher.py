"""An MCP server whose tools access a file or a host, and report the outcome."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}


def read(what: str) -> str:
    """Read a file."""
    return Path(what).read_text()


def write(what: str) -> str:
    """Write a file."""
    Path(what).write_text("written")
    return "written"


def connect(what: str) -> str:
    """Connect to a host and port, and read what it says."""
    host, _, port = what.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        return connection.recv(100).decode() or "ended"


def environment(what: str) -> str:
    """The value of a variable."""
    return os.environ.get(what, "not set")


def proxied(what: str) -> str:
    """Connect to a host and port through the proxy of a sandbox."""
    with socket.create_connection(("127.0.0.1", 3128), 5) as connection:
        connection.sendall(f"CONNECT {what} HTTP/1.1\r\nHost: {what}\r\n\r\n".encode())
        connection.settimeout(5)
        head = connection.recv(1000).decode()
        return head if " 200 " not in head else head[-7:] + connection.recv(100).decode()


TOOLS = (read, write, connect, environment, proxied)


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of a tool."""
    try:
        text = next(tool for tool in TOOLS if tool.__name__ == name)(arguments["what"])
    except OSError as error:
        return {"content": [{"type": "text", "text": type(error).__name__}], "isError": True}
    return {"content": [{"type": "text", "text": text}]}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """The result of a request."""
    if message["method"] == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "reacher", "version": "1"},
        }
    if message["method"] == "tools/list":
        return {
            "tools": [
                {"name": tool.__name__, "description": tool.__doc__, "inputSchema": SCHEMA}
                for tool in TOOLS
            ]
        }
    return call(message["params"]["name"], message["params"]["arguments"])


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        print(
            json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer(asked)}), flush=True
        )

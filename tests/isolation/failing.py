"""An MCP server whose tools fail as real ones do, in the words of Node and Python."""

import errno
import json
import os
import socket
import sys
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


def search(what: str) -> Result:
    """Search at a host; a failure is a result like any other."""
    failed = fetch(what).get("isError")
    return text("No results were found." if failed else "one", structuredContent={"found": 0})


def chatter(what: str) -> Result:
    """Reach for a host beside a call that works."""
    fetch(what)
    return text("The sun is shining.")


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


def replace(what: str) -> Result:
    """Replace a file by another one, and fail as Node does."""
    new = f"{what}.tmp"
    try:
        Path(new).write_text("replaced")
        Path(new).rename(what)
    except OSError as error:
        code = errno.errorcode[error.errno or 0]
        why = f"{code}: {os.strerror(error.errno or 0).lower()}, rename '{new}' -> '{what}'"
        return text(f"Error: {why}", isError=True)
    return text("replaced")


def call_port(what: str) -> Result:
    """Connect to a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", int(what)), 5).close()
    except OSError:
        return text(f"connect ECONNREFUSED 127.0.0.1:{what}", isError=True)
    return text("connected")


def read_in_own_folders(what: str) -> Result:
    """Read a file in the folders that are its arguments, as the reference server does."""
    allowed = [str(Path(word).absolute()) for word in sys.argv[1:] if Path(word).is_dir()]
    if not any(Path(what).is_relative_to(each) for each in allowed):
        said = f"path outside allowed directories: {what} not in {', '.join(allowed)}"
        return text(f"Access denied - {said}", isError=True)
    return read_text_file(what)


def ask_roots(what: str) -> Result:
    """Ask the client for its roots."""
    os.write(1, b'{"jsonrpc": "2.0", "id": "roots", "method": "roots/list"}\n')
    sys.stdin.readline()
    return text(what)


def claim(what: str) -> Result:
    """Fail with these words, whatever was done."""
    return text(what, isError=True)


def mutter(what: str) -> Result:
    """Say something on standard error, and nothing of it in the answer."""
    print(what, file=sys.stderr, flush=True)
    return text("done")


TOOLS = (
    *(fetch, search, chatter, protest, read_text_file, write_file, replace, call_port, claim),
    *(mutter, ask_roots, read_in_own_folders),
)


def answer(message: dict[str, Any]) -> Result:
    if message["method"] == "initialize":
        return {
            "protocolVersion": "2025-06-18",
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


if sys.argv[1:] and not any(Path(word).is_dir() for word in sys.argv[1:]):
    sys.exit("none of the specified folders is accessible")
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            reply["result"] = answer(asked)
        except ValueError:
            reply["error"] = {"code": -32000, "message": "upstream is unreachable"}
        os.write(1, (json.dumps(reply) + "\n").encode())

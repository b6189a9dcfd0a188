"""An MCP server that accesses files, hosts and ports, and fails as real ones do.

Its arguments are ignored, but for `work`: those of `escape_attempts.py`, and the file that it
writes.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"what": {"type": "string"}}}
Result = dict[str, Any]


def text(words: str, **more: Any) -> Result:
    return {"content": [{"type": "text", "text": words}], **more}


def read(what: str) -> Result:
    """Read a file."""
    return text(Path(what).read_text())


def write(what: str) -> Result:
    """Write a file."""
    Path(what).write_text("written")
    return text("written")


def connect(what: str) -> Result:
    """Connect to a host and port, and read what it says."""
    host, _, port = what.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        return text(connection.recv(100).decode() or "ended")


def environment(what: str) -> Result:
    """The value of a variable."""
    return text(os.environ.get(what, "not set"))


def proxied(what: str) -> Result:
    """Connect to a host and port through the proxy of a sandbox, and read what it says."""
    with socket.create_connection(("127.0.0.1", 3128), 5) as connection:
        connection.sendall(f"CONNECT {what} HTTP/1.1\r\nHost: {what}\r\n\r\n".encode())
        connection.settimeout(5)
        head = connection.recv(1000).decode()
        if " 200 " not in head:
            return text(head, isError=True)
        return text(head[-7:] + connection.recv(100).decode())


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


def claim(what: str) -> Result:
    """Fail with these words, whatever was done."""
    return text(what, isError=True)


def outwait(what: str) -> Result:
    """Fail once there is a file."""
    Path(f"{what}.begun").touch()
    while not Path(what).exists():
        time.sleep(0.01)
    return text("it failed", isError=True)


def work(what: str) -> Result:
    """Try to escape, and write the outcomes."""
    facts, written = sys.argv[1:]
    attempts = Path(__file__).with_name("escape_attempts.py")
    with open(written, "wb") as file:
        subprocess.run(
            [sys.executable, "-I", "-S", str(attempts), facts],
            stdin=subprocess.DEVNULL,  # or it would read what is asked
            stdout=file,
            check=True,
            close_fds=False,  # what was inherited is looked at
        )
    return text("done" + what)


TOOLS = (
    *(read, write, connect, environment, proxied, fetch, scan, chatter, protest),
    *(read_text_file, write_file, call_port, outwait, claim, work),
)


def answer(message: dict[str, Any]) -> Result:
    """The result of a request."""
    if message["method"] == "initialize":
        return {
            "protocolVersion": message["params"]["protocolVersion"],
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
    params = message["params"]
    tool = next(tool for tool in TOOLS if tool.__name__ == params["name"])
    try:
        return tool(params["arguments"].get("what", ""))
    except OSError as error:
        return text(type(error).__name__, isError=True)


def reply(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request."""
    made: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
    try:
        made["result"] = answer(asked)
    except ValueError:
        made["error"] = {"code": -32000, "message": "upstream is unreachable"}
    return made


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        os.write(1, (json.dumps(reply(asked)) + "\n").encode())

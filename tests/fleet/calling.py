"""Replicas of `serve` on one database, and calls of their clients."""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.tokens import TokenScope, create_token
from tests.gateway.served import ServedAt, text_of, write_servers
from tests.wrap.wrapped import Json, Object

SCRIPTED = Path(__file__).parents[1] / "gateway" / "scripted.py"
STATELESS, WITH_SESSION = "2026-07-28", "2025-11-25"
PREFIX = "io.modelcontextprotocol/"
META: Object = {f"{PREFIX}protocolVersion": STATELESS, f"{PREFIX}clientCapabilities": {}}
PRIVATE = (
    "Confidential, not for distribution: the plant in the valley closes by spring, the northern"
    " one takes over its orders and a third of its people."
)
HARMLESS = (
    "Please move the meeting about the garden party to Thursday, and bring some chairs along."
)


def write_tool(folder: Path, name: str, parameter: str, answer: str) -> Object:
    """Write a server with one tool, whose answer is a text; its entry."""
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}}
    script = {
        "tools": [{"name": name, "description": f"Does {name}.", "inputSchema": schema}],
        "answers": {name: {"result": {"content": [{"type": "text", "text": answer}]}}},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(script))
    return {"command": sys.executable, "args": [str(SCRIPTED), str(path)], "trust": "first-use"}


def write_fleet(folder: Path, **settings: Json) -> None:
    """Write what all replicas have: their servers and the secret file."""
    write_servers(
        folder,
        {
            "files": write_tool(folder, "read_file", "path", PRIVATE),
            "mail": write_tool(folder, "http_post", "body", "sent"),
            "weather": write_tool(folder, "get_forecast", "city", "mild"),
        },
        mode="direct",
        **settings,
    )
    keys = folder / "keys"
    keys.write_bytes(base64.b64encode(os.urandom(32)))
    keys.chmod(0o600)


def make_token(database: str, name: str, per_minute: int = 0) -> str:
    """Create a token for the clients of all replicas."""
    with PostgresStore(database) as store:
        return create_token(store, name, TokenScope(per_minute=per_minute))


class Replica(ServedAt):
    """One replica, with a state folder of its own."""

    def __init__(self, folder: Path, name: str, database: str) -> None:
        shared = ("--store", database, "--secret-file", str(folder / "keys"))
        super().__init__(folder / name, "--config", str(folder / "pipeguard.yaml"), *shared)

    def call(self, tool: str, token: str = "", session: str = "", **arguments: Json) -> str:
        """Call a tool; the text of the answer."""
        params: Object = {"name": tool, "arguments": arguments}
        if not session:
            params["_meta"] = META
        _, answer = self.post("tools/call", params, token, session)
        return text_of(answer)

    def begin(self, token: str = "") -> str:
        """Begin a session of an older revision; its id."""
        info: Object = {"name": "test", "version": "1"}
        params: Object = {
            "protocolVersion": WITH_SESSION,
            "capabilities": {},
            "clientInfo": info,
        }
        session, _ = self.post("initialize", params, token, "-")
        self.post("notifications/initialized", {}, token, session)
        return session

    def post(
        self, method: str, params: Object, token: str = "", session: str = ""
    ) -> tuple[str, Object]:
        """Send a message; the id of its session, and the answer."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": WITH_SESSION if session else STATELESS,
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if session == "":
            headers |= {"Mcp-Method": method, "Mcp-Name": str(params.get("name", ""))}
        elif session != "-":
            headers["Mcp-Session-Id"] = session
        body: Object = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            body["id"] = 1
        request = urllib.request.Request(  # noqa: S310  our own address
            self.url, json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310  our own address
            text = response.read().decode()
            events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
            answer = json.loads(events[-1] if events else text or "{}")
            return response.headers.get("Mcp-Session-Id", session), answer

    def is_ready(self) -> tuple[int, str]:
        """The status and the text of /readyz."""
        try:
            with urllib.request.urlopen(self.at("/readyz")) as answer:  # noqa: S310  our own
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

"""The cells of the matrix: a client, a server, and the transports between them.

A client's view of a server does not depend on the transport, so each is compared with what it sees
directly over one of them. The tests say what must be equal.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import tools
from tests.commands import run_command
from tests.listening import Listening, Process, hop
from tests.parity.session import Json

HERE = Path(__file__).resolve().parent
PARITY = HERE.parent / "parity" / "clients"
SESSION_SECONDS = 180  # far beyond the slowest session: a hang is told as one
RUN_SECONDS = 600  # for all sessions of a client
STREAM = re.compile(r"\blisten-\d+\b")
ROOTS: Json = [{"uri": "file:///work", "name": "work"}]
ANSWERS: Json = {
    "sampling": {
        "role": "assistant",
        "content": {"type": "text", "text": "A word, and “another”."},
        "model": "matrix",
        "stopReason": "endTurn",
    },
    "elicitation": {
        "action": "accept",
        "content": {"name": "Åse", "check": True, "color": "red", "context": "quiet"},
    },
}

# What each client has; over the first it is played without PipeGuard.
CLIENTS = {
    "python": ("http", "stdio", "sse"),
    "typescript": ("http", "stdio", "sse"),
    "typescript-1": ("websocket",),
    "python-1": ("websocket",),
}
# What each server has; each plays the session of its own name.
SERVERS = {"handshake": ("stdio", "http", "sse", "websocket"), "stateless": ("stdio", "http")}
STATELESS = ("python", "typescript")  # the clients that speak the newest revision
NO_STREAM = {"sse", "websocket"}  # the newest revision knows neither


@dataclass(frozen=True, order=True)
class Cell:
    """A client with its transport, a server with its own; `through` PipeGuard or directly."""

    server: str
    client: str
    near: str  # what the client speaks
    far: str  # what the server speaks
    through: bool

    def __str__(self) -> str:
        return f"{self.server}: {self.client} {self.near} - {self.far}"


def cells() -> list[Cell]:
    """Each client over each of its transports, to each server over each of its own."""
    return [
        Cell(server, client, near, far, through=True)
        for server, fars in SERVERS.items()
        for client, nears in CLIENTS.items()
        if server == "handshake" or client in STATELESS
        for near in nears
        if server == "handshake" or near not in NO_STREAM
        for far in fars
        if (near, far) != ("stdio", "stdio")  # that is what tests/parity plays
    ]


def baseline(cell: Cell) -> Cell:
    """The direct cell with which one through PipeGuard is compared."""
    near = CLIENTS[cell.client][0]
    return Cell(cell.server, cell.client, near, near, through=False)


def sessions() -> dict[str, list[dict[str, Json]]]:
    """The steps of each server's session."""
    loaded: dict[str, list[dict[str, Json]]] = yaml.safe_load(
        (HERE / "sessions.yaml").read_text("utf-8")
    )
    return loaded


@dataclass(frozen=True)
class Seen:
    """A client's view of a session, with varying parts masked, or why it broke off."""

    steps: list[dict[str, Json]]
    heard: list[str]  # in no order: two that are sent at once may come in either
    broken: str = ""


class Matrix:
    """The servers, and PipeGuard in front of each, as long as the cells are played."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        first, later = str(tools.first_line_python()), str(tools.server_python())
        self.commands = {
            "handshake": [first, str(HERE / "server_1.py")],
            "stateless": [later, str(HERE.parent / "conformance" / "server.py")],
        }
        servers = {
            name: stack.enter_context(Process(folder / f"{name}.log", [*command, "http"]))
            for name, command in self.commands.items()
        }
        self.urls = {
            (name, far): address(server, far)
            for name, server in servers.items()
            for far in SERVERS[name]
            if far != "stdio"
        }
        self.hops = {
            (name, far): stack.enter_context(
                Listening(folder / f"{name}-{far}", *self.behind(name, far))
            )
            for name in servers
            for far in SERVERS[name]
        }

    def behind(self, server: str, far: str) -> list[str]:
        """Return the arguments that select the server behind `wrap`."""
        if far == "stdio":
            return ["--", *self.commands[server], "stdio"]
        return ["--upstream", self.urls[server, far]]

    def target(self, cell: Cell) -> dict[str, Json]:
        """Return the instructions for the client to play a cell."""
        text = json.dumps(sessions()[cell.server])
        told: dict[str, Json] = {
            "transport": cell.near,
            "steps": json.loads(text.replace('"KEY"', json.dumps(key(cell)))),
        }
        if cell.near != "stdio":
            if not cell.through:
                return {**told, "url": self.urls[cell.server, cell.far]}
            return {**told, "url": address(self.hops[cell.server, cell.far], cell.near)}
        command = [*self.commands[cell.server], "stdio"]
        if cell.through:
            command = hop("--name", key(cell), *self.behind(cell.server, cell.far))
        # The SDKs hand on little of their own environment.
        env: dict[str, Json] = {"PIPEGUARD_STATE_DIR": str(self.folder / "stdio-state")}
        env |= {name: os.environ[name] for name in ("XDG_CACHE_HOME",) if name in os.environ}
        return {**told, "command": command[0], "args": list[Json](command[1:]), "env": env}

    def play(self, client: str, chosen: Sequence[Cell]) -> Mapping[Cell, Seen]:
        """Play the cells of one client, one after the other."""
        outcomes = played_by(client, [self.target(cell) for cell in chosen])
        return {cell: seen(cell, one) for cell, one in zip(chosen, outcomes, strict=True)}


def played_by(
    client: str, targets: Sequence[dict[str, Json]], seconds: int = SESSION_SECONDS
) -> list[dict[str, Json]]:
    """Return a client's output for its sessions, one after another, each with a time limit."""
    plan = {
        "client": client,
        "modules": str(tools.npm_modules()),
        "answers": ANSWERS,
        "roots": ROOTS,
        "seconds": seconds,
        "targets": targets,
    }
    done = run_command(driver(client), input=json.dumps(plan), timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr
    outcomes: list[dict[str, Json]] = json.loads(done.stdout)
    return outcomes


def key(cell: Cell) -> str:
    """Return the key that tells one session's calls apart on a shared server."""
    return f"{'-'.join((cell.server, cell.client, cell.near, cell.far))}-{int(cell.through)}"


def seen(cell: Cell, told: dict[str, Json]) -> Seen:
    """Return the client's report, without its key and the number that the server gave a stream."""
    if "broken" in told:
        return Seen([], [], str(told["broken"]))
    text = json.dumps(told, sort_keys=True, ensure_ascii=False).replace(key(cell), "KEY")
    masked = json.loads(STREAM.sub("listen", text))
    heard = sorted(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in masked["seen"])
    return Seen(masked["steps"], heard)


def address(server: Process, transport: str) -> str:
    """Return the address of a transport of a server, or of PipeGuard in front of it."""
    paths = {"http": "/mcp", "sse": "/sse", "websocket": "/ws"}
    found = server.at(paths[transport])
    return found.replace("http", "ws", 1) if transport == "websocket" else found


def driver(client: str) -> list[str | Path]:
    match client:
        case "python":
            return [tools.server_python(), PARITY / "python_client.py"]
        case "python-1":
            return [tools.first_line_python(), HERE / "clients" / "python_1_client.py"]
        case _:
            return [tools.node(), PARITY / "typescript_client.mjs"]

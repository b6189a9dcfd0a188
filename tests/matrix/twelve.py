"""Twelve real servers, directly and behind one gateway, as the official SDKs' clients see them.

Seven are the reference servers; the others are from npm and PyPI. All run offline, and for each
start in a folder of its own, because they store their data.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import yaml

from tests import tools
from tests.matrix.cells import HERE, played_by
from tests.wrap.wrapped import Json, Object

COMMIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {
        "NAME": "Ada",
        "EMAIL": "ada@example.com",
        "DATE": "2026-01-02T03:04:05Z",
    }.items()
}
MASKS = {  # what is another each time
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:?\d\d)?"): "TIME",
    re.compile(r"\breq-\d+\b"): "REQUEST",
    re.compile(r"\btask-\d+\b"): "TASK",
    re.compile(r'(?<=thoughtHistoryLength\\": )\d+'): "0",  # of all who ever thought
    re.compile(r'(?<=thoughtHistoryLength": )\d+'): "0",
}
SHOWN = ("content", "structuredContent", "contents", "messages", "description")
SESSION_SECONDS = 180  # twelve servers start in it, beside others that do
MOST_POWERFUL = "call_tool_destructive"  # which may call any tool


class Way(NamedTuple):
    """A way for a client to reach the gateway.

    Attributes:
        client: its name in `tests.matrix.cells.CLIENTS`.
        transport: the transport that it speaks.
        mode: the gateway's mode.
    """

    client: str
    transport: str
    mode: str

    def __str__(self) -> str:
        return "-".join(self)


# Each client over each of its transports, in one mode after the other. Each gateway starts all
# servers: over stdio each client has one of its own, the others share the two that listen.
WAYS = [
    Way("python", "stdio", "search"),
    Way("typescript", "stdio", "direct"),
    Way("python", "http", "direct"),
    Way("typescript", "http", "search"),
    Way("python", "sse", "search"),
    Way("typescript", "sse", "direct"),
    Way("typescript-1", "websocket", "search"),
    Way("python-1", "websocket", "direct"),
]


def commands(home: Path) -> dict[str, list[str]]:
    """Return the command of each server in its folder."""
    first = tools.first_line_python()
    return {
        "everything": [str(tools.npm_bin("mcp-server-everything"))],
        "filesystem": [str(tools.npm_bin("mcp-server-filesystem")), str(home)],
        "memory": [str(tools.npm_bin("mcp-server-memory"))],
        "thinking": [str(tools.npm_bin("mcp-server-sequential-thinking"))],
        "fetch": [
            str(tools.server_bin("mcp-server-fetch")),
            "--ignore-robots-txt",
            "--allow-private-ips",
        ],
        "git": [str(tools.server_bin("mcp-server-git")), "--repository", str(home / "repository")],
        "time": [str(tools.server_bin("mcp-server-time")), "--local-timezone", "UTC"],
        "repos": [str(tools.npm_bin("git-mcp-server"))],
        "tasks": [str(tools.npm_bin("mcp-taskmanager"))],
        "planner": [str(tools.npm_bin("mcp-shrimp-task-manager"))],
        "sqlite": [str(first.with_name("mcp-server-sqlite")), "--db-path", str(home / "rows.db")],
        "calculator": [str(first), "-m", "mcp_server_calculator"],
    }


def environment(home: Path) -> dict[str, str]:
    """Return the servers' environment: each stores its data in its folder."""
    return {
        "PATH": tools.path_with_node(),
        "HOME": str(home),
        "MEMORY_FILE_PATH": str(home / "memory.json"),
        "TASK_MANAGER_FILE_PATH": str(home / "tasks.json"),
        "DATA_DIR": str(home / "planner"),
        "GIT_BASE_DIR": str(home),
        "MCP_LOG_LEVEL": "error",
    }


def prepare(home: Path) -> Path:
    """A folder with a page and a repository of one commit, whose hash is the same each time."""
    repository = home / "repository"
    (home / "pages").mkdir(parents=True)
    repository.mkdir()
    for path in (home / "pages" / "page.txt", repository / "read.me"):
        path.write_text("Plain words.\n")
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", "commit", "-qm", "Begin"],
    ):
        subprocess.run(
            ["git", "-C", str(repository), *words], check=True, env={**environment(home), **COMMIT}
        )
    return home


def entries(home: Path) -> dict[str, Object]:
    """The servers as a file of the gateway has them."""
    env = cast(Object, environment(home))
    return {
        name: {"command": program, "args": [*arguments], "env": env, "trust": "first-use"}
        for name, (program, *arguments) in commands(home).items()
    }


def sessions(home: Path, page: str) -> dict[str, list[Object]]:
    """The steps of each server's session."""
    text = json.dumps(yaml.safe_load((HERE / "twelve.yaml").read_text("utf-8")))
    loaded: dict[str, list[Object]] = json.loads(
        text.replace("HOME", str(home)).replace("PAGE", page)
    )
    return loaded


def through_gateway(server: str, step: Object, mode: str) -> Object:
    """A step as a client of the gateway takes it."""
    changed = {**step}
    if "prompt" in step:
        changed["prompt"] = f"{server}__{step['prompt']}"
    if "call" in step:
        public = f"{server}__{step['call']}"
        changed["call"] = public
        if mode == "search":
            inner: Object = {"name": public, "arguments": step.get("arguments", {})}
            changed |= {"call": MOST_POWERFUL, "arguments": inner}
    return changed


def roots(home: Path) -> Json:
    """Return a client's answer to servers that ask for roots."""
    return [{"uri": home.as_uri(), "name": "home"}]


def play(client: str, targets: Sequence[Object]) -> list[list[Object]]:
    """Play each target with a client; return the steps after the handshake.

    Raises:
        AssertionError: a session broke off.
    """
    seen = []
    for outcome in played_by(client, targets, SESSION_SECONDS):
        assert "broken" not in outcome, outcome["broken"]
        steps = cast(list[Object], outcome["steps"])
        seen.append(steps[1:])
    return seen


def essence(outcome: Object, home: Path) -> Json:
    """Reduce a step's outcome to what every SDK shows and every run repeats."""
    result = outcome.get("result")
    if not isinstance(result, dict):
        return "refused"
    shown: Object = {name: result[name] for name in SHOWN if result.get(name) is not None}
    shown["isError"] = outcome["failed"]
    text = json.dumps(_without_nothing(shown), ensure_ascii=False, sort_keys=True)
    text = text.replace(str(home), "HOME")
    for mask, word in MASKS.items():
        text = mask.sub(word, text)
    masked: Json = json.loads(text)
    return masked


def _without_nothing(value: Json) -> Json:
    """Without members that are null, which one SDK leaves out and another does not."""
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def each_tool(pages: Json) -> Iterator[Object]:
    """The definitions of a list of tools, which may be in pages."""
    for page in pages if isinstance(pages, list) else [pages]:
        if isinstance(page, dict) and isinstance(page["tools"], list):
            yield from (cast(Object, tool) for tool in page["tools"])

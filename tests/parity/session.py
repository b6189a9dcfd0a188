"""One session as sessions/*.yaml describes it: set up, played by an SDK's client, and recorded.

It knows how to start clients and servers and how to read records; the tests say what must be equal.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from tests import tools
from tests.commands import run_command

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
SESSION_SECONDS = 180  # far beyond the slowest session: a hang ends as an error
CLIENTS = ("python", "typescript", "typescript-1")
SERVERS = tuple(sorted(path.stem for path in (HERE / "sessions").glob("*.yaml")))
ANSWERS: Json = {
    "sampling": {
        "role": "assistant",
        "content": {"type": "text", "text": "A word, and “another”."},
        "model": "parity",
        "stopReason": "endTurn",
    },
    "elicitation": {
        "action": "accept",
        "content": {"name": "Ada Byron", "check": True, "interpretation": "snake", "integer": 7},
    },
}


def wrapper_command(name: str) -> list[str]:
    """Return the words before a server's command; `PIPEGUARD_TEST_WRAPPER` replaces them."""
    if other := os.environ.get("PIPEGUARD_TEST_WRAPPER"):
        return [word.replace("{name}", name) for word in shlex.split(other)]
    return [sys.executable, "-m", "pipeguard", "wrap", "--name", name, "--"]


@dataclass(frozen=True)
class Record:
    """The lines of one side of a wire; an empty line ends the lines of one process."""

    to_server: list[bytes]
    to_client: list[bytes]

    @classmethod
    def read(cls, stem: Path) -> "Record":
        return cls(*(lines(stem, way) for way in ("to-server", "to-client")))


def lines(stem: Path, way: str) -> list[bytes]:
    """Return all lines recorded one way: the client may have started its server more than once."""
    records = sorted(stem.parent.glob(f"{stem.name}.*.{way}"))
    return [line for record in records for line in record.read_bytes().split(b"\n")]


def messages(record: list[bytes]) -> list[dict[str, Json]]:
    return [json.loads(line) for line in record if line]


@dataclass(frozen=True)
class Played:
    """A played session: the client's report, and the records of the wire."""

    steps: list[dict[str, Json]]
    observed: list[str]  # all that the client told, with a mask over what varies by its nature
    client_side: Record
    server_side: Record
    stderr: str

    @cached_property
    def sent(self) -> list[dict[str, Json]]:
        """The messages that reached the server."""
        return messages(self.server_side.to_server)

    @cached_property
    def answered(self) -> list[dict[str, Json]]:
        """The messages that the server sent."""
        return messages(self.server_side.to_client)


def listed(plan: dict[str, Json], name: str, *default: Json) -> list[Json]:
    """A list of a plan."""
    value = plan.get(name, [*default])
    assert isinstance(value, list)
    return value


@dataclass(frozen=True)
class Session:
    """One file of sessions/, for one client."""

    server: str
    client: str
    plan: dict[str, Json]

    @classmethod
    def load(cls, server: str, client: str) -> "Session":
        text = (HERE / "sessions" / f"{server}.yaml").read_text("utf-8")
        return cls(server, client, yaml.safe_load(text))

    @property
    def steps(self) -> list[dict[str, Json]]:
        chosen = [step for step in listed(self.plan, "steps") if isinstance(step, dict)]
        return [step for step in chosen if self.client in listed(step, "only", self.client)]

    @property
    def methods(self) -> set[str]:
        """Return the methods that this session must use, on either side."""
        named = listed(self.plan, "speaks")
        mine = (one.get(self.client) if isinstance(one, dict) else one for one in named)
        return {str(method) for method in mine if method is not None}

    @property
    def withheld(self) -> set[str]:
        """Notifications of a cancelled request that a wrapper may keep back; the plan says why."""
        kinds = listed(self.plan, "withheld")
        assert all(isinstance(kind, dict) and kind["why"] for kind in kinds)
        return {str(kind["method"]) for kind in kinds if isinstance(kind, dict)}

    def play(
        self, folder: Path, home: Path, wrapper: Sequence[str] | None, *, inside: bool = True
    ) -> Played:
        """Play the session in an empty folder, through the wrapper if there is one.

        Args:
            folder: the session's folder.
            home: the client's home.
            wrapper: words before the server's command; `{root}` and `{port}` are filled in.
            inside: whether to record the wrapper's messages to the server, too.
        """
        root = folder / "root"
        root.mkdir(parents=True)
        self._fill(root)
        with self._pages() as url:
            chain = self._chain(folder, wrapper, inside=inside)
            outcome = self._run(home, chain, {"root": str(root), "url": url})
        told = json.loads(outcome.stdout)
        places = {str(root): "{root}", url: "{url}"}
        seen = [self._masked(message, places) for message in told["seen"]]
        outer = Record.read(folder / "outer")
        return Played(
            steps=told["steps"],
            # Two messages that a server sends at once come in either order: the records keep it.
            observed=[*(self._masked(step, places) for step in told["steps"]), *sorted(seen)],
            client_side=outer,
            server_side=Record.read(folder / "inner") if wrapper and inside else outer,
            stderr=outcome.stderr,
        )

    def _chain(self, folder: Path, wrapper: Sequence[str] | None, *, inside: bool) -> list[str]:
        recorder = [sys.executable, "-I", "-S", str(HERE / "recorder.py")]
        server = [*map(str, self._program()), *map(str, listed(self.plan, "arguments"))]
        outer = [*recorder, str(folder / "outer"), ",".join(self._environment())]
        if wrapper is None:
            return [*outer, *server]
        if not inside:
            return [*outer, *wrapper, *server]
        return [*outer, *wrapper, *recorder, str(folder / "inner"), "", *server]

    def _environment(self) -> dict[str, Json]:
        """Return the variables that a client's configuration sets for the server."""
        variables = self.plan.get("env", {})
        assert isinstance(variables, dict)
        return variables

    def _program(self) -> list[Path]:
        if "npm" in self.plan:
            return [tools.npm_bin(str(self.plan["npm"]))]
        if "pypi" in self.plan:
            return [tools.server_bin(str(self.plan["pypi"]))]
        return [tools.server_python(), HERE / "servers" / str(self.plan["script"])]

    def _run(
        self, home: Path, chain: list[str], places: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        more = self._environment()
        if "path" in self.plan:
            more = {**more, "PATH": str(self.plan["path"])}
        request = {
            "env": more,
            "steps": self.steps,
            "roots": [{"uri": "file://{root}", "name": "work"}],
            "answers": ANSWERS,
            "client": self.client,
            "modules": str(tools.npm_modules()),
        }
        text = json.dumps(request)
        for name, value in places.items():
            text = text.replace(f"{{{name}}}", json.dumps(value)[1:-1])
        port = places["url"].rpartition(":")[2] or "1"
        command = [word.replace("{root}", places["root"]).replace("{port}", port) for word in chain]
        plan: dict[str, Json] = json.loads(text)
        plan |= {"command": command[0], "args": list(command[1:])}
        outcome = run_command(
            self._driver(),
            input=json.dumps(plan),
            cwd=REPOSITORY,
            env={"PATH": tools.path_with_node(), "HOME": str(home)},
            timeout=SESSION_SECONDS,
        )
        assert outcome.returncode == 0, outcome.stderr
        return outcome

    def _driver(self) -> list[str]:
        if self.client == "python":
            return [str(tools.server_python()), str(HERE / "clients" / "python_client.py")]
        return [str(tools.node()), str(HERE / "clients" / "typescript_client.mjs")]

    def _masked(self, told: Json, places: dict[str, str]) -> str:
        text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        for value, name in places.items():
            if value:
                text = text.replace(value, name)
        for pattern in listed(self.plan, "varies"):
            text = re.sub(str(pattern), "…", text)
        return text

    def _fill(self, root: Path) -> None:
        files = self.plan.get("files", {})
        assert isinstance(files, dict)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            kept: object = content  # YAML knows bytes, JSON does not
            path.write_bytes(kept if isinstance(kept, bytes) else str(kept).encode())
        if self.plan.get("git"):
            for command in (
                ["init", "--quiet", "--initial-branch", "main"],
                ["config", "user.name", "Tests"],
                ["config", "user.email", "tests@example.com"],
                ["-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "-m", "Begin"],
            ):
                dates = {f"GIT_{who}_DATE": "1600000000 +0000" for who in ("AUTHOR", "COMMITTER")}
                subprocess.run(["git", *command], cwd=root, env=os.environ | dates, check=True)

    @contextmanager
    def _pages(self) -> Iterator[str]:
        """Serve the session's pages on loopback and yield their address; '' if it has no pages."""
        planned = self.plan.get("pages")
        if not isinstance(planned, dict):
            yield ""
            return
        pages = planned
        missing: Json = ["text/plain", "none"]

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path, missing)
                assert isinstance(page, list)
                kind, text = map(str, page)
                self.send_response(200 if page is not missing else 404)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Log nothing: only the client's account of the page counts."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()

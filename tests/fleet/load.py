"""Clients that call through a balancer without a pause: both SDKs, and raw frames.

Every call has an id of its own, which the server counts (counting.py).
"""

import json
import subprocess
import threading
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from time import time
from typing import NamedTuple, Self

from tests import tools
from tests.launch.processes import until
from tests.wrap.wrapped import Object

HERE = Path(__file__).parent
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
NEWEST = REVISIONS[-1]
SDKS = ("python", "python_legacy", "typescript", "typescript_1")
CLIENTS = (*SDKS, *REVISIONS)
TOOL = "counting__count"
CALL_SECONDS = 0.05
ANSWER_SECONDS = 90.0
CLIENT: Object = {"name": "load", "version": "1"}
META: Object = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Call(NamedTuple):
    """A call of a client: times are in seconds since 1970; without an error, it was answered."""

    name: str
    began: float
    ended: float
    error: str | None


class RawClient:
    """A client of one revision that sends frames over HTTP, each on a connection of its own.

    Raises:
        OSError, HTTPException, RuntimeError: from its calls, one visible error each.
    """

    def __init__(self, address: str, revision: str) -> None:
        self._address = address
        self._revision = revision
        self._session = ""
        self._ids = count(1)

    def begin(self) -> None:
        """Initialize, if the revision does."""
        if self._revision == NEWEST:
            return
        self._session = ""
        params: Object = {
            "protocolVersion": self._revision,
            "capabilities": {},
            "clientInfo": CLIENT,
        }
        answer = self._request("initialize", params)
        result = answer.get("result")
        if not isinstance(result, dict) or result["protocolVersion"] != self._revision:
            raise RuntimeError(f"initialized as {answer}")
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})

    def call(self, name: str) -> None:
        """Call the tool."""
        arguments: Object = {"id": name, "seconds": CALL_SECONDS}
        answer = self._request("tools/call", {"name": TOOL, "arguments": arguments})
        result = answer.get("result")
        content = result.get("content") if isinstance(result, dict) else None
        if content != [{"type": "text", "text": name}]:
            raise RuntimeError(f"answered {answer}")

    def _request(self, method: str, params: Object) -> Object:
        headers = {}
        if self._revision == NEWEST:
            params = {**params, "_meta": META}
            headers = {"Mcp-Method": method, "Mcp-Name": TOOL}
        number = next(self._ids)
        frame = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for answer in self._post(frame, headers):
            if answer.get("id") == number:
                return answer
        raise RuntimeError("there was no answer")

    def _post(self, frame: object, headers: dict[str, str]) -> list[Object]:
        if self._revision >= "2025-06-18":
            headers = {**headers, "MCP-Protocol-Version": self._revision}
        if self._session:
            headers = {**headers, "Mcp-Session-Id": self._session}
        accepted = {"Accept": "application/json, text/event-stream"}
        with closing(HTTPConnection(self._address, timeout=ANSWER_SECONDS)) as connection:
            body = json.dumps(frame).encode()
            own = {"Content-Type": "application/json", **accepted, **headers}
            connection.request("POST", "/mcp", body, own)
            with closing(connection.getresponse()) as response:
                text = response.read().decode()
                if response.status not in (200, 202):
                    raise RuntimeError(f"HTTP {response.status}: {text}")
                self._session = response.headers.get("Mcp-Session-Id", self._session)
                if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    data = [x[5:] for x in text.splitlines() if x.startswith("data:")]
                    return [json.loads(each) for each in data if each.strip()]
                return [json.loads(text)] if text.strip() else []


class Load:
    """All clients, while the test goes on; `calls` has what became of the calls after it.

    Args:
        address: host and port of the balancer.
        folder: for the logs.
        clients: of the SDKs, and raw ones by their revisions.
        may_fail: False to end the test with the first call that fails.
    """

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        clients: Sequence[str] = CLIENTS,
        may_fail: bool = False,
    ) -> None:
        self._may_fail = may_fail
        self.calls: list[Call] = []
        self._address = address
        self._folder = folder
        self._clients = clients
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        for name in [name for name in self._clients if name in SDKS]:
            with (self._folder / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    self._command(name),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={"PATH": tools.path_with_node(), "HOME": str(self._folder)},
                )
            self._processes.append(process)
            self._begin(self._read, process)
        for revision in [name for name in self._clients if name in REVISIONS]:
            self._begin(self._call_raw, revision)
        self.grow()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    @property
    def failed(self) -> list[Call]:
        return [call for call in self.calls if call.error is not None]

    def grow(self, by: int = 3) -> None:
        """Wait until each client has had some more calls answered."""
        before = self._answered()

        def has_grown() -> bool:
            assert self._may_fail or not self.failed, self.failed[:3]
            return all(self._answered().get(x, 0) >= before.get(x, 0) + by for x in self._clients)

        until(has_grown, "all clients go on")

    def _answered(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for call in [*self.calls]:
            if call.error is None:
                client = call.name.rpartition("-")[0]
                numbers[client] = numbers.get(client, 0) + 1
        return numbers

    def _command(self, name: str) -> list[str]:
        url, modules = f"http://{self._address}/mcp", str(tools.npm_modules())
        if name.startswith("python"):
            mode = "legacy" if name.endswith("legacy") else "auto"
            return [str(tools.server_python()), "-I", str(HERE / "sdk_load.py"), url, mode, name]
        line = "1" if name.endswith("1") else "2"
        return [str(tools.node()), str(HERE / "sdk_load.mjs"), url, line, name, modules]

    def _begin(self, work: object, argument: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=(argument,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.calls.append(Call(*json.loads(line)))

    def _call_raw(self, revision: str) -> None:
        client, is_begun = RawClient(self._address, revision), False
        for number in count(1):
            if self._stopped.is_set():
                return
            name, began, error = f"{revision}-{number}", time(), None
            try:
                if not is_begun:
                    client.begin()
                    is_begun = True
                client.call(name)
            except (OSError, HTTPException, RuntimeError) as raised:
                error, is_begun = repr(raised), False
            self.calls.append(Call(name, began, time(), error))


def count_calls(path: Path) -> dict[str, int]:
    """How often each call reached a server."""
    numbers: dict[str, int] = {}
    for name in path.read_text().split():
        numbers[name] = numbers.get(name, 0) + 1
    return numbers


def describe(calls: Sequence[Call]) -> str:
    """Figures of calls, for people."""
    waits = sorted(call.ended - call.began for call in calls)
    failed = sum(call.error is not None for call in calls)
    return f"{len(calls)} calls, {failed} failed, the longest took {waits[-1]:.2f} s"

"""A real `pipeguard wrap` that listens, a real server at an address, and clients of them.

As in tests.wrap.wrapped, each run has a mark to find processes that it left running.
"""

import http.client
import json
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests import tools
from tests.commands import run_command
from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.listening import Process
from tests.wrap.wrapped import MARK, Json, Marked, Object

SDK_CLIENT = Path(__file__).with_name("sdk_client.py")
ACCEPTS = "application/json, text/event-stream"


class Listening(Marked, Process):
    """One run of `wrap --listen`.

    Attributes:
        store: of its pins and audit.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str],
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        name, value = MARK, str(uuid.uuid4())
        self.mark = f"{name}={value}".encode()
        self.store = folder / "state" / "pipeguard.db"
        words = [*PIPEGUARD, "wrap", "--listen", "127.0.0.1:0", "--name", "demo", *options]
        super().__init__(
            folder / f"stderr-{value[-4:]}",
            [*words, "--", *command] if command else words,
            {name: value, "PIPEGUARD_STATE_DIR": str(folder / "state"), **(environment or {})},
            told_on_stderr=True,
        )

    def __enter__(self) -> Self:
        assert self.url
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self.none_is_left()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


class Browser:
    """A client of Streamable HTTP in so many bytes."""

    def __init__(self, url: str, **headers: str) -> None:
        self._at = urlsplit(url)
        self.headers = {"Content-Type": "application/json", "Accept": ACCEPTS, **headers}
        self.headers["Connection"] = "close"  # a response that is read is all that is held
        self._number = 0

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            self._at.hostname or "", self._at.port, timeout=PATIENCE_SECONDS
        )

    def send(
        self, method: str, message: Json = None, path: str | None = None
    ) -> http.client.HTTPResponse:
        """One request on a connection of its own; the response is still to be read."""
        body = None if message is None else json.dumps(message)
        connection = self.connect()
        connection.request(method, path or self._at.path, body, self.headers)
        return connection.getresponse()

    def send_body(self, path: str, body: bytes | str, headers: Mapping[str, str]) -> list[Object]:
        """POST a body as it is; return the messages of the answer."""
        connection = self.connect()
        connection.request("POST", path, body, dict(headers))
        with connection.getresponse() as response:
            return messages(response)

    def post(self, message: Json) -> tuple[int, list[Object]]:
        """POST a message; return its status and the messages of the answer."""
        with self.send("POST", message) as response:
            return response.status, messages(response)

    def ask(self, method: str, **params: Json) -> Object:
        """Send a request; return the answer."""
        self._number += 1
        asked: Object = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        status, told = self.post(asked)
        assert status == 200, told
        (answer,) = (one for one in told if one.get("id") == self._number and "method" not in one)
        return answer

    def open(self, **capabilities: Json) -> Self:
        """Begin a session; the client itself."""
        params: Object = {"protocolVersion": "2025-06-18", "capabilities": {**capabilities}}
        params["clientInfo"] = {"name": "tests", "version": "1"}
        asked: Object = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        with self.send("POST", asked) as response:
            assert response.status == 200, response.read()
            (answer,) = messages(response)
            assert "result" in answer, answer
            session_id = response.headers["Mcp-Session-Id"]
        self.headers |= {"Mcp-Session-Id": session_id, "MCP-Protocol-Version": "2025-06-18"}
        status, _ = self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert status == 202
        return self


def messages(response: http.client.HTTPResponse) -> list[Object]:
    """Return all messages in a response."""
    body = response.read()
    if not body.strip():
        return []
    if response.headers.get_content_type() == "application/json":
        return [json.loads(body)]
    return [json.loads(text) for text in re.findall(rb"^data: (.+)$", body, re.MULTILINE)]


def next_event(response: http.client.HTTPResponse) -> Object:
    """The next message on a stream."""
    while line := response.readline():
        if line.startswith(b"data: ") and line.strip() != b"data:":
            message: Object = json.loads(line.removeprefix(b"data: "))
            return message
    raise AssertionError("the stream ended")


def everything() -> str:
    """The npm everything-server."""
    return str(tools.npm_bin("mcp-server-everything"))


@contextmanager
def upstream(transport: str) -> Iterator[str]:
    """The everything-server at an address of this machine; gives its origin."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {"PATH": tools.path_with_node(), "PORT": str(port)}
    with subprocess.Popen(
        [everything(), transport],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def answers() -> bool:
            assert process.poll() is None
            with suppress(OSError), socket.create_connection(("localhost", port), 1):
                return True
            return False

        try:
            until(answers, "the server listens")
            yield f"http://localhost:{port}"
        finally:
            process.kill()


def sdk(home: Path, plan: Mapping[str, object]) -> Object:
    """Play a plan with the official Python SDK, as tests/wrap/sdk_client.py describes."""
    whole = {"url": "", "transport": "http", "command": [], "env": {}, "mode": "auto", **plan}
    done = run_command(
        [tools.server_python(), "-I", SDK_CLIENT],
        input=json.dumps(whole),
        env={"PATH": tools.path_with_node(), "HOME": str(home)},
        timeout=3 * PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    told: Object = json.loads(done.stdout)
    return told

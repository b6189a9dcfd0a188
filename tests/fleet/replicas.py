"""Real replicas of `pipeguard serve` on one database, and balancers before them."""

import base64
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Self

import psycopg

from tests.commands import run_command
from tests.fleet.postgres import free_port
from tests.forking import PIPEGUARD
from tests.gateway.served import write_servers
from tests.launch.processes import until
from tests.listening import Process
from tests.programs import find_program
from tests.wrap.wrapped import PYTHON, Object

PACKAGING = Path(__file__).parents[2] / "packaging" / "fleet"
COUNTING = Path(__file__).with_name("counting.py")
STARTS = count(1)


class Fleet:
    """Replicas with state folders of their own, and one database and secret file.

    Args:
        folder: for everything that they keep.
        database: its address; empty for one process on SQLite.

    Attributes:
        urls: of the replicas, in their order; they stay when one is started again.
        calls: the file with the ids of all calls that reached a server.
    """

    def __init__(
        self,
        folder: Path,
        database: str,
        size: int = 2,
        *,
        servers: Mapping[str, Object] | None = None,
        options: Sequence[str] = (),
        settings: Object | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.calls = folder / "calls"
        self.calls.touch()
        secret = folder / "secret"
        secret.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
        secret.chmod(0o600)
        self.store = {"PIPEGUARD_STORE": database, "PIPEGUARD_SECRET_FILE": str(secret)}
        if not database:
            self.store = {}
        program, *words = [*PYTHON, str(COUNTING), str(self.calls)]
        counting: Object = {"command": program, "args": [*words], "trust": "first-use"}
        file = write_servers(
            folder / "config", servers or {"counting": counting}, mode="direct", **(settings or {})
        )
        self._options = ["--config", str(file), "--allow-host", "127.0.0.1", *options]
        self._ports = [free_port() for _ in range(size)]
        self._running: list[Process | None] = [None] * size

    def __enter__(self) -> Self:
        for number in range(len(self._ports)):
            self.start(number)
        for number in range(len(self._ports)):
            self.await_ready(number)
        return self

    def __exit__(self, *_: object) -> None:
        for process in filter(None, self._running):
            process.process.terminate()
        for process in filter(None, self._running):
            process.__exit__()

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/mcp" for port in self._ports]

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._ports]

    def start(self, number: int) -> Process:
        """Start a replica, and do not wait for it."""
        state = self._folder / f"state-{number}"
        running = Process(
            self._folder / f"replica-{number}-{next(STARTS)}.log",
            [*PIPEGUARD, "serve", "--listen", self.addresses[number], *self._options],
            {**self.store, "PIPEGUARD_STATE_DIR": str(state)},
            told_on_stderr=True,
        )
        self._running[number] = running
        return running

    def await_ready(self, number: int) -> None:
        """Wait until a replica's /readyz is 200."""
        running = self.running(number)
        assert running.url
        until(lambda: self.readiness(number) == 200, f"it is ready: {running.said()}")

    def readiness(self, number: int) -> int:
        """The status of a replica's /readyz; 0 if it does not answer."""
        with suppress(OSError):
            return ask(self.addresses[number], "GET", "/readyz")
        return 0

    def running(self, number: int) -> Process:
        """The process of a replica."""
        running = self._running[number]
        assert running is not None
        return running

    def kill(self, number: int) -> None:
        """Kill a replica, as a crash would."""
        self.running(number).kill()

    def stop(self, number: int) -> None:
        """Ask a replica to end, and wait for it."""
        running = self.running(number)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60.0)

    def count_rows(self) -> int:
        """How many calls the shared audit has, as they went to a server."""
        asked = "SELECT count(*) FROM audit WHERE method = 'tools/call' AND direction = 'to-server'"
        with psycopg.connect(self.store["PIPEGUARD_STORE"]) as connection:
            ((number,),) = connection.execute(asked)
        return int(number)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the shared store, with a state folder of its own."""
        own = {"PIPEGUARD_STATE_DIR": str(self._folder / "state-of-commands")}
        return run_command([*PIPEGUARD, *words], env={**os.environ, **self.store, **own})

    def said(self) -> str:
        """Everything that the replicas said on stderr."""
        logs = sorted(self._folder.glob("replica-*.log"))
        return "".join(path.read_text(errors="replace") for path in logs)


@contextmanager
def balance(folder: Path, program: str, replicas: Sequence[str]) -> Iterator[str]:
    """Run HAProxy or nginx with packaging's file before replicas; its host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    write = write_haproxy if program == "haproxy" else write_nginx
    words = write(folder, port, replicas)
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [find_program(program) or program, *words], cwd=folder, stdout=log, stderr=log
        )
    try:
        until(lambda: answers(port) or running.poll() is not None, f"{program} answers")
        assert running.poll() is None, (folder / "log").read_text()
        yield f"127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def write_haproxy(folder: Path, port: int, replicas: Sequence[str]) -> list[str]:
    """Write haproxy.cfg for other addresses; HAProxy's words."""
    text = (PACKAGING / "haproxy.cfg").read_text()
    bind = "bind :8443 ssl crt /etc/haproxy/mcp.pem alpn http/1.1"
    assert bind in text
    text = text.replace(bind, f"bind 127.0.0.1:{port}").replace("maxconn 5000", "maxconn 500")
    text = name_replicas(text, "    server replica-{0} {1}\n", replicas)
    (folder / "haproxy.cfg").write_text(text)
    return ["-db", "-f", "haproxy.cfg"]


def write_nginx(folder: Path, port: int, replicas: Sequence[str]) -> list[str]:
    """Write nginx.conf for other addresses; nginx's words."""
    text = (PACKAGING / "nginx.conf").read_text()
    assert "listen 8443 ssl;" in text
    text = text.replace("listen 8443 ssl;", f"listen 127.0.0.1:{port};")
    text = "".join(line for line in text.splitlines(keepends=True) if "ssl_certificate" not in line)
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {name}_temp_path {name};\n" for name in folders)
    text = text.replace("http {\n", "http {\n    access_log off;\n" + temporary)
    server = "        server {1} max_fails=1 fail_timeout=2s;\n"
    text = name_replicas(text, server, replicas)
    (folder / "nginx.conf").write_text(f"daemon off;\npid pid;\n{text}")
    return ["-p", f"{folder}/", "-c", "nginx.conf", "-e", "errors"]


def name_replicas(text: str, line: str, replicas: Sequence[str]) -> str:
    """Replace each pair of lines of the example's two replicas."""
    shown = "".join(line.format(number, f"replica-{number}:8080") for number in (1, 2))
    assert text.count(shown) == 2
    own = "".join(line.format(number, each) for number, each in enumerate(replicas, 1))
    return text.replace(shown, own)


def answers(port: int) -> bool:
    """True if a balancer answers at a port of loopback, whatever is behind it."""
    with suppress(OSError):
        return ask(f"127.0.0.1:{port}", "GET", "/ui") == 404
    return False


def ask(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Send a request; the status of its answer.

    Raises:
        OSError: there is none.
    """
    with closing(HTTPConnection(address, timeout=30.0)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        with closing(connection.getresponse()) as answer:
            return answer.status

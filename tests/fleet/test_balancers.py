"""The balancers of packaging/fleet, started: nothing is sent twice, and streams are not held up."""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest
import yaml

from tests.fleet.postgres import Cluster, free_port
from tests.fleet.replicas import PACKAGING, ask, balance
from tests.launch.processes import until

both = pytest.mark.parametrize(
    "program",
    [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("haproxy", "nginx")],
)


class Replica(ThreadingHTTPServer):
    """A replica as a balancer sees one.

    Attributes:
        seen: the requests, without those for /readyz.
        dies: True to read each request and hang up.
        is_ready: what /readyz says.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.looks = 0
        self.dies, self.is_ready = False, True
        self.more = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.more.set()
        self.shutdown()
        self.server_close()

    def __enter__(self) -> Self:
        return self

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One request to a replica."""

    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self.server.looks += 1
            self.send_response(200 if self.server.is_ready else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.note()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        self.server.more.wait(60.0)
        self.wfile.write(b"data: second\n\n")
        self.close_connection = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.note()
        if self.server.dies:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def replicas() -> Iterator[tuple[Replica, Replica]]:
    with Replica() as first, Replica() as second:
        yield first, second


def post(address: str, path: str = "/mcp", **headers: str) -> int:
    return ask(address, "POST", path, b"{}", {"Host": "mcp.example.com", **headers})


@both
def test_a_call_that_was_sent_is_sent_to_no_other_replica(
    program: str, tmp_path: Path, replicas: tuple[Replica, Replica]
) -> None:
    for one in replicas:
        one.dies = True
    with balance(tmp_path, program, [one.address for one in replicas]) as address:
        statuses = [post(address) for _ in range(2 if program == "nginx" else 10)]
    assert set(statuses) == {502}
    assert sum(len(one.seen) for one in replicas) == len(statuses)


@both
def test_a_replica_that_is_gone_costs_no_call(
    program: str, tmp_path: Path, replicas: tuple[Replica, Replica]
) -> None:
    gone = f"127.0.0.1:{free_port()}"
    with balance(tmp_path, program, [gone, *(one.address for one in replicas)]) as address:
        assert [post(address) for _ in range(20)] == [200] * 20
    assert sum(len(one.seen) for one in replicas) == 20


@both
def test_a_session_keeps_to_a_replica_with_the_headers_of_its_client(
    program: str, tmp_path: Path, replicas: tuple[Replica, Replica]
) -> None:
    with balance(tmp_path, program, [one.address for one in replicas]) as address:
        for number in range(12):
            for _ in range(2):
                assert post(address, **{"Mcp-Session-Id": f"session-{number}"}) == 200
        for path in ("/sse", "/servers/files/messages"):
            assert post(address, path) == 200
        assert post(address, "/ui/link") == 404
    sessions = [
        {headers["mcp-session-id"] for _, path, headers in one.seen if path == "/mcp"}
        for one in replicas
    ]
    assert sessions[0].isdisjoint(sessions[1])
    assert all(sessions)
    old = [[path for _, path, _ in one.seen if path != "/mcp"] for one in replicas]
    assert sorted(map(len, old)) == [0, 2]
    for one in replicas:
        for _, _, headers in one.seen:
            assert headers["host"] == "mcp.example.com"
            assert headers["x-forwarded-for"] == "127.0.0.1"


@both
def test_the_first_event_of_a_stream_comes_before_the_second_is_there(
    program: str, tmp_path: Path, replicas: tuple[Replica, Replica]
) -> None:
    with (
        balance(tmp_path, program, [one.address for one in replicas]) as address,
        closing(HTTPConnection(address, timeout=60.0)) as connection,
    ):
        connection.request("GET", "/mcp", headers={"Accept": "text/event-stream"})
        with closing(connection.getresponse()) as response:
            assert response.readline() == b"data: first\n"
            for one in replicas:
                one.more.set()
            assert response.read() == b"\ndata: second\n\n"


@both
def test_a_websocket_is_opened_through_it(program: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as replica:
        address = f"127.0.0.1:{replica.getsockname()[1]}"
        threading.Thread(target=switch_protocols, args=(replica,), daemon=True).start()
        with balance(tmp_path, program, [address]) as balancer:
            host, _, port = balancer.partition(":")
            with socket.create_connection((host, int(port)), 60.0) as client:
                client.sendall(
                    b"GET /mcp HTTP/1.1\r\nHost: mcp.example.com\r\nConnection: Upgrade\r\n"
                    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    b"Sec-WebSocket-Version: 13\r\n\r\n"
                )
                with client.makefile("rb") as answer:
                    assert b" 101 " in answer.readline()
                    while answer.readline() != b"\r\n":
                        pass
                    client.sendall(b"frame\n")
                    assert answer.readline() == b"frame\n"


def switch_protocols(replica: socket.socket) -> None:
    """Answer each connection: /readyz with 200, an upgrade with an echo of one line."""
    while True:
        with suppress(OSError):
            client, _ = replica.accept()
            with client, client.makefile("rwb") as stream:
                head = stream.readline()
                while stream.readline() not in (b"\r\n", b""):
                    pass
                if b"/readyz" in head:
                    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                accept = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                switched = b"HTTP/1.1 101 Switching Protocols\r\n"
                upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                stream.write(switched + upgrade + accept + b"\r\n")
                stream.flush()
                stream.write(stream.readline())
                stream.flush()
                stream.read()
        if replica.fileno() < 0:
            return


@pytest.mark.needs("haproxy")
def test_a_replica_that_is_not_ready_gets_no_further_call(
    tmp_path: Path, replicas: tuple[Replica, Replica]
) -> None:
    ending, other = replicas
    with balance(tmp_path, "haproxy", [one.address for one in replicas]) as address:
        ending.is_ready = False
        looks = ending.looks
        until(lambda: ending.looks >= looks + 4, "HAProxy has seen that it is not ready")
        sent = len(ending.seen)
        assert [post(address) for _ in range(10)] == [200] * 10
    assert len(ending.seen) == sent
    assert len(other.seen) >= 10


def test_envoy_tries_only_what_was_not_sent_again() -> None:
    loaded = yaml.safe_load((PACKAGING / "envoy.yaml").read_text())
    (listener,) = loaded["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    routed = [route["route"] for route in host["routes"] if "route" in route]
    assert {route["retry_policy"]["retry_on"] for route in routed} == {"connect-failure"}
    assert {route["cluster"] for route in routed} == {
        cluster["name"] for cluster in loaded["static_resources"]["clusters"]
    }


@pytest.mark.needs("psql")
def test_the_role_of_the_compose_file_has_only_its_schema(cluster: Cluster) -> None:
    made = subprocess.run(
        ["sh", PACKAGING / "database.sh"],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(cluster.port),
            "POSTGRES_USER": "postgres",
            "PIPEGUARD_PASSWORD": "it's one",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    role = "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = 'pipeguard'"
    assert cluster.execute(role) == [(False, False)]
    owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'pipeguard'"
    assert cluster.execute(owner, "pipeguard") == [("pipeguard",)]
    compose = yaml.safe_load((PACKAGING / "compose.yaml").read_text())["services"]
    stores = {
        service["environment"]["PIPEGUARD_STORE"]
        for name, service in compose.items()
        if re.fullmatch(r"replica-[12]", name)
    }
    assert stores == {"postgresql://pipeguard@database/pipeguard"}

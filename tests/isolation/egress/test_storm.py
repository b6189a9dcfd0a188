"""Hostile clients, a hostile proxy and changing rules, all at once: nothing fails or leaks."""

import contextlib
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.outer_proxy import OuterProxies, merge_proxies
from pipeguard.isolation.egress.proxy import Egress
from pipeguard.isolation.egress.state import EgressLimits
from tests.isolation.egress.company_proxy import head_of, listening
from tests.isolation.egress.sandbox import port_of, running
from tests.launch.processes import until

CLIENTS, ROUNDS = 12, 20
ALL = HostRules.parse(["*.example:443", "*.example:80", "direct.test:443"])
SOME = HostRules.parse(["a.example", "b.example:443"])
LIMITS = EgressLimits(connections=64, head_seconds=0.3, connect_seconds=0.5, idle_seconds=1.0)
RESET = struct.pack("ii", 1, 0)
OPENED = b"HTTP/1.1 200 OK\r\n\r\n"
ANSWERS = [
    *(b"", b"H", OPENED, OPENED + b"first", OPENED + bytes(2**20), b"HTTP/1.1 200 OK\n\n"),
    *(b"\0" * 100, b"HTTP/1.1 407 \r\n\r\n", b"HTTP/1.1 100 A\r\n\r\n" * 3000),
    *(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000, b"SSH-2.0-x\r\n"),
]
CONNECT = b"CONNECT %s:443 HTTP/1.1\r\n\r\n"
REQUESTS = [
    *(CONNECT, CONNECT + b"early", CONNECT + bytes(2**18), CONNECT.replace(b"443", b"80")),
    b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n",
    b"POST http://%s/ HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n",
    *(b"\x05", b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb"),
    *(b"CONNECT ", b"\0\0%s", b"x" * 20000),
]


def misbehave(sock: socket.socket, chance: random.Random, content: bytes) -> None:
    """Send data in one of many ways, and end in one of many."""
    with contextlib.suppress(OSError):
        sock.settimeout(chance.choice([0.01, 0.3, 1.0]))
        if chance.random() < 0.3:
            for at in range(min(len(content), 40)):
                sock.sendall(content[at : at + 1])
        else:
            sock.sendall(content[: chance.randrange(len(content) + 1)] or content)
        for _ in range(chance.randrange(4)):
            if not sock.recv(chance.choice([1, 2**16])):
                break
        if chance.random() < 0.3:
            sock.shutdown(chance.choice([socket.SHUT_WR, socket.SHUT_RD]))
            sock.recv(2**16)
        if chance.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def resolve(name: str) -> list[str]:
    """Answers that change, come late, or never."""
    kind = hash((name, int(time.monotonic() * 5))) % 5
    if name == "direct.test":
        return ["127.0.0.1"]
    if kind == 0:
        raise socket.gaierror(socket.EAI_NONAME, name)
    if kind == 1:
        time.sleep(0.2)
    return [["93.184.215.14"], ["10.0.0.1"], ["127.0.0.1", "93.184.215.14"], []][kind - 1]


def attack(port: int, seed: int, rounds: int) -> None:
    chance = random.Random(seed)  # noqa: S311  what to try
    for _ in range(rounds):
        name = chance.choice([b"a.example", b"b.example", b"n%d.example" % chance.randrange(99)])
        content = chance.choice(REQUESTS).replace(b"%s", name)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
            misbehave(sock, chance, content)


def change(egress: Egress, over: threading.Event) -> None:
    while not over.wait(0.02):
        egress.update(SOME)
        egress.update(ALL)


@contextlib.contextmanager
def hostile(seed: int) -> Iterator[OuterProxies]:
    """A proxy that answers as it likes."""
    chance = random.Random(seed)  # noqa: S311  what to answer

    def serve(client: socket.socket) -> None:
        if chance.random() < 0.8:
            head_of(client)
        misbehave(client, chance, chance.choice(ANSWERS))

    with listening() as (sock, accept):
        accept(serve)
        url = f"http://user:secret@127.0.0.1:{port_of(sock)}"
        yield merge_proxies(None, {"ALL_PROXY": url, "NO_PROXY": "direct.test"})


def storm(seed: int, rounds: int) -> None:
    over = threading.Event()
    with hostile(seed) as proxies, running(ALL, resolve, LIMITS, proxies=proxies) as started:
        port, records, egress = started
        rules = threading.Thread(target=change, args=(egress, over), daemon=True)
        rules.start()
        seeds = range(seed, seed + CLIENTS)
        clients = [
            threading.Thread(target=attack, args=(port, each, rounds), daemon=True)
            for each in seeds
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        over.set()
        rules.join()
        # It still answers, whatever was done to it.
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            sock.sendall(b"CONNECT other.test:443 HTTP/1.1\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 403"
        assert "secret" not in repr(records.wait(1))


def descriptors() -> int:
    """Count the open descriptors of this process."""
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.skipif(sys.platform != "linux", reason="it counts descriptors in /proc")
def test_a_storm_breaks_nothing_and_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    storm(0, 1)  # what the first event loop of a process opens stays
    before = descriptors()
    storm(1, ROUNDS)
    until(lambda: descriptors() <= before, "all is closed")
    assert not caplog.records  # of the event loop: what nobody expected

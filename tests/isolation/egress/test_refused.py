"""Direct connections that the kernel refuses in a real namespace: reports and their number."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason, EgressWay
from pipeguard.isolation.egress.refused_connections import MAX_AT_ONCE
from pipeguard.isolation.egress.sockets import refused_target
from tests.isolation.egress.sandbox import needs_namespaces, run_inside

RULES = HostRules.parse(["good.example"])
CONNECT = """
import socket, time
def connect(host, port):
    try:
        socket.create_connection((host, port), 2)
    except OSError:
        pass
"""
NAMES = """
for target in ("good.example", 22), ("8.8.8.8", 22), ("127.0.0.1", 5432), ("127.9.9.9", 50000):
    connect(*target)
connect("127.0.0.53", 53)
for target in ("2606:4700::1", 22), ("::ffff:8.8.4.4", 22), ("::1", 5433), ("fd00::5", 50000):
    connect(*target)
time.sleep(0.5)
"""
SCAN = """
for port in range(4000, 12000):
    connect("9.9.9.9", port)
time.sleep(2)
connect("9.9.9.9", 7)
time.sleep(0.5)
"""
AGAIN = """
for _ in range(400):
    connect("9.9.9.9", 22)
connect("9.9.9.8", 23)
time.sleep(0.5)
"""
OWN = """
sock = socket.create_server(("127.0.0.1", 9000))
for _ in range(3):
    socket.create_connection(("127.0.0.1", 9000)).close()
client = socket.create_connection(("127.0.0.1", 9000))
other, _ = sock.accept()
import struct
other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
other.close()
time.sleep(0.5)
"""


def refused_by(code: str) -> list[tuple[str, int, EgressReason | None]]:
    done, records = run_inside([sys.executable, "-c", CONNECT + code], RULES)
    assert done.returncode == 0, done.stderr
    assert {record.way for record in records} <= {EgressWay.DIRECT}
    return [(record.host, record.port, record.reason) for record in records]


@needs_namespaces
def test_each_is_told_by_the_name_or_address_that_was_meant() -> None:
    assert set(refused_by(NAMES)) == {
        ("good.example", 22, EgressReason.PORT),
        ("8.8.8.8", 22, EgressReason.HOST),
        ("127.0.0.1", 5432, EgressReason.HOST),
        ("2606:4700::1", 22, EgressReason.HOST),
        ("8.8.4.4", 22, EgressReason.HOST),
        ("localhost", 5433, EgressReason.HOST),
        ("fd00::5", 50000, EgressReason.HOST),
    }


@needs_namespaces
def test_of_a_scan_some_are_told_and_the_next_one_after_a_rest() -> None:
    told = refused_by(SCAN)
    assert told[0] == ("9.9.9.9", 4000, EgressReason.HOST)
    assert told[-1] == ("9.9.9.9", 7, EgressReason.HOST)
    assert MAX_AT_ONCE < len(told) < 4000


@needs_namespaces
def test_what_is_tried_again_and_again_hides_nothing_else() -> None:
    told = refused_by(AGAIN)
    assert told[0] == ("9.9.9.9", 22, EgressReason.HOST)
    assert told[-1] == ("9.9.9.8", 23, EgressReason.HOST)


@needs_namespaces
def test_connections_of_the_server_s_own_are_not_told() -> None:
    assert refused_by(OWN) == []


@given(st.binary(max_size=70))
def test_any_packet_is_read_or_is_none(packet: bytes) -> None:
    target = refused_target(packet)
    if target is not None:
        assert 0 < target[1] < 65536
        assert target[0].packed in packet

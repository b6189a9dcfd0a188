"""Clients that want a host that no rule names: in every spelling and way, in vain."""

import random
import socket
import struct
from contextlib import suppress

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason
from tests.isolation.egress.sandbox import running
from tests.isolation.egress.test_proxy import host

ATTEMPTS = 1500
SECONDS = 60.0  # only a failure waits so long


def resolve(name: str) -> list[str]:
    """Answer as an attacker's own name server does: this machine, in all forms."""
    forms = ["127.0.0.1", "::ffff:127.0.0.1", "::1", "64:ff9b::7f00:1", "::127.0.0.1", "0.0.0.0"]  # noqa: S104  an answer
    return [*forms, "2002:7f00:1::", "fe80::1%lo", name]


SPELLINGS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001"),
    *("0177.0.0.1", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    "[::127.0.0.1]",
    *("[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]", "0.0", "0"),
    *("[::1%25lo]", "[::1%lo]", "localhost", "LOCALHOST.", "localhost.localdomain", "a.localhost"),
    *("good.example", "x.good.example", "good.example.", "GOOD.example", "evil.example"),
    *("127.0.0.1#", "127.0.0.1%00", "good.example%00.evil", "good.example@127.0.0.1"),
    *("127.0.0.1@good.example", "good.example\\@127.0.0.1", "good.example:80@127.0.0.1"),
    *("１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "loc\u00adalhost", "ｌocalhost"),
    *("127.0.0.1\t", " 127.1"),
    *("good.example\r\nHost: 127.0.0.1", "good.example /", "//127.0.0.1", "[::ffff:0:127.0.0.1]"),
]


def requests(die: random.Random, port: int) -> bytes:
    """One attempt: a spelling, a form of request, and now and then a byte changed."""
    host, other = die.choice(SPELLINGS), die.choice(SPELLINGS)
    raw, raw_other = host.encode("utf-8"), other.encode("utf-8")
    place, place_other = raw + b":%d" % port, raw_other + b":%d" % port
    end = b"\r\n\r\n"
    name = raw[:255]
    forms = [
        b"CONNECT " + place + b" HTTP/1.1" + end,
        b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place_other + end,
        b"GET http://" + place + b"/ HTTP/1.1\r\nHost: " + place + end,
        b"GET http://" + place + b"/ HTTP/1.1\r\nHost: " + place_other + end,
        b"GET http://good.example/ HTTP/1.1\r\nHost: " + place + end,
        b"POST http://" + place + b"/ HTTP/1.0\r\nContent-Length: 3" + end + b"abc",
        b"GET / HTTP/1.1\r\nHost: " + place + end,
        b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(name),)) + name + struct.pack("!H", port),
        b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + struct.pack("!H", port),
        b"\x05\x01\x00\x05\x01\x00\x04"
        + bytes(10)
        + b"\xff\xff\x7f\0\0\1"
        + struct.pack("!H", port),
        b"\x04\x01" + struct.pack("!H", port) + b"\x7f\x00\x00\x01\x00",
    ]
    data = bytearray(die.choice(forms))
    for _ in range(die.choice((0, 0, 0, 1, 3))):
        data[die.randrange(len(data))] = die.randrange(256)
    return bytes(data)


def attempt(proxy: int, data: bytes) -> bytes:
    """Send an attempt, and read the answer."""
    with socket.create_connection(("127.0.0.1", proxy), timeout=SECONDS) as sock:
        response = b""
        with suppress(ConnectionError):
            sock.sendall(data)
            with suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(4096):
                response += piece
        return response


def test_no_spelling_in_any_request_reaches_this_machine() -> None:
    die = random.Random(7)  # noqa: S311  the same on every run
    with host() as (port, reached):
        rules = HostRules.parse([f"good.example:{port}", "*.good.example"])
        with running(rules, resolve) as (proxy, records, _):
            for _ in range(ATTEMPTS):
                response = attempt(proxy, requests(die, port))
                assert not response.startswith(b"HTTP/1.1 200 ")
                assert not response.startswith(b"\x05\x00\x05\x00")
        assert reached == []
        assert all(record.reason or record.error for record in records.all)
        reasons = {record.reason for record in records.all}
        assert reasons >= {*EgressReason} - {EgressReason.SLOW, EgressReason.TOO_MANY}


def test_the_attempts_reach_it_where_it_is_allowed() -> None:
    """The attempts are real: with the port named, many arrive."""
    die = random.Random(7)  # noqa: S311  the same on every run
    with host() as (port, reached):
        rules = HostRules.parse([f"good.example:{port}"], [port])
        with running(rules, resolve) as (proxy, _, _):
            for _ in range(ATTEMPTS // 10):
                attempt(proxy, requests(die, port))
        assert len(reached) > 10

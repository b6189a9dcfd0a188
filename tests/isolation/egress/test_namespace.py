"""Real clients in a real network namespace without a route: hosts that they reach, or not."""

import http.server
import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason, EgressRecord, EgressWay
from tests.each import each
from tests.isolation.egress.sandbox import BWRAP, PROXY, TOP, needs_namespaces, run_inside
from tests.tools import node

pytestmark = needs_namespaces

BODY = b"from outside"


class Pages(http.server.BaseHTTPRequestHandler):
    """One page, and a way to other hosts."""

    def do_GET(self) -> None:
        place = self.path.partition("?to=")[2]
        self.send_response(302 if place else 200)
        if place:
            self.send_header("Location", place)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a web server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def local(name: str) -> list[str]:
    assert name == "good.example"
    return ["127.0.0.1"]


def inside(
    port: int, *command: str | Path, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[EgressRecord]]:
    """Run a command, with the web server's port for `PORT` in its URL."""
    words = [str(word).replace("PORT", str(port)) for word in command]
    rules = HostRules.parse([f"good.example:{port}"], [port])
    return run_inside(words, rules, local, variables)


CURL = ("curl", "-sS", "--max-time", "5")
URLLIB = "import urllib.request as u; print(u.urlopen('{}', timeout=60).read().decode())"
FETCH = "fetch('{}').then(r => r.text()).then(t => console.log(t))"
CLIENTS: dict[str, tuple[tuple[str | Path, ...], dict[str, str], EgressWay]] = {
    "curl, direct": ((*CURL, "{}"), {}, EgressWay.DIRECT),
    "curl, HTTP": ((*CURL, "{}"), {"http_proxy": f"http://{PROXY}"}, EgressWay.HTTP),
    "curl, CONNECT": ((*CURL, "-p", "{}"), {"http_proxy": f"http://{PROXY}"}, EgressWay.CONNECT),
    "curl, SOCKS": ((*CURL, "{}"), {"ALL_PROXY": f"socks5h://{PROXY}"}, EgressWay.SOCKS5),
    "urllib, direct": ((sys.executable, "-c", URLLIB), {}, EgressWay.DIRECT),
    "urllib, HTTP": (
        (sys.executable, "-c", URLLIB),
        {"http_proxy": f"http://{PROXY}"},
        EgressWay.HTTP,
    ),
    "node, direct": ((node(), "-e", FETCH), {}, EgressWay.DIRECT),
}


@each("client", list(CLIENTS))
def test_a_client_reaches_an_allowed_host_and_by_no_way_another(client: str, port: int) -> None:
    """Not by its name, nor by a redirect, which is a connection of its own."""
    command, variables, way = CLIENTS[client]
    good, bad = "http://good.example:PORT/", "http://bad.example:PORT/"
    lines = []
    for url in (good, bad, f"{good}?to={bad}"):
        words = [str(word).replace("{}", url) for word in command]
        lines.append(shlex.join([words[0], *(["-L"] if words[0] == "curl" else []), *words[1:]]))
    done, records = inside(port, "sh", "-c", "; ".join(lines), **variables)
    assert done.stdout.count(BODY.decode()) == 1, done.stderr
    first, *others = records
    assert (first.way, first.reason, first.error) == (way, None, "")
    assert (first.host, first.port, first.address) == ("good.example", port, "127.0.0.1")
    assert first.bytes_received > len(BODY)
    assert {(record.host, record.reason) for record in others} == {
        ("good.example", None),
        ("bad.example", EgressReason.HOST),
    }


AROUND = (
    *("http://127.0.0.2:PORT/", "http://11.128.0.9:PORT/", "http://[::2]:PORT/"),
    *("http://[::ffff:127.0.0.1]:1/", "http://10.0.0.5/", "http://169.254.169.254/"),
    *("http://1.1.1.1/", "http://[2606:4700:4700::1111]/", "http://0x7f000002:PORT/"),
)


@each("proxy", ["", f"http://{PROXY}", f"socks5h://{PROXY}"])
def test_there_is_no_way_around(proxy: str, port: int) -> None:
    lines = "; ".join(shlex.join((*CURL, url)) for url in AROUND)
    done, records = inside(port, "sh", "-c", lines, ALL_PROXY=proxy, http_proxy=proxy)
    assert BODY.decode() not in done.stdout
    assert all(record.reason for record in records)
    assert len(records) >= len(AROUND)


def test_a_loopback_port_that_is_named_is_this_machine_s(port: int) -> None:
    hosts = ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]")
    done, records = inside(port, *CURL, *(f"http://{host}:PORT/" for host in hosts))
    assert done.stdout == BODY.decode() * len(hosts)
    assert {(record.reason, record.error) for record in records} == {(None, "")}


def test_an_address_of_ipv6_is_refused_at_once_and_told(port: int) -> None:
    hosts = ("[2606:4700:4700::1111]", "[fd00:ec2::254]", "[::ffff:10.0.0.5]", "[64:ff9b::1]")
    lines = "; ".join(f"{shlex.join((*CURL, f'http://{host}:PORT/'))}; echo $?" for host in hosts)
    done, records = inside(port, "sh", "-c", lines)
    codes = {int(code) for code in done.stdout.split()}
    assert codes <= {7, 55, 56}, done.stderr  # refused, or reset on either way
    told = [(record.host, record.port, record.reason) for record in records]
    shown = [host.strip("[]").removeprefix("::ffff:") for host in hosts]
    assert told == [(host, port, EgressReason.HOST) for host in shown]


def test_a_name_s_address_may_be_spelled_as_one_of_ipv6(port: int) -> None:
    """Programs with IPv6-only sockets do that; the first name has the first address."""
    code = "curl -sS http://good.example:PORT/ && curl -sS http://[::ffff:11.128.0.1]:PORT/"
    done, records = inside(port, "sh", "-c", code)
    assert done.stdout == BODY.decode() * 2, done.stderr
    assert [record.host for record in records] == ["good.example"] * 2


ASK = """
import json, socket, struct, sys
def ask(name, kind):
    labels = b"".join(bytes((len(l),)) + l.encode() for l in name.split("."))
    return struct.pack("!6H", 9, 256, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!2H", kind, 1)
answers = []
udp = socket.socket(type=socket.SOCK_DGRAM); udp.settimeout(60)
for name, kind in json.loads(sys.argv[1]):
    udp.sendto(b"x", ("127.0.0.53", 53))
    udp.sendto(ask(name, kind), ("127.0.0.53", 53))
    got = udp.recv(999)
    answers.append([got[3] & 15, got[7], ".".join(map(str, got[-4:])) if got[7] else ""])
print(json.dumps(answers))
"""
A, AAAA, TXT, HTTPS = 1, 28, 16, 65


def test_questions_are_answered(port: int) -> None:
    questions = [
        *(["good.example", A], ["GOOD.example", A], ["good.example", AAAA], ["good.example", TXT]),
        *(["good.example", HTTPS], ["bad.example", A], ["bad.example", TXT], ["localhost", A]),
        *(["c3Rvb2xlbg.bad.example", A], ["c3Rvb2xlbg.bad.example", A], ["1.2.3.4", A]),
    ]
    done, records = inside(port, sys.executable, "-c", ASK, json.dumps(questions))
    assert json.loads(done.stdout or "[]") == [
        *([0, 1, "11.128.0.1"], [0, 1, "11.128.0.1"], [0, 0, ""], [0, 0, ""]),
        *([0, 0, ""], [3, 0, ""], [3, 0, ""], [0, 1, "127.0.0.1"], [3, 0, ""], [3, 0, ""]),
        [3, 0, ""],
    ], done.stderr
    assert {record.way for record in records} == {EgressWay.DNS}
    stolen = "c3rvb2xlbg.bad.example"
    assert [each.host for each in records] == ["bad.example"] * 2 + [stolen] * 2 + ["1.2.3.4"]


@pytest.mark.needs("git")
def test_git_reaches_its_host(port: int) -> None:
    _, records = inside(port, "git", "ls-remote", "http://good.example:PORT/x.git")
    assert {(record.host, record.way) for record in records} == {("good.example", EgressWay.DIRECT)}


def test_ports_of_our_own_are_reached_through_the_proxy(port: int) -> None:
    rules = HostRules.parse([f"good.example:{port}", "good.example:3128"], [port])
    command = [*CURL, "-p", f"http://good.example:{port}/"]
    done, _ = run_inside(command, rules, local, {"http_proxy": f"http://{PROXY}"})
    assert done.stdout == BODY.decode(), done.stderr


OWN = """
import sys
from ipaddress import ip_address
from pipeguard.isolation.egress.addresses import is_own, is_public, usable_addresses
from pipeguard.isolation.egress.hosts import HostRules
for text in ("8.8.8.8", "2606:4700:4700::1111"):
    assert is_public(ip_address(text)) and is_own(ip_address(text)), text
    assert usable_addresses([text, "1.1.1.1"], 443, HostRules()) == [ip_address("1.1.1.1")]
    named = HostRules.parse([f"[{text}]:22" if ":" in text else f"{text}:22"])
    assert usable_addresses([text], 22, named) == [ip_address(text)]
"""


@pytest.mark.needs("ip")
def test_a_public_address_of_this_machine_is_not_the_public_network() -> None:
    """A machine with public addresses, in a namespace of its own."""
    add = "ip addr add 8.8.8.8/32 dev lo && ip addr add 2606:4700:4700::1111/128 dev lo nodad"
    script = f'{add} && exec "$0" -c "$1"'
    command = [*BWRAP, "--cap-add", "CAP_NET_ADMIN", "sh", "-c", script, sys.executable, OWN]
    subprocess.run(command, check=True, cwd=TOP, timeout=30)

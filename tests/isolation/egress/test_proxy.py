"""The egress with real sockets: forwarded bytes, reports, and its end."""

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason, EgressWay, Wall
from pipeguard.isolation.egress.sockets import EgressSockets
from pipeguard.isolation.egress.state import EgressLimits
from pipeguard.isolation.servers.starter import _IsolatedConnections
from pipeguard.isolation.walls.witness import describe_walls
from tests.each import each
from tests.isolation.egress.company_proxy import listening
from tests.isolation.egress.sandbox import Records, listener, port_of, running

SECONDS = 60.0  # only a failure waits so long


def local(name: str) -> list[str]:
    """A resolver that knows every name, as this machine."""
    assert name
    return ["127.0.0.1"]


@contextmanager
def host(answer: bytes | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server that keeps its input, and echoes it or gives one answer."""
    contents = list[bytes]()

    def talk(connection: socket.socket) -> None:
        number = len(contents)
        contents.append(b"")
        while data := connection.recv(2**16):
            contents[number] += data
            if answer is None:
                connection.sendall(data)
            elif contents[number].endswith(b"\r\n\r\n"):
                connection.sendall(answer)
                return

    with listening() as (sock, accept):
        accept(talk)
        yield port_of(sock), contents


def rules_for(port: int) -> HostRules:
    return HostRules.parse([f"good.example:{port}"], [port])


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def echo_once(sock: socket.socket) -> None:
    """Send three bytes, read them again and close."""
    with sock:
        sock.sendall(b"one")
        assert sock.recv(3) == b"one"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def connected(proxy: int, name: str, port: int) -> socket.socket:
    """A tunnel by CONNECT."""
    sock = dial(proxy)
    sock.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)
        assert data, head
        head += data
    assert head.startswith(b"HTTP/1.1 200 "), head
    return sock


@contextmanager
def tunnel() -> Iterator[tuple[socket.socket, socket.socket, Records]]:
    """A client that is connected to a host, and that host."""
    sock = listener()
    with sock, running(rules_for(port_of(sock)), local) as (proxy, records, _):
        client = connected(proxy, "good.example", port_of(sock))
        server, _ = sock.accept()
        with client, server:
            yield client, server, records


def all_of(sock: socket.socket) -> bytes:
    """Everything until the other side ends."""
    data = b""
    while piece := sock.recv(2**16):
        data += piece
    return data


def is_reset(sock: socket.socket) -> bool:
    """True if a connection ends with a reset."""
    with sock:
        try:
            return sock.recv(1) == b"never"
        except ConnectionResetError:
            return True


def exchange(proxy: int, data: bytes) -> bytes:
    """Send bytes, and return the answer until the end; a reset is an end, too."""
    try:
        with dial(proxy) as sock:
            sock.sendall(data)
            return all_of(sock)
    except ConnectionResetError:
        return b""


def test_a_tunnel_carries_bytes_both_ways_and_is_reported() -> None:
    with host() as (port, contents), running(rules_for(port), local) as (proxy, records, _):
        echo_once(connected(proxy, "good.example", port))
        (record,) = records.wait(1)
    assert contents == [b"one"]
    assert (record.way, record.reason, record.error) == (EgressWay.CONNECT, None, "")
    assert (record.host, record.port, record.address) == ("good.example", port, "127.0.0.1")
    assert (record.bytes_sent, record.bytes_received) == (3, 3)
    assert 0 <= record.seconds < 60


def test_what_comes_before_the_tunnel_is_open_arrives() -> None:
    with host() as (port, _), running(rules_for(port), local) as (proxy, _, _):
        request = f"CONNECT good.example:{port} HTTP/1.1\r\n\r\n".encode()
        with dial(proxy) as sock:
            sock.sendall(request + b"early")
            sock.shutdown(socket.SHUT_WR)
            assert all_of(sock).endswith(b"\r\n\r\nearly")
        with dial(proxy) as sock:
            name = b"good.example"
            sock.sendall(
                b"\x05\x01\x00\x05\x01\x00\x03\x0c" + name + port.to_bytes(2, "big") + b"e"
            )
            sock.shutdown(socket.SHUT_WR)
            assert all_of(sock) == b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6) + b"e"


def test_a_half_closed_connection_goes_on_the_other_way() -> None:
    with tunnel() as (client, server, records):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert all_of(server) == b"question"
        server.sendall(b"x" * 3_000_000)
        server.close()
        assert len(all_of(client)) == 3_000_000
        client.close()
        assert records.wait(1)[0].bytes_received == 3_000_000


def test_a_slow_reader_holds_the_sender_back() -> None:
    with tunnel() as (client, server, _):
        server.setblocking(False)
        sent = 0
        while select.select([], [server], [], 0.5)[1]:  # as much as the buffers on the way take
            sent += server.send(b"x" * 2**16)
        assert sent < 64 * 2**20
        server.setblocking(True)
        threading.Thread(target=server.shutdown, args=(socket.SHUT_WR,), daemon=True).start()
        assert len(all_of(client)) == sent


def test_a_reset_is_passed_on() -> None:
    with tunnel() as (client, server, records):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        assert is_reset(client)
        assert (records.wait(1)[0].reason, records.all[0].error) == (None, "")


def test_one_request_passes_and_a_second_behind_it_does_not() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with host(reply) as (port, contents), running(rules_for(port), local) as (proxy, records, _):
        first = f"GET http://good.example:{port}/a?q HTTP/1.1\r\nHost: good.example:{port}\r\n\r\n"
        second = "GET http://bad.example/ HTTP/1.1\r\nHost: bad.example\r\n\r\n"
        assert exchange(proxy, (first + second).encode()).endswith(b"ok")
        (record,) = records.wait(1)
    expected = f"GET /a?q HTTP/1.1\r\nHost: good.example:{port}\r\nConnection: close\r\n\r\n"
    assert contents == [expected.encode()]
    assert record.way is EgressWay.HTTP
    assert record.bytes_sent == len(expected)


def test_a_malformed_body_ends_the_request() -> None:
    with host() as (port, contents), running(rules_for(port), local) as (proxy, records, _):
        head = f"POST http://good.example:{port}/ HTTP/1.1\r\nHost: good.example:{port}\r\n"
        body = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloGET http://bad.example/"
        exchange(proxy, head.encode() + body)
        (record,) = records.wait(1)
    assert record.reason is EgressReason.MALFORMED
    assert not any(b"bad.example" in content for content in contents)


REFUSALS = {
    "another host": (b"CONNECT bad.example:%d HTTP/1.1\r\n\r\n", EgressReason.HOST),
    "another port": (b"CONNECT good.example:22 HTTP/1.1\r\n\r\n", EgressReason.PORT),
    "an address as a number": (b"CONNECT 2130706434:%d HTTP/1.1\r\n\r\n", EgressReason.HOST),
    "metadata": (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n", EgressReason.HOST),
    "a zone": (b"CONNECT [::2%%25lo]:%d HTTP/1.1\r\n\r\n", None),
    "a plain request": (
        b"GET http://bad.example:%d/ HTTP/1.1\r\nHost: bad.example:%d\r\n\r\n",
        EgressReason.HOST,
    ),
}


@each("case", list(REFUSALS))
def test_what_no_rule_names_is_refused_with_its_reason(case: str) -> None:
    data, reason = REFUSALS[case]
    with host() as (port, contents), running(rules_for(port), local) as (proxy, records, _):
        response = exchange(proxy, data.replace(b"%d", b"%d" % port).replace(b"%%", b"%"))
        (record,) = records.wait(1)
    assert response.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 "))
    assert record.reason is not None
    assert reason is None or record.reason is reason
    assert contents == []


@each(
    "addresses",
    [
        *(["::ffff:169.254.169.254"], ["10.0.0.5"], ["fe80::1%lo"], ["nothing"]),
        *([], ["127.0.0.2", "100.100.100.200"]),
    ],
)
def test_a_name_that_leads_to_a_private_address_is_refused(addresses: list[str]) -> None:
    with host() as (port, contents):
        rules = HostRules.parse([f"good.example:{port}"])
        with running(rules, lambda _: addresses) as (proxy, records, _):
            response = exchange(proxy, b"CONNECT good.example:%d HTTP/1.1\r\n\r\n" % port)
            (record,) = records.wait(1)
    assert b"private or local" in response
    assert record.reason is EgressReason.ADDRESS
    assert contents == []


def test_a_name_leads_into_a_private_network_if_a_rule_says_so() -> None:
    rules, limits = HostRules.parse(["good.example=private"]), EgressLimits(connect_seconds=0.3)
    with running(rules, lambda _: ["10.255.255.1"], limits) as (proxy, records, _):
        exchange(proxy, b"CONNECT good.example:443 HTTP/1.1\r\n\r\n")
        assert records.wait(1)[0].reason is None  # who is there is the network's matter


def test_an_agent_is_told_that_a_name_leads_to_a_local_address() -> None:
    connections, walls = _IsolatedConnections(), list[Wall]()
    connections.attach(lambda _: "RUN1.x1", walls.append)
    with running(HostRules.parse(["good.example"]), local) as (proxy, records, _):
        assert b"403" in exchange(proxy, b"CONNECT good.example:443 HTTP/1.1\r\n\r\n")
        connections.report(*records.wait(1))
    note = 'the local address of the host "good.example" (event RUN1.x1)'
    assert note in describe_walls(walls)


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_judged() -> None:
    """A rebinding resolver: the answer that was judged is the one in use, and asked for once."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.3"]])
    with host() as (port, _), running(rules_for(port), lambda _: next(answers)) as started:
        proxy, records, _ = started
        connected(proxy, "good.example", port).close()
        (record,) = records.wait(1)
        assert record.address == "127.0.0.1"
    assert next(answers) == ["127.0.0.2"]


def test_of_several_addresses_one_that_answers_is_used() -> None:
    with host() as (port, _):
        rules = HostRules.parse([f"good.example:{port}", f"127.0.0.9:{port}"], [port])
        addresses = ["10.0.0.5", "::1", "127.0.0.9", "127.0.0.1"]
        with running(rules, lambda _: addresses) as (proxy, records, _):
            with connected(proxy, "good.example", port) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            assert records.wait(1)[0].address == "127.0.0.1"


def failing(name: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, name)


def test_a_failure_has_the_name_of_its_error() -> None:
    sock = listener()
    port = port_of(sock)
    sock.close()
    request = b"CONNECT good.example:%d HTTP/1.1\r\n\r\n" % port
    with running(rules_for(port), local) as (proxy, records, _):
        assert exchange(proxy, request).startswith(b"HTTP/1.1 502 ")
        assert records.wait(1)[0].error == "ECONNREFUSED"
    with running(rules_for(port), failing) as (proxy, records, _):
        assert b"EAI_NONAME" in exchange(proxy, request)
        (record,) = records.wait(1)
        assert (record.reason, record.error) == (None, "EAI_NONAME")


def test_a_resolver_that_hangs_ends_in_a_time_out_and_holds_nothing_up() -> None:
    forever = threading.Event()
    limits = EgressLimits(connect_seconds=0.2)

    def resolve(name: str) -> list[str]:
        forever.wait(SECONDS)
        return [name]

    with running(HostRules.parse(["good.example"]), resolve, limits) as (proxy, records, _):
        response = exchange(proxy, b"CONNECT good.example:443 HTTP/1.1\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 504 ")
        assert records.wait(1)[0].error == "ETIMEDOUT"
    forever.set()


def test_a_client_that_goes_away_while_its_host_is_connected_is_reported() -> None:
    forever, asked = threading.Event(), threading.Event()

    def resolve(_: str) -> list[str]:
        asked.set()
        forever.wait(SECONDS)
        return []

    with running(HostRules.parse(["good.example"]), resolve) as (proxy, records, _):
        with dial(proxy) as sock:
            sock.sendall(b"CONNECT good.example:443 HTTP/1.1\r\n\r\n")
            assert asked.wait(SECONDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert records.wait(1)[0].error == "ECONNABORTED"
    forever.set()


def test_new_rules_hold_for_new_connections() -> None:
    with host() as (port, _), running(HostRules(), local) as (proxy, records, egress):
        request = b"CONNECT good.example:%d HTTP/1.1\r\n\r\n" % port
        assert exchange(proxy, request).startswith(b"HTTP/1.1 403 ")
        egress.update(rules_for(port))
        with connected(proxy, "good.example", port) as sock:
            egress.update(HostRules())
            assert exchange(proxy, request).startswith(b"HTTP/1.1 403 ")
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        outcomes = [record.reason is None for record in records.wait(3)]
    assert outcomes == [False, False, True]


def test_closing_ends_and_reports_what_is_open() -> None:
    with host() as (port, _), running(rules_for(port), local) as (proxy, records, egress):
        with connected(proxy, "good.example", port) as sock:
            egress.close()
            assert len(records.all) == 1
            assert is_reset(sock)
        with pytest.raises(OSError, match="refused"):
            dial(proxy)
        egress.update(HostRules())
        egress.close()


def test_closing_while_something_comes_ends_without_an_error() -> None:
    for number in range(20):
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 0))
        proxy = listener()
        sockets = EgressSockets((proxy,), (), (names,))
        with names, proxy, running(HostRules(), sockets=sockets) as (_, _, egress):
            client = dial(port_of(proxy))
            names.sendto(b"a question", names.getsockname())
            if number % 2:
                client.sendall(b"CONNECT a.example:1 HTTP/1.1\r\n\r\n")
            if number % 4 == 1:
                assert client.recv(1) == b"H"
            egress.close()
            client.close()


def test_a_client_that_says_nothing_or_little_is_ended() -> None:
    limits = EgressLimits(head_seconds=1.0)
    with running(HostRules(), limits=limits) as (proxy, records, _):
        silent, slow = dial(proxy), dial(proxy)
        slow.sendall(b"GET http://a")
        for sock in (silent, slow):
            assert is_reset(sock)
        (record,) = records.wait(1)
    assert (record.way, record.reason) == (EgressWay.HTTP, EgressReason.SLOW)


def test_an_idle_tunnel_is_ended() -> None:
    limits = EgressLimits(idle_seconds=0.1)
    with host() as (port, _), running(rules_for(port), local, limits) as (proxy, records, _):
        assert is_reset(connected(proxy, "good.example", port))
        assert (records.wait(1)[0].reason, records.all[0].error) == (None, "")


def test_more_connections_than_allowed_are_refused_and_told() -> None:
    limits = EgressLimits(connections=20)
    with running(HostRules(), limits=limits) as (proxy, records, _):
        open_ones = [dial(proxy) for _ in range(20)]
        for _ in range(200):
            with pytest.raises(ConnectionResetError), dial(proxy) as sock:
                sock.recv(1)
        assert {record.reason for record in records.all} == {EgressReason.TOO_MANY}
        for sock in open_ones:
            sock.close()
        response = b""
        for _ in range(10_000):  # until it has seen that they are closed
            if response := exchange(proxy, b"CONNECT a.example:1 HTTP/1.1\r\n\r\n"):
                break
        assert response.startswith(b"HTTP/1.1 403 ")


def test_records_have_nothing_of_what_was_said() -> None:
    with host(b"ok") as (port, _), running(rules_for(port), local) as (proxy, records, _):
        for name in ("good.example", "bad.example"):
            request = (
                f"GET http://{name}:{port}/path-s3cret?query-s3cret HTTP/1.1\r\n"
                f"Host: {name}:{port}\r\nAuthorization: Bearer header-s3cret\r\n\r\n"
            )
            exchange(proxy, request.encode())
        assert "s3cret" not in repr(records.wait(2))


def test_nothing_is_imported_before_the_first_connection() -> None:
    code = (
        "import socket, sys\n"
        "from pipeguard.isolation.egress.hosts import HostRules\n"
        "from pipeguard.isolation.egress.proxy import Egress\n"
        "from pipeguard.isolation.egress.sockets import EgressSockets, send_sockets\n"
        "from pipeguard.isolation.egress.state import EgressState\n"
        "sock = socket.socket(); sock.bind(('127.0.0.1', 0)); sock.listen()\n"
        "ours, theirs = socket.socketpair()\n"
        "send_sockets(theirs, EgressSockets((sock,)))\n"
        "egress = Egress(ours, EgressState(HostRules(), print))\n"
        "egress.start(); egress.update(HostRules())\n"
        "assert not {'asyncio', 'uvloop', 'ssl'} & sys.modules.keys()\n"
        "client = socket.create_connection(sock.getsockname())\n"
        "client.send(b'CONNECT x HTTP/1.1\\r\\n\\r\\n'); assert client.recv(1)\n"
        "assert 'asyncio' in sys.modules\n"
        "egress.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

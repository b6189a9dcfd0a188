"""Connections through a company's proxy: requests that it gets, and ones that it never gets."""

import socket
import threading
from pathlib import Path

import pytest

from pipeguard.isolation.egress import routing
from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressReason
from pipeguard.isolation.egress.outer_proxy import OuterProxies, merge_proxies
from pipeguard.isolation.egress.state import EgressLimits
from tests.auth.certificates import CertificateAuthority
from tests.each import each
from tests.isolation.egress.company_proxy import answering, company, head_of, listening
from tests.isolation.egress.sandbox import port_of, running
from tests.isolation.egress.test_proxy import all_of, connected, echo_once, exchange, host

RULES = HostRules.parse(["good.example", "10.1.2.3:443", "metadata.google.internal:80"])
LOGIN = "Basic dXNlcjpwQHNz"  # user:p@ss


def nobody(name: str) -> list[str]:
    """A resolver in a network without external names."""
    raise socket.gaierror(socket.EAI_NONAME, name)


def proxy_at(port: int, **variables: str) -> OuterProxies:
    return merge_proxies(None, {"HTTPS_PROXY": f"http://127.0.0.1:{port}", **variables})


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


@each("login, sent", [("", ""), ("user:p%40ss@", f"Proxy-Authorization: {LOGIN}\r\n")])
def test_a_name_that_nobody_knows_here_is_given_to_the_proxy(login: str, sent: str) -> None:
    with (
        host() as (port, contents),
        company({"good.example:443": port}, LOGIN if login else "") as outer,
    ):
        proxies = merge_proxies(None, {"HTTPS_PROXY": f"http://{login}127.0.0.1:{outer.port}"})
        with running(RULES, nobody, proxies=proxies) as (proxy, records, _):
            echo_once(connected(proxy, "good.example", 443))
            (record,) = records.wait(1)
    assert contents == [b"one"]
    head = f"CONNECT good.example:443 HTTP/1.1\r\nHost: good.example:443\r\n{sent}\r\n"
    assert outer.heads == [head]
    everything = repr((contents, record, proxies, proxies.tunnel))
    for secret in ("p@ss", "p%40ss", "dXNlcjpwQHNz", "user"):
        assert secret not in everything
    assert (record.reason, record.error) == (None, "")
    assert record.proxy == f"127.0.0.1:{outer.port}"
    assert (record.address, record.bytes_sent, record.bytes_received) == ("", 3, 3)


@each(
    "answer, error",
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "PROXY_403; your network's proxy refuses"),
        (b"HTTP/1.1 407 No\r\n\r\n", "PROXY_407; your network's proxy demands a login"),
        (b"HTTP/1.1 504 Slow\r\n\r\n", "PROXY_504"),
        (b"HTTP/1.1 302 Login\r\nLocation: http://login/\r\n\r\n", "PROXY_302"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "PROXY_MALFORMED"),
        (b"HTTP/2 200\r\n\r\n", "PROXY_MALFORMED"),
        (b"HTTP/1.1 200 OK\n\n", "PROXY_MALFORMED"),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "PROXY_MALFORMED"),
        (b"\x16\x03\x01\r\n\r\n", "PROXY_MALFORMED"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 2**15, "PROXY_MALFORMED"),
        (b"HTTP/1.1 100 Go on\r\n\r\n" * 2**10, "PROXY_MALFORMED"),
        (b"HTTP/1.1 200 OK\r\n", "PROXY_ECONNRESET"),
        (b"", "PROXY_ECONNRESET"),
    ],
)
def test_what_is_no_tunnel_is_a_failure_at_once(answer: bytes, error: str) -> None:
    with (
        answering(answer) as outer,
        running(RULES, nobody, proxies=proxy_at(outer)) as (proxy, records, _),
    ):
        answered = exchange(proxy, connect("good.example:443"))
        (record,) = records.wait(1)
    assert answered.startswith(b"HTTP/1.1 502 ")
    assert record.error.encode() in answered
    assert (bool(record.error), record.proxy) == (True, "")
    assert record.error.startswith(error)


HOSTILE = {
    "a head, byte by byte": (b"HTTP/1.1 200 OK\r\nA: ", b"a", 0.05),
    "answers without an end": (b"", b"HTTP/1.1 100 Go on\r\n\r\n", 0.0),
    "a head without an end": (b"HTTP/1.1 200 OK\r\n", b"A: " + b"a" * 4096 + b"\r\n", 0.0),
    "something else": (b"220 mail.example\r\n", b"250 ready\r\n", 0.0),
}


@each("case", list(HOSTILE))
def test_a_hostile_proxy_gets_few_bytes_and_little_time(case: str) -> None:
    first, then, pause = HOSTILE[case]
    sent = 0

    def serve(client: socket.socket) -> None:
        nonlocal sent
        head_of(client)
        client.sendall(first)
        while sent < 2**26:
            client.sendall(then)
            sent += len(then)
            threading.Event().wait(pause)

    limits = EgressLimits(connect_seconds=1.0)
    with listening() as (sock, accept):
        accept(serve)
        proxies = proxy_at(port_of(sock))
        with running(RULES, nobody, limits, proxies=proxies) as (proxy, records, _):
            answer = exchange(proxy, connect("good.example:443"))
            (record,) = records.wait(1)
    assert answer.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
    assert record.error
    assert record.error.partition(";")[0] in {"PROXY_MALFORMED", "ETIMEDOUT"}
    assert record.bytes_received == record.bytes_sent == 0
    assert sent < 2**26, "it was hung up on"


def test_what_a_proxy_sends_before_anybody_reads_is_bounded() -> None:
    """Behind its answer anything is the host's, and waits in the kernel until it is read."""
    sent = 0

    def serve(client: socket.socket) -> None:
        nonlocal sent
        head_of(client)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 2**28:
            sent += client.send(b"x" * 2**16)

    with listening() as (sock, accept):
        accept(serve)
        proxies = proxy_at(port_of(sock))
        with (
            running(RULES, nobody, proxies=proxies) as (proxy, _, _),
            connected(proxy, "good.example", 443) as client,
        ):
            assert client.recv(1) == b"x"
            before = -1
            while before != sent:
                before = sent
                threading.Event().wait(0.3)
            assert sent < 2**26


def test_a_proxy_that_is_not_there_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        proxies = proxy_at(port_of(closed))
        with running(RULES, nobody, proxies=proxies) as (proxy, records, _):
            assert b"proxy cannot be reached" in exchange(proxy, connect("good.example:443"))
            assert records.wait(1)[0].error.startswith("PROXY_ECONNREFUSED; ")


def test_what_the_host_says_first_arrives_behind_interim_answers() -> None:
    first = b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello"
    with (
        answering(first) as outer,
        running(RULES, nobody, proxies=proxy_at(outer)) as (proxy, _, _),
        connected(proxy, "good.example", 443) as sock,
    ):
        assert all_of(sock) == b"hello"


def never(name: str) -> list[str]:
    """A resolver that is slower than any time limit."""
    threading.Event().wait(5)
    return ["127.0.0.1"] if name else []


def test_a_resolver_that_does_not_answer_keeps_nobody_waiting_twice() -> None:
    with (
        host(b"page") as (port, _),
        company({"good.example:443": port}) as outer,
        running(RULES, never, proxies=proxy_at(outer.port)) as (proxy, records, _),
    ):
        for _ in range(3):
            with connected(proxy, "good.example", 443) as sock:
                sock.sendall(b"\r\n\r\n")
                assert all_of(sock) == b"page"
        took = [record.seconds for record in records.wait(3)]
    assert took[1] < took[0] / 2 > took[2]


@each("address", ["10.0.0.5", "127.0.0.1", "169.254.169.254", "fd00:ec2::254", "::1"])
def test_a_name_that_leads_inside_here_is_not_given_to_the_proxy(address: str) -> None:
    with (
        company({"good.example:443": 1}) as outer,
        running(RULES, lambda _: ["93.184.215.14", address], proxies=proxy_at(outer.port)) as (
            proxy,
            records,
            _,
        ),
    ):
        assert exchange(proxy, connect("good.example:443")).startswith(b"HTTP/1.1 403 ")
        (record,) = records.wait(1)
    assert record.reason is EgressReason.ADDRESS
    assert record.address == address
    assert outer.heads == []


@each(
    "target",
    [
        *("10.0.0.5:443", "[::1]:443", "other.example:443", "good.example:22"),
        *("169.254.169.254:80", "metadata.google.internal:80"),  # although a rule names it
    ],
)
def test_what_no_rule_names_is_not_given_to_the_proxy(target: str) -> None:
    with company({target: 1}) as outer:
        proxies = proxy_at(outer.port, ALL_PROXY=f"http://127.0.0.1:{outer.port}")
        with running(RULES, nobody, proxies=proxies) as (proxy, records, _):
            assert exchange(proxy, connect(target)).startswith(b"HTTP/1.1 403 ")
            assert records.wait(1)[0].reason is not None
    assert outer.heads == []


@each(
    "name, variables",
    {
        "its own name": ("localhost", {}),
        "its own address": ("127.0.0.1", {}),
        "an exception": ("inside.example", {"NO_PROXY": ".example"}),
    },
)
def test_what_needs_no_proxy_is_not_asked_of_it(name: str, variables: dict[str, str]) -> None:
    with host(b"page") as (port, _), company() as outer:
        rules = HostRules.parse([f"inside.example:{port}", f"127.0.0.1:{port}"], [port])
        proxies = proxy_at(outer.port, **variables)
        with running(rules, lambda _: ["127.0.0.1"], proxies=proxies) as (proxy, records, _):
            with connected(proxy, name, port) as sock:
                sock.sendall(b"\r\n\r\n")
                assert all_of(sock) == b"page"
            assert records.wait(1)[0].proxy == ""
    assert outer.heads == []


def test_a_plain_http_request_goes_through_a_tunnel_too() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    with host(page) as (port, contents), company({"good.example:80": port}) as outer:
        proxies = merge_proxies(None, {"http_proxy": f"127.0.0.1:{outer.port}"})
        with running(RULES, nobody, proxies=proxies) as (proxy, records, _):
            request = b"GET http://good.example/a HTTP/1.1\r\nHost: good.example\r\n\r\n"
            assert exchange(proxy, request) == page
            records.wait(1)
    assert contents[0].startswith(b"GET /a HTTP/1.1\r\nHost: good.example\r\n")


def test_a_trusted_proxy_is_reached_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = CertificateAuthority(tmp_path)
    for trusted in (False, True):
        routing._trusted_authorities.cache_clear()
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with (
            host(b"page") as (port, contents),
            company({"good.example:443": port}, LOGIN, authority.context()) as outer,
        ):
            url = f"https://user:p%40ss@127.0.0.1:{outer.port}"
            proxies = merge_proxies(None, {"HTTPS_PROXY": url})
            with running(RULES, nobody, proxies=proxies) as (proxy, records, _):
                if trusted:
                    with connected(proxy, "good.example", 443) as sock:
                        sock.sendall(b"\r\n\r\n")
                        assert all_of(sock) == b"page"
                else:
                    answer = exchange(proxy, connect("good.example:443"))
                    assert b"not trusted" in answer
                (record,) = records.wait(1)
        assert record.error.partition(";")[0] == ("" if trusted else "PROXY_TLS")
        assert len(outer.heads) == len(contents) == int(trusted)
    routing._trusted_authorities.cache_clear()


@each("kind", ["socks4", "socks5", "socks5h"])
def test_a_proxy_of_another_kind_is_an_error_and_never_a_direct_connection(kind: str) -> None:
    with host() as (port, contents):
        rules = HostRules.parse([f"good.example:{port}", f"127.0.0.1:{port}"])
        proxies = merge_proxies(None, {"ALL_PROXY": f"{kind}://user:secret@127.0.0.1:1"})
        with running(rules, lambda _: ["127.0.0.1"], proxies=proxies) as (proxy, records, _):
            answer = exchange(proxy, connect(f"good.example:{port}"))
            (record,) = records.wait(1)
    assert record.error.startswith("PROXY_UNSUPPORTED; ")
    assert f"not {kind}".encode() in answer
    assert b"secret" not in answer + repr(record).encode()
    assert contents == []

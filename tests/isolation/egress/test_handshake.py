"""Requests of the proxy's clients, in any pieces: HTTP's two forms and SOCKS5."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.handshake import ProxyHandshake
from pipeguard.isolation.egress.hosts import HostAndPort
from pipeguard.isolation.egress.http_head import EgressRequest, EgressRequestError
from pipeguard.isolation.egress.judge import EgressReason, EgressWay
from tests.each import each

PATH = "GET http://a.example/x?y=1 HTTP/1.1\r\nHost: a.example\r\n"
A_80 = HostAndPort("a.example", 80)


def ask(data: bytes, step: int = 10**9) -> tuple[bytes, EgressRequest | None]:
    """Feed bytes, some at a time; return everything sent back, and the request."""
    handshake, sent = ProxyHandshake(), b""
    for at in range(0, len(data), step):
        response, asked = handshake.feed(data[at : at + step])
        sent += response
        if asked is not None:
            return sent, asked
    return sent, None


def http(text: str) -> bytes:
    return text.encode("latin-1")


@each("step", [1, 2, 7, 10**6])
def test_connect_opens_a_tunnel(step: int) -> None:
    data = b"CONNECT A.Example.:8443 HTTP/1.1\r\nHost: x\r\nUser-Agent: c\r\n\r\n"
    _, asked = ask(data, step)
    assert asked is not None
    assert asked.way is EgressWay.CONNECT
    assert asked.target == ("a.example", 8443)
    assert asked.to_client.startswith(b"HTTP/1.1 200 ")
    assert asked.to_host == b""


def test_a_whole_url_is_asked_of_its_host() -> None:
    head = PATH + (
        "Proxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nX-One: 1\r\nTE: gzip\r\n"
        "Connection: keep-alive, X-One\r\nAccept: */*\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\n\r\n"
    )
    _, asked = ask(http(head))
    assert asked is not None
    assert (asked.way, asked.target) == (EgressWay.HTTP, A_80)
    assert asked.to_host == (
        b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


@each(
    "line, path",
    {
        "no path": ("GET http://a.example", b"GET / "),
        "a query": ("GET http://a.example?q", b"GET /?q "),
        "all of a host": ("OPTIONS http://a.example", b"OPTIONS * "),
        "capitals": ("GET HTTP://A.EXAMPLE/Q", b"GET /Q "),
        "an at in the path": ("GET http://a.example/u@b", b"GET /u@b "),
    },
)
def test_the_host_gets_the_path_alone(line: str, path: bytes) -> None:
    _, asked = ask(http(f"{line} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
    assert asked is not None
    assert asked.to_host.startswith(path)
    assert asked.target == A_80


REFUSED = {
    "not for a proxy": "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "https": "GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "ftp": "GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a login": "GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a login in CONNECT": "CONNECT u@a.example:443 HTTP/1.1\r\n\r\n",
    "a backslash": "GET http://b\\@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a fragment": "GET http://a.example/#x HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "another Host": "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
    "another port": "GET http://a.example/ HTTP/1.1\r\nHost: a.example:81\r\n\r\n",
    "no Host": "GET http://a.example/ HTTP/1.1\r\n\r\n",
    "two Hosts": f"{PATH}Host: a.example\r\n\r\n",
    "a space before the colon": f"{PATH}X : 1\r\n\r\n",
    "a folded line": f"{PATH}X: 1\r\n 2\r\n\r\n",
    "a bare line feed": f"{PATH}X: 1\nY: 2\r\n\r\n",
    "a bare carriage return": f"{PATH}X: 1\rY: 2\r\n\r\n",
    "a zero byte": f"{PATH}X: \0\r\n\r\n",
    "two spaces": "GET  http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a tab": "GET\thttp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "HTTP 2": "GET http://a.example/ HTTP/2.0\r\nHost: a.example\r\n\r\n",
    "HTTP 0.9": "GET http://a.example/\r\n\r\n",
    "%00": "GET http://a.example%00.b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "%2e": "CONNECT a%2eexample:443 HTTP/1.1\r\n\r\n",
    "no port": "CONNECT a.example HTTP/1.1\r\n\r\n",
    "port 0": "CONNECT a.example:0 HTTP/1.1\r\n\r\n",
    "a large port": "CONNECT a.example:65979 HTTP/1.1\r\n\r\n",
    "a path in CONNECT": "CONNECT a.example:443/ HTTP/1.1\r\n\r\n",
    "a body in CONNECT": "CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    "chunks in CONNECT": "CONNECT a.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": f"{PATH}Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "the same length twice": f"{PATH}Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a list of lengths": f"{PATH}Content-Length: 1, 1\r\n\r\n",
    "a length and chunks": f"{PATH}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": f"{PATH}Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a hidden coding": f"{PATH}Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunks in 1.0": "POST http://a.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a signed length": f"{PATH}Content-Length: +1\r\n\r\n",
    "Host named by Connection": f"{PATH}Connection: close, Host\r\n\r\n",
    "a length named by Connection": f"{PATH}Connection: content-length\r\n\r\n",
    "an empty line first": f"\r\n{PATH}\r\n",
    "a long head": f"{PATH}X: {'a' * 20000}\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00",
    "SOCKS4": "\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
}
UNSUPPORTED = {"https", "ftp"}


@each("case", list(REFUSED))
def test_a_request_that_could_be_read_in_two_ways_is_refused(case: str) -> None:
    with pytest.raises(EgressRequestError) as raised:
        ask(http(REFUSED[case]))
    expected = EgressReason.UNSUPPORTED if case in UNSUPPORTED else EgressReason.MALFORMED
    assert raised.value.reason is expected
    assert b"a.example" not in raised.value.response.partition(b"\r\n")[0]


@each("step", [1, 3, 100])
def test_a_head_that_does_not_end_is_refused(step: int) -> None:
    with pytest.raises(EgressRequestError):
        ask(b"GET http://a.example/ HTTP/1.1\r\n" + b"X: y\r\n" * 5000, step)


GREETING = b"\x05\x02\x02\x00"


@each(
    "address, target",
    {
        "a name": (b"\x03\x09a.example\x01\xbb", HostAndPort("a.example", 443)),
        "IPv4": (b"\x01\x0a\x00\x00\x05\x15\x38", HostAndPort(IPv4Address("10.0.0.5"), 5432)),
        "IPv6": (b"\x04" + bytes(15) + b"\x01\x00\x50", HostAndPort(IPv6Address("::1"), 80)),
        "mapped": (
            b"\x04" + bytes(10) + b"\xff\xff\x7f\x00\x00\x01\x00\x50",
            HostAndPort(IPv4Address("127.0.0.1"), 80),
        ),
        "a name of an address": (
            b"\x03\x05127.1\x00\x50",
            HostAndPort(IPv4Address("127.0.0.1"), 80),
        ),
    },
)
def test_socks_names_a_host_or_an_address(address: bytes, target: HostAndPort) -> None:
    for step in (1, 4, 5, 100):
        sent, asked = ask(GREETING + b"\x05\x01\x00" + address, step)
        assert sent == b"\x05\x00"
        assert asked is not None
        assert (asked.way, asked.target) == (EgressWay.SOCKS5, target)


@each(
    "data, response, reason",
    {
        "only with a login": (b"\x05\x01\x02", b"\x05\xff", EgressReason.UNSUPPORTED),
        "no methods": (b"\x05\x00", b"\x05\xff", EgressReason.UNSUPPORTED),
        "BIND": (b"\x05\x01\x00\x05\x02\x00\x01aaaapp", 7, EgressReason.UNSUPPORTED),
        "UDP": (b"\x05\x01\x00\x05\x03\x00\x01aaaapp", 7, EgressReason.UNSUPPORTED),
        "another address": (b"\x05\x01\x00\x05\x01\x00\x02aaaapp", 8, EgressReason.UNSUPPORTED),
        "another version": (b"\x05\x01\x00\x04\x01\x00\x01aaaapp", 1, EgressReason.MALFORMED),
        "a reserved byte": (b"\x05\x01\x00\x05\x01\x01\x01aaaapp", 1, EgressReason.MALFORMED),
        "port 0": (b"\x05\x01\x00\x05\x01\x00\x01aaaa\0\0", 1, EgressReason.MALFORMED),
        "no name": (b"\x05\x01\x00\x05\x01\x00\x03\x00pp", 1, EgressReason.MALFORMED),
        "a zero in a name": (b"\x05\x01\x00\x05\x01\x00\x03\x03a\0bpp", 1, EgressReason.MALFORMED),
        "a name in Latin-1": (b"\x05\x01\x00\x05\x01\x00\x03\x01\xffpp", 1, EgressReason.MALFORMED),
    },
)
def test_socks_refuses_the_rest(data: bytes, response: bytes | int, reason: EgressReason) -> None:
    with pytest.raises(EgressRequestError) as raised:
        ask(data)
    assert raised.value.reason is reason
    if isinstance(response, int):
        response = b"\x05\x00\x05" + bytes((response, 0, 1)) + bytes(6)
    assert raised.value.response == response


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from(
            [b"\x05\x01\x00", b"CONNECT a:1 HTTP/1.1", b"\r\n\r\n", b"\x05\x01\x00\x03"]
        )
        | st.sampled_from(
            [b"GET http://a/ HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 1\r\n"]
        ),
        max_size=12,
    )
)
def test_any_bytes_are_asked_for_refused_or_wait(pieces: list[bytes]) -> None:
    handshake = ProxyHandshake()
    for piece in pieces:
        try:
            _, asked = handshake.feed(piece)
        except EgressRequestError:
            return
        if asked is not None:
            assert 0 < asked.target.port < 65536
            return


@given(st.binary(min_size=1, max_size=60), st.integers(1, 20))
def test_pieces_make_no_difference(tail: bytes, step: int) -> None:
    for start in (
        b"CONNECT a.example:443 HTTP/1.1\r\n",
        GREETING + b"\x05\x01\x00\x03\x01a\x01\xbb",
    ):
        results = []
        for size in (step, 10**6):
            try:
                sent, asked = ask(start + tail, size)
                results.append((sent, asked and asked.target))
            except EgressRequestError as error:
                results.append((error.reason.value.encode(), None))
        assert results[0] == results[1]

"""The choice of proxy, as curl reads the same variables; answers of a proxy in pieces."""

import base64
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.hosts import HostAndPort, parse_authority
from pipeguard.isolation.egress.outer_proxy import (
    MAX_EXCEPTIONS,
    OuterProxies,
    OuterProxy,
    OuterProxyError,
    ProxyExceptions,
    merge_proxies,
)
from pipeguard.isolation.egress.outer_tunnel import OuterTunnelError, connect_request, read_answer
from tests.each import each
from tests.isolation.egress.company_proxy import company
from tests.isolation.egress.sandbox import port_of

PROXY = "http://proxy.example:3128"


@each(
    "text, at",
    {
        "a URL": ("http://proxy.example:3128", "proxy.example:3128"),
        "a path": ("http://proxy.example:3128/", "proxy.example:3128"),
        "no scheme": ("proxy.example:3128", "proxy.example:3128"),
        "no port": ("http://proxy.example", "proxy.example:80"),
        "capitals": (" HTTP://Proxy.Example.:3128 ", "proxy.example:3128"),
        "IPv6": ("http://[fd00::1]:3128", "[fd00::1]:3128"),
        "TLS": ("https://proxy.example", "proxy.example:443"),
        "a login": ("http://user:secret@10.0.0.1:3128", "10.0.0.1:3128"),
        "a login with @": ("http://us@er:se@cret@10.0.0.1:3128", "10.0.0.1:3128"),
    },
)
def test_a_proxy_is_read(text: str, at: str) -> None:
    proxy = OuterProxy.parse(text)
    assert str(proxy.at) == at
    assert bool(proxy.authorization) == ("@" in text)
    assert "secret" not in repr(proxy)


@each(
    "text",
    [
        *("socks4://user:secret@proxy.example:3128", "ftp://user:secret@proxy.example"),
        *("socks5://user:secret@proxy.example", "socks5h://user:secret@proxy.example:1080"),
        *("http://", "http://user:secret@", "http://user:sec/ret@proxy.example:3128/x"),
        *("http://user:secret@proxy example:1", "http://user:secret@proxy:70000", "secret\n:1"),
        *("http://proxy:1\r\nX-secret: 1", "http://user:secret#@[::1]:x"),
    ],
)
def test_what_is_no_proxy_is_an_error_that_tells_no_login(text: str) -> None:
    with pytest.raises(OuterProxyError) as error:
        OuterProxy.parse(text)
    assert "secret" not in str(error.value)
    assert "sec" not in str(error.value)


ANY_CHARACTER = st.characters() | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)


@given(st.text(ANY_CHARACTER, max_size=60) | st.text("%@:/[]a1#?\udcff", max_size=20))
def test_any_text_is_a_proxy_or_an_error(text: str) -> None:
    try:
        request = connect_request(HostAndPort("a.example", 443), OuterProxy.parse(text))
    except OuterProxyError:
        return
    assert request.count(b"\r\n") <= 4
    assert b"\n" not in request.replace(b"\r\n", b"")


def test_a_login_is_sent_byte_by_byte() -> None:
    written = "u%FF\udcfe:a-long-passw%F6rd\udcfe%3A"
    proxy = OuterProxy.parse(f"http://{written}@proxy.example")
    login = b"u\xff\xfe:a-long-passw\xf6rd\xfe:"
    assert proxy.authorization == b"Basic " + base64.b64encode(login)


def of(proxies: OuterProxies, target: str) -> str:
    proxy = proxies.of(parse_authority(target))
    return "" if proxy is None else str(proxy.at)


def test_small_letters_come_first_and_a_port_decides_which() -> None:
    proxies = merge_proxies(
        None, {"HTTPS_PROXY": "a:1", "https_proxy": "b:2", "HTTP_PROXY": "c:3", "ALL_PROXY": "d:4"}
    )
    assert of(proxies, "x.example:80") == "c:3"
    assert of(proxies, "x.example:443") == of(proxies, "10.0.0.1:22") == "b:2"
    assert of(merge_proxies(None, {"all_proxy": "d:4"}), "x.example:80") == "d:4"
    assert of(merge_proxies(None, {"HTTPS_PROXY": " "}), "x.example:80") == ""


def test_a_policy_decides_over_the_environment() -> None:
    variables = {"HTTPS_PROXY": "a:1", "NO_PROXY": "in.example"}
    proxies = merge_proxies(PROXY, variables)
    assert of(proxies, "x.example:80") == of(proxies, "x.example:443") == "proxy.example:3128"
    assert not of(proxies, "in.example:443")
    assert of(merge_proxies("none", variables), "x.example:80") == ""


@each(
    "target",
    [
        *("localhost:1", "a.localhost:1", "127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "0.0.0.0:1"),
        *("169.254.169.254:80", "169.254.1.1:1", "[fe80::1]:1", "[fd00:ec2::254]:80"),
        *("100.100.100.200:80", "[::ffff:127.0.0.1]:1"),
    ],
)
def test_a_proxy_is_never_asked_for_what_would_be_its_own(target: str) -> None:
    assert of(merge_proxies(PROXY, {}), target) == ""


# As curl 8: entries, the host, and whether it is reached without a proxy.
EXCEPTIONS = [
    ("example.com", "example.com", True),
    ("example.com", "www.example.com", True),
    ("example.com", "notexample.com", False),
    (".example.com", "example.com", True),
    (".example.com", "www.example.com", True),
    ("www.example.com", "example.com", False),
    ("a.example, example.com", "example.com", True),
    ("a.example example.com", "example.com", True),
    ("*", "example.com", True),
    ("*", "10.0.0.1", True),
    ("*.example.com", "www.example.com", False),
    ("10.0.0.1", "10.0.0.1", True),
    ("10.0.0.1", "10.0.0.10", False),
    ("10.0.0.0/8", "10.1.2.3", True),
    ("192.168.1.77/24", "192.168.1.5", True),
    ("10.0.0.0/99", "10.0.0.0", False),
    ("fd00::5", "[fd00::5]", True),
    ("", "example.com", False),
    # What is odd, or written to be read in two ways, fits nothing: the proxy is used.
    ("a.example,*", "example.com", False),
    ("10.*", "10.1.2.3", False),
    ("10.0.0.0/0.255.255.255", "10.1.2.3", False),
    ("10.0.0.0/-1", "10.1.2.3", False),
    ("10.0.0.0/ 8", "10.1.2.3", False),
    ("010.1.2.3", "10.1.2.3", False),
    ("..example.com", "www.example.com", False),
    (".", "example.com", False),
    ("http://example.com", "example.com", False),
    ("example.com:80", "example.com", False),
    ("example.com;a.example", "example.com", False),
    ("ex\u0430mple.com", "example.com", False),
    ("<local>", "example.com", False),
    (f"{'x' * 300}.example.com", "example.com", False),
    ("example.com" + "." * 300, "example.com", False),
    ("a.example," * 2000 + "example.com", "b.example", False),
]
OF_IPV6 = [  # which curl 7.88 did not read as it documents it
    ("fd00::/8", "[fd00::5]", True),
    ("[fd00::5]", "[fd00::5]", True),
]


@each("entries, host, is_direct", [*EXCEPTIONS, *OF_IPV6])
def test_exceptions_are_read(entries: str, host: str, is_direct: bool) -> None:
    assert ProxyExceptions(entries).has(parse_authority(host, 80)) is is_direct


@pytest.mark.needs("curl")
@each("entries, host, is_direct", EXCEPTIONS)
def test_exceptions_are_read_as_by_curl(entries: str, host: str, is_direct: bool) -> None:
    with socket.socket() as closed, company() as outer:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        variables = {"http_proxy": f"http://127.0.0.1:{outer.port}", "NO_PROXY": entries}
        nowhere = f"::127.0.0.1:{port_of(closed)}"  # all that is connected to without a proxy
        options = ("-q", "-s", "-g", "--max-time", "5", "--connect-to", nowhere)
        subprocess.run(["curl", *options, f"http://{host}/"], env=variables, check=False)
    assert (outer.heads == []) is is_direct


def test_more_exceptions_than_anybody_has_are_left_out() -> None:
    """Hosts beyond the limit go through the proxy, which is the safe side."""
    exceptions = ProxyExceptions("10.0.0.0/8," * MAX_EXCEPTIONS + "example.com")
    assert not exceptions.has(parse_authority("example.com:80"))
    assert exceptions.has(parse_authority("10.1.2.3:80"))


@given(
    st.text(ANY_CHARACTER, max_size=40),
    st.sampled_from(["a.example:443", "10.0.0.1:22", "[fd00::1]:1"]),
)
def test_any_text_is_a_list_of_exceptions(text: str, target: str) -> None:
    assert ProxyExceptions(text).has(parse_authority(target)) in {True, False}


def fed(pieces: list[bytes]) -> tuple[bytes | None, str]:
    """Return the bytes after an answer, and its error; the pieces after that are not fed."""
    try:
        for number in range(1, len(pieces) + 1):
            if (rest := read_answer(b"".join(pieces[:number]))) is not None:
                return rest + b"".join(pieces[number:]), ""
    except OuterTunnelError as error:
        return None, str(error)
    return None, "unfinished"


PARTS = [
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200", b"100", b"407", b" OK", b"\r\n", b"\r\n\r\n", b"\n"),
    b"\0",
    *(b"A: b", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n", b"\x80", b"rest"),
]


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.data())
def test_an_answer_is_the_same_in_any_pieces(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    expected = fed([whole])
    got = fed(pieces)
    assert (got[0] is None) == (expected[0] is None)
    if expected[0] is not None:
        assert got == expected
        assert whole.endswith(expected[0])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    rest, error = fed([data])
    assert rest is None or data.startswith(b"HTTP/1.")
    assert rest is not None or error

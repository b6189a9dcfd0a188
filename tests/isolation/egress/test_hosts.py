"""Hosts in one spelling, and rules over them."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.isolation.egress.hosts import (
    HostAndPort,
    HostError,
    HostRules,
    parse_authority,
    parse_host,
)
from tests.each import each

NAMES = {
    "api.github.com": "api.github.com",
    "API.GitHub.COM.": "api.github.com",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "ｅｘａｍｐｌｅ。com": "example.com",
    "a．b｡c": "a.b.c",
    "straße.de": "xn--strae-oqa.de",
    "a\u00adb.com": "ab.com",
    "_service.example.com": "_service.example.com",
    "1.example": "1.example",
}
LOOPBACK_V4 = IPv4Address("127.0.0.1")
ADDRESSES = {
    "127.0.0.1": LOOPBACK_V4,
    "127.1": LOOPBACK_V4,
    "127.0.0.1.": LOOPBACK_V4,
    "2130706433": LOOPBACK_V4,
    "0x7f000001": LOOPBACK_V4,
    "0X7F.1": LOOPBACK_V4,
    "017700000001": LOOPBACK_V4,
    "0177.0.0.01": LOOPBACK_V4,
    "１２７.0.0.1": LOOPBACK_V4,
    "127。0。0。1": LOOPBACK_V4,
    "::ffff:127.0.0.1": LOOPBACK_V4,
    "[::ffff:7f00:1]": LOOPBACK_V4,
    "[0:0:0:0:0:0:0:1]": IPv6Address("::1"),
    "fe80::1%eth0": IPv6Address("fe80::1"),
    "[64:ff9b::a9fe:a9fe]": IPv6Address("64:ff9b::a9fe:a9fe"),
    "0": IPv4Address(0),
    "0x": IPv4Address(0),
}
NO_HOSTS = [
    *("", ".", "..", "a..b", ".a", "a b", " a", "a\t", "a\n", "a\0b", "a%00b", "a%2eb", "a/b"),
    *("a@b", "a\\b", "a,b", "a;b", "a#b", "a?b", "[::1", "::1]", "[a]", "1.2.3.4.5", "256.1.1.1"),
    *("1.2.3.256", "4294967296", "09.1", "a.1", "a.0x1", "1..2", "0x1g.1.1.1", "-a.com", "a-.com"),
    *("a" * 64, "a." * 127 + "ab", "x" * 2000, "٣.com", "x.٣", "\u2488com", "%lo", "1e3.0x1."),
    *("9" * 30, "\ud800.com", "a.\u202ecom", "💩" * 70),
]


@each("text", list(NAMES))
def test_a_name_has_one_spelling(text: str) -> None:
    assert parse_host(text) == NAMES[text]
    assert parse_host(NAMES[text]) == NAMES[text]


@each("text", list(ADDRESSES))
def test_what_a_library_reads_as_an_address_is_one(text: str) -> None:
    assert parse_host(text) == ADDRESSES[text]


@each("text", {ascii(text): text for text in NO_HOSTS})
def test_what_is_no_host_is_an_error_that_can_be_printed(text: str) -> None:
    with pytest.raises(HostError) as raised:
        parse_host(text)
    assert str(raised.value).isascii()
    assert str(raised.value).isprintable()


@given(st.text(max_size=80) | st.from_regex(r"[\[\]0-9a-fx:.%]{1,40}"))
@example("0x" + "f" * 40)
@example("xn--")
def test_any_text_is_a_host_or_an_error(text: str) -> None:
    try:
        host = parse_host(text)
    except HostError:
        return
    assert parse_host(str(host)) == host
    if isinstance(host, str):
        assert host.isascii()
        assert host == host.lower()
        assert not set(host) & set(" \t\r\n\0%@/\\:[]")


@each(
    "text, target",
    {
        "name": ("a.b:80", HostAndPort("a.b", 80)),
        "v6": ("[::1]:80", HostAndPort(IPv6Address("::1"), 80)),
        "v4": ("0x7f.1:80", HostAndPort(LOOPBACK_V4, 80)),
    },
)
def test_an_authority_has_a_host_and_a_port(text: str, target: HostAndPort) -> None:
    assert parse_authority(text) == target
    assert parse_authority(str(target)) == target


@each(
    "text", ["a", "a:", ":80", "a:0", "a:65536", "a:+80", "a:８０", "a:80:80", "::1:80", "u@a:80"]
)
def test_what_has_no_host_or_no_port_is_no_authority(text: str) -> None:
    with pytest.raises(HostError):
        parse_authority(text)


def test_a_default_port_is_for_what_has_none() -> None:
    assert parse_authority("a", 80) == ("a", 80)
    assert parse_authority("[::1]", 80) == (IPv6Address("::1"), 80)
    assert parse_authority("a:81", 80) == ("a", 81)


RULES = HostRules.parse(
    [
        *("api.github.com", "*.example.com", "*.deep.example.com:8080", "host:8443", "host:22"),
        *("10.0.0.5:5432", "[::1]:5432", "8.8.8.8", "bücher.example"),
    ],
    loopback=[6379],
)


@each(
    "host, ports",
    {
        "API.github.com.": ("API.github.com.", {443, 80}),
        "github.com": ("github.com", set()),
        "x.api.github.com": ("x.api.github.com", set()),
        "example.com": ("example.com", set()),
        "a.example.com": ("a.example.com", {443, 80}),
        "a.b.example.com": ("a.b.example.com", {443, 80}),
        "a.deep.example.com": ("a.deep.example.com", {443, 80, 8080}),
        "notexample.com": ("notexample.com", set()),
        "example.com.evil": ("example.com.evil", set()),
        "host": ("host", {8443, 22}),
        "10.0.0.5": ("10.0.0.5", {5432}),
        "0xa.5": ("0xa.5", {5432}),
        "::ffff:10.0.0.5": ("::ffff:10.0.0.5", {5432}),
        "::1": ("::1", {5432, 6379}),
        "127.0.0.1": ("127.0.0.1", {6379}),
        "127.0.0.2": ("127.0.0.2", set()),
        "127.128.0.1": ("127.128.0.1", set()),
        "localhost": ("localhost", {5432, 6379}),
        "8.8.8.8": ("8.8.8.8", {443, 80}),
        "8.8.4.4": ("8.8.4.4", set()),
        "xn--bcher-kva.example": ("xn--bcher-kva.example", {443, 80}),
    },
)
def test_a_rule_names_a_host_and_its_ports(host: str, ports: set[int]) -> None:
    assert RULES.allowed_ports(parse_host(host)) == ports


def test_a_sandbox_listens_at_every_port_of_a_rule() -> None:
    assert RULES.ports == {443, 80, 8080, 8443, 22, 5432, 6379}
    assert HostRules().ports == frozenset()


@each(
    "entry",
    [
        *("*", "*.", "*.*", "a.*.com", "https://a.com", "a.com/x", "u@a.com", "a:0", "a:*", ""),
        *("*.1.2.3.4", "localhost:80", "x.localhost", "::1:80:", "a,b", "a b", "[::1]:", "*:443"),
        *("10.0.0.5=private", "[fd00::1]:22=private", "=private", "localhost=private"),
    ],
)
def test_an_entry_that_is_no_host_is_an_error_with_its_text(entry: str) -> None:
    with pytest.raises(HostError):
        HostRules.parse(["a.com", entry])


@given(st.text(max_size=40))
def test_any_entry_is_a_rule_or_an_error(entry: str) -> None:
    try:
        rules = HostRules.parse([entry])
    except HostError:
        return
    assert rules.ports


@each("port", [0, -1, 65536])
def test_a_loopback_port_is_a_port(port: int) -> None:
    with pytest.raises(HostError):
        HostRules.parse([], [port])


def test_there_are_at_most_so_many_rules() -> None:
    with pytest.raises(HostError):
        HostRules.parse(f"h{number}.example" for number in range(5000))
    with pytest.raises(HostError):
        HostRules.parse(f"h.example:{number}" for number in range(1, 300))

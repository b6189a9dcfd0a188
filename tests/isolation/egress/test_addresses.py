"""The addresses that may be connected to."""

from ipaddress import IPv4Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.egress.addresses import (
    describe_excess,
    is_own,
    is_private,
    is_public,
    is_usable,
    usable_addresses,
)
from pipeguard.isolation.egress.hosts import HostRules
from tests.each import each
from tests.isolation.test_escapes import own_address

PRIVATE = [  # where a name may lead if a rule says so
    *("10.0.0.5", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.127.255.255", "203.0.113.80"),
    *("192.0.2.1", "198.51.100.1", "198.18.0.1", "fc00::1", "fd00::1", "2001:db8::1", "3fff::1"),
]
NEVER = [
    *("127.0.0.1", "127.128.0.1", "0.0.0.1", "0.1.2.3", "169.254.169.254", "169.254.170.2"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8"),
    *("::ffff:0:8.8.8.8", "::ffff:127.0.0.1", "fe80::1", "fec0::1", "fd00:ec2::254"),
    *("fd00:ec2::23", "ff02::1", "ff0e::1", "2001::1", "2001:10::1", "2002::1"),
    *("2002:808:808::1", "2002:a00:1::1", "5f00::1", "100::1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:5", "64:ff9b:1::808:808", "4000::1"),
]
NAMED = HostRules.parse(
    ["git.corp.example=private", "*.corp.example:8443=private", "packages.example"]
)
PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1"),
    *("2606:4700:4700::1111", "2a00:1450:4001::1", "64:ff9b::808:808"),
]
NONE = HostRules()
ANYBODY, CREDENTIALS = "hosts that anybody can have", "credentials"
EXCESSES = {
    **dict.fromkeys(("*", "*.com", "*.COM:443", "*.co.uk", "*.com.br=private", "*.dev"), ANYBODY),
    **dict.fromkeys(("*.github.io", "*.s3.amazonaws.com", "*.workers.dev", "*.nip.io"), ANYBODY),
    **dict.fromkeys(("169.254.169.254", "169.254.169.254:80", "0xa9fea9fe"), CREDENTIALS),
    **dict.fromkeys(("[fd00:ec2::254]:80", "fd00:ec2::254", "100.100.100.200"), CREDENTIALS),
    **dict.fromkeys(("metadata.google.internal", "*.google.internal:80"), CREDENTIALS),
    **dict.fromkeys(("*.example.com", "com.example.org", "api.github.com", "*.github.com"), ""),
    **dict.fromkeys(("*.corp.example=private", "10.0.0.5:5432", "169.254.1.1", "a b"), ""),
    **dict.fromkeys(("me.github.io", "metadata.example.com", "*.eu-west-1.amazonaws.com"), ""),
}


@each("entry", list(EXCESSES))
def test_a_host_that_gives_more_than_a_service_is_known(entry: str) -> None:
    what = describe_excess(entry)
    assert EXCESSES[entry] in what
    assert bool(EXCESSES[entry]) == bool(what)


@each("text", [*PRIVATE, *NEVER])
def test_an_address_that_is_not_of_the_public_network_is_not_used(text: str) -> None:
    address = ip_address(text)
    assert not is_public(address)
    assert usable_addresses([text], 443, NONE) == []
    for port, host in ((443, "packages.example"), (443, "a.corp.example"), (8443, "corp.example")):
        assert usable_addresses([text], port, NAMED, host) == []
    allowed = [address] if text in PRIVATE else []
    assert is_private(address) == bool(allowed)
    assert usable_addresses([text], 443, NAMED, "git.corp.example") == allowed
    assert usable_addresses([text], 8443, NAMED, "a.corp.example") == allowed


@each("text", PUBLIC)
def test_a_public_address_is_used(text: str) -> None:
    assert is_public(ip_address(text))
    assert usable_addresses([text], 443, NONE) == [ip_address(text)]


def test_a_mapped_address_is_judged_as_what_it_maps() -> None:
    assert usable_addresses(["::ffff:10.0.0.5", "::ffff:169.254.169.254"], 80, NONE) == []
    assert usable_addresses(["::ffff:8.8.8.8"], 80, NONE) == [IPv4Address("8.8.8.8")]


def test_of_several_addresses_those_that_are_public_are_used_once() -> None:
    answers = ["10.0.0.5", "8.8.8.8", "::1", "8.8.8.8", "fe80::1%eth0", "no address", "1.1.1.1"]
    assert [*map(str, usable_addresses(answers, 443, NONE))] == ["8.8.8.8", "1.1.1.1"]


def test_a_private_address_is_used_if_it_is_named_with_its_port() -> None:
    rules = HostRules.parse(["10.0.0.5:5432", "[fd00::1]:22", "169.254.169.254:80"], [6379])
    for text, port in (("10.0.0.5", 5432), ("fd00::1", 22), ("169.254.169.254", 80)):
        assert is_usable(ip_address(text), port, rules)
        assert not is_usable(ip_address(text), port + 1, rules)
    assert is_usable(ip_address("127.0.0.1"), 6379, rules)
    assert is_usable(ip_address("::1"), 6379, rules)
    assert not is_usable(ip_address("127.0.0.2"), 6379, rules)
    assert usable_addresses(["::ffff:10.0.0.5"], 5432, rules) == [IPv4Address("10.0.0.5")]


def test_addresses_of_this_machine_are_known_by_their_route() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert usable_addresses([own_address()], 443, NAMED, "git.corp.example") == []
    assert not is_own(ip_address("8.8.8.8"))


def test_few_addresses_of_many_are_tried() -> None:
    assert len(usable_addresses([f"8.8.8.{number}" for number in range(99)], 443, NONE)) == 8


@given(st.ip_addresses())
def test_any_address_is_judged(address: object) -> None:
    text = str(address)
    assert usable_addresses([text], 1, NONE) in ([], [ip_address(text)]) or "::ffff:" in text

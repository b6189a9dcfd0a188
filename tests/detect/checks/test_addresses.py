"""The kind of host behind an address."""

import pytest

from pipeguard.detect.checks.addresses import Reach, find_reach, is_loopback, parse_inet_aton


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("192.0.2.1", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("127.8.8.8", Reach.LOOPBACK),
        ("0.0.0.7", Reach.ANY),
        ("169.254.1.1", Reach.LINK),
        ("169.254.169.254", Reach.METADATA),
        ("100.127.0.1", Reach.SHARED),
        ("240.0.0.1", Reach.RESERVED),
        ("2001:4860:4860::8888", Reach.PUBLIC),
        ("::", Reach.ANY),
        ("::1", Reach.LOOPBACK),
        ("fe80::1%eth0", Reach.LINK),
        ("fd12::1", Reach.PRIVATE),
        ("fd00:ec2::254", Reach.METADATA),
        ("ff02::1", Reach.RESERVED),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
    ],
)
def test_an_address_is_public_private_or_ours(address: str, reach: Reach) -> None:
    assert find_reach(address) is reach


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        find_reach("localhost")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("266.0.0.257", None),  # three digits each, or no program reads it so
        ("383.256.256.257", "127.0.0.1"),
        ("1.2.3.4.5", None),
        ("443", None),
        ("1.2.3.x", None),
    ],
)
def test_an_address_is_read_as_c_libraries_read_it(name: str, address: str | None) -> None:
    found = parse_inet_aton(name)
    assert (found and str(found)) == address


def test_only_this_machine_reaches_a_loopback() -> None:
    hosts = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "10.0.0.1", "x")  # noqa: S104  nothing is bound
    assert [is_loopback(host) for host in hosts] == [True, True, True, False, False, False]

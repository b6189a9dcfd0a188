"""Whom an address reaches, however it is spelt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.checks.addresses import (
    WANTED,
    Reach,
    hosts,
    is_loopback,
    reach_of,
    says,
)
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("rest", "reach", "odd"),
    [
        ("127.0.0.1:3000/", Reach.LOOPBACK, False),
        ("localhost", Reach.LOOPBACK, False),
        ("127.1", Reach.LOOPBACK, True),
        ("2130706433", Reach.LOOPBACK, True),
        ("0x7f.1", Reach.LOOPBACK, True),
        ("017700000001", Reach.LOOPBACK, True),
        ("[::1]:80", Reach.LOOPBACK, False),
        ("[::ffff:127.0.0.1]", Reach.LOOPBACK, True),
        ("[64:ff9b::a00:1]", Reach.PRIVATE, True),
        ("[2002:a9fe:a9fe::]", Reach.METADATA, True),
        ("10.0.0.1.nip.io", Reach.PRIVATE, True),
        ("x-169-254-169-254.sslip.io", Reach.METADATA, True),
        ("7f000001.rbndr.us", Reach.LOOPBACK, True),
        ("a@169.254.169.254/", Reach.METADATA, False),
        ("169.254.169.254.", Reach.METADATA, True),
        ("%31%30.0.0.1", Reach.PRIVATE, True),
        ("\uff11\uff10.0.0.1", Reach.PRIVATE, True),
        ("169\u3002254\u3002169\u3002254", Reach.METADATA, True),
        ("metadata.google.internal", Reach.METADATA, False),
        ("100.64.0.1", Reach.SHARED, False),
        ("0.0.0.0", Reach.ANY, False),  # noqa: S104  nothing is bound
        ("224.0.0.1", Reach.RESERVED, False),
        ("[fe80::1%25eth0]", Reach.LINK, True),
        ("[fd00::1]", Reach.PRIVATE, False),
        ("db.internal", Reach.PRIVATE, False),
        ("203.0.113.9", Reach.PUBLIC, False),
        ("example.com", Reach.PUBLIC, False),
    ],
)
def test_hosts_in_their_one_form(rest: str, reach: Reach, odd: bool) -> None:
    assert (hosts(rest)[0].reach, hosts(rest)[0].odd) == (reach, odd)


def test_each_way_to_read_an_address_counts() -> None:
    for rest in ("169.254.169.254#@h.example/", "169.254.169.254\\@h.example/"):
        assert says(rest.encode(), "metadata")
    assert says(b"h.example\\@10.0.0.1/", "inside")
    assert not says(b"h.example/?u=10.0.0.1", "inside")


def test_a_user_s_name_that_looks_like_a_host_is_a_trick() -> None:
    assert {host.odd for host in hosts("example.com@other.example/")} == {False, True}
    assert {host.name for host in hosts("example.com@other.example/")} == {"other.example"}


def test_a_port_or_a_path_at_which_machines_are_ruled_is_exposed() -> None:
    assert says(b"10.0.0.1:2375/containers", "exposed")
    assert says(b"10.0.0.1/admin", "exposed")
    assert not says(b"10.0.0.1/index.html", "exposed")
    assert says(b"localhost:2375/", "exposed")
    assert not says(b"localhost:8080/admin", "exposed")  # a developer's own
    assert says(b"169.254.1.1/", "exposed")
    assert not says(b"example.com:2375/admin", "exposed")


@pytest.mark.parametrize(
    ("wanted", "rest"),
    [
        ("metadata", b"169.254.169.254/"),
        ("disguised", b"2130706433/"),
        ("suspicious", b"0x7f.1/"),
        ("suspicious", b"[fd00:ec2::254]/"),
        ("local", b"localhost/"),
        ("inside", b"192.168.0.1/"),
    ],
)
def test_what_is_wanted_is_said_of_it_and_not_of_a_public_host(wanted: str, rest: bytes) -> None:
    assert says(rest, wanted)
    assert not says(b"example.com/", wanted)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::", Reach.ANY),
        ("fe80::1%eth0", Reach.LINK),
        ("fec0::1", Reach.PRIVATE),
        ("ff02::1", Reach.RESERVED),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("fd00:ec2::254", Reach.METADATA),
        ("2001:db8::1", Reach.PUBLIC),
        ("192.0.2.1", Reach.PUBLIC),
    ],
)
def test_an_address_that_a_name_was_resolved_to(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="example"):
        reach_of("example.com")


def test_a_loopback_host_is_told_as_a_url_has_it() -> None:
    known = ("localhost", "127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "localhost.example", "")
    assert [host for host in known if is_loopback(host)] == [*known[:4]]


@tried(200)
@given(st.text(alphabet="0123456789abcdefx.:[]@%/\\?#-", max_size=60), st.sampled_from(WANTED))
def test_any_text_is_an_address_or_none(rest: str, wanted: str) -> None:
    assert isinstance(says(rest.encode(), wanted), bool)
    assert len(hosts(rest)) <= 6

"""`WWW-Authenticate`, as servers write it (RFC 9110, 11.6.1; RFC 6750, 3; RFC 9728, 5.1)."""

import time

import pytest

from pipeguard.transports.http.challenge import LIMIT_CHARS, Challenge, join, read

URL = "https://mcp.example.com/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", Challenge()),
        ("Bearer", Challenge(("bearer",))),
        (f'Bearer resource_metadata="{URL}"', Challenge(("bearer",), URL)),
        (f"Bearer resource_metadata={URL}, error=x", Challenge(("bearer",), URL, "", "x")),
        ('bearer ERROR=x , scope="a b"', Challenge(("bearer",), "", "a b", "x")),
        ('Basic realm="x", Bearer scope="a"', Challenge(("basic", "bearer"), "", "a")),
        ('Bearer scope="a", Basic scope="b"', Challenge(("bearer", "basic"), "", "a")),
        ('Negotiate YWJj==, Bearer error="x"', Challenge(("negotiate", "bearer"), "", "", "x")),
        ('Bearer realm="say \\"scope=admin\\"", scope="a"', Challenge(("bearer",), "", "a")),
        ('Bearer error_description="scope=admin, error=x"', Challenge(("bearer",))),
        ('Bearer realm="pipeguard"', Challenge(("bearer",), is_gateway=True)),
        ('Basic realm="pipeguard", Bearer', Challenge(("basic", "bearer"))),
        ('Bearer x_scope="admin"', Challenge(("bearer",))),
        ('Bearer scope="a", scope="b"', Challenge(("bearer",), "", "a")),
        ('Bearer scope="never ends', Challenge(("bearer",))),
        ('scope="a"', Challenge()),
    ],
)  # fmt: skip
def test_a_challenge_is_read(header: str, found: Challenge) -> None:
    assert read(header) == found


def test_what_is_written_again_reads_the_same() -> None:
    challenge = Challenge(("bearer",), URL, "a b", "insufficient_scope", is_gateway=True)
    assert read(challenge.header) == challenge
    assert read(Challenge(("bearer",), "", 'a", x="b').header).scope == "a, x=b"


@pytest.mark.parametrize("piece", [" ", ",", "a", "a=", 'a="', 'a="\\', "Bearer ", "=" * 3, 'a=""'])
def test_a_hostile_one_is_read_in_no_time(piece: str) -> None:
    began = time.perf_counter()
    read("Bearer " + piece * (2 * LIMIT_CHARS))
    assert time.perf_counter() - began < 10  # what is quadratic takes minutes


def test_scopes_are_joined_once_each() -> None:
    assert join("a b", "", "b c") == "a b c"

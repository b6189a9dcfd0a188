"""What isolation would be on macOS and Windows, as text and data; nothing is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.profile import Profile, ResourceLimits
from pipeguard.isolation.restricted_token import (
    ACTIVE_PROCESS,
    JOB_TIME,
    KILL_ON_JOB_CLOSE,
    PROCESS_MEMORY,
    restricted_launch,
)
from pipeguard.isolation.seatbelt import seatbelt_profile

GIVEN = Profile(("/Users/kim/read",), ("/Users/kim/write",), (), (5432,))


def text(profile: Profile = GIVEN, hidden: tuple[str, ...] = ()) -> str:
    return seatbelt_profile(profile, ["/opt/node"], hidden, "/private/tmp/x", 3128)


def test_all_is_denied_but_what_is_given() -> None:
    lines = text(hidden=("/Users/kim/read/.ssh",)).splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert '(allow file-read* (subpath "/Users/kim/read"))' in lines
    assert '(allow file-read* (subpath "/opt/node"))' in lines
    written = [line for line in lines if "file-write*" in line]
    assert written == [
        '(allow file-read* file-write* (subpath "/Users/kim/write"))',
        '(allow file-read* file-write* (subpath "/private/tmp/x"))',
    ]
    given = lines.index('(allow file-read* (subpath "/Users/kim/read"))')
    assert lines.index('(deny file* (subpath "/Users/kim/read/.ssh"))') > given


def test_the_network_is_the_proxy_and_the_ports_that_were_given() -> None:
    outbound = [line for line in text().splitlines() if "network-outbound" in line]
    assert outbound == [
        f'(allow network-outbound (remote ip "localhost:{port}"))' for port in (3128, 5432)
    ]


@given(st.text(max_size=30))
def test_no_path_adds_a_rule(path: str) -> None:
    """Brackets outside of strings balance, and their number is that of a plain path."""
    try:
        made = text(Profile(read=(f"/{path}",)))
    except ValueError:
        assert any(ord(letter) < 0x20 for letter in path)
        return
    plain = text(Profile(read=("/a",)))
    assert outside_strings(made) == outside_strings(plain)


def outside_strings(profile: str) -> str:
    """A profile without what stands in its strings."""
    kept, inside, escaped = [], False, False
    for letter in profile:
        if not inside:
            kept.append(letter)
        inside ^= letter == '"' and not escaped
        escaped = inside and letter == "\\" and not escaped
    assert not inside
    return "".join(kept)


def test_a_path_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        text(Profile(read=("/a\nb",)))


def test_a_job_has_the_limits() -> None:
    launch = restricted_launch(ResourceLimits(memory=10, processes=3, cpu=2))
    assert (launch.process_memory, launch.active_processes, launch.job_time) == (10, 3, 20_000_000)
    assert launch.limit_flags & KILL_ON_JOB_CLOSE
    unlimited = restricted_launch(ResourceLimits(memory=None, processes=None))
    assert not unlimited.limit_flags & (ACTIVE_PROCESS | PROCESS_MEMORY | JOB_TIME)

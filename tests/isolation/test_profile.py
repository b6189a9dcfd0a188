"""A server's profile, as written: paths, ports, limits. isolation/profile.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import PolicyError
from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.profile import (
    MEBIBYTE,
    Profile,
    ResourceLimits,
    parse_limits,
    parse_path,
    parse_port,
    parse_size,
)
from tests.each import each


def limited(text: str) -> ResourceLimits:
    return parse_limits([text], ResourceLimits())


SIZES = {"1": 1, "512MiB": 512 * MEBIBYTE, "2g": 2048 * MEBIBYTE, "3 KB": 3072, "1t": 2**40}


@each("text", list(SIZES))
def test_a_size_has_a_unit_or_none(text: str) -> None:
    assert parse_size(text) == SIZES[text]


WRONG = [
    *(("is not a size", parse_size, text) for text in ("", "0", "1.5g", "９", "9" * 16)),
    *(("is not a TCP port", parse_port, text) for text in ("", "0", "65536", "+1", "８０")),
    *((".", limited, text) for text in ("memory", "cores=2", "processes=many", "files=-3")),
    *((".", limited, text) for text in ("files=" + "9" * 19, "scratch=99999999999999t")),
    *(("a server needs .* or more", limited, text) for text in ("memory=512", "files=2")),
]


@each("message, read, text", WRONG)
def test_what_is_no_value_is_an_error(
    message: str, read: Callable[[str], object], text: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        read(text)


def test_limits_change_by_name_and_the_last_counts() -> None:
    limits = parse_limits(
        ["memory=1GiB", "processes=9", "file-size=1m", "memory=2GiB"], ResourceLimits()
    )
    assert limits == ResourceLimits(memory=2048 * MEBIBYTE, processes=9, file_size=MEBIBYTE)
    assert [parse_port("1"), parse_port("65535")] == [1, 65535]


NAMED = st.sampled_from(["memory=", "cpu=", "files=", "~", "~/", "localhost:", "[::", "*.", "/"])


@given(st.text(max_size=20) | st.builds("".join, st.tuples(NAMED, st.text(max_size=20))))
def test_any_text_is_read_or_refused(text: str) -> None:
    for reader in (
        parse_size,
        parse_port,
        limited,
        lambda each: parse_path(each, "/", "/nowhere"),
        lambda each: HostRules.parse([each]),
    ):
        try:
            reader(text)
        except PolicyError:
            continue


@each("text", ["", "a\0b", "\ud800", "gone"])
def test_what_names_no_path_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        parse_path(text, str(tmp_path), str(tmp_path))


def test_a_path_is_absolute_and_without_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    home = str(tmp_path)
    for text in ("~/link", "link", str(tmp_path / "link"), "real/../link/."):
        assert parse_path(text, home, home) == str(tmp_path.resolve() / "real")


def test_a_link_gives_nothing_that_has_to_be_named(tmp_path: Path) -> None:
    """A server with write access to the folder may have made the link."""
    home = str(tmp_path.resolve())
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "data").symlink_to(".ssh")
    with pytest.raises(PolicyError, match=r"leads into .*\.ssh"):
        parse_path("data", home, home)
    assert parse_path("~/.ssh", home, home) == f"{home}/.ssh"


def test_two_profiles_give_both_and_the_limits_of_the_second() -> None:
    one = Profile(
        ("/a",), ("/b",), ("h",), (1,), keeps_home=True, limits=ResourceLimits(processes=1)
    )
    other = Profile(("/a", "/c"), (), ("h", "i"), (2, 1), limits=ResourceLimits(processes=2))
    together = Profile(("/a", "/c"), ("/b",), ("h", "i"), (1, 2), True, ResourceLimits(processes=2))
    assert one.with_more(other) == together

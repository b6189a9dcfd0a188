"""Which URIs are one and the same."""

from __future__ import annotations

import pytest

from pipeguard.firewall.protocol.uris import hides, normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("FILE:///a", "file:///a"),
        ("file:///%61", "file:///a"),
        ("file:///a%20b", "file:///a b"),
        ("file:///%c3%a9", "file:///\u00e9"),
        ("file:///x/../a", "file:///a"),
        ("file:///x/%2e%2E/a", "file:///a"),
        ("file:///./a/.", "file:///a/"),
        ("file:///../../a", "file:///a"),
        ("file:\\\\\\a", "file:///a"),
        ("file:/a", "file:///a"),
        ("file://localhost/a", "file:///a"),
        ("file:///a\u200b", "file:///a"),
        ("file:///a%E2%80%8B", "file:///a"),
        ("file:///\ta\n", "file:///a"),
        ("HTTPS://Example.COM:443", "https://example.com/"),
        ("notes://%7Euser", "notes://~user"),
        ("notes:///a%2fb", "notes:///a%2Fb"),
    ],
)
def test_spellings_of_one_address_have_one_form(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("file:///a/b", "file:///a%2Fb"),
        ("file:///a", "file:///a/"),
        ("file:///a", "file:///A"),
        ("notes://A", "notes://a"),
        ("https://a/?q=1", "https://a/?q=2"),
        ("https://a:8443/", "https://a/"),
        ("docs://a#b", "docs://a"),
        ("a%25", "a%"),
        ("x%ff", "x\u00ff"),
        ("file:///a%0a", "file:///a"),
    ],
)
def test_other_addresses_stay_apart(one: str, other: str) -> None:
    assert normal(one) != normal(other)


@pytest.mark.parametrize(
    "uri",
    ["", "%", "%zz", "a b", "\\", "//", ":", "?", "#", "../..", "/..", "%80%", "\U0001f600/."],
)
def test_anything_has_a_form_and_that_is_its_own(uri: str) -> None:
    assert normal(normal(uri)) == normal(uri)


@pytest.mark.parametrize(
    ("uri", "hidden"),
    [
        ("file:///a", False),
        ("file:///%61%20b%2F\u00e9%00", False),
        ("file:///a\u200b", True),
        ("file:///a%E2%80%8B", True),
        ("file:///a\u0000", True),
    ],
)
def test_what_nobody_sees_in_an_address_is_known(uri: str, hidden: bool) -> None:
    assert hides(uri) is hidden

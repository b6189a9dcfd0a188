"""Which URIs a template expands to, and that none takes long."""

from __future__ import annotations

import pytest

from pipeguard.firewall.protocol.uris import MOST_CHARS, covers


# From RFC 6570, sections 1.2 and 3.2, with its variables, and what servers take beside it.
@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///notes/{name}", "file:///notes/plan.md"),
        ("file:///notes/{name}", "file:///notes/my%20plan.md"),
        ("file:///notes/{name}", "file:///notes/my plan.md"),
        ("FILE:///notes/{name}", "file:///notes/x"),
        ("file:///notes/{name}", "file:///notes/a%2Fb"),
        ("file:///my notes/{name}", "file:///my%20notes/a"),
        ("x://{var}", "x://value"),
        ("x://{hello}", "x://Hello%20World%21"),
        ("x://{x,hello,y}", "x://1024,Hello%20World%21,768"),
        ("x://{var:3}", "x://val"),
        ("x://{+path}/here", "x:///foo/bar/here"),
        ("x://y{#path}", "x://y#/foo/bar"),
        ("x://y{.list*}", "x://y.red.green.blue"),
        ("x://y{/list*,path:4}", "x://y/red/green/blue/%2Ffoo"),
        ("x://y{;x,y,empty}", "x://y;x=1024;y=768;empty"),
        ("x://y{?x,y}", "x://y?x=1024&y=768"),
        ("x://y{?x,y}", "x://y?y=768&x=1024"),
        ("x://y{?x,y}", "x://y?x=1024"),
        ("x://y{?x,y}", "x://y"),
        ("x://y{?keys*}", "x://y?semi=%3B&dot=."),
        ("x://y?fixed=yes{&x}", "x://y?fixed=yes&x=1024"),
        ("docs://{path*}", "docs://guides/first/steps"),
        ("github://{owner}/{repo}/issues/{n}", "github://a/b/issues/7"),
        ("https://{host}/a", "https://example.com/a"),
        ("https://{host}{+path}", "https://example.com/a/b?c=d"),
        ("config://app", "config://app"),
        ("user://{mail}", "user://somebody@example.com"),
    ],
)
def test_what_a_template_expands_to_is_covered(template: str, uri: str) -> None:
    assert covers(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///notes/{name}", "file:///notes/a/b"),
        ("file:///notes/{name}", "file:///etc/passwd"),
        ("file:///notes/{name}", "file:///notes/../etc/passwd"),
        ("file:///notes/{name}", "file:///notes/.."),
        ("file:///notes/{name}", "file:///notes/%2e%2e"),
        ("file:///notes/{name}", "file:///notes/..%2F..%2Fetc%2Fpasswd"),
        ("file:///notes/{name}", "file:///notes/%252e%252e%252fetc"),
        ("file:///notes/{name}", "file:///notes/..%5c..%5cetc"),
        ("file:///notes/{name}", "file:///notes/a\\b"),
        ("file:///notes/{name}", "file:///notes/a?b"),
        ("file:///notes/{name}", "file:///notes/a#b"),
        ("notes:///{+path}", "notes:///a/../../b"),
        ("notes:///{path*}", "notes:///a/..%2fb"),
        ("notes://{id}", "notes://a%00"),
        ("notes://{id}", "notes://a%2500"),
        ("notes://{id}", "notes://a\u0000"),
        ("notes://{id}", "notes://a\u200b"),
        ("notes://{id}", "notes://a%E2%80%8B"),
        ("notes://{id}", "other://a"),
        ("notes://{id}", "xnotes://a"),
        ("notes://{id}/x", "notes://a/xx"),
        ("x://y{?x}", "x://y?z=1"),
        ("x://y{?x}", "x://y?x=1&z=1"),
        ("x://y?a=1{&x}", "x://y?a=1&z=1"),
        ("config://app", "config://app2"),
        ("x://{", "x://{"),
        ("x://{}", "x://"),
        ("x://}", "x://}"),
        ("x://{a", "x://1"),
        ("x://{=a}", "x://1"),
        ("x://{a b}", "x://1"),
        ("x://{a}" * 65, "x://1"),
        ("x://{a}" + "b" * 2048, "x://1" + "b" * 2048),
        ("x://{a}", "x://" + "a" * MOST_CHARS),
        ("notes://{id}", "notes://%" + "25" * 9 + "41"),
    ],
)
def test_what_it_does_not_is_not(template: str, uri: str) -> None:
    assert not covers(template, uri)


def test_many_variables_side_by_side_are_read_in_one_pass() -> None:
    """A regular expression would try every way to share the letters among them."""
    assert not covers("x://" + "{a}{b},{+c}" * 21 + "!", "x://" + "a," * 4000)
    assert covers("x://" + "{a}{b},{+c}" * 21 + "!", "x://" + "a," * 4000 + "!")

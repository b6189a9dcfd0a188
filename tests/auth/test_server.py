"""A server's canonical URI, and the addresses that are requested on its behalf."""

import shlex

import pytest

from pipeguard.auth.server import canonical, login_command, must_be_safe
from pipeguard.errors import AuthError, InputError


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
        ("HTTPS://MCP.Example.com:443/mcp#part", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com/MCP/?a=B", "https://mcp.example.com/MCP/?a=B"),
        ("http://[::1]:3000/mcp", "http://[::1]:3000/mcp"),
        ("ws://127.0.0.1:3000/ws", "http://127.0.0.1:3000/ws"),
    ],
)
def test_spellings_of_one_server_are_one_login(url: str, uri: str) -> None:
    assert canonical(url) == uri == canonical(uri)


@pytest.mark.parametrize(
    "url",
    [
        "mcp.example.com",
        "javascript:alert(1)",
        "http://mcp.example.com/mcp",
        "http://127.0.0.1.example.com/mcp",
        "https://user:pass@mcp.example.com/",
        "https:///mcp",
        "https://mcp.exämple.com/",
        "https://mcp.example.com/a b",
        "https://mcp.example.com\\@evil.example/",
        "https://[::1/",
    ],
)
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        canonical(url)


@pytest.mark.parametrize(
    ("url", "server", "is_safe"),
    [
        ("https://auth.example.com/token", "https://mcp.example.com", True),
        ("http://auth.example.com/token", "https://mcp.example.com", False),
        ("http://127.0.0.1:6379/", "https://mcp.example.com", False),
        ("https://127.0.0.1:6379/", "https://mcp.example.com", False),
        ("http://127.0.0.1:2/", "http://localhost:1/mcp", True),
        ("https://a:b@auth.example.com/", "https://mcp.example.com", False),
        ("javascript:alert(1)//auth.example.com", "https://mcp.example.com", False),
    ],
)
def test_a_server_sends_us_only_to_what_it_may(url: str, server: str, is_safe: bool) -> None:
    if is_safe:
        must_be_safe(url, server)
        return
    with pytest.raises(AuthError):
        must_be_safe(url, server)


def test_the_command_can_be_pasted() -> None:
    url = canonical("https://mcp.example.com/mcp?a=1&b=$(x)")
    assert shlex.split(login_command(url)) == ["pipeguard", "auth", "login", url]

"""Destinations of names, judged by the address that is connected to; with the system's resolver."""

import asyncio
import socket

import httpx2
import pytest

from pipeguard.auth.wire import Wire, _AllowedAddresses
from pipeguard.errors import AuthError
from tests.auth.parties import party

PUBLIC = "https://203.0.113.7/mcp"  # RFC 5737: of documentation, taken for public
INNER = "https://10.1.2.3/mcp"
HERE = "http://127.0.0.1:1/mcp"


def reached(server: str, url: str) -> list[str]:
    return asyncio.run(_AllowedAddresses(server).resolve(url))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0"),
        *("localhost", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("10.0.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[2002:a00:1::]"),
        *("169.254.169.254", "169.254.1.1", "[fd00:ec2::254]", "224.0.0.1"),
    ],
)
def test_a_public_server_leads_to_nothing_inside(host: str) -> None:
    with pytest.raises((AuthError, OSError)):
        reached(PUBLIC, f"https://{host}/token")


@pytest.mark.parametrize("server", [PUBLIC, INNER, HERE])
def test_what_is_public_may_be_asked_by_every_server(server: str) -> None:
    assert reached(server, "https://198.51.100.1/token") == ["198.51.100.1"]
    assert reached(server, "https://[2606:4700::1111]/token") == ["2606:4700::1111"]


def test_a_server_inside_leads_to_what_is_as_near_as_itself() -> None:
    assert reached(INNER, "https://192.168.0.1/token") == ["192.168.0.1"]
    assert reached(HERE, "https://10.0.0.1/token") == ["10.0.0.1"]
    assert reached(HERE, "http://localhost:1/token")
    for server, url in (
        (INNER, "https://127.0.0.1/token"),
        (INNER, "https://169.254.169.254/latest"),
        (HERE, "https://169.254.169.254/latest"),
    ):
        with pytest.raises(AuthError, match="not allowed"):
            reached(server, url)


def test_a_name_is_judged_by_all_that_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def both(host: object, *rest: object, **more: object) -> object:
        if host != "rebound.example":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        family = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*family, ("198.51.100.1", 443)), (*family, ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(AuthError, match="leads to 127"):
        reached(PUBLIC, "https://rebound.example/token")
    with pytest.raises(AuthError, match="leads to 127"):
        reached("https://rebound.example/mcp", "https://127.0.0.1/token")


async def test_a_server_is_as_near_as_where_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name may have another address at the next look-up (DNS rebinding)."""
    real = socket.getaddrinfo
    answers = iter(["198.51.100.1"])

    def turning(host: object, *rest: object, **more: object) -> object:
        if host != "rebound.example":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), 443))]

    monkeypatch.setattr(socket, "getaddrinfo", turning)
    allowed = _AllowedAddresses("https://rebound.example/mcp")
    assert await allowed.resolve("https://rebound.example/mcp") == ["198.51.100.1"]
    assert await allowed.resolve("https://198.51.100.2/token") == ["198.51.100.2"]
    for url in ("http://127.0.0.1:9200/token", "https://rebound.example/token"):
        with pytest.raises(AuthError, match="leads to 127"):
            await allowed.resolve(url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "169.254.169.254", "[::1]", "[::ffff:a00:1]", "localhost"]
)
def test_what_needs_no_resolver_is_judged_before_a_proxy_too(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(AuthError, match="not allowed"):
        reached(PUBLIC, f"https://{host}/token")
    with pytest.raises(AuthError, match="not allowed"):
        reached("https://mcp.example/mcp", f"https://{host}/token")
    assert reached(INNER, "https://10.1.2.4/token") == []  # by the proxy, as the server itself


def test_a_proxy_is_asked_only_for_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(origin: str, path: str) -> httpx2.Response:
        async with Wire(origin) as wire:
            return await wire.send(httpx2.Request("GET", f"{origin}{path}"))

    with party() as there, party() as proxy:
        there.answers["GET /a"] = (200, {}, {})
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("NO_PROXY", "localhost")
        origin = there.origin.replace("127.0.0.1", "localhost")
        assert asyncio.run(work(origin, "/a")).status_code == 200
        assert not proxy.asked
        monkeypatch.setenv("NO_PROXY", "elsewhere.example")
        proxy.answers[f"GET {origin}/a"] = (200, {}, {})
        assert asyncio.run(work(origin, "/a")).status_code == 200
        assert len(proxy.asked) == 1


def test_what_a_proxy_resolves_is_the_proxys_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert reached(PUBLIC, "https://no-such-name.example/token") == []


def test_a_request_goes_to_the_address_that_was_judged_and_by_its_name() -> None:
    async def work(origin: str) -> tuple[httpx2.Response, httpx2.Request | None]:
        async with Wire(origin) as wire:
            request = httpx2.Request("GET", f"{origin}/a")
            answer = await wire.send(request)
            assert str(request.url) == f"{origin}/a"
            return answer, answer.next_request

    with party() as there:
        origin = there.origin.replace("127.0.0.1", "localhost")
        there.answers["GET /a"] = (302, {"Location": "/b"}, {})
        answer, following = asyncio.run(work(origin))
        assert answer.status_code == 302
        assert following is not None
        assert str(following.url) == f"{origin}/b"
        assert following.headers["Host"] == origin.removeprefix("http://")

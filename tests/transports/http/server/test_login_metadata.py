"""A login that clients do themselves: the server's metadata is rewritten for our address."""

import json

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from pipeguard.transports.http.client.upstream import Remote, connect
from pipeguard.transports.http.server.login_metadata import LoginMetadata
from tests.transports.talking import Asked, Odd, as_json
from tests.transports.wire import run, serving

DESCRIBED = {
    "resource": "https://mcp.example/api/mcp",
    "authorization_servers": ["https://as.example"],
}


async def describe(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    return as_json(json.dumps(DESCRIBED).encode())


def through(
    odd: Odd, method: str, path: str, given: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """One request of a client's, with the address of ours as HERE."""

    async def work() -> tuple[int, bytes, dict[str, str]]:
        async with serving(odd) as server:
            remote = Remote(URL(f"{server}/api/mcp"), {}, passes_credentials=True)
            async with connect(remote) as up, aiohttp.ClientSession() as http:
                metadata = LoginMetadata(remote, up, "/mcp")

                async def handle(request: web.BaseRequest) -> web.StreamResponse:
                    assert metadata.answers(request.path)
                    return await metadata.answer(request)

                async with (
                    serving(handle) as here,
                    http.request(
                        method, here + path, headers=given, allow_redirects=False
                    ) as answer,
                ):
                    told = await answer.read()
                    headers = {name.lower(): value for name, value in answer.headers.items()}
                    at = {name: value.replace(server, "SERVER") for name, value in headers.items()}
                    return answer.status, told.replace(here.encode(), b"HERE"), at

    return run(work)


@pytest.mark.parametrize("path", ["", "/mcp"])
def test_the_metadata_names_our_address(path: str) -> None:
    odd = Odd(describe)
    status, told, _ = through(odd, "GET", f"/.well-known/oauth-protected-resource{path}")
    assert status == 200
    assert json.loads(told) == {**DESCRIBED, "resource": "HERE/mcp"}
    mounted = "/api/mcp" if path else ""
    assert odd.asked[0].path == f"/.well-known/oauth-protected-resource{mounted}"


def test_what_is_not_there_is_not_there() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=404, text="<h1>none</h1>", content_type="text/html")

    status, told, _ = through(Odd(answering), "GET", "/.well-known/oauth-authorization-server")
    assert (status, told) == (404, b"")


def test_what_is_no_part_of_a_login_stays_here() -> None:
    odd = Odd(describe)
    login = {"MCP-Protocol-Version": "2025-06-18"}
    other = dict.fromkeys(("Authorization", "Cookie", "User-Agent", "X-Note"), "a note")
    through(odd, "GET", "/.well-known/oauth-authorization-server", {**login, **other})
    got = odd.asked[0].headers
    assert got["mcp-protocol-version"] == "2025-06-18"
    assert "a note" not in got.values()

"""A login that clients do themselves, through us: where they find out how.

A client must find that the metadata names the address that it called (RFC 9728, section 3.3), so
what a server says of itself is said of us. The token is then for our address, which the server
or its authorization server may refuse. Sources: MCP 2025-06-18, basic/authorization; for the
paths at the origin itself, MCP 2025-03-26, basic/authorization, "Fallbacks".
"""

from __future__ import annotations

import json

import aiohttp
from aiohttp import web
from yarl import URL

from pipeguard.transports.http.client.bodies import Unreadable, read_body
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.headers import JSON, headers_to_client, headers_to_server, media_type

PREFIX = "/.well-known/"
RESOURCE = "/.well-known/oauth-protected-resource"
_ORIGIN_PATHS = frozenset({"/token", "/register", "/revoke"})
AUTHORIZE = "/authorize"
MAX_BYTES = 2**20
# What a client says in a login; its other headers would go up without a judgement.
_OF_A_LOGIN = ("Authorization", "Content-Type", "MCP-Protocol-Version")
_KNOWN = ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")


class Metadata:
    """Answers what clients ask before they log in to a server behind us.

    Args:
        remote: the server.
        http: connections to it.
        path: of ours, where the server is reached.
    """

    def __init__(self, remote: Remote, http: aiohttp.ClientSession, path: str) -> None:
        self._remote = remote
        self._http = http
        self._path = path
        self._origin = remote.url.origin()

    def answers(self, path: str) -> bool:
        """True for a path that is asked for a login."""
        if path == AUTHORIZE or path in _ORIGIN_PATHS:
            return True
        return path.startswith(tuple(PREFIX + name for name in _KNOWN))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """What the server says, of us."""
        if request.path == AUTHORIZE:
            target = self._origin.with_path(AUTHORIZE).with_query(request.query_string)
            return web.Response(status=302, headers={"Location": str(target)})
        body = await request.content.read(MAX_BYTES) if request.method == "POST" else None
        given = headers_to_server(
            request.headers.items(), passes_credentials=self._remote.passes_credentials
        )
        headers = {name: given[name] for name in _OF_A_LOGIN if name in given}
        headers |= {"Accept": JSON, "Accept-Encoding": "identity"}
        try:
            async with self._http.request(
                request.method,
                self._target(request.path),
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                told = await read_body(answer, MAX_BYTES)
        except (aiohttp.ClientError, OSError, Unreadable):
            return web.Response(status=502, text="PipeGuard: the server cannot be reached\n")
        if media_type(answer) != JSON:
            return web.Response(status=answer.status)
        if request.path.startswith(RESOURCE) and answer.status == web.HTTPOk.status_code:
            told = self._of_us(told, _own_address(request, self._path))
        return web.Response(
            status=answer.status, body=told, headers=headers_to_client(answer), content_type=JSON
        )

    def _target(self, path: str) -> URL:
        """The server's place for one of ours: its own path stands where ours stood."""
        mounted = self._remote.url.path.rstrip("/")
        head, found, tail = path.partition(self._path)
        if path.startswith(PREFIX) and found and not tail.strip("/"):
            return self._origin.with_path(head + mounted)
        return self._origin.with_path(path)

    def _of_us(self, told: bytes, here: URL) -> bytes:
        try:
            value = json.loads(told)
        except ValueError:
            return told
        if not isinstance(value, dict):
            return told
        return json.dumps({**value, "resource": str(here)}).encode()


def _own_address(request: web.BaseRequest, path: str) -> URL:
    """Our own address, as the client called it."""
    return URL(f"{request.scheme}://{request.headers['Host']}").with_path(path)

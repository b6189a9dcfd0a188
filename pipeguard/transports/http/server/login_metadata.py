"""The login metadata of a server for clients that log in to it through us.

The metadata must name the address that the client called (RFC 9728, section 3.3), so our address
replaces the server's. The client's token is then for our address, which the server or its
authorization server may refuse. Source: MCP 2025-06-18, basic/authorization.
"""

import json
from contextlib import suppress

import aiohttp
from aiohttp import web
from yarl import URL

from pipeguard.transports.http.challenge import RESOURCE
from pipeguard.transports.http.client.bodies import NETWORK_ERRORS, Unreadable, read_body
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.headers import JSON, headers_to_client, media_type
from pipeguard.transports.http.request_headers import VERSION
from pipeguard.transports.http.server.admission import RefusalReason, RequestRefused
from pipeguard.transports.http.server.callers import IssuedTokens

PREFIX = "/.well-known/"
MAX_BYTES = 2**20
_DOCUMENTS = (RESOURCE, PREFIX + "oauth-authorization-server", PREFIX + "openid-configuration")


class LoginMetadata:
    """Answers the requests of a login to the server behind us.

    Args:
        remote: the server.
        http: connections to it.
        path: of the server at our address.
    """

    def __init__(self, remote: Remote, http: aiohttp.ClientSession, path: str) -> None:
        self._remote = remote
        self._http = http
        self._path = path
        self._origin = remote.url.origin()

    def answers(self, path: str) -> bool:
        """True for a path that belongs to a login."""
        return path.startswith(_DOCUMENTS)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The server's answer, with our address replacing its own."""
        version = request.headers.get(VERSION)
        headers = {"Accept": JSON, "Accept-Encoding": "identity"}
        headers |= {VERSION: version} if version else {}  # no other header was judged
        try:
            async with self._http.get(
                self._target(request.path), headers=headers, allow_redirects=False
            ) as answer:
                document = await read_body(answer, MAX_BYTES)
        except (*NETWORK_ERRORS, Unreadable):
            return web.Response(status=502, text="PipeGuard: the server cannot be reached\n")
        if media_type(answer) != JSON:
            return web.Response(status=answer.status)
        if request.path.startswith(RESOURCE) and answer.status == web.HTTPOk.status_code:
            own = URL(f"{request.scheme}://{request.headers['Host']}").with_path(self._path)
            with suppress(ValueError):  # else it is not JSON
                value = json.loads(document)
                if isinstance(value, dict):
                    document = json.dumps({**value, "resource": str(own)}).encode()
        return web.Response(
            status=answer.status,
            body=document,
            headers=headers_to_client(answer),
            content_type=JSON,
        )

    def _target(self, path: str) -> URL:
        """The server's URL for a path of ours; its own path replaces ours."""
        mounted = self._remote.url.path.rstrip("/")
        head, separator, tail = path.partition(self._path)
        if separator and not tail.strip("/"):
            return self._origin.with_path(head + mounted)
        return self._origin.with_path(path)


class ResourceMetadata:
    """Says where clients of this address sign in (RFC 9728), to everyone.

    Args:
        sign_ins: that are accepted.
    """

    def __init__(self, sign_ins: IssuedTokens) -> None:
        self._sign_ins = sign_ins

    def answers(self, path: str) -> bool:
        """True for the path of the metadata, also without that of the resource."""
        url = self._sign_ins.metadata_url
        return bool(url) and path in (RESOURCE, URL(url).path)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The metadata."""
        if request.method != "GET":
            raise RequestRefused(RefusalReason.NOWHERE, 405, "use GET", {"Allow": "GET"})
        return web.json_response(self._sign_ins.metadata)

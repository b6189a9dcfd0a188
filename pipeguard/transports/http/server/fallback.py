"""Which transport a server speaks, found out when the first client comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from pipeguard.transports.http.server.listener import Endpoint


class Chooser:
    """Answers by a relay, or by channels where the server speaks the older transport.

    Args:
        newer: for a server of Streamable HTTP.
        older: for one of HTTP+SSE.
        is_older: asks the server (MCP 2025-06-18, basic/transports, "Backwards Compatibility").
    """

    def __init__(
        self, newer: Endpoint, older: Endpoint, is_older: Callable[[], Awaitable[bool]]
    ) -> None:
        self._newer = newer
        self._older = older
        self._is_older = is_older
        self._asking = asyncio.Lock()
        self._chosen: Endpoint | None = None

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """A message, and all that answers it."""
        return await (await self._endpoint()).post(request, body)

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream of what is said unasked."""
        return await (await self._endpoint()).get(request)

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """The end of a session."""
        return await (await self._endpoint()).delete(request)

    async def close(self) -> None:
        """End both."""
        await self._newer.close()
        await self._older.close()

    async def _endpoint(self) -> Endpoint:
        if self._chosen is None:
            async with self._asking:
                if self._chosen is None:
                    self._chosen = self._older if await self._is_older() else self._newer
        return self._chosen

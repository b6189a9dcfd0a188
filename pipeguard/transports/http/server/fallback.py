"""Finds out which transport a server speaks, when the first client comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web


class StreamableServer(Protocol):
    """Answers clients of Streamable HTTP."""

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a message."""

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the stream of unrequested messages."""

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """End a session."""

    async def close(self) -> None:
        """End what is in progress."""


class FallbackEndpoint:
    """Answers by a relay, or by channels if the server speaks the older transport.

    Args:
        newer: for a server of Streamable HTTP.
        older: for a server of HTTP+SSE.
        is_older: asks the server (MCP 2025-06-18, basic/transports, "Backwards Compatibility").
    """

    def __init__(
        self,
        newer: StreamableServer,
        older: StreamableServer,
        is_older: Callable[[], Awaitable[bool]],
    ) -> None:
        self._newer = newer
        self._older = older
        self._is_older = is_older
        self._asking = asyncio.Lock()
        self._chosen: StreamableServer | None = None

    async def post(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a message."""
        answering = (await self._endpoint()).post(request, body)
        del body  # otherwise it would be kept until the answer comes
        return await answering

    async def get(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the stream of unrequested messages."""
        return await (await self._endpoint()).get(request)

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """End a session."""
        return await (await self._endpoint()).delete(request)

    async def close(self) -> None:
        """End both."""
        await self._newer.close()
        await self._older.close()

    async def _endpoint(self) -> StreamableServer:
        if self._chosen is None:
            async with self._asking:
                if self._chosen is None:
                    self._chosen = self._older if await self._is_older() else self._newer
        return self._chosen

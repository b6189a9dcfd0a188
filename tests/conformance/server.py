"""A server with everything that the official conformance suite needs: `server.py stdio|http`.

Made with the low-level server of the official Python SDK, and run in the environment of
tests/requirements-servers.txt. The suite defines the tools and their answers (`conformance list`,
and the descriptions of its scenarios). `http` takes a free port of loopback and prints its address
on a line.
"""

import asyncio
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types as types  # type: ignore[import-not-found, unused-ignore]
import uvicorn  # type: ignore[import-not-found, unused-ignore]
from mcp.server.caching import CacheHint  # type: ignore[import-not-found, unused-ignore]
from mcp.server.lowlevel.server import Server  # type: ignore[import-not-found, unused-ignore]
from mcp.server.request_state import (  # type: ignore[import-not-found, unused-ignore]
    RequestStateBoundary,
    RequestStateSecurity,
)
from mcp.server.stdio import stdio_server  # type: ignore[import-not-found, unused-ignore]
from mcp.server.streamable_http import (  # type: ignore[import-not-found, unused-ignore]
    EventMessage,
    EventStore,
)
from mcp.server.subscriptions import ListenHandler  # type: ignore[import-not-found, unused-ignore]
from mcp_types.version import (  # type: ignore[import-not-found, unused-ignore]
    MODERN_PROTOCOL_VERSIONS,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is run as a file

from tests.conformance.messages import Object
from tests.conformance.server_resources import (
    list_prompts,
    list_resources,
    list_templates,
    prompt,
    read,
)
from tests.conformance.server_tools import bus, call, list_tools, tools

warnings.simplefilter("ignore")  # the newest revision deprecates what the older ones ask for

RETRY_MS = 100  # after which a client comes back to a stream that was closed


class Memory(EventStore):  # type: ignore[misc, unused-ignore]
    """The events of all streams, so that a client can resume after a disconnect."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        position = int(last_event_id)
        if not 0 < position <= len(self.events):
            return None
        stream = self.events[position - 1][0]
        for number, (owner, message) in enumerate(self.events[position:], position + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


async def complete(_context: Any, _params: Any) -> Object:
    return {"completion": {"values": ["testing", "tested"], "total": 2, "hasMore": False}}


async def accept(_context: Any, _params: Any) -> Any:
    return types.EmptyResult()


def schema_of(name: str) -> Object | None:
    found = tools.get(name)
    return found[0]["inputSchema"] if found else None


def whole(handler: Callable[[Any, Any], Awaitable[Object]]) -> Callable[[Any, Any], Any]:
    """Mark results as complete, in the revision that requires it."""

    async def handled(context: Any, params: Any) -> Object:
        result = await handler(context, params)
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return {"resultType": "complete", **result}
        return result

    return handled


def conformance_server() -> Any:
    cached = CacheHint(ttl_ms=60_000, scope="private")
    lists = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
    cacheable: Any = (*lists, "resources/read", "server/discover")
    server = Server(
        "conformance",
        version="1.0.0",
        cache_hints=dict.fromkeys(cacheable, cached),
        get_tool_input_schema=schema_of,
        on_list_tools=list_tools,
        on_call_tool=whole(call),
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read,
        on_subscribe_resource=accept,
        on_unsubscribe_resource=accept,
        on_subscriptions_listen=ListenHandler(bus),
        on_list_prompts=list_prompts,
        on_get_prompt=whole(prompt),
        on_completion=whole(complete),
        on_set_logging_level=accept,
    )
    sealed = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name)
    server.middleware.append(sealed)
    return server


async def over_stdio() -> None:
    server = conformance_server()
    async with stdio_server() as (source, sink):
        await server.run(source, sink, server.create_initialization_options())


async def over_http() -> None:
    app = conformance_server().streamable_http_app(event_store=Memory(), retry_interval=RETRY_MS)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(over_http() if sys.argv[1] == "http" else over_stdio())

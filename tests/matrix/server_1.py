"""A server on every transport that the first line of the Python SDK has: `server_1.py stdio|http`.

It runs in the environment of tests/requirements-servers-1.txt. `http` serves, at one free port of
loopback, Streamable HTTP at /mcp, HTTP+SSE at /sse and WebSocket at /ws, and prints its address on
a line. Its answers do not depend on time or chance, so that two sessions can be compared.
"""

import asyncio
import socket
import sys
import warnings
from functools import partial
from typing import Any

import anyio
import uvicorn
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.lowlevel import NotificationOptions
from mcp.server.streamable_http import GET_STREAM_KEY
from mcp.server.websocket import websocket_server
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

warnings.simplefilter("ignore")  # the SDK calls what its next line left out deprecated

NEWS = "news://today"
LOOK_SECONDS = 0.01
PAUSE_SECONDS = 0.15  # the TypeScript SDK drops progress that it reads together with the answer
server = FastMCP("matrix", instructions="Call what you like.", log_level="WARNING")
cancelled: dict[str, anyio.Event] = {}


class Person(BaseModel):
    """What a user is asked for."""

    name: str
    check: bool


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def fail() -> str:
    """Do not work."""
    raise ValueError("it does not work")


@server.tool()
async def count(context: Context) -> str:
    """Count to three."""
    for number in (1, 2, 3):
        await context.report_progress(number, 3, f"step {number}")
    await anyio.sleep(PAUSE_SECONDS)
    return "counted"


@server.tool()
async def hang(key: str, context: Context) -> str:
    """Go on until the call is cancelled."""
    await context.report_progress(1, 2, "hanging")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled.setdefault(key, anyio.Event()).set()
        raise
    return "never"


@server.tool()
async def learn_of_cancel(key: str) -> str:
    """Wait until the call with this key was cancelled."""
    await cancelled.setdefault(key, anyio.Event()).wait()
    return "it was cancelled"


@server.tool()
async def ask_model(prompt: str, context: Context) -> str:
    """Let the client's model answer."""
    message = types.SamplingMessage(
        role="user", content=types.TextContent(type="text", text=prompt)
    )
    answer = await context.session.create_message(
        messages=[message],
        max_tokens=20,
        system_prompt="Be short.",
        related_request_id=context.request_id,
    )
    return str(answer.content.text)


@server.tool()
async def ask_user(context: Context) -> str:
    """Ask the user for a name."""
    answer = await context.elicit("Who are you?", Person)
    return f"{answer.action}: {answer.data.model_dump_json()}"


@server.tool()
async def ask_roots(context: Context) -> str:
    """Ask the client for its roots."""
    listed = await context.session.list_roots()
    return ", ".join(f"{root.name} at {root.uri}" for root in listed.roots)


@server.tool()
async def log(context: Context) -> str:
    """Say something in the log."""
    await context.info("something happened")
    return "logged"


@server.tool()
async def publish(context: Context) -> str:
    """Say that there is news, outside of any request."""
    await standalone_stream(context)
    await context.session.send_resource_updated(NEWS)
    await context.session.send_resource_list_changed()
    await context.session.send_tool_list_changed()
    await context.session.send_prompt_list_changed()
    return "published"


async def standalone_stream(context: Context) -> None:
    """Wait for the GET that carries such messages: over Streamable HTTP they are lost without it.

    The SDK does not announce an open stream, so this looks at the SDK's internals.
    """
    headers = getattr(context.request_context.request, "headers", {})
    if session := headers.get("mcp-session-id"):
        transport = server.session_manager._server_instances[session]
        while GET_STREAM_KEY not in transport._request_streams:  # noqa: ASYNC110  the SDK has no event for it
            await anyio.sleep(LOOK_SECONDS)


@server.resource(NEWS, mime_type="text/plain")
def news() -> str:
    """What happened today."""
    return "Nothing new, and “nothing” old."


@server.resource("data://bytes", mime_type="application/octet-stream")
def data() -> bytes:
    """Every byte there is."""
    return bytes(range(256))


@server.resource("page://{number}")
def page(number: str) -> str:
    """A page by its number."""
    return f"This is page {number}."


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Say hello to {name}, in Norwegian: “Hallå”."


@server.completion()
async def complete(_ref: Any, argument: Any, _context: Any) -> Any:
    return types.Completion(values=[f"{argument.value}{end}" for end in ("a", "o")], hasMore=False)


core = server._mcp_server
everything = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
core.create_initialization_options = partial(core.create_initialization_options, everything)


@core.subscribe_resource()
async def subscribe(_uri: Any) -> None: ...


@core.unsubscribe_resource()
async def unsubscribe(_uri: Any) -> None: ...


@core.set_logging_level()
async def set_level(_level: Any) -> None: ...


async def over_websocket(socket_: WebSocket) -> None:
    async with websocket_server(socket_.scope, socket_.receive, socket_._send) as streams:
        await core.run(*streams, core.create_initialization_options())


async def over_http() -> None:
    modern = server.streamable_http_app()
    routes = [WebSocketRoute("/ws", over_websocket), *modern.routes, Mount("/", server.sse_app())]
    app = Starlette(routes=routes, lifespan=lambda _: server.session_manager.run())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(over_http() if sys.argv[1] == "http" else server.run_stdio_async())

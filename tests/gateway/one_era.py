"""The server of the conformance tests in one era alone: `one_era.py handshake|stateless [LOG]`.

Over stdio, in the environment of tests/requirements-servers.txt. Each start adds a line to LOG.
"""

import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is run as a file
conformance: Any = import_module("tests.conformance.server")
tools: Any = import_module("tests.conformance.server_tools")
runner: Any = import_module("mcp.server.runner")
lowlevel: Any = import_module("mcp.server.lowlevel.server")


async def announce(call: Any) -> dict[str, Any]:
    """Says that a resource and the prompts have changed, as after a handshake."""
    await call.context.session.send_resource_updated(tools.WATCHED)
    await call.context.session.send_prompt_list_changed()
    return {"content": [{"type": "text", "text": "told"}]}


async def meta(call: Any) -> dict[str, Any]:
    """Answers with the keys of `_meta` that it was sent."""
    keys = sorted((call.context.meta or {}).keys())
    return {"content": [{"type": "text", "text": " ".join(keys)}]}


for offered in (announce, meta):
    tools.tool()(offered)


async def serve_stateless(server: Any, source: Any, sink: Any, **options: Any) -> None:
    """Serve, and refuse the handshake."""
    names = ("lifespan_state", "raise_exceptions")
    await runner._serve_modern_stream(
        server, source, sink, **{name: options[name] for name in names}
    )


if __name__ == "__main__":
    era, *log = sys.argv[1:]
    if log:
        with Path(log[0]).open("a") as file:
            file.write("started\n")
    if era != "both":
        is_stateless = era == "stateless"
        lowlevel.serve_dual_era_loop = serve_stateless if is_stateless else runner.serve_loop
    asyncio.run(conformance.over_stdio())

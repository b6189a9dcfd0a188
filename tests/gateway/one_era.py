"""The server of the conformance tests in one era, or in both: `one_era.py ERA [LOG]`.

ERA is `handshake`, `stateless` or `both`; each start adds a line to LOG. It speaks stdio, and runs
in the environment of tests/requirements-servers.txt.
"""

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is run as a file

from tests.conformance.messages import Object, text_result
from tests.conformance.server_tools import WATCHED, Call, tool

runner: Any = import_module("mcp.server.runner")
lowlevel: Any = import_module("mcp.server.lowlevel.server")
conformance: Any = import_module("tests.conformance.server")


@tool()
async def announce(call: Call) -> Object:
    """Says that a resource and the prompts have changed, as after a handshake."""
    await call.context.session.send_resource_updated(WATCHED)
    await call.context.session.send_prompt_list_changed()
    return text_result("told")


@tool()
async def die(_call: Call) -> Object:
    """Ends the server before it answers."""
    os._exit(3)


@tool()
async def meta(call: Call) -> Object:
    """Answers with the keys of `_meta` that it was sent."""
    return text_result(" ".join(sorted((call.context.meta or {}).keys())))


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

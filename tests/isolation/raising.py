"""A server on the official Python SDK whose tools raise, so that standard error alone says why."""

from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("raising")


@server.tool()
def read(what: str) -> str:
    """Read a file."""
    return Path(what).read_text()


@server.tool()
def write_file(what: str) -> str:
    """Write a file."""
    Path(what).write_text("written")
    return "written"


server.run()

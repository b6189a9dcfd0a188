"""A server that notifies its subscribers of changes: no reference server does so yet.

Made with the official Python SDK, and run in the environment of tests/requirements-servers.txt.
"""

from mcp.server.mcpserver import Context, MCPServer  # type: ignore[import-not-found, unused-ignore]

server = MCPServer("news")
URI = "news://today"


def today() -> str:
    """What happened today."""
    return "Nothing new, and “nothing” old."


async def publish(context: Context) -> str:
    """Say that the tools and today's news changed."""
    await context.notify_tools_changed()
    await context.notify_resource_updated(URI)
    return "told"


server.resource(URI)(today)
server.tool()(publish)

if __name__ == "__main__":
    server.run()

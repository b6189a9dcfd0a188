"""Reads messages with the stdio transport of the official Python SDK; prints them, one a line."""

import sys

import anyio  # type: ignore[import-not-found, unused-ignore]
from mcp.server.stdio import stdio_server  # type: ignore[import-not-found, unused-ignore]


async def main() -> None:
    async with stdio_server() as (read, write):
        async for seen in read:
            if isinstance(seen, Exception):
                text = '"unreadable"'
            else:
                text = seen.message.model_dump_json(by_alias=True, exclude_unset=True)
            sys.stderr.write(text + "\n")
        await write.aclose()


anyio.run(main)

"""Calls a tool with the official Python SDK until stdin ends: `sdk_load.py URL MODE PREFIX`.

Prints a line of JSON for each call: its id, when it began and ended in seconds since 1970, and its
error or null. It runs in the environment of tests/requirements-servers.txt.
"""

import json
import sys
import time
import warnings
from itertools import count

import anyio  # type: ignore[import-not-found, unused-ignore]
import anyio.to_thread  # type: ignore[import-not-found, unused-ignore]
from mcp import Client  # type: ignore[import-not-found, unused-ignore]

warnings.simplefilter("ignore")
URL, MODE, PREFIX = sys.argv[1:]
TOOL = "counting__count"
SECONDS = 0.05  # that each call takes
NUMBERS = count(1)
STOPPED = anyio.Event()


async def stop() -> None:
    await anyio.to_thread.run_sync(sys.stdin.read)
    STOPPED.set()


async def call_once(client: Client) -> bool:
    """Make a call, and print its outcome; False if it failed."""
    name, began = f"{PREFIX}-{next(NUMBERS)}", time.time()
    error: str | None = "the client ended"  # as the SDK cancels a call when its connection breaks
    try:
        result = await client.call_tool(TOOL, {"id": name, "seconds": SECONDS})
        texts = [getattr(block, "text", "") for block in result.content]
        error = None if texts == [name] and not result.is_error else f"answered {texts}"
    except Exception as raised:  # noqa: BLE001  whatever the SDK raises is one visible error
        error = repr(raised)
    finally:
        print(json.dumps([name, began, time.time(), error]), flush=True)
    return error is None


async def main() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        while not STOPPED.is_set():
            try:
                async with Client(URL, mode=MODE) as client:
                    while not STOPPED.is_set() and await call_once(client):
                        pass
            except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001  connect again
                print(repr(raised), file=sys.stderr, flush=True)
                await anyio.sleep(0.05)


anyio.run(main)

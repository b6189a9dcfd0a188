"""Lists prompts and resources when a server starts, so that a person can decide on all at once.

What a Session sees listed is pinned, or waits for approval: nothing else is done with the lists
here. Clients list them again for themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.gateway.leg import Leg
from pipeguard.transports.judging import frame_of
from pipeguard.transports.tasks import Tasks

LISTS = (  # the capability, and the method
    ("prompts", "prompts/list"),
    ("resources", "resources/list"),
    ("resources", "resources/templates/list"),
)
MOST_PAGES = 20  # of each list
MOST_BYTES = 8 * 2**20  # of all pages; a definition that a person reads has some 500
MOST_SECONDS = 30.0
START_SECONDS = 1.0  # for which a server's start waits


async def list_at_start(leg: Leg, tasks: Tasks, when_listed: Callable[[], None]) -> None:
    """List what a server offers besides tools; a slow server goes on while it is used.

    Args:
        leg: the gateway's own conversation with it.
        tasks: of the server.
        when_listed: called at the end.
    """
    listing = tasks.begin(_list_all(leg, when_listed))
    await asyncio.wait({listing}, timeout=START_SECONDS)


async def _list_all(leg: Leg, when_listed: Callable[[], None]) -> None:
    methods = [method for capability, method in LISTS if leg.offers(capability)]
    left = MOST_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(MOST_SECONDS):
            for method in methods:
                left = await _list(leg, method, left)
    when_listed()


async def _list(leg: Leg, method: str, left: int) -> int:
    """Go through the pages of a list; return how many bytes are left for others."""
    cursor: JsonValue = None
    for _ in range(MOST_PAGES):
        if left <= 0 or not leg.is_open:
            break
        params: JsonObject = {} if cursor is None else {"cursor": cursor}
        result = (await leg.request(method, params)).get("result")
        if not isinstance(result, dict):
            break
        left -= len(await frame_of(result))
        after = result.get("nextCursor")
        if type(after) is not str or after == cursor:
            break
        cursor = after
    return left

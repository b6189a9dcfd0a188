"""Whether a server is well: it answers a ping now and then.

A server that works on something may be slow to answer, so only one without work is given up. MCP
2025-11-25, basic/utilities/ping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pipeguard.gateway.leg import Leg

PING_SECONDS = 30.0  # between two pings
ANSWER_SECONDS = 10.0  # for an answer to one
MOST_MISSED = 3  # pings in a row


async def watch_health(leg: Leg, gone: asyncio.Event, open_requests: Callable[[], int]) -> str:
    """Wait until a server is gone, or does not answer any more; return why.

    Args:
        leg: the gateway's own conversation with it.
        gone: set once its channel has ended.
        open_requests: how many requests it has not answered yet, our pings included.
    """
    missed = lost_pings = 0
    while missed < MOST_MISSED:
        with suppress(TimeoutError):
            async with asyncio.timeout(PING_SECONDS):
                await gone.wait()
        if gone.is_set():
            return "it ended by itself"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await leg.request("ping")  # any answer will do
        except TimeoutError:
            lost_pings += 1
            works = open_requests() > lost_pings
            missed = 0 if works else missed + 1
        else:
            missed = 0
    return f"it did not answer {MOST_MISSED} pings in a row"

"""Whether a server is well: it answers a ping now and then. And whether it has any work.

A server that works on something may be slow to answer, so only one without work is given up. MCP
2025-11-25, basic/utilities/ping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf

from pipeguard.gateway.leg import Leg

PING_SECONDS = 30.0  # between two pings
ANSWER_SECONDS = 10.0  # for an answer to one
MOST_MISSED = 3  # pings in a row
IDLE_LOOK_SECONDS = 0.5  # between two looks whether one that is about to be idle still works


async def watch_health(
    leg: Leg,
    gone: asyncio.Event,
    open_requests: Callable[[], int],
    seconds_to_idle: Callable[[], float] = lambda: inf,
) -> str:
    """Wait until a server is gone, idle, or does not answer any more.

    Args:
        leg: the gateway's own conversation with it.
        gone: set once its channel has ended.
        open_requests: how many requests it has not answered yet, our pings included.
        seconds_to_idle: for how long it must have no work yet to be idle.

    Returns:
        Why it is down; empty where it is idle.
    """
    missed = lost_pings = 0
    loop = asyncio.get_running_loop()
    next_ping = loop.time() + PING_SECONDS
    while missed < MOST_MISSED:
        left = max(seconds_to_idle(), IDLE_LOOK_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(next_ping, loop.time() + left)):
                await gone.wait()
        if gone.is_set():
            return "it ended by itself"
        if seconds_to_idle() <= 0:
            return ""
        if loop.time() < next_ping:
            continue
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await leg.request("ping")  # any answer will do
        except TimeoutError:
            lost_pings += 1
            works = open_requests() > lost_pings
            missed = 0 if works else missed + 1
        else:
            missed = 0
        next_ping = loop.time() + PING_SECONDS
    return f"it did not answer {MOST_MISSED} pings in a row"

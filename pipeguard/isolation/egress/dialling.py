"""The first of several addresses that can be connected to (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from pipeguard.isolation.egress.tunnel import TunnelEnd

if TYPE_CHECKING:
    from pipeguard.isolation.egress.hosts import Address

DELAY_SECONDS = 0.25  # RFC 8305, 5

End = TypeVar("End", bound=TunnelEnd)
Dial = Callable[["Address"], Awaitable[End]]


async def connect_first(addresses: Sequence[Address], dial: Dial[End]) -> tuple[Address, End]:
    """Connect to one of some addresses, the next being tried when one takes long or fails.

    Args:
        addresses: at least one; they take turns by family.
        dial: connects to one.

    Raises:
        OSError: none can be connected to; the last one's error.
    """
    if len(addresses) == 1:
        return addresses[0], await dial(addresses[0])
    tasks: dict[asyncio.Future[End], Address] = {}
    connected: End | None = None
    try:
        task = await _first_connected(_by_turns(addresses), dial, tasks)
        connected = task.result()
        return tasks[task], connected
    finally:
        for task in tasks:
            task.add_done_callback(lambda task: _drop(task, connected))
            task.cancel()


async def _first_connected(
    waiting: list[Address], dial: Dial[End], tasks: dict[asyncio.Future[End], Address]
) -> asyncio.Future[End]:
    """The first task that connected; those under way are in `tasks`."""
    error: BaseException = OSError()
    pending: set[asyncio.Future[End]] = set()
    while waiting or pending:
        if waiting:
            begun = asyncio.ensure_future(dial(waiting[0]))
            tasks[begun] = waiting.pop(0)
            pending.add(begun)
        seconds = DELAY_SECONDS if waiting else None
        done, pending = await asyncio.wait(
            pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            failure = task.exception()
            if failure is None:
                return task
            error = failure
    raise error


def _drop(task: asyncio.Future[End], connected: End | None) -> None:
    """Close a connection that came too late."""
    if task.cancelled() or task.exception() is not None:
        return
    if task.result() is not connected:
        task.result().abort()


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """The addresses by turns of their families, beginning with that of the first."""
    is_v4 = isinstance(addresses[0], IPv4Address)
    first = [address for address in addresses if isinstance(address, IPv4Address) is is_v4]
    other = [address for address in addresses if isinstance(address, IPv4Address) is not is_v4]
    turns = chain.from_iterable(zip_longest(first, other))
    return [address for address in turns if address is not None]

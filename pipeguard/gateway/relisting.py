"""Lists a server's tools again when they have changed: one listing at a time, however often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeguard.gateway.leg import Leg
from pipeguard.transports.tasks import Tasks

PAUSE_SECONDS = 0.05  # in which further changes are covered by one listing
MOST_PAUSE_SECONDS = 2.0  # while a server says without end that its tools have changed


class Relisting:
    """Lists the tools of one server until no listing is outdated.

    Args:
        leg: returns the conversation in which they are listed; None while there is none.
        list_tools: lists them there.
        tasks: of the server.
    """

    def __init__(
        self,
        leg: Callable[[], Leg | None],
        list_tools: Callable[[Leg], Awaitable[None]],
        tasks: Tasks,
    ) -> None:
        self._leg = leg
        self._list_tools = list_tools
        self._tasks = tasks
        self._is_running = self._is_outdated = False

    def begin(self) -> None:
        """The tools have changed."""
        self._is_outdated = True
        leg = self._leg()
        if leg is not None and not self._is_running:
            self._is_running = True
            self._tasks.begin(self._run(leg))

    async def _run(self, leg: Leg) -> None:
        pause_seconds = PAUSE_SECONDS
        try:
            while self._is_outdated and leg is self._leg():
                await asyncio.sleep(pause_seconds)
                self._is_outdated = False
                await self._list_tools(leg)
                pause_seconds = min(2 * pause_seconds, MOST_PAUSE_SECONDS)
        finally:
            self._is_running = False

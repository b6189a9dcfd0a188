"""A server of the gateway in the revision without handshakes (MCP 2026-07-28), if it speaks it.

Which era a server speaks on a channel is decided by the first message there. So this is a channel
beside that of the handshake, opened when a client of this revision first needs the server; for a
server that is started here, it is a second process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from pipeguard.core.flows.ledger import Flows
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.subscriptions import LISTEN
from pipeguard.errors import PipeGuardError
from pipeguard.gateway import eras
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.gateway.legs import Unavailable
from pipeguard.transports.channel import Dialler
from pipeguard.transports.tasks import Tasks

ANSWER_SECONDS = 10.0  # for `server/discover`; some servers never answer what they do not know
PAUSE_SECONDS = 60.0  # between two attempts where the server could not be asked
NOBODY_ASKED = "no client is there to be asked"


class Dials(Protocol):
    """Opens legs to the server."""

    async def __call__(self, dialler: Dialler, listener: LegListener, flows: Flows) -> Leg:
        """Open a leg over a channel of a dialler; raises Unavailable."""


class StatelessServer:
    """The channels of one server on which no handshake is made.

    Args:
        opening: what the gateway says of itself.
        make: makes what opens channels; raises PipeGuardError.
        dials: opens legs over them.
        relist: called when the server's tools have changed.
    """

    def __init__(
        self,
        opening: Opening,
        make: Callable[[], Awaitable[Dialler]],
        dials: Dials,
        relist: Callable[[], None],
    ) -> None:
        self._opening = opening
        self._make = make
        self._dials = dials
        self._relist = relist
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None  # when it was found not to speak it
        self._is_certain = False
        self._dialler: Dialler | None = None
        self._leg: Leg | None = None
        self._described: JsonObject = {}
        self._tasks = Tasks()

    async def open(self, listener: LegListener, opening: Opening, flows: Flows) -> Leg | None:
        """A client's conversation with the server; None where it does not speak this revision.

        Raises:
            Unavailable: it does not answer.
        """
        async with self._asking:
            if self._dialler is None and self._may_ask():
                await self._find_out()
            dialler = self._dialler
        if dialler is None:
            return None
        leg = await self._dials(dialler, listener, flows)
        leg.go_without_handshake(opening, self._described)
        return leg

    async def close(self) -> None:
        """Hang up, and find out anew when it is needed again."""
        await self._tasks.end()
        if self._leg is not None:
            await self._leg.close()
        if self._dialler is not None:
            await self._dialler.close()
        self._leg = self._dialler = None
        self._asked_at, self._is_certain = None, False

    def _may_ask(self) -> bool:
        if self._asked_at is None:
            return True
        waited = asyncio.get_running_loop().time() - self._asked_at
        return not self._is_certain and waited > PAUSE_SECONDS

    async def _find_out(self) -> None:
        try:
            dialler = await self._make()
        except PipeGuardError:
            self._asked_at = asyncio.get_running_loop().time()
            return
        leg: Leg | None = None
        answer: JsonObject = {}
        try:
            leg = await self._dials(dialler, _OwnListener(self._relist, self._tasks), Flows())
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await leg.discover(self._opening)
        except (Unavailable, TimeoutError):
            pass
        if leg is not None and speaks(answer):
            self._dialler, self._leg, self._described = dialler, leg, leg.described
            if leg.offers("tools", "listChanged"):
                self._tasks.begin(listen_for_tools(leg))
            return
        self._is_certain = "result" in answer or is_refusal(answer)
        self._asked_at = asyncio.get_running_loop().time()
        if leg is not None:
            await leg.close()
        await dialler.close()


class _OwnListener:
    """Hears what a server says to the gateway itself."""

    def __init__(self, relist: Callable[[], None], tasks: Tasks) -> None:
        self._relist = relist
        self._tasks = tasks

    def requested(self, leg: Leg, message: Message) -> None:
        """Nobody is there who could be asked."""
        self._tasks.begin(leg.decline(message, NOBODY_ASKED))

    def notified(self, leg: Leg, message: Message) -> None:
        """Its tools have changed."""
        if message.method == "notifications/tools/list_changed":
            self._relist()

    def lost(self, leg: Leg) -> None:
        """It is gone; it is started again with the next request."""


async def listen_for_tools(leg: Leg) -> None:
    """Have a server say when its tools have changed, for as long as it answers."""
    await leg.request(LISTEN, {"notifications": {"toolsListChanged": True}})


def speaks(answer: JsonObject) -> bool:
    """True for an answer to `server/discover` of a server that speaks this revision."""
    result = answer.get("result")
    versions = result.get("supportedVersions") if isinstance(result, dict) else None
    return isinstance(versions, list) and eras.STATELESS in versions


def is_refusal(answer: JsonObject) -> bool:
    """True for an error of the server's own."""
    error = answer.get("error")
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return bool(code) and code not in {str(own) for own in codes.OURS}

"""The servers that are open for one client: each opened when it is first needed, once.

Once for a client after a handshake, and once for requests without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from pipeguard.detect.flows.ledger import Flows
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg
from pipeguard.transports.http.client.task_owners import SharingClient


class Unavailable(Exception):  # noqa: N818  becomes the answer to whoever needed the server
    """A server that cannot be used now; the text says why, and what is being done about it."""


class Refused(Unavailable):
    """A server that does not take its opening, and says so itself."""


class Legs:
    """A client's conversations with servers.

    Args:
        opens: opens one with a server; raises Unavailable.
        uses: called before a server is used; False where one that is open is about to end.
    """

    def __init__(
        self,
        opens: Callable[[str, Opening], Awaitable[Leg]],
        uses: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._opens = opens
        self._uses = uses
        self._opening: dict[tuple[str, bool], asyncio.Task[Leg]] = {}
        self._closed = False

    async def to(self, server: str, opening: Opening) -> Leg:
        """The conversation with a server, opened where it is not.

        Args:
            server: its name.
            opening: what the client says of itself.

        Raises:
            Unavailable: the server does not answer.
        """
        if self._closed:
            raise Unavailable("the client is gone")
        key = server, opening.is_stateless
        task = self._opening.get(key)
        is_good = self._uses(server)
        if task is None or (task.done() and not (_is_open(task) and is_good)):
            task = asyncio.ensure_future(self._opens(server, opening))
            self._opening[key] = task
        return await asyncio.shield(task)  # others wait for it as well

    def open_now(self) -> list[Leg]:
        """Those that are open."""
        return [task.result() for task in self._opening.values() if task.done() and _is_open(task)]

    async def tell(self, method: str, params: JsonObject) -> None:
        """Tell all that are open and know of a handshake."""
        for leg in self.open_now():
            if not leg.is_stateless:
                await leg.notify(method, params)

    async def close(self) -> None:
        """Hang up on all."""
        self._closed = True
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for task in self._opening.values():
            if not task.cancelled() and task.exception() is None:
                await task.result().close()


def _is_open(task: asyncio.Task[Leg]) -> bool:
    return not task.cancelled() and task.exception() is None and task.result().is_open


class ServedClient(NamedTuple):
    """A client of the gateway, or the gateway itself.

    Attributes:
        flows: what went through any server for it lately.
        token: the name of its token, for the audit; may be empty.
        sharing: what is its own at a server; the gateway has no tasks, and wants no log.
    """

    flows: Flows
    token: str = ""
    sharing: SharingClient = SharingClient("", is_listening=False)

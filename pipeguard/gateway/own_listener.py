"""What the gateway does with what a server says in a conversation of the gateway's own."""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.core.protocol.message import Message
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg
from pipeguard.transports.tasks import Tasks
from pipeguard.version import VERSION

# What the gateway can pass on to some client.
OUR_OPENING = Opening(
    {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {"form": {}, "url": {}}},
    {"name": "pipeguard", "version": VERSION},
)


class OwnListener:
    """Hears what a server says to the gateway itself.

    Args:
        relist: called when the server's tools have changed.
        tasks: of what is answered meanwhile.
        fallen: called once the server is gone.
    """

    def __init__(
        self, relist: Callable[[], None], tasks: Tasks, fallen: Callable[[], None] | None = None
    ) -> None:
        self._relist = relist
        self._tasks = tasks
        self._fallen = fallen

    def requested(self, leg: Leg, message: Message) -> None:
        """Nobody is there who could be asked."""
        self._tasks.begin(leg.decline(message, "no client is there to be asked"))

    def notified(self, leg: Leg, message: Message) -> None:
        """Its tools have changed, or something that clients hear for themselves."""
        if message.method == "notifications/tools/list_changed":
            self._relist()

    def lost(self, leg: Leg) -> None:
        """It is gone."""
        if self._fallen is not None:
            self._fallen()


async def listen_for_tools(leg: Leg) -> None:
    """Have a server without handshakes say when its tools have changed, while it answers."""
    await leg.listen({"toolsListChanged": True})

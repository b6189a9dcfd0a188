"""A server of the gateway in the revision without handshakes (MCP 2026-07-28), if it speaks it.

The first message on a channel decides which era a server speaks there. So this is another channel
next to that of the handshake, opened when a client of this revision first needs the server; for a
server that is started here, it is a second process. At the server's own endpoint, a client's first
message decides which of the two it gets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipeguard.detect.flows.ledger import Flows
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, as_list, as_object, read_object
from pipeguard.gateway.client_request import ServedClient, Unavailable
from pipeguard.gateway.eras import APPS, STATELESS, Opening, find_opening
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.http.client.task_owners import OwnedDialler, SharingClient
from pipeguard.transports.judging import parse_value
from pipeguard.transports.tasks import Tasks
from pipeguard.version import VERSION

ANSWER_SECONDS = 10.0  # for `server/discover`; some servers never answer unknown methods
PAUSE_SECONDS = 60.0  # between two attempts if the server could not be asked
# Capabilities that some client of the gateway may have.
OUR_OPENING = Opening(
    {
        "roots": {"listChanged": True},
        "sampling": {},
        "elicitation": {"form": {}, "url": {}},
        "extensions": {APPS: {"mimeTypes": ["text/html;profile=mcp-app"]}},
    },
    {"name": "pipeguard", "version": VERSION},
)


class StatelessServer:
    """The channels of one server without handshakes.

    Args:
        make: makes the dialler of channels; raises PipeGuardError.
        dials: opens legs over them.
        listener: of the gateway's own leg.

    Attributes:
        may_exist: False if the server need not be asked.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[OwnedDialler]],
        dials: Callable[[OwnedDialler, LegListener, ServedClient], Awaitable[Leg]],
        listener: LegListener,
    ) -> None:
        self.may_exist = False
        self._make = make
        self._dials = dials
        self._listener = listener
        self._finding: asyncio.Task[None] | None = None
        self._ask_at = 0.0  # the earliest time at which it is asked again
        self._dialler: OwnedDialler | None = None
        self._leg: Leg | None = None
        self._described: JsonObject = {}
        self._tasks = Tasks()

    @property
    def has_tasks(self) -> bool:
        """True while it remembers a task that a client may still request."""
        return self._dialler is not None and self._dialler.tasks.are_left()

    @property
    def is_used(self) -> bool:
        """True once the server is known to speak this revision."""
        return self._dialler is not None

    async def open(
        self, listener: LegListener, opening: Opening, client: ServedClient
    ) -> Leg | None:
        """A client's conversation with the server; None if it does not speak this revision.

        Raises:
            Unavailable: it does not answer.
        """
        dialler = await self._find_dialler()
        if dialler is None:
            return None
        leg = await self._dials(dialler, listener, client)
        leg.go_without_handshake(opening, self._described)
        return leg

    async def dial(self, client: SharingClient) -> AsyncChannel | None:
        """A channel to the server for a client; None if it does not speak this revision.

        Raises:
            ChannelClosed: it does not answer.
        """
        dialler = await self._find_dialler()
        return None if dialler is None else await dialler.dial(client)

    async def close(self) -> None:
        """Hang up, and discover again at the next use."""
        await self._tasks.end()
        if self._leg is not None:
            await self._leg.close()
        if self._dialler is not None:
            await self._dialler.close()
        self._leg = self._dialler = self._finding = None
        self._ask_at, self.may_exist = 0.0, False

    async def _find_dialler(self) -> OwnedDialler | None:
        """The dialler; None if the server does not speak this revision."""
        is_due = asyncio.get_running_loop().time() >= self._ask_at
        if self._dialler is None and self.may_exist and is_due:
            if self._finding is None or self._finding.done():
                self._finding = self._tasks.begin(self._find_out())
            await asyncio.wait({self._finding})
        return self._dialler

    async def _find_out(self) -> None:
        dialler: OwnedDialler | None = None
        leg: Leg | None = None
        try:
            dialler = await self._make()
            leg = await self._dials(dialler, self._listener, ServedClient(Flows()))
            if await discover(leg, OUR_OPENING):
                self._dialler, self._leg, self._described = dialler, leg, leg.described
                if leg.offers("tools", "listChanged"):
                    self._tasks.begin(leg.listen({"toolsListChanged": True}))
            else:
                self.may_exist = False
        except (Unavailable, PipeGuardError):
            self._ask_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
        finally:
            if leg is not None and leg is not self._leg:
                await leg.close()
            if dialler is not None and dialler is not self._dialler:
                await dialler.close()


async def discover(leg: Leg, opening: Opening) -> bool:
    """Ask a server to describe itself; True if it speaks the revision without handshakes.

    Raises:
        Unavailable: it cannot be asked now.
    """
    answer: JsonObject = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await leg.discover(opening)
    error = read_object(answer, "error")
    if error and not is_refusal(answer):
        raise Unavailable(str(error.get("message")))
    return STATELESS in as_list(read_object(answer, "result").get("supportedVersions"))


def is_refusal(answer: JsonObject) -> bool:
    """True for an error of the server's own."""
    error = read_object(answer, "error")
    return bool(error) and str(error.get("code")) not in map(str, codes.OURS)


class EraChannel:
    """A channel that is opened by its first frame.

    Args:
        dial: opens it; True for one without a handshake. It raises ChannelClosed.
        closed: called once it is closed.
    """

    def __init__(
        self, dial: Callable[[bool], Awaitable[AsyncChannel]], closed: Callable[[], None]
    ) -> None:
        self._dial = dial
        self._on_close = closed
        self._opening = asyncio.Lock()
        self._is_decided = asyncio.Event()
        self._channel: AsyncChannel | None = None
        self._closed = False

    async def read(self) -> bytes | None:
        """Wait for the next whole frame; None once the channel has ended."""
        await self._is_decided.wait()
        return None if self._channel is None else await self._channel.read()

    async def write(self, frame: bytes) -> None:
        """Send one whole frame.

        Raises:
            ChannelClosed: the peer is gone, or this side was closed.
        """
        async with self._opening:
            if self._channel is None and not self._closed:
                value = as_object(await parse_value(frame))  # it was judged, so it is JSON
                method, params = str(value.get("method")), read_object(value, "params")
                self._channel = await self._dial(find_opening(method, params) is not None)
                self._is_decided.set()
        if self._channel is None or self._closed:
            raise ChannelClosed("closed")
        await self._channel.write(frame)

    async def close(self) -> None:
        """Hang up; a waiting `read` returns None."""
        if not self._closed:
            self._on_close()
        self._closed = True
        async with self._opening:
            self._is_decided.set()
            if self._channel is not None:
                await self._channel.close()

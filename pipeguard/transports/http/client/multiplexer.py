"""One channel to a server for many conversations: ids of ours up, the clients' own down.

For servers that are started once for all (`--shared`). What a server says to nobody in particular
goes to everybody; what it asks goes to a client only while there is one, since an answer of
another one's could be somebody else's secret. Source of the fields: MCP 2025-11-25, basic.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import legible_ids
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.ids import id_of, id_token_of
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import replies
from pipeguard.errors import Refusal
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Outbox
from pipeguard.transports.channel import AsyncChannel, ChannelClosed

INBOX_FRAMES = 256
INBOX_BYTES = 4 * 2**20  # that wait for one conversation; then the server is not read
_INITIALIZED = "notifications/initialized"
_CANCELLED = "notifications/cancelled"


class ChannelOpener(Protocol):
    """What opens channels."""

    async def dial(self) -> AsyncChannel:
        """A channel of its own."""

    async def close(self) -> None:
        """Open no more."""


class Multiplexer:
    """Opens ports to one channel, which is opened with the first.

    Args:
        source: opens the channel.

    Attributes:
        full: the ports for which too much waits.
    """

    def __init__(self, source: ChannelOpener) -> None:
        self._source = source
        self._opening = asyncio.Lock()
        self._channel: AsyncChannel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ports: list[_Port] = []
        self.full: set[_Port] = set()
        self._count = 0
        self._asked: dict[str, tuple[_Port, str]] = {}  # by our id
        self._progress: dict[str, tuple[_Port, str]] = {}  # by our token
        self._described: asyncio.Future[JsonObject | None] | None = None
        self._opened_by = ""  # our id of the opening
        self._initialized = False

    async def dial(self) -> AsyncChannel:
        """A channel that looks like one of its own.

        Raises:
            ChannelClosed: the server cannot be started.
        """
        async with self._opening:
            if self._channel is None:
                self._channel = await self._source.dial()
                self._reading = asyncio.create_task(self._read(self._channel))
        port = _Port(self)
        self._ports.append(port)
        return port

    async def close(self) -> None:
        """End the server."""
        if self._channel is not None:
            await self._channel.close()
        await self._source.close()

    # --- up -----------------------------------------------------------------------------

    async def send(self, port: _Port, frame: bytes) -> None:
        """Send a frame of one conversation.

        Raises:
            ChannelClosed: the server is gone.
        """
        value = parse_json(frame)
        if self._channel is None:
            raise ChannelClosed("the server is gone")
        if isinstance(value, list):
            for member in value:
                await self.send(port, serialise(member))
            return
        if not isinstance(value, dict):
            return
        method = value.get("method")
        token = id_token_of(value.get("id"))
        if method == "initialize" and token is not None:
            describing = self._described
            if describing is not None:
                await asyncio.wait([describing])
                told = describing.result()
                why = "the server did not take its opening"
                port.put(Lost.of(token, why) if told is None else _described(told, token))
                return
            self._described = asyncio.get_running_loop().create_future()
            self._opened_by = str(self._count + 1)
        if method == _INITIALIZED:
            if self._initialized:
                return
            self._initialized = True
        up = self._up(port, value, token) if method is not None else value
        if up is not None:
            await self._channel.write(frame if up is value else serialise(up))

    def _up(self, port: _Port, value: JsonObject, token: str | None) -> JsonObject | None:
        """A message under our id and token; None where it is of nothing that waits."""
        params = value.get("params")
        if token is not None:
            ticket = self._ticket()
            self._asked[ticket] = port, token
            value = {**value, "id": Number(ticket)}
            meta = params.get("_meta") if isinstance(params, dict) else None
            progress = id_token_of(meta.get("progressToken")) if isinstance(meta, dict) else None
            if progress is not None and isinstance(params, dict) and isinstance(meta, dict):
                self._progress[ticket] = port, progress
                told: JsonObject = {**meta, "progressToken": Number(ticket)}
                value["params"] = {**params, "_meta": told}
            return value
        if value.get("method") == _CANCELLED and isinstance(params, dict):
            asked = id_token_of(params.get("requestId"))
            for ticket, entry in self._asked.items():
                if entry == (port, asked):
                    return {**value, "params": {**params, "requestId": Number(ticket)}}
            return None
        return value

    def _ticket(self) -> str:
        self._count += 1
        return str(self._count)

    # --- down ---------------------------------------------------------------------------

    async def _read(self, channel: AsyncChannel) -> None:
        try:
            while (frame := await channel.read()) is not None:
                if isinstance(frame, Lost):
                    port, token = self._asked.pop(frame.id_token, (None, ""))
                    if port is not None:
                        port.put(Lost.of(token, frame.why, frame.code))
                    continue
                try:
                    await self._down(frame, parse_json(frame))
                except Refusal:
                    self._unreadable(frame)
                while self.full:
                    await self.full.pop().make_wait()
        finally:  # whatever happened, nobody waits for this server any more
            self._end()
            await channel.close()

    def _end(self) -> None:
        """The server is gone: so it is for each conversation, and the next one opens another."""
        if self._described is not None and not self._described.done():
            self._described.set_result(None)
        self._channel, self._described, self._initialized = None, None, False
        self._asked.clear()
        self._progress.clear()
        for port in list(self._ports):
            port.end()

    async def _down(self, frame: bytes, value: JsonValue) -> None:
        if not isinstance(value, dict):
            self._unreadable(frame)
            return
        token = id_token_of(value.get("id"))
        if "method" not in value:
            self._answer(value, token)
        elif token is not None:
            await self._request(frame, token)
        else:
            self._notify(frame, value)

    def _unreadable(self, frame: bytes) -> None:
        """What no Session can read: to whom it is told.

        An answer to the one who asked, since an id says nothing to others; a request to one, who
        answers it; text to all, whose Sessions answer what waits where it is too much.
        """
        found = legible_ids(frame)
        answered = [ticket for ticket, asks in found if not asks]
        for ticket in answered:
            port, token = self._asked.pop(ticket, (None, ""))
            self._progress.pop(ticket, None)
            if port is not None:
                port.put(Lost.of(token, "the answer cannot be read", codes.UNSCANNABLE))
        if not answered:
            for port in self._ports[:1] if found else list(self._ports):
                port.put(frame)

    def _answer(self, value: JsonObject, ticket: str | None) -> None:
        port, token = self._asked.pop(ticket or "", (None, ""))
        self._progress.pop(ticket or "", None)
        if port is None:
            return  # of a conversation that is over
        if self._described is not None and ticket == self._opened_by:
            self._described.set_result(value if "result" in value else None)
            if "result" not in value:
                self._described = None  # the next one may try
        port.put(serialise({**value, "id": id_of(token)}))

    async def _request(self, frame: bytes, token: str) -> None:
        if len(self._ports) == 1:
            self._ports[0].put(frame)
        elif self._channel is not None:
            why = "PipeGuard: several clients share this server, so none of them is asked"
            with suppress(ChannelClosed):
                await self._channel.write(replies.error(token, codes.METHOD_NOT_FOUND, why))

    def _notify(self, frame: bytes, value: JsonObject) -> None:
        params = value.get("params")
        ticket = id_token_of(params.get("progressToken")) if isinstance(params, dict) else None
        entry = self._progress.get(ticket or "")
        if entry is not None and isinstance(params, dict):
            port, token = entry
            told: JsonObject = {**params, "progressToken": id_of(token)}
            port.put(serialise({**value, "params": told}))
            return
        for port in self._ports:
            port.offer(frame)

    def leave(self, port: _Port) -> list[str]:
        """A conversation is over; return what it still waited for, by our ids."""
        if port in self._ports:
            self._ports.remove(port)
        left = [ticket for ticket, entry in self._asked.items() if entry[0] is port]
        for ticket in left:
            del self._asked[ticket]
            self._progress.pop(ticket, None)
        return left

    async def give_up(self, tickets: list[str]) -> None:
        """Tell the server that nobody waits for these any more."""
        with suppress(ChannelClosed):
            for ticket in tickets:
                if self._channel is not None:
                    await self._channel.write(replies.cancelled(ticket, "the client is gone"))


class _Port:
    """One conversation's view of the channel."""

    def __init__(self, shared: Multiplexer) -> None:
        self._shared = shared
        self._inbox = Outbox(INBOX_BYTES)
        self._closed = False

    def put(self, frame: bytes) -> None:
        """Hand over a frame of the server's."""
        if not self._closed:
            self._inbox.put(frame)
            if self._inbox.is_full:
                self._shared.full.add(self)

    def offer(self, frame: bytes) -> None:
        """Hand over what nobody asked for; one who does not read misses it."""
        waits = len(self._inbox)
        if self._closed:
            return
        if not waits or (waits < INBOX_FRAMES and self._inbox.fits(frame)):
            self._inbox.put(frame)

    def end(self) -> None:
        """The server is gone."""
        if not self._closed:
            self._inbox.end()

    async def make_wait(self) -> None:
        """Wait while too many answers are not taken; for long, and this one has no server.

        However often it takes a little: the others wait as well.
        """
        try:
            async with asyncio.timeout(UNTAKEN_SECONDS):
                while self._inbox.is_full and not self._closed:
                    await self._inbox.taken()
        except TimeoutError:
            self._inbox.clear()
            await self.close()

    async def read(self) -> bytes | None:
        """The next frame; None at the end."""
        return None if self._closed else await self._inbox.get()

    async def write(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            ChannelClosed: the server is gone, or this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        await self._shared.send(self, frame)

    async def close(self) -> None:
        """Leave; the server runs on."""
        if not self._closed:
            self._closed = True
            left = self._shared.leave(self)
            self._inbox.end()
            await self._shared.give_up(left)


def _described(value: JsonObject, token: str) -> bytes:
    return serialise({**value, "id": id_of(token)})

"""Many conversations over one channel to a server, for `--shared`: ids are unique on the channel.

A notification that belongs to no request goes to every client. A request of the server's goes to
the one client whose request it works on: while it works for several, any client's answer could
leak somebody else's secret, so none is asked. Source of the fields: MCP 2025-11-25, basic.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import NamedTuple

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import legible_ids
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.ids import id_of, id_token_of
from pipeguard.core.protocol.json_values import JsonObject, serialise
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.protocol.subscriptions import LISTEN
from pipeguard.core.session import replies
from pipeguard.errors import Refusal
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Outbox
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, Dialler
from pipeguard.transports.failure import Failure
from pipeguard.transports.http.shared_ids import (
    cancelled_id,
    is_cancellation,
    progress_token_of,
    progress_tokens_in,
    subscription_id_of,
    with_answered_id,
    with_cancelled_id,
    with_progress_token,
    with_request_ids,
    with_subscription_id,
)
from pipeguard.transports.judging import with_value

INBOX_FRAMES = 256
INBOX_BYTES = 4 * 2**20  # unread by one client; above that the server is not read
_REVISION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")  # of MCP: the day when it was fixed
_INITIALIZED = "notifications/initialized"


class _Sent(NamedTuple):
    """Whose request, or progress token, went to the server.

    Attributes:
        port: of the conversation.
        token: the id, or the progress token, as the conversation has it.
        lasts: True for a subscription, on which the server does no work.
    """

    port: _Port
    token: str
    lasts: bool = False


class Multiplexer:
    """Opens ports to one channel, which is opened with the first.

    Args:
        source: opens the channel.

    Attributes:
        full: the ports with too many unread bytes.
    """

    def __init__(self, source: Dialler) -> None:
        self._source = source
        self._opening = asyncio.Lock()
        self._channel: AsyncChannel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ports: list[_Port] = []
        self.full: set[_Port] = set()
        self._count = 0
        self._requests: dict[str, _Sent] = {}  # by the id on the channel
        self._progress: dict[str, _Sent] = {}  # by the progress token on the channel
        self._description: asyncio.Future[JsonObject | None] | None = None
        self._opening_id = ""  # of the `initialize` that was sent
        self._initialized = False

    @property
    def open_requests(self) -> int:
        """How many requests the server has not answered yet, without subscriptions."""
        return sum(not sent.lasts for sent in self._requests.values())

    async def dial(self) -> AsyncChannel:
        """Open a port: a channel that looks like one of the client's own.

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

    # --- to the server ------------------------------------------------------------------

    async def send(self, port: _Port, frame: bytes) -> None:
        """Send a frame of one conversation.

        Raises:
            ChannelClosed: the server is gone.
        """
        value = parse_json(frame)
        if isinstance(value, list):
            for member in value:
                if isinstance(member, dict):
                    await self._send_message(port, serialise(member), member)
        elif isinstance(value, dict):
            await self._send_message(port, frame, value)

    async def _send_message(self, port: _Port, frame: bytes, value: JsonObject) -> None:
        if self._channel is None:
            raise ChannelClosed("the server is gone")
        method = value.get("method")
        token = id_token_of(value.get("id"))
        if method == "initialize" and token is not None:
            if self._description is not None:
                await self._describe(port, value, self._description)
                return
            self._description = asyncio.get_running_loop().create_future()
            self._opening_id = str(self._count + 1)
        if method == _INITIALIZED:
            if self._initialized:
                return
            self._initialized = True
        sent = self._with_own_ids(port, frame, value)
        if sent is not None:
            await self._channel.write(sent)

    async def _describe(
        self, port: _Port, opening: JsonObject, description: asyncio.Future[JsonObject | None]
    ) -> None:
        """Answer an opening as the server answered the first, in the revision that is asked for."""
        await asyncio.wait([description])
        answer, token = description.result(), id_token_of(opening.get("id")) or ""
        if answer is None:
            port.put(Failure("the server did not take its opening").lost(token))
        else:
            port.put(serialise(_with_id(_in_revision_of(opening, answer), token)))

    def _with_own_ids(self, port: _Port, frame: bytes, value: JsonObject) -> bytes | None:
        """A message with ids of ours; None if it cancels nothing."""
        if "method" not in value:
            return frame
        token = id_token_of(value.get("id"))
        if token is not None:
            self._count += 1
            own = str(self._count)
            self._requests[own] = _Sent(port, token, value["method"] == LISTEN)
            tokens = progress_tokens_in(value)
            for progress_token in tokens:
                self._progress[own] = _Sent(port, progress_token)
            return with_request_ids(frame, value, [own], [own for _ in tokens])
        if not is_cancellation(value):
            return frame
        cancelled = cancelled_id(value)
        for own, sent in self._requests.items():
            if sent[:2] == (port, cancelled):
                return serialise(with_cancelled_id(value, own))
        return None

    # --- from the server ----------------------------------------------------------------

    async def _read(self, channel: AsyncChannel) -> None:
        try:
            while (frame := await channel.read()) is not None:
                await self._receive(with_value(frame))
                while self.full:
                    await self.full.pop().make_room()
        finally:  # whatever happened, nobody waits for this server any more
            self._end()
            await channel.close()

    def _end(self) -> None:
        """End all conversations with a server that is gone; the next port opens another one."""
        if self._description is not None and not self._description.done():
            self._description.set_result(None)
        self._channel, self._description, self._initialized = None, None, False
        self._requests.clear()
        self._progress.clear()
        for port in list(self._ports):
            port.end()

    async def _receive(self, frame: bytes) -> None:
        if isinstance(frame, Lost):
            sent = self._requests.pop(frame.id_token, None)
            if sent is not None:
                sent.port.put(Failure(frame.why, frame.code).lost(sent.token))
            return
        try:
            value = parse_json(frame)
        except Refusal:
            value = None
        if not isinstance(value, dict):
            self._receive_unreadable(frame)
        elif "method" not in value:
            self._receive_answer(value)
        elif (token := id_token_of(value.get("id"))) is not None:
            await self._receive_request(frame, token)
        else:
            self._receive_notification(frame, value)

    def _receive_unreadable(self, frame: bytes) -> None:
        """Deliver what no Session can read.

        An answer is lost to the client that waits for it: its id means nothing to the others. A
        request goes to one client, which refuses it. Anything else goes to all of them: their
        Sessions answer open requests once it is too much.
        """
        found = legible_ids(frame)
        answered = [own for own, is_request in found if not is_request]
        for own in answered:
            sent = self._requests.pop(own, None)
            self._progress.pop(own, None)
            if sent is not None:
                failure = Failure("the answer cannot be read", codes.UNSCANNABLE)
                sent.port.put(failure.lost(sent.token))
        if not answered:
            for port in self._ports[:1] if found else list(self._ports):
                port.put(frame)

    def _receive_answer(self, value: JsonObject) -> None:
        own = id_token_of(value.get("id")) or ""
        sent = self._requests.pop(own, None)
        self._progress.pop(own, None)
        if sent is None:
            return  # its conversation is over
        if self._description is not None and own == self._opening_id:
            self._description.set_result(value if "result" in value else None)
            if "result" not in value:
                self._description = None  # the next client may try
        sent.port.put(serialise(with_answered_id(value, own, sent.token)))

    async def _receive_request(self, frame: bytes, token: str) -> None:
        busy = {sent.port for sent in self._requests.values()}
        asked = busy if len(self._ports) > 1 else set(self._ports)
        if len(asked) == 1:
            asked.pop().put(frame)
        elif self._channel is not None:
            why = "PipeGuard: several clients share this server, so none of them is asked"
            with suppress(ChannelClosed):
                await self._channel.write(replies.error(token, codes.METHOD_NOT_FOUND, why))

    def _receive_notification(self, frame: bytes, value: JsonObject) -> None:
        progressing = self._progress.get(progress_token_of(value) or "")
        subscribed = self._requests.get(subscription_id_of(value) or "")
        if progressing is not None:
            progressing.port.put(serialise(with_progress_token(value, progressing.token)))
        elif subscribed is not None:
            subscribed.port.put(serialise(with_subscription_id(value, subscribed.token)))
        else:
            for port in self._ports:
                port.offer(frame)

    # --- leaving ------------------------------------------------------------------------

    def leave(self, port: _Port) -> list[str]:
        """End a conversation; return the ids on the channel that still wait for answers."""
        if port in self._ports:
            self._ports.remove(port)
        left = [own for own, sent in self._requests.items() if sent.port is port]
        for own in left:
            del self._requests[own]
            self._progress.pop(own, None)
        return left

    async def cancel(self, ids: list[str]) -> None:
        """Cancel requests of a client that is gone."""
        with suppress(ChannelClosed):
            for own in ids:
                if self._channel is not None:
                    await self._channel.write(replies.cancelled(own, "the client is gone"))


def _in_revision_of(opening: JsonObject, answer: JsonObject) -> JsonObject:
    """A server's answer to another client's opening, in an older revision if this one asks for it.

    A client that does not know the newer one would hang up (MCP 2025-06-18, basic/lifecycle).
    """
    params, result = opening.get("params"), answer.get("result")
    wanted = params.get("protocolVersion") if isinstance(params, dict) else None
    own = result.get("protocolVersion") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(wanted, str) or not isinstance(own, str):
        return answer
    if not _REVISION.match(wanted) or wanted >= own:
        return answer
    return {**answer, "result": {**result, "protocolVersion": wanted}}


class _Port:
    """One conversation's view of the channel."""

    def __init__(self, shared: Multiplexer) -> None:
        self._shared = shared
        self._inbox = Outbox(INBOX_BYTES)
        self._closed = False

    def put(self, frame: bytes) -> None:
        """Deliver a frame; a client that does not read makes the server wait."""
        if not self._closed:
            self._inbox.put(frame)
            if self._inbox.is_full:
                self._shared.full.add(self)

    def offer(self, frame: bytes) -> None:
        """Deliver what was not asked for; a client that does not read misses it."""
        unread = len(self._inbox)
        has_room = unread < INBOX_FRAMES and self._inbox.fits(frame)
        if not self._closed and (has_room or not unread):
            self._inbox.put(frame)

    def end(self) -> None:
        """Mark the end of the server."""
        if not self._closed:
            self._inbox.end()

    async def make_room(self) -> None:
        """Wait while too much is unread; end a conversation that keeps the others waiting.

        It has `UNTAKEN_SECONDS` in all, however often it reads a little.
        """
        try:
            async with asyncio.timeout(UNTAKEN_SECONDS):
                while self._inbox.is_full and not self._closed:
                    await self._inbox.taken()
        except TimeoutError:
            self._inbox.clear()
            await self.close()

    async def read(self) -> bytes | None:
        """Wait for the next frame; None at the end."""
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
            await self._shared.cancel(left)


def _with_id(answer: JsonObject, token: str) -> JsonObject:
    return {**answer, "id": id_of(token)}

"""Many conversations over one channel to a server, for `--shared`: ids are unique on the channel.

A notification that belongs to no request goes to every client. A request of the server's goes to
the one client whose request it works on: while it works for several, one client's answer could leak
another's secret, so none is asked. Source of the fields: MCP 2025-11-25, basic.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from pipeguard.firewall.protocol import answers, codes, methods
from pipeguard.firewall.protocol.ids import read_id, request_ids, write_id
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object, serialise
from pipeguard.firewall.session import replies
from pipeguard.transports.bounded import UNTAKEN_SECONDS, Outbox
from pipeguard.transports.channel import AsyncChannel, ChannelClosed, Dialler, Failure
from pipeguard.transports.http.client.shared_settings import (
    SET_LEVEL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    SharedSettings,
)
from pipeguard.transports.http.correlator import (
    Correlator,
    answered_id,
    cancelled_id,
    find_answers,
    find_related_task,
    with_answered_id,
    with_cancelled_id,
    with_owners_token,
)
from pipeguard.transports.judging import offload, parse_value, read_frame, to_frame

INBOX_FRAMES = 256
INBOX_BYTES = 4 * 2**20  # unread by one client; above that the server is not read
_SETTINGS = frozenset({SET_LEVEL, SUBSCRIBE, UNSUBSCRIBE})
_REVISION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")  # of MCP: the day when it was fixed


class _SharedOpening:
    """The outcome of the first `initialize`, and whether the server knows that it succeeded."""

    def __init__(self) -> None:
        self._description: asyncio.Future[JsonObject | None] | None = None
        self._id = ""  # of the `initialize` that was sent
        self._is_confirmed = False

    def send(self, own_id: str) -> None:
        """Record that the first `initialize` is sent, under an id of ours."""
        self._description = asyncio.get_running_loop().create_future()
        self._id = own_id

    def confirm(self) -> bool:
        """A client has sent `notifications/initialized`; True for the first."""
        was_confirmed, self._is_confirmed = self._is_confirmed, True
        return not was_confirmed

    def is_awaiting(self, own_id: str) -> bool:
        """True for the first `initialize` while it is not answered; it cannot be cancelled."""
        is_open = self._description is not None and not self._description.done()
        return is_open and own_id == self._id

    def note_answer(self, own_id: str, answer: JsonObject) -> None:
        """Note the server's answer to a request; a lost answer is empty."""
        if self._description is None or not self.is_awaiting(own_id):
            return
        self._description.set_result(answer if "result" in answer else None)
        if "result" not in answer:
            self._description = None  # the next client may try

    async def describe(self, opening: JsonObject) -> bytes:
        """Answer an opening as the server answered the first, in the revision that it asks for.

        Returns:
            The answer; empty for the first opening.
        """
        token = write_id(opening.get("id"))
        if self._description is None or token is None:
            return b""
        answer = await asyncio.shield(self._description)
        if answer is None:
            return Failure("the server did not accept the session's opening").to_frame(token)
        return serialise({**_match_revision(opening, answer), "id": opening["id"]})

    def end(self) -> None:
        """Answer all who wait for a server that is gone; the next opening is the first."""
        if self._description is not None and not self._description.done():
            self._description.set_result(None)
        self._description, self._is_confirmed = None, False


def _match_revision(opening: JsonObject, answer: JsonObject) -> JsonObject:
    """A server's answer to another client's opening, in an older revision if this one wants it.

    A client that does not know the newer one would hang up (MCP 2025-06-18, basic/lifecycle).
    """
    wanted = as_object(opening.get("params")).get("protocolVersion")
    result = as_object(answer.get("result"))
    own = result.get("protocolVersion")
    if not isinstance(wanted, str) or not isinstance(own, str) or wanted >= own:
        return answer
    is_revision = _REVISION.match(wanted) is not None
    return {**answer, "result": {**result, "protocolVersion": wanted}} if is_revision else answer


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
        self._ids: Correlator[_Port] = Correlator(is_unique=True)
        self._opened = _SharedOpening()
        self._settings = SharedSettings()

    @property
    def open_requests(self) -> int:
        """The number of requests that the server has not answered, without subscriptions."""
        return sum(not sent.lasts for sent in self._ids.working())

    async def dial(self, *, is_listening: bool = True) -> AsyncChannel:
        """Open a port: a channel that looks like one of the client's own.

        Args:
            is_listening: False for a client that wants no log, and no news of resources.

        Raises:
            ChannelClosed: the server cannot be started.
        """
        async with self._opening:
            if self._channel is None:
                self._channel = await self._source.dial()
                self._reading = asyncio.create_task(self._read(self._channel))
        port = _Port(self)
        self._ports.append(port)
        if is_listening:
            await self._tell(self._settings.join(port))
        return port

    def hang_up(self) -> None:
        """End all conversations at once, before the server itself has ended."""
        for port in list(self._ports):
            port.end()

    async def close(self) -> None:
        """End the server."""
        if self._channel is not None:
            await self._channel.close()
        elif self._reading is not None:
            await asyncio.wait({self._reading})  # it ends the server that is gone
        await self._source.close()

    # --- to the server ------------------------------------------------------------------

    async def send(self, port: _Port, frame: bytes) -> None:
        """Send a frame of one conversation.

        Raises:
            ChannelClosed: the server is gone.
        """
        value = await parse_value(frame)
        if isinstance(value, list):
            for member in value:
                if isinstance(member, dict):
                    await self._send_message(port, serialise(member), member)
        elif isinstance(value, dict):
            await self._send_message(port, frame, value)

    async def _send_message(self, port: _Port, frame: bytes, value: JsonObject) -> None:
        if self._channel is None or port not in self._ports:  # or it left while this waited
            raise ChannelClosed("the server hung up")
        method = value.get("method")
        token = write_id(value.get("id"))
        if method == "initialize" and (known := await self._opened.describe(value)):
            port.put(known)
            return
        if method == methods.INITIALIZED and not self._opened.confirm():
            return
        if token is not None and method in _SETTINGS:
            relayed = self._settings.relay(port, value)
            if "method" not in relayed:
                port.put(serialise({"jsonrpc": "2.0", "id": read_id(token), **relayed}))
                return
            if relayed is not value:
                value, frame = relayed, serialise(relayed)
        sent = self._with_own_ids(port, value)
        if sent is not None and (channel := self._channel) is not None:
            await channel.write(frame if sent is value else await to_frame(sent))

    async def _tell(self, requests: list[JsonObject]) -> None:
        """Send requests of our own, without waiting for the answers."""
        for request in requests:
            if self._channel is not None:
                asked = {**request, "id": read_id(self._ids.make_id())}
                with suppress(ChannelClosed):
                    await self._channel.write(serialise(asked))

    def _with_own_ids(self, port: _Port, value: JsonObject) -> JsonValue:
        """A message with ids of ours; None if it cancels an unknown request."""
        if "method" in value and "id" in value:
            sent = self._ids.add(port, value)
            own = write_id(sent["id"]) if isinstance(sent, dict) else None
            if value["method"] == "initialize" and own is not None:
                self._opened.send(own)
            return sent
        if value.get("method") != methods.CANCELLED:
            return value
        cancelled = self._ids.cancel(port, cancelled_id(value) or "")
        return None if cancelled is None else with_cancelled_id(value, cancelled)

    # --- from the server ----------------------------------------------------------------

    async def _read(self, channel: AsyncChannel) -> None:
        try:
            while (frame := await channel.read()) is not None:
                await self._receive(await read_frame(frame))
                while self.full:
                    await self.full.pop().make_room()
        finally:  # whatever happened, no client waits for this server any more
            self._end()
            await channel.close()

    def _end(self) -> None:
        """End all conversations with a server that is gone; the next port opens a new channel."""
        self._channel = None
        self._opened.end()
        self._settings.clear()
        self._ids.clear()
        self.hang_up()

    async def _receive(self, frame: bytes) -> None:
        value, answered = await offload(frame, find_answers, frame)
        if isinstance(value, list) and not answered and not request_ids(value):
            for member in value:  # each notification goes to the clients that want it
                await self._receive(serialise(member))
        elif not isinstance(value, dict):
            self._receive_unreadable(frame, answered, value)
        elif "method" not in value:
            await self._receive_answer(frame, value)
        elif (token := write_id(value.get("id"))) is not None:
            await self._receive_request(frame, value, token)
        else:
            await self._receive_notification(frame, value)

    def _receive_unreadable(self, frame: bytes, answered: list[str], value: JsonValue) -> None:
        """Deliver a frame that no Session can read.

        An answer is lost to the client that waits for it: its id means nothing to the others. Other
        frames answer no request: one Session records them, and refuses a request. That also holds
        for the requests of an array with answers.
        """
        for own in map(self._ids.match_answer, answered):
            sent = self._ids.pop(own)
            self._ids.end_progress(own)
            self._opened.note_answer(own, {})
            if sent is not None:
                sent.owner.put(Failure.of(frame).to_frame(sent.token))
        members = value if answered and isinstance(value, list) else []
        requests = [member for member in members if request_ids(member)]
        if self._ports and (requests or not answered):
            self._ports[0].put(serialise(requests) if requests else frame)

    async def _receive_answer(self, frame: bytes, value: JsonObject) -> None:
        own = self._ids.match_answer(answered_id(value) or "")
        sent = self._ids.pop(own)
        self._ids.end_progress(own, is_task=answers.creates_task(as_object(value.get("result"))))
        self._opened.note_answer(own, value)  # even if its client is gone: others wait for it
        if sent is None:
            return  # its conversation has ended, or the request was ours
        if own != sent.token:
            frame = await to_frame(with_answered_id(value, own, sent.token))
        sent.owner.put(frame)

    async def _receive_request(self, frame: bytes, value: JsonObject, token: str) -> None:
        task = find_related_task(value)
        working = self._ids.working()
        busy = {sent.owner for sent in working}
        waiting = {sent.owner for sent in working if sent.task == task}
        busy = set(self._ports) if len(self._ports) == 1 else busy
        # Some wait for the result of the task that the server works on.
        asked = waiting if task is not None and waiting else busy
        if len(asked) == 1:
            asked.pop().put(frame)
        elif self._channel is not None:
            why = "PipeGuard: several clients share this server, so none of them is asked"
            with suppress(ChannelClosed):
                await self._channel.write(replies.error(token, codes.METHOD_NOT_FOUND, why))

    async def _receive_notification(self, frame: bytes, value: JsonObject) -> None:
        origin = self._ids.origin(value)
        if origin is not None:
            changed = with_owners_token(value, origin.token)
            origin.owner.put(frame if changed == value else await to_frame(changed))
        elif value["method"] != methods.PROGRESS:  # else no client waits for it
            for port in self._settings.listeners(value, self._ports):
                port.offer(frame)

    # --- leaving ------------------------------------------------------------------------

    async def leave(self, port: _Port) -> None:
        """End a conversation: cancel its requests, and take back its settings."""
        if port in self._ports:
            self._ports.remove(port)
        left = [own for own in self._ids.leave(port) if not self._opened.is_awaiting(own)]
        with suppress(ChannelClosed):
            for own in left:
                if self._channel is not None:
                    await self._channel.write(replies.make_cancellation(own, "the client hung up"))
        await self._tell(self._settings.leave(port))


class _Port:
    """One conversation's view of the channel."""

    def __init__(self, shared: Multiplexer) -> None:
        self._shared = shared
        self._inbox = Outbox(INBOX_BYTES)
        self._closed = False
        self._writing = asyncio.Lock()  # a large request is sent before it can be cancelled

    def put(self, frame: bytes) -> None:
        """Deliver a frame; a client that does not read makes the server wait."""
        if not self._closed:
            self._inbox.put(frame)
            if self._inbox.is_full:
                self._shared.full.add(self)

    def offer(self, frame: bytes) -> None:
        """Deliver an unrequested frame; a client that does not read misses it."""
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
                    await self._inbox.wait_taken()
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
        async with self._writing:
            await self._shared.send(self, frame)

    async def close(self) -> None:
        """Leave; the server runs on."""
        if not self._closed:
            self._closed = True
            self._inbox.end()
            await self._shared.leave(self)

"""A server behind Streamable HTTP, as a channel: frames go up as POSTs, and come down as they do.

For a client that speaks another transport. What the session and its streams need is kept here:
the session's id, its revision, the cursors of broken streams, the opening for a server that has
forgotten it. Sources: MCP 2025-03-26 to 2026-07-28, basic/transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import monotonic

import aiohttp

from pipeguard.core.protocol import codes, request_headers
from pipeguard.core.protocol.framing import Lost
from pipeguard.core.protocol.ids import id_token_of, request_ids
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.sse import EventStream
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session import replies
from pipeguard.errors import PipeGuardError, Refusal
from pipeguard.transports.bounded import FrameQueue
from pipeguard.transports.channel import ChannelClosed, RemoteChannel
from pipeguard.transports.http.client.upstream import (
    BOTH,
    EVENTS,
    JSON,
    LAST_EVENT_ID,
    MOST_PAUSE_SECONDS,
    SESSION_ID,
    Door,
    Remote,
    Unreadable,
    backoff,
    is_session_id,
    is_text,
    kind_of,
    pieces,
    unreached,
    whole,
)
from pipeguard.transports.tasks import Tasks

CONNECT_ATTEMPTS = 5
STEADY_SECONDS = 1.0  # a stream that lasted longer had begun well
RESUME_SECONDS = 120.0  # for which a broken stream is tried again
GOODBYE_SECONDS = 2.0
REOPEN_SECONDS = 30.0  # for a server to answer an opening of ours
MOST_MIRRORED = 1024  # tools whose parameters have headers
MOST_NAME_CHARS = 1024
_PLAIN = {"Content-Type": JSON, "Accept": BOTH}
_INITIALIZED = "notifications/initialized"
_GONE = 404
_OLDER = frozenset({400, 404, 405})
_BAD = 400
_PASSING = frozenset({429, 500, 502, 503, 504})  # it may offer a stream a little later


class StreamableChannel:
    """One conversation with a server over Streamable HTTP.

    Args:
        remote: the server.
        http: connections to it.
        older: opens a channel of the older transport where the server speaks that one: it is
            asked after an opening that was answered with 400, 404 or 405 (MCP 2025-06-18,
            basic/transports, "Backwards Compatibility").
    """

    def __init__(
        self,
        remote: Remote,
        http: aiohttp.ClientSession,
        older: Callable[[], Awaitable[RemoteChannel | None]] | None = None,
    ) -> None:
        self._door = Door(remote, http)
        self._older = older
        self._instead: RemoteChannel | None = None
        self._limit = remote.limit_bytes
        self._inbox = FrameQueue()
        self._tasks = Tasks(self._fail)
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._told: asyncio.Task[None] | None = None  # the last that needs no answer
        self._session_id: str | None = None
        self._version: str | None = None
        self._opening: tuple[bytes, str] | None = None
        self._initialized: bytes | None = None
        self._reopening = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._mirrored: dict[str, dict[str, tuple[str, ...]]] = {}
        self._closed = False

    # --- the channel --------------------------------------------------------------------

    async def read(self) -> bytes | None:
        """The next frame of the server's; a Lost in place of an answer that will not come."""
        return None if self._closed and self._inbox.empty() else await self._inbox.get()

    async def write(self, frame: bytes) -> None:
        """Send a frame; what it asks is answered by `read`, and delays nothing else.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        if self._instead is not None:
            await self._instead.write(frame)
            return
        value = parse_json(frame)  # it was judged, so it is JSON
        ids = request_ids(value)
        if not ids:
            if self._cancels(value):
                return
            self._told = self._tasks.begin(self._tell(frame, value, self._told))
            return
        task = self._tasks.begin(self._ask(frame, value, ids, self._told))
        for token in ids:
            self._asked[token] = task

    async def drain(self) -> None:
        """Wait until all that was asked is answered."""
        while self._instead is None and (tasks := self._tasks - {self._listening}):
            await asyncio.wait(tasks)
        if self._instead is not None:
            await self._instead.drain()

    async def close(self) -> None:
        """End the session; a waiting `read` returns None."""
        if self._closed:
            return
        self._closed = True
        if self._instead is not None:
            await self._instead.close()
        await self._tasks.end()
        if self._session_id is not None:
            with suppress(PipeGuardError, aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    async with await self._door.send("DELETE", self._headers(None), None):
                        pass
        self._inbox.end()

    def _fail(self) -> None:
        """What nobody expected ends the conversation, so that nobody waits for its answers."""
        self._closed = True
        self._inbox.end()

    # --- up -----------------------------------------------------------------------------

    def _cancels(self, value: JsonValue) -> bool:
        """Without sessions, a request is given up by ending its stream (2026-07-28)."""
        if self._version is not None or not isinstance(value, dict):
            return False
        params = value.get("params")
        if value.get("method") != "notifications/cancelled" or not isinstance(params, dict):
            return False
        task = self._asked.get(id_token_of(params.get("requestId")) or "")
        if task is None:
            return False
        task.cancel()
        return True

    async def _tell(
        self, frame: bytes, value: JsonValue, before: asyncio.Task[None] | None
    ) -> None:
        """Send what needs no answer, after what came before it."""
        await _after(before)
        with suppress(PipeGuardError, Unreadable, aiohttp.ClientError, OSError):
            async with await self._posted(frame, value) as answer:
                done = answer.status < _BAD
            if done and isinstance(value, dict) and value.get("method") == _INITIALIZED:
                self._initialized = frame
                if self._listening is None:
                    self._listening = self._tasks.begin(self._listen())

    async def _ask(
        self,
        frame: bytes,
        value: JsonValue,
        ids: list[str],
        before: asyncio.Task[None] | None,
    ) -> None:
        """Send what asks something, and read until all of it is answered."""
        left = set(ids)
        why, code, sent = "the server cannot be reached", codes.PEER_GONE, True
        try:
            await _after(before)
            async with await self._posted(frame, value) as answer:
                why = f"the server answered with HTTP {answer.status}, not with MCP"
                if answer.status in _OLDER and await self._is_older(frame, value):
                    left.clear()
                    return
                self._note_opening(frame, value, answer, ids[0])
                if kind_of(answer) == EVENTS:
                    why = "the connection to the server was lost before the answer came"
                    await self._read_until_answered(answer, left, value)
                elif kind_of(answer) == JSON:
                    await self._take_whole(answer, left, value)
        except PipeGuardError as error:
            why = str(error)
        except Unreadable as error:
            why, code = str(error), codes.UNSCANNABLE
        except aiohttp.ClientConnectorError as error:
            why, sent = unreached(error), False
        except (aiohttp.ClientError, OSError):
            pass  # what waits is told below
        except asyncio.CancelledError:
            left.clear()  # the client gave it up, or is gone
            raise
        finally:
            for token in ids:
                self._asked.pop(token, None)
            for token in sorted(left):
                await self._inbox.put(Lost.of(token, why, code, sent=sent))

    async def _is_older(self, frame: bytes, value: JsonValue) -> bool:
        """True where the server speaks the older transport, which then takes over."""
        method = value.get("method") if isinstance(value, dict) else None
        if method != "initialize" or self._older is None or self._opening is not None:
            return False
        self._instead = await self._older()
        if self._instead is None:
            return False
        self._tasks.begin(self._copy(self._instead))
        await self._instead.write(frame)
        return True

    async def _copy(self, source: RemoteChannel) -> None:
        while (frame := await source.read()) is not None:
            await self._inbox.put(frame)
        self._inbox.end()

    async def _posted(self, frame: bytes, value: JsonValue) -> aiohttp.ClientResponse:
        """A POST, once it is answered; again only where it was certainly not taken."""
        pauses = backoff()
        attempts = 0
        reopened = False
        while True:
            try:
                answer = await self._door.send("POST", self._headers(value), frame)
            except aiohttp.ClientConnectorError as error:  # nothing was sent
                attempts += 1
                if attempts == CONNECT_ATTEMPTS or isinstance(error, aiohttp.ClientSSLError):
                    raise
                await asyncio.sleep(next(pauses))
                continue
            sent_in = answer.request_info.headers.get(SESSION_ID)
            if answer.status != _GONE or sent_in is None or self._opening is None or reopened:
                return answer
            answer.release()
            await self._reopen(sent_in)
            reopened = True

    def _headers(self, value: JsonValue) -> dict[str, str]:
        headers = dict(_PLAIN)
        if isinstance(value, dict) and request_headers.revision_of(value) is not None:
            params = value.get("params")
            name = params.get("name") if isinstance(params, dict) else None
            mirrored = self._mirrored.get(name, {}) if type(name) is str else {}
            return headers | request_headers.headers_of(value, mirrored)
        if self._session_id is not None:
            headers[SESSION_ID] = self._session_id
        if self._version is not None:
            headers[request_headers.VERSION] = self._version
        return headers

    # --- the session --------------------------------------------------------------------

    def _note_opening(
        self, frame: bytes, value: JsonValue, answer: aiohttp.ClientResponse, token: str
    ) -> None:
        if isinstance(value, dict) and value.get("method") == "initialize" and answer.ok:
            self._opening = frame, token
            self._session_id = _session_of(answer)

    async def _reopen(self, lost: str | None) -> None:
        """The server has forgotten the session: open another one, as the client did.

        MCP 2025-06-18, basic/transports, "Session Management": after 404 a client MUST start anew.
        """
        async with self._reopening:
            if self._opening is None or self._session_id != lost:
                return  # somebody else did
            frame, token = self._opening
            opening = parse_json(frame)
            try:
                async with (
                    asyncio.timeout(REOPEN_SECONDS),
                    await self._door.send("POST", _PLAIN, frame) as answer,
                ):
                    if not answer.ok:
                        why = f"the server takes no new session (HTTP {answer.status})"
                        raise PipeGuardError(why)
                    left = {token}
                    async for said in self._said(answer):
                        with suppress(Refusal):
                            self._learn(parse_json(said), left, opening)
                        if not left:
                            break
                    if left:
                        raise PipeGuardError("the server takes no new session")
                    self._session_id = _session_of(answer)
            except TimeoutError:
                raise PipeGuardError("the server takes no new session in time") from None
            if self._initialized is not None:
                told = parse_json(self._initialized)
                async with await self._door.send("POST", self._headers(told), self._initialized):
                    pass
            if self._listening is not None:
                self._listening.cancel()
                self._listening = self._tasks.begin(self._listen())

    async def _listen(self) -> None:
        """What the server says unasked, for as long as it offers such a stream."""
        cursor: str | None = None
        pauses = backoff()
        while not self._closed:
            retry = 0.0
            headers = self._headers(None) | {"Accept": EVENTS}
            if cursor is not None:
                headers[LAST_EVENT_ID] = cursor
            try:
                async with await self._door.send("GET", headers, None) as answer:
                    if kind_of(answer) == EVENTS and answer.ok:
                        began = monotonic()
                        cursor, retry = await self._read_stream(answer, set(), None, cursor)
                        if monotonic() - began > STEADY_SECONDS:
                            pauses = backoff()
                    elif answer.status not in _PASSING:
                        return
            except (PipeGuardError, Unreadable, aiohttp.ClientError, OSError):
                pass  # it comes back, or `write` says that it does not
            await asyncio.sleep(max(retry, next(pauses)))

    # --- down ---------------------------------------------------------------------------

    async def _said(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The frames of an answer, however it comes."""
        if kind_of(answer) != EVENTS:
            yield await whole(answer, self._limit)
            return
        stream = EventStream(self._limit)
        async for piece in pieces(answer):
            for event in stream.feed(piece):
                if event.data and event.name == "message":
                    yield event.data
            if stream.overrun:
                raise Unreadable("the answer is larger than the limit")

    async def _take_whole(
        self, answer: aiohttp.ClientResponse, left: set[str], asked: JsonValue
    ) -> None:
        body = await whole(answer, self._limit)
        frame = replies.addressed(body, sorted(left)) if body else None
        if frame is not None:
            with suppress(Refusal):
                value = parse_json(frame)
                self._learn(value, left, asked)
                frame = request_headers.without_bad_tools(frame, value, asked)
            await self._inbox.put(frame)

    async def _read_until_answered(
        self, answer: aiohttp.ClientResponse, left: set[str], asked: JsonValue
    ) -> None:
        """Read a stream, and take it up again where it broke, until nothing waits."""
        cursor, retry = await self._read_stream(answer, left, asked, None)
        deadline = monotonic() + RESUME_SECONDS
        pauses = backoff()
        while left and cursor is not None and self._version is not None:
            await asyncio.sleep(max(retry, next(pauses)))
            headers = self._headers(None) | {"Accept": EVENTS, LAST_EVENT_ID: cursor}
            try:
                async with await self._door.send("GET", headers, None) as again:
                    if kind_of(again) == EVENTS and again.ok:
                        cursor, retry = await self._read_stream(again, left, asked, cursor)
                        deadline = monotonic() + RESUME_SECONDS
                    elif again.status not in _PASSING:
                        return
            except (aiohttp.ClientError, OSError):
                pass  # it is tried again
            if monotonic() > deadline:
                return

    async def _read_stream(
        self,
        answer: aiohttp.ClientResponse,
        left: set[str],
        asked: JsonValue,
        cursor: str | None,
    ) -> tuple[str | None, float]:
        """Read to the end of a stream, or until all that was asked is answered.

        Returns:
            The last cursor, and after how many seconds to come back.

        Raises:
            Unreadable: an event exceeded the limit, and would again.
        """
        stream = EventStream(self._limit)
        retry_seconds = 0.0
        with suppress(aiohttp.ClientError, OSError):  # then it ends here
            async for piece in pieces(answer):
                for event in stream.feed(piece):
                    if event.id is not None and is_text(event.id):
                        cursor = event.id or None  # an empty one takes it back
                    if event.retry_ms is not None:
                        retry_seconds = min(event.retry_ms / 1000, MOST_PAUSE_SECONDS)
                    if not event.data or event.name != "message":
                        continue
                    waited = bool(left)
                    frame = event.data
                    with suppress(Refusal):  # the Session says why
                        value = parse_json(frame)
                        self._learn(value, left, asked)
                        frame = request_headers.without_bad_tools(frame, value, asked)
                    await self._inbox.put(frame)
                    if waited and not left:
                        return cursor, retry_seconds
                if stream.overrun:
                    raise Unreadable("the answer is larger than the limit")
        return cursor, retry_seconds

    def _learn(self, value: JsonValue, left: set[str], asked: JsonValue) -> None:
        """What an answer tells about the conversation; its id waits no more."""
        for member in value if isinstance(value, list) else [value]:
            if not isinstance(member, dict) or "method" in member:
                continue
            token = id_token_of(member.get("id"))
            if token not in left:
                continue
            left.discard(token)
            result = member.get("result")
            if isinstance(result, dict) and isinstance(asked, dict):
                self._learn_result(asked, result)

    def _learn_result(self, asked: JsonObject, result: JsonObject) -> None:
        if asked.get("method") == "initialize":
            version = result.get("protocolVersion")
            self._version = version if type(version) is str and is_session_id(version) else None
        tools = result.get("tools")
        if asked.get("method") == "tools/list" and isinstance(tools, list):
            for tool in tools:
                name = tool.get("name") if isinstance(tool, dict) else None
                if type(name) is str:
                    self._mirror(name, request_headers.mirrored_by(tool))

    def _mirror(self, tool: str, mirrored: dict[str, tuple[str, ...]]) -> None:
        """Remember which of a tool's parameters have headers; of too many, the oldest go."""
        self._mirrored.pop(tool, None)
        if not mirrored or len(tool) > MOST_NAME_CHARS:
            return
        while len(self._mirrored) >= MOST_MIRRORED:
            del self._mirrored[next(iter(self._mirrored))]
        self._mirrored[tool] = mirrored


def _session_of(answer: aiohttp.ClientResponse) -> str | None:
    """The session that an opening began; None where none did, or under no such id."""
    session_id = answer.headers.get(SESSION_ID)
    return session_id if session_id is not None and is_session_id(session_id) else None


async def _after(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        await asyncio.wait([task])

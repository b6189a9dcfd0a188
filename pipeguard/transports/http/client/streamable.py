"""A server behind Streamable HTTP, as a channel: each frame is sent in a POST, answers come later.

For a client that speaks another transport. Remembers the session, and repeats it in headers;
resumes broken streams by their cursor, and opens the session again when the server has forgotten
it. Sources: MCP 2025-03-26 to 2026-07-28, basic/transports.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from time import monotonic

import aiohttp

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object
from pipeguard.firewall.protocol.methods import INITIALIZED
from pipeguard.transports.channel import CONNECTION_LOST, Failure, RemoteChannel
from pipeguard.transports.http import challenge, correlator, request_headers
from pipeguard.transports.http.client.bodies import NETWORK_ERRORS, AnswerReader, Unreadable
from pipeguard.transports.http.client.upstream import (
    InboxChannel,
    Remote,
    RemoteEndpoint,
    SentFrame,
    describe_status,
    to_failure,
)
from pipeguard.transports.http.headers import (
    BOTH,
    EVENTS,
    JSON,
    LAST_EVENT_ID,
    SESSION_ID,
    is_session_id,
    media_type,
)
from pipeguard.transports.tasks import REOPEN_SECONDS, STEADY_SECONDS, backoff, try_often

RESUME_SECONDS = 120.0  # for which a broken stream is resumed
GOODBYE_SECONDS = 2.0
_OLDER = frozenset({400, 404, 405})  # with which a server of the older transport answers
_TRANSIENT = frozenset({429, 500, 502, 503, 504})  # the server may offer the stream a little later
MOST_MIRRORED = 1024  # tools whose parameters have headers
MOST_NAME_CHARS = 1024
PLAIN_HEADERS = {"Content-Type": JSON, "Accept": BOTH}


class _StreamableSession:
    """The known facts about one session.

    Attributes:
        id: given by the server, or None.
        revision: of MCP, as agreed in the opening; None without one.
    """

    def __init__(self) -> None:
        self.id: str | None = None
        self.revision: str | None = None
        self._mirrored: dict[str, request_headers.Mirrored] = {}

    def begin(self, answer: aiohttp.ClientResponse) -> None:
        """Take the session id from the answer to an opening; an invalid one is ignored."""
        session_id = answer.headers.get(SESSION_ID)
        is_valid = session_id is not None and is_session_id(session_id)
        self.id = session_id if is_valid else None

    def headers(self, value: JsonValue) -> dict[str, str]:
        """The headers of a request.

        Args:
            value: the message in its body; None without one.
        """
        headers = dict(PLAIN_HEADERS)
        if isinstance(value, dict) and request_headers.find_revision(value) is not None:
            name = as_object(value.get("params")).get("name")
            mirrored = self._mirrored.get(name, {}) if type(name) is str else {}
            return headers | request_headers.make_headers(value, mirrored)
        if self.id is not None:
            headers[SESSION_ID] = self.id
        if self.revision is not None:
            headers[request_headers.VERSION] = self.revision
        return headers

    def learn(self, request: JsonObject, result: JsonObject) -> None:
        """Remember the agreed revision, and which parameters of tools are repeated in headers."""
        if request.get("method") == "initialize":
            revision = result.get("protocolVersion")
            is_valid = type(revision) is str and is_session_id(revision)  # fits into a header
            self.revision = str(revision) if is_valid else None
        tools = result.get("tools")
        if request.get("method") != "tools/list" or not isinstance(tools, list):
            return
        for tool in tools:
            name = as_object(tool).get("name")
            if type(name) is str and len(name) <= MOST_NAME_CHARS:
                self._mirrored.pop(name, None)
                mirrored = request_headers.find_mirrored(tool)
                if mirrored and len(self._mirrored) >= MOST_MIRRORED:
                    del self._mirrored[next(iter(self._mirrored))]  # the oldest
                if mirrored:
                    self._mirrored[name] = mirrored


class StreamableChannel(InboxChannel):
    """One conversation with a server over Streamable HTTP.

    Args:
        remote: the server.
        http: connections to it.
        older: opens a channel of the older transport, if the server speaks that. It is called
            when the opening is answered with 400, 404 or 405 (MCP 2025-06-18, basic/transports,
            "Backwards Compatibility").
    """

    def __init__(
        self,
        remote: Remote,
        http: aiohttp.ClientSession,
        older: Callable[[], Awaitable[RemoteChannel | None]] | None = None,
    ) -> None:
        super().__init__()
        self._endpoint = RemoteEndpoint(remote, http)
        self._open_older = older
        self._older: RemoteChannel | None = None  # in use instead of this channel
        self._session = _StreamableSession()
        self._reader = partial(
            AnswerReader, learn=self._session.learn, limit_bytes=remote.limit_bytes
        )
        self._requests: dict[str, asyncio.Task[None]] = {}  # by id
        self._reopening = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None

    # --- the channel --------------------------------------------------------------------

    async def write(self, frame: bytes) -> None:
        """Send a frame; its answers are read later, without delaying other frames.

        Raises:
            ChannelClosed: this side was closed.
        """
        sent = await self._parse(frame)
        if self._older is not None:
            await self._older.write(frame)
            return
        if not sent.ids:
            if not self._cancels(sent):
                self._last_notified = self._tasks.begin(self._notify(sent))
            return
        task = self._tasks.begin(self._request(sent))
        for token in sent.ids:
            self._requests[token] = task

    async def drain(self) -> None:
        """Wait until every request is answered."""
        while self._older is None and (tasks := self._tasks - {self._listening}):
            await asyncio.wait(tasks)
        if self._older is not None:
            await self._older.drain()

    async def _hang_up(self) -> None:
        if self._older is not None:
            await self._older.close()
        if self._session.id is not None:
            with suppress(PipeGuardError, *NETWORK_ERRORS):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    headers = self._session.headers(None)
                    (await self._endpoint.send("DELETE", headers)).release()

    # --- sending ------------------------------------------------------------------------

    def _cancels(self, frame: SentFrame) -> bool:
        """Cancel a request by ending its stream, if it has no session (2026-07-28)."""
        if self._session.revision is not None:
            return False
        task = self._requests.get(correlator.cancelled_id(frame.value) or "")
        if task is not None:
            task.cancel()
        return task is not None

    async def _notify(self, frame: SentFrame) -> None:
        """Send a notification, after the one before it."""
        await frame.wait_turn()
        with suppress(PipeGuardError, Unreadable, *NETWORK_ERRORS):
            async with await self._post(frame) as answer:
                is_accepted = answer.status < HTTPStatus.BAD_REQUEST
            if is_accepted and frame.method == INITIALIZED:
                self._initialized = frame
                if self._listening is None:
                    self._listening = self._tasks.begin(self._listen())

    async def _request(self, frame: SentFrame) -> None:
        """Send requests, and read until all of them are answered or lost."""
        reader = self._reader(frame.value, frame.ids, deliver=self._inbox.add)
        failure = Failure("the server cannot be reached")
        try:
            await frame.wait_turn()
            failure = await self._exchange(frame, reader)
        except asyncio.CancelledError:
            reader.unanswered.clear()  # the client cancelled it, or is gone
            raise
        finally:
            for token in frame.ids:
                self._requests.pop(token, None)
            for token in sorted(reader.unanswered):
                await self._inbox.add(failure.to_frame(token))

    async def _exchange(self, frame: SentFrame, reader: AnswerReader) -> Failure:
        """Send requests and read their answers; return why the rest of them is lost."""
        failure: Failure | None = None
        try:
            async with await self._post(frame) as answer:
                failure = _find_failure(answer)
                if answer.status in _OLDER and await self._falls_back(frame):
                    reader.unanswered.clear()
                    return failure
                if frame.method == "initialize" and answer.ok:
                    self._opening = frame
                    self._session.begin(answer)
                await reader.read(answer)
                await self._resume(reader)
        except (PipeGuardError, Unreadable) as error:
            return to_failure(error)
        except NETWORK_ERRORS as error:
            return failure or to_failure(error)  # the failure of this stage
        return failure

    async def _falls_back(self, frame: SentFrame) -> bool:
        """True if the server speaks the older transport, which then takes over the opening."""
        if frame.method != "initialize" or self._open_older is None or self._opening is not None:
            return False
        self._older = await self._open_older()
        if self._older is None:
            return False
        self._tasks.begin(self._copy(self._older))
        await self._older.write(frame.data)
        return True

    async def _copy(self, source: RemoteChannel) -> None:
        while (frame := await source.read()) is not None:
            await self._inbox.add(frame)
        self._inbox.end()

    async def _post(self, frame: SentFrame) -> aiohttp.ClientResponse:
        """Send a POST; again only if the server certainly did not accept it."""
        answer = await self._connect_and_post(frame)
        session_id = answer.request_info.headers.get(SESSION_ID)
        is_forgotten = answer.status == HTTPStatus.NOT_FOUND and session_id is not None
        if not is_forgotten or self._opening is None:
            return answer
        answer.release()
        await self._reopen(self._opening, session_id)
        return await self._connect_and_post(frame)

    async def _connect_and_post(self, frame: SentFrame) -> aiohttp.ClientResponse:
        def post() -> Awaitable[aiohttp.ClientResponse]:
            headers = self._session.headers(frame.value)
            return self._endpoint.send("POST", headers, frame.data)

        # Nothing was sent, but a server whose certificate is wrong will not change it soon.
        error, final = aiohttp.ClientConnectorError, aiohttp.ClientSSLError
        return await try_often(post, error, lambda failed: isinstance(failed, final))

    # --- the session --------------------------------------------------------------------

    async def _reopen(self, opening: SentFrame, forgotten: str | None) -> None:
        """Open another session as the client did, because the server has forgotten this one.

        MCP 2025-06-18, basic/transports, "Session Management": after 404 a client MUST start again.

        Raises:
            PipeGuardError: the server accepts no new session.
        """
        async with self._reopening:
            if self._session.id != forgotten:
                return  # another request has opened it
            try:
                async with asyncio.timeout(REOPEN_SECONDS):
                    await self._send_opening(opening)
            except TimeoutError:
                raise PipeGuardError("the server accepts no new session in time") from None
            if self._initialized is not None:
                headers = self._session.headers(self._initialized.value)
                async with await self._endpoint.send("POST", headers, self._initialized.data):
                    pass
            if self._listening is not None:
                self._listening.cancel()
                self._listening = self._tasks.begin(self._listen())

    async def _send_opening(self, opening: SentFrame) -> None:
        reader = self._reader(opening.value, opening.ids[:1], deliver=_drop)
        async with await self._endpoint.send("POST", PLAIN_HEADERS, opening.data) as answer:
            if not answer.ok:
                raise PipeGuardError(f"the server accepts no new session (HTTP {answer.status})")
            await reader.read(answer)
            if reader.unanswered:
                raise PipeGuardError("the server accepts no new session")
            self._session.begin(answer)

    # --- streams ------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Read the stream of unrequested messages, for as long as the server offers one."""
        reader = self._reader(None, [], deliver=self._inbox.add)
        pauses = backoff()
        while not self._closed:
            reader.retry_seconds = 0.0
            with suppress(PipeGuardError, Unreadable, *NETWORK_ERRORS):
                lasted_seconds = await self._read_stream(reader)
                if lasted_seconds is None:
                    return
                if lasted_seconds > STEADY_SECONDS:
                    pauses = backoff()
            await asyncio.sleep(max(reader.retry_seconds, next(pauses)))

    async def _resume(self, reader: AnswerReader) -> None:
        """Resume a broken stream until all requests are answered, or the server refuses."""
        deadline = monotonic() + RESUME_SECONDS
        pauses = backoff()
        while reader.unanswered and reader.cursor is not None and self._session.revision:
            await asyncio.sleep(max(reader.retry_seconds, next(pauses)))
            with suppress(*NETWORK_ERRORS):
                lasted_seconds = await self._read_stream(reader)
                if lasted_seconds is None:
                    return
                if lasted_seconds:
                    deadline = monotonic() + RESUME_SECONDS
            if monotonic() > deadline:
                return

    async def _read_stream(self, reader: AnswerReader) -> float | None:
        """Read a stream of events once, to its end.

        Returns:
            How many seconds it lasted, 0 if there was none; None if the server never offers it.
        """
        headers = self._session.headers(None) | {"Accept": EVENTS}
        if reader.cursor is not None:
            headers[LAST_EVENT_ID] = reader.cursor
        async with await self._endpoint.send("GET", headers) as answer:
            if media_type(answer) == EVENTS and answer.ok:
                began = monotonic()
                await reader.read_events(answer)
                return monotonic() - began
            return 0.0 if answer.status in _TRANSIENT else None


def _find_failure(answer: aiohttp.ClientResponse) -> Failure:
    """Why an answer would be lost now that the server has sent a status."""
    if media_type(answer) == EVENTS:
        return Failure(CONNECTION_LOST)
    return Failure(describe_status(answer.status), sent=answer.status != challenge.UNAUTHORIZED)


async def _drop(_: bytes) -> None:
    """Drop a frame."""

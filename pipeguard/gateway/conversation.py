"""One client's conversation with the gateway: a Channel whose far side is many guarded servers.

Speaks MCP with the client and finds out for each message which server it is for; what a server
says comes back under the ids and tokens that the client knows. Judges nothing: each server is
behind a Session of its own (`leg`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pipeguard.core.finding import MessageKind
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.ids import id_of, id_token_of
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.peers import CAPABILITIES
from pipeguard.gateway.leg import Leg, Opening
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.tasks import Tasks

REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
INVALID_PARAMS = -32602


class Declined(Exception):  # noqa: N818  becomes the answer to one request
    """A request that the gateway itself answers with an error."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class ClientRequest:
    """A client's request while it is being answered.

    Attributes:
        method: of it.
        params: of it; empty where there are none.
        token: the id, as it stood in the frame.
    """

    __slots__ = ("_went", "method", "params", "token")

    def __init__(self, message: Message) -> None:
        params = message.value.get("params")
        self.method = message.method or ""
        self.params: JsonObject = params if isinstance(params, dict) else {}
        self.token = message.id_token or ""
        self._went: tuple[Leg, JsonValue] | None = None

    @property
    def progress(self) -> JsonValue:
        """The token under which the client wants to hear of progress; None where it does not."""
        meta = self.params.get("_meta")
        return meta.get("progressToken") if isinstance(meta, dict) else None

    @classmethod
    def like(cls, other: ClientRequest) -> ClientRequest:
        """A request of ours in the course of a client's: without its cursor and its progress."""
        request = cls.__new__(cls)
        request.method, request.params, request.token = other.method, {}, other.token
        request._went = None
        return request

    def went(self, leg: Leg, number: JsonValue) -> None:
        """It was sent to a server, under an id of ours."""
        self._went = leg, number

    async def cancel(self, reason: JsonValue) -> None:
        """Tell the server, if it has it, that nobody waits any more."""
        if self._went is not None:
            leg, number = self._went
            params: JsonObject = {"requestId": number}
            if reason is not None:
                params["reason"] = reason
            await leg.notify("notifications/cancelled", params)


class Answers(Protocol):
    """What answers the requests of one client."""

    async def answer(self, request: ClientRequest) -> JsonObject:
        """The answer: an object with `result`, or with `error`.

        Raises:
            Declined: the gateway itself answers with an error.
        """

    async def broadcast(self, method: str, params: JsonObject) -> None:
        """Tell all servers that are open for this client."""

    def shown(self, leg: Leg, message: Message) -> JsonObject | None:
        """A server's notification as the client may read it; None where it is not for it."""

    async def close(self) -> None:
        """Hang up on all servers."""


class GatewayChannel:
    """A client's side of the gateway.

    Args:
        answers: makes what answers its requests.

    Attributes:
        opening: what the client said of itself.
    """

    def __init__(self, answers: Callable[[GatewayChannel], Answers]) -> None:
        self.opening = Opening({}, {"name": "unknown", "version": "0"})
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._tasks = Tasks()
        self._under_way: dict[str, tuple[ClientRequest, asyncio.Task[None]]] = {}
        self._progress: dict[tuple[Leg, str], JsonValue] = {}  # the client's tokens, by ours
        self._asked: dict[str, tuple[Leg, Message]] = {}  # by the servers, under ids of ours
        self._count = 0
        self._closed = False
        self._answers = answers(self)

    # --- as a channel -------------------------------------------------------------------

    async def read(self) -> bytes | None:
        """The next frame for the client; None at the end."""
        if self._closed and self._inbox.empty():
            return None
        return await self._inbox.get()

    async def write(self, frame: bytes) -> None:
        """Take a frame of the client's.

        Raises:
            ChannelClosed: this side was closed.
        """
        if self._closed:
            raise ChannelClosed("closed")
        parsed = parse(frame)  # the Session before us has refused what is no message
        for member in parsed if isinstance(parsed, list) else [parsed]:
            message = member if isinstance(member, Message) else parse(serialise(member))
            if isinstance(message, Message):
                await self._take(message)

    async def close(self) -> None:
        """Hang up on all servers."""
        if not self._closed:
            self._closed = True
            self._inbox.put_nowait(None)
            await self._tasks.end()
            await self._answers.close()

    async def drain(self) -> None:
        """Wait until every request of the client's is answered."""
        while self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()])

    def say(self, value: JsonObject) -> None:
        """Send the client a message."""
        if not self._closed:
            self._inbox.put_nowait(serialise(value))

    async def ask(
        self, leg: Leg, request: ClientRequest, params: JsonObject, method: str = ""
    ) -> JsonObject:
        """Pass a client's request on to a server.

        Args:
            leg: to the server.
            request: whose cancellation and progress it shares.
            params: as the server is to read them.
            method: as the server is to read it; the client's own where it is empty.

        Returns:
            The server's answer, with `result` or `error`.
        """
        tokens: list[str] = []

        def began(number: Number) -> None:
            request.went(leg, number)
            if request.progress is not None:
                tokens.append(number)
                self._progress[leg, number] = request.progress

        try:
            wants = request.progress is not None
            return await leg.request(method or request.method, params, began, with_progress=wants)
        finally:
            for token in tokens:
                self._progress.pop((leg, token), None)

    # --- from the client ----------------------------------------------------------------

    async def _take(self, message: Message) -> None:
        if message.kind is MessageKind.REQUEST:
            request = ClientRequest(message)
            task = self._tasks.begin(self._serve(request))
            self._under_way[request.token] = request, task
        elif message.kind is MessageKind.NOTIFICATION:
            await self._hear(message)
        else:
            leg, asked = self._asked.pop(message.id_token or "", (None, None))
            if leg is not None and asked is not None:
                await leg.answer({**message.value, "id": asked.value["id"]})

    async def _serve(self, request: ClientRequest) -> None:
        try:
            answer = await self._answers.answer(request)
        except Declined as declined:
            answer = {"error": {"code": Number(str(declined.code)), "message": str(declined)}}
        except Exception:
            why = "PipeGuard failed on this request"
            self._reply(request, {"error": {"code": Number(str(codes.INTERNAL)), "message": why}})
            raise
        finally:
            self._under_way.pop(request.token, None)
        self._reply(request, answer)

    def _reply(self, request: ClientRequest, answer: JsonObject) -> None:
        outcome = "result" if "result" in answer else "error"
        self.say({"jsonrpc": "2.0", "id": id_of(request.token), outcome: answer[outcome]})

    async def _hear(self, message: Message) -> None:
        params = message.value.get("params")
        body = params if isinstance(params, dict) else {}
        if message.method == "notifications/cancelled":
            token = id_token_of(body.get("requestId"))
            request, task = self._under_way.pop(token or "", (None, None))
            if request is not None and task is not None:
                await request.cancel(body.get("reason"))
                task.cancel()
        elif message.method == "notifications/progress":
            token = id_token_of(body.get("progressToken"))
            for leg, asked in self._asked.values():
                if token is not None and _progress_of(asked) == token:
                    await leg.notify(message.method, body)
        elif message.method == "notifications/roots/list_changed":
            await self._answers.broadcast(message.method, body)

    # --- from the servers: LegListener ------------------------------------------------------

    def requested(self, leg: Leg, message: Message) -> None:
        """A server asks the client something, if the client said that it answers that."""
        self._tasks.begin(self._request(leg, message))

    async def _request(self, leg: Leg, message: Message) -> None:
        method = message.method or ""
        answer: JsonObject = {"jsonrpc": "2.0", "id": message.value["id"]}
        if method == "ping":
            await leg.answer({**answer, "result": {}})
        elif CAPABILITIES.get(method) not in self.opening.capabilities:
            why = "PipeGuard: the client does not answer this"
            code = Number(str(codes.METHOD_NOT_FOUND))
            await leg.answer({**answer, "error": {"code": code, "message": why}})
        else:
            self._count += 1
            token = str(self._count)
            self._asked[token] = leg, message
            self.say({**message.value, "id": Number(token)})

    def notified(self, leg: Leg, message: Message) -> None:
        """A server says something: to the client under the tokens that it knows."""
        params = message.value.get("params")
        body = params if isinstance(params, dict) else {}
        if message.method == "notifications/progress":
            token = self._progress.get((leg, id_token_of(body.get("progressToken")) or ""))
            if token is not None:
                self.say({**message.value, "params": {**body, "progressToken": token}})
        elif message.method == "notifications/cancelled":
            self._withdraw(leg, id_token_of(body.get("requestId")), body.get("reason"))
        else:
            shown = self._answers.shown(leg, message)
            if shown is not None:
                self.say(shown)

    def lost(self, leg: Leg) -> None:
        """A server is gone: what it asked needs no answer any more."""
        for asker, message in list(self._asked.values()):
            if asker is leg:
                self._withdraw(leg, message.id_token, "the server is gone")

    def _withdraw(self, leg: Leg, id_token: str | None, reason: JsonValue) -> None:
        for token, (asker, message) in list(self._asked.items()):
            if asker is leg and message.id_token == id_token:
                del self._asked[token]
                params: JsonObject = {"requestId": Number(token)}
                if reason is not None:
                    params["reason"] = reason
                self.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})


def _progress_of(message: Message) -> str | None:
    params = message.value.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return id_token_of(meta.get("progressToken")) if isinstance(meta, dict) else None

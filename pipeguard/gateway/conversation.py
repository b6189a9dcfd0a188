"""One client's conversation with the gateway: a Channel whose far side is many guarded servers.

Speaks MCP with the client and finds the server that each message is for; messages from servers get
the ids and tokens that the client knows. Judges nothing: each server is behind a Session of its own
(`leg`), opened when it is first needed: once for a client after a handshake, and once for requests
without one.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from secrets import token_hex
from typing import NamedTuple

from pipeguard.firewall.finding import MessageKind
from pipeguard.firewall.protocol import codes, methods
from pipeguard.firewall.protocol.answers import creates_task
from pipeguard.firewall.protocol.ids import read_id, write_id
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.replies import make_notice
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.eras import (
    UNKNOWN,
    Declined,
    Opening,
    find_meta,
    refusal,
    with_envelope,
    without_envelope,
    write_message,
)
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.transports.bounded import Outbox
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.http.client.shared_settings import is_logged
from pipeguard.transports.http.correlator import RELATED_TASK
from pipeguard.transports.judging import read_message, to_frame
from pipeguard.transports.tasks import Tasks

TASK_SEPARATOR = "/"

INBOX_BYTES = 4 * 2**20  # unread by the client; above that it is not read either
MOST_TASKS = 1_024  # whose progress is forwarded
FINISHING_SECONDS = 1.0  # for subscriptions to be answered when the gateway ends


class _Question(NamedTuple):
    """A server's request to the client.

    Attributes:
        leg: to the server.
        message: the server's request.
        answer: resolved by the answer; None if the answer is forwarded to the server unchanged.
    """

    leg: Leg
    message: Message
    answer: asyncio.Future[JsonObject] | None = None

    @property
    def progress(self) -> JsonValue:
        """The server's progress token; None if it wants no progress."""
        return find_meta(self.message.params).get("progressToken")


class GatewayClient(ABC):
    """One client of the gateway, as the parts that answer it see it; a subclass takes its requests.

    Args:
        gateway: all servers.
        token: the name of its token, or empty.
        session_id: of its session, or empty.

    Attributes:
        access: of the client.
        owner: identifies the client: its token, or this conversation.
        opening: the client's description of itself.
        tape: of its record; None if there is none.
    """

    def __init__(self, gateway: Gateway, token: str, session_id: str = "") -> None:
        self.gateway, self.access = gateway, gateway.access(token)
        self.token, self.session_id = token, session_id
        self.owner: Hashable = token or object()
        self.opening = Opening({}, UNKNOWN)
        self.tape = gateway.begin_tape()
        self._inbox = Outbox(INBOX_BYTES)
        self._tasks = Tasks()
        self._under_way: dict[str, ClientRequest] = {}
        self._progress: dict[tuple[Leg, str], JsonValue] = {}  # the client's tokens, by ours
        self._task_progress: OrderedDict[tuple[Leg, str], JsonValue] = OrderedDict()
        self._questions: dict[str, _Question] = {}  # of the servers, under ids of ours
        self._count = 0
        self._legs: dict[tuple[str, bool], asyncio.Task[Leg]] = {}
        self._is_closing = self._closed = self._has_hung_up = False

    @abstractmethod
    async def answer(self, request: ClientRequest) -> JsonObject:
        """The answer: an object with `result`, or with `error`.

        Raises:
            Declined: the gateway itself answers with an error.
        """

    @abstractmethod
    def show_message(self, leg: Leg, message: Message) -> JsonObject | None:
        """A server's notification in the client's form; None if it is not for this client."""

    @abstractmethod
    def announce_lists(self, kinds: frozenset[str], *servers: str) -> None:
        """Announce changed lists of these servers, or of the gateway if none are named."""

    @abstractmethod
    def finish(self) -> None:
        """Answer requests that would otherwise stay open: the client hangs up."""

    @abstractmethod
    async def open_server(self, server: str, opening: Opening) -> Leg:
        """Open a conversation with a server that the client may use.

        Raises:
            Unavailable: it may not, or the server does not answer.
        """

    @abstractmethod
    async def open_leg(self, server: str, opening: Opening, listener: LegListener) -> Leg:
        """Open a conversation for a single listener, with the same arguments."""

    # --- its servers ----------------------------------------------------------------------

    async def leg(self, server: str, opening: Opening) -> Leg:
        """The conversation with a server, which is opened if it is not open.

        Args:
            server: its name.
            opening: the client's description of itself.

        Raises:
            Unavailable: the server does not answer.
        """
        if self._has_hung_up:
            raise Unavailable("the client hung up")
        key = server, opening.is_stateless
        task = self._legs.get(key)
        is_good = self.gateway.use(server)
        if task is None or (task.done() and not (_is_open(task) and is_good)):
            task = self._legs[key] = asyncio.ensure_future(self.open_server(server, opening))
        elif task.done():
            return task.result()
        return await asyncio.shield(task)  # others wait for it as well

    def open_legs(self) -> list[Leg]:
        """The open conversations."""
        return [task.result() for task in self._legs.values() if task.done() and _is_open(task)]

    async def hang_up(self) -> None:
        """Hang up on all servers."""
        self._has_hung_up = True
        for task in self._legs.values():
            task.cancel()
        await asyncio.gather(*self._legs.values(), return_exceptions=True)
        for task in self._legs.values():
            if not task.cancelled() and task.exception() is None:
                await task.result().close()
        if self.tape is not None:
            self.tape.end()

    def may_hear(self, leg: Leg, message: Message) -> bool:
        """True if the client may use the part of a server that a message is about."""
        return self.access.may_use(leg.server, message.method or "")

    # --- as a channel -------------------------------------------------------------------

    async def read(self) -> bytes | None:
        """The next frame for the client; None at the end."""
        if self._closed and not len(self._inbox):
            return None
        return await self._inbox.get()

    async def write(self, frame: bytes) -> None:
        """Take a frame from the client; wait while it does not read its answers.

        Raises:
            ChannelClosed: this side was closed.
        """
        while self._inbox.is_full and not self._is_closing:
            await self._inbox.wait_taken()
        if self._is_closing:
            raise ChannelClosed("closed")
        parsed = await read_message(frame)  # the Session before us has refused invalid ones
        for member in parsed if isinstance(parsed, list) else [parsed]:
            message = member if isinstance(member, Message) else parse(ParsedFrame.write(member))
            if isinstance(message, Message):
                await self._take(message)

    async def close(self) -> None:
        """Hang up on all servers, once subscriptions are answered."""
        if not self._is_closing:
            self._is_closing = True
            self.finish()
            listening = [
                each.task for each in self._under_way.values() if each.method == methods.LISTEN
            ]
            if listening:
                await asyncio.wait(listening, timeout=FINISHING_SECONDS)
            self._closed = True
            self._inbox.end()
            await self._tasks.end()
            await self.hang_up()

    async def drain(self) -> None:
        """Wait until all the client's requests are answered."""
        self.finish()
        while self._under_way:
            await asyncio.wait([request.task for request in self._under_way.values()])

    def leave(self, id_token: str) -> None:
        """Forget a request that has reached no server: its client left."""
        request = self._under_way.get(id_token)
        if request is not None and request.is_unsent:
            del self._under_way[id_token]
            request.task.cancel()
            error = refusal(codes.PEER_GONE, "the client hung up")
            self.say({"jsonrpc": "2.0", "id": read_id(id_token), **error})

    def say(self, value: JsonObject) -> None:
        """Send the client a message; drop notifications if it does not read."""
        if not self._closed and ("id" in value or not self._inbox.is_full):
            self._inbox.put(serialise(value))

    async def ask(
        self, leg: Leg, request: ClientRequest, params: JsonObject, method: str = ""
    ) -> JsonObject:
        """Forward a client's request to a server.

        Args:
            leg: to the server.
            request: the client's request, for its cancellation and progress.
            params: as the server is to read them, before translation to its era.
            method: as the server is to read it; the client's own if empty.

        Returns:
            The server's answer, with `result` or `error`.
        """
        if leg.is_stateless:
            params = with_envelope(params, request.opening)
        elif request.opening.is_stateless:
            params = without_envelope(params)
        answer: JsonObject = {}
        request.is_unsent = True
        try:
            answer = await leg.request(
                method or request.method,
                restore_task_ids(leg.server, params),
                partial(self.begin_call, request, leg),
                answered=request.note_answer,
                with_progress=request.progress is not None,
            )
        finally:
            request.is_unsent = False
            if request.number is not None:
                self.end_call(leg, request.number, answer)
        return answer

    def begin_call(self, request: ClientRequest, leg: Leg, number: Number) -> None:
        """Note that a server works on a client's request, for progress and cancellation."""
        request.leg, request.number, request.is_unsent = leg, number, False
        if request.progress is not None:
            self._progress[leg, number] = request.progress

    def end_call(self, leg: Leg, number: Number, answer: JsonObject) -> None:
        """Note a server's answer; it may continue to work on a task."""
        progress, result = self._progress.pop((leg, number), None), answer.get("result")
        if progress is not None and isinstance(result, dict) and creates_task(result):
            while len(self._task_progress) >= MOST_TASKS:
                self._task_progress.popitem(last=False)
            self._task_progress[leg, number] = progress

    def give_up(self, request: ClientRequest, reason: JsonValue) -> None:
        """Cancel a request at its server, without waiting for the server to read that."""
        cancelling = request.cancelling(reason)
        if cancelling is not None:
            self._tasks.begin(cancelling)

    def wants_log(self, leg: Leg, level: str) -> bool:
        """True if a request in progress at this server asks for log lines of a level."""
        return any(
            request.leg is leg and is_logged(level, request.log_level)
            for request in self._under_way.values()
        )

    async def question(self, leg: Leg, method: str, params: JsonObject | None) -> JsonObject:
        """Ask a client with a handshake a question that no request of the server's contains.

        Returns:
            The client's answer; empty if the question cannot be asked.
        """
        value = {**write_message(method, params), "id": Number("0")}
        message = parse(ParsedFrame.write(value))
        if not isinstance(message, Message):
            return {}
        answer = asyncio.get_running_loop().create_future()
        token = self._put_question(_Question(leg, message, answer))
        try:
            said: JsonObject = await answer
            return said
        finally:
            self._questions.pop(token, None)

    def ask_user(self, leg: Leg, params: JsonObject) -> None:
        """Ask the client's user a question of PipeGuard's; nothing waits for the answer."""
        self._tasks.begin(self.question(leg, "elicitation/create", params))

    def tell_audit_loss(self) -> None:
        """Warn the client of lost audit rows; without a handshake it only gets requested logs."""
        if not self.opening.is_stateless:
            self.say(make_notice())

    # --- from the client ----------------------------------------------------------------

    async def _take(self, message: Message) -> None:
        if message.kind is MessageKind.REQUEST:
            request = ClientRequest.read(message, self.opening)
            request.task = self._tasks.begin(self._serve(request))
            self._under_way[request.token] = request
        elif message.kind is MessageKind.NOTIFICATION:
            await self._hear(message)
        elif question := self._questions.pop(message.id_token or "", None):
            if question.answer is None:
                asked, server = question.message.value, question.leg.server
                answer: JsonObject = {**message.value, "id": asked["id"]}
                if isinstance(result := answer.get("result"), dict):
                    answer["result"] = restore_task_ids(server, result)
                # A server that does not read must not delay the others.
                self._tasks.begin(question.leg.send(answer))
            elif not question.answer.done():
                question.answer.set_result(message.value)

    async def _serve(self, request: ClientRequest) -> None:
        try:
            try:
                answer = await self.answer(request)
            except Declined as declined:
                answer = declined.error()
            except Exception:
                await self._reply(request, refusal(codes.INTERNAL, "it failed on this request"))
                raise
            await self._reply(request, answer)
        finally:
            # One that was cancelled is not there any more, and its id may be another one's by now.
            if self._under_way.get(request.token) is request:
                del self._under_way[request.token]

    async def _reply(self, request: ClientRequest, answer: JsonObject) -> None:
        outcome = "result" if "result" in answer else "error"
        frame = request.readdress(answer[outcome])
        if frame is None:
            told: JsonObject = {"jsonrpc": "2.0", "id": read_id(request.token)}
            frame = await to_frame({**told, outcome: answer[outcome]})
        if not self._closed:
            self._inbox.put(frame)

    async def _hear(self, message: Message) -> None:
        body = message.params
        if message.method == "notifications/cancelled":
            token = write_id(body.get("requestId"))
            request = self._under_way.pop(token or "", None)
            if request is not None:
                self.give_up(request, body.get("reason"))
                request.task.cancel()
        elif message.method == "notifications/progress":
            question = self._questions.get(write_id(body.get("progressToken")) or "")
            if question is not None and question.progress is not None:
                own: JsonObject = {**body, "progressToken": question.progress}
                await question.leg.notify(message.method, own)
        elif message.method == "notifications/roots/list_changed":
            for leg in self.open_legs():
                if not leg.is_stateless:
                    await leg.notify(message.method, body)

    # --- from the servers: LegListener ------------------------------------------------------

    def receive_request(self, leg: Leg, message: Message) -> None:
        """Forward a server's request to the client, if it declared that it answers such."""
        self._tasks.begin(self._request(leg, message))

    async def _request(self, leg: Leg, message: Message) -> None:
        is_answered = self.opening.answers(message.method or "", message.params)
        if is_answered and self.may_hear(leg, message):
            self._put_question(_Question(leg, message))
        else:
            await leg.decline(message, "the client does not answer this")

    def _put_question(self, question: _Question) -> str:
        self._count += 1
        token = str(self._count)
        self._questions[token] = question
        value: JsonObject = {**question.message.value, "id": Number(token)}
        if isinstance(params := value.get("params"), dict):
            params = show_task_ids(question.leg.server, params)
            if params.get("mode") == "url":  # MCP 2026-07-28 has no such id, 2025-11-25 needs one
                params = {"elicitationId": f"pipeguard-{token_hex(8)}", **params}
            if question.progress is not None:
                meta = {**find_meta(params), "progressToken": Number(token)}
                params = {**params, "_meta": meta}
            value["params"] = params
        self.say(value)
        return token

    def receive_notification(self, leg: Leg, message: Message) -> None:
        """Forward a server's notification under the tokens that the client knows."""
        body = message.params
        if message.method == "notifications/progress":
            key = leg, write_id(body.get("progressToken")) or ""
            token = self._progress.get(key, self._task_progress.get(key))
            if token is not None:
                body = show_task_ids(leg.server, {**body, "progressToken": token})
                self.say({**message.value, "params": body})
        elif message.method == "notifications/cancelled":
            self._withdraw(leg, write_id(body.get("requestId")), body.get("reason"))
        else:
            shown = self.show_message(leg, message)
            if shown is not None:
                self.say(shown)

    def lose_server(self, leg: Leg) -> None:
        """Forget a server that is gone, and withdraw its questions."""
        for key in [key for key in self._task_progress if key[0] is leg]:
            del self._task_progress[key]
        for question in list(self._questions.values()):
            if question.leg is leg:
                self._withdraw(leg, question.message.id_token, "the server hung up")

    def _withdraw(self, leg: Leg, id_token: str | None, reason: JsonValue) -> None:
        for token, question in list(self._questions.items()):
            if question.leg is leg and question.message.id_token == id_token:
                del self._questions[token]
                if question.answer is not None and not question.answer.done():
                    question.answer.set_result(refusal(codes.PEER_GONE, "the server hung up"))
                params: JsonObject = {"requestId": Number(token)}
                if reason is not None:
                    params["reason"] = reason
                self.say(write_message("notifications/cancelled", params))


def _is_open(task: asyncio.Task[Leg]) -> bool:
    return not task.cancelled() and task.exception() is None and task.result().is_open


# --- ids of tasks: `server/id` for clients, the server's own id for the server ----------------
# Source: MCP 2025-11-25, basic/utilities/tasks, "Associating Task-Related Messages".


def show_task_id(server: str, task_id: str) -> str:
    """The id under which clients know a task."""
    return f"{server}{TASK_SEPARATOR}{task_id}"


def show_task_ids(server: str, body: JsonObject) -> JsonObject:
    """Rename the tasks in a server's message, including one in `_meta`."""
    return _rename_task(body, lambda task_id: show_task_id(server, task_id))


def restore_task_ids(server: str, body: JsonObject) -> JsonObject:
    """Restore the servers' names of tasks in a client's message, including one in `_meta`."""
    return _rename_task(body, lambda task_id: task_id.removeprefix(show_task_id(server, "")))


def _rename_task(body: JsonObject, rename: Callable[[str], str]) -> JsonObject:
    meta = find_meta(body)
    related = read_object(meta, RELATED_TASK)
    task_id = related.get("taskId")
    if type(task_id) is not str:
        return body
    return {**body, "_meta": {**meta, RELATED_TASK: {**related, "taskId": rename(task_id)}}}

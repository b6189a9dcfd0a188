"""Requests that wait for an answer, in one direction. Knows ids, methods and times only.

Has no lock of its own: its callers hold the lock of the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeguard.errors import Refusal
from pipeguard.firewall.budgets import measure_text, size_of_all
from pipeguard.firewall.protocol import codes, ids, json_values
from pipeguard.firewall.protocol.message import Message
from pipeguard.records import NamedTuple

REMEMBERED_SECONDS = 60.0  # a late answer to a cancelled request is tolerated for so long
MAX_REMEMBERED = 1024  # cancelled requests, and as many tasks that report progress
MAX_OPEN_BYTES = 16 * 2**20  # of open requests: a peer chooses the length of ids and names
MAX_CALL_BYTES = 8 * 2**20  # of calls' values and targets, not kept beyond that
MAX_CANCELLED_BYTES = 2**18
MAX_TASKS_BYTES = 2**20
REQUEST_BYTES = 512  # of a request without its texts

_NONE: frozenset[str] = frozenset()


class TargetFacts(NamedTuple):
    """The files and hosts that a request is about.

    Attributes:
        names: of the files, and of the hosts.
        fetches: True if it fetches its result from another machine.
        file_kind: the kind of the files that it reads, by their names (detect.model.data_literals).
        are_for_agents: True if all are source code, or files that agents are meant to read.
    """

    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    fetches: bool = False
    file_kind: int = 0
    are_for_agents: bool = False


class Targets:
    """Facts about a request, which are read when something is found: most requests need none.

    Args:
        read: reads the facts, from values that it keeps until then; None if there are none.
        size_bytes: of these values.
    """

    def __init__(self, read: Callable[[], TargetFacts] | None = None, size_bytes: int = 0) -> None:
        self._facts = TargetFacts()
        self._read = read
        self.size_bytes = size_bytes

    @property
    def facts(self) -> TargetFacts:
        """The facts."""
        if (read := self._read) is not None:  # another thread may reset it
            self._facts = read()
            self._read = None
        return self._facts

    @property
    def is_read(self) -> bool:
        """True once the facts were used."""
        return self._read is None

    def forget(self) -> None:
        """Name nothing from now on."""
        self._facts = TargetFacts()
        self._read = None


NO_CALL = Targets()
NAMING = frozenset({"tools/call", "resources/read"})  # methods whose requests name targets


class PendingRequest:
    """A request without an answer so far.

    Attributes:
        id_token: the id as it is written in the frame.
        tool: the called tool, or None.
        since: when it came, or was forwarded after a wait, in seconds on the session's clock.
        progress_token: the JSON token under which its progress is reported, or None.
        progress: the last value reported.
        forwarded: False while it is being judged: nothing may answer it yet.
        held_event: names the verdict that makes or made it wait for a person; else empty.
        held_mark: of the call that the person decides on (`Guard.mark_call`).
        held_policy: the policy that makes it wait; None unless it waits.
        wait_outcome: the outcome of its wait, as a sentence, if it is blocked for that; else empty.
        call: the files and hosts that it names, or None.
        call_values: the short values among a call's arguments: ids, names, addresses.
        requested_lists: the lists whose changes it subscribes to (firewall.protocol.methods).
        announced_lists: the requested lists that the server granted.
        frame_bytes: the length of its frame.
        size: bytes that it takes in memory, without the call.
        call_bytes: bytes of `call` and `call_values`.
        is_method_secret: True if its method holds a secret, so that nothing may repeat it.
        is_tool_secret: True if the tool's name holds one.
        uri: of the resource that it reads; or empty.
        is_own: True for a request of PipeGuard's own to the client.
    """

    progress = float("-inf")
    forwarded = is_method_secret = is_tool_secret = False
    held_event = held_mark = wait_outcome = uri = ""
    held_policy: object = None
    call: Targets | None = None
    call_values = requested_lists = announced_lists = _NONE
    frame_bytes = call_bytes = 0
    is_own = False

    def __init__(
        self,
        id_token: str,
        method: str,
        tool: str | None,
        since: float,
        progress_token: str | None = None,
    ) -> None:
        self.id_token = id_token
        self.method = method
        self.tool = tool
        self.since = since
        self.progress_token = progress_token
        self.size = REQUEST_BYTES + measure_text(id_token, method, tool, progress_token)

    @property
    def is_held(self) -> bool:
        """True while it waits for a person: the server does not have it."""
        return self.held_policy is not None

    @property
    def record_names(self) -> tuple[str | None, str | None]:
        """Its method and tool for a record: None for one that contains a secret."""
        method = None if self.is_method_secret else self.method
        return method, None if self.is_tool_secret else self.tool


def pending_request(message: Message, now: float) -> PendingRequest:
    """The request in a message, not yet forwarded.

    Raises:
        Refusal: its progress token is neither a string nor an integer.
    """
    assert message.method is not None  # noqa: S101  a request has one
    assert message.id_token is not None  # noqa: S101  a request has one
    params = message.params
    tool = None
    progress_token = None
    name = params.get("name")
    if message.method == "tools/call" and type(name) is str:
        tool = name
    progress = json_values.as_object(params.get("_meta")).get("progressToken")
    if progress is not None:
        progress_token = ids.write_id(progress)
        if progress_token is None:
            rule = "protocol.invalid-progress-token"
            why = "a progress token is a string or an integer"
            raise Refusal(rule, why, codes.INVALID_REQUEST, message.id_token)
    request = PendingRequest(message.id_token, message.method, tool, now, progress_token)
    request.frame_bytes = len(message.frame)
    uri = params.get("uri")
    if message.method == "resources/read" and type(uri) is str:
        request.uri = uri
        request.size += measure_text(uri)
    return request


class Pending:
    """The open requests of one side, in the order in which they came.

    Over HTTP a conversation consists of exchanges, each a POST and its answers. Some clients give
    all requests the id 1 (anthropics/claude-ai-mcp#539), so ids need to differ only within an
    exchange: `fork` makes a Pending for one. Queries to the whole include its exchanges.

    Attributes:
        is_over: True for an exchange that has ended.
    """

    def __init__(self, limit: int, whole: Pending | None = None) -> None:
        self._limit = limit
        self._whole = self if whole is None else whole
        self._exchanges: dict[Pending, None] = {}
        self.is_over = False
        self._open: dict[str, PendingRequest] = {}
        self._cancelled: dict[str, float] = {}
        self._cancelled_bytes = 0
        self._by_progress: dict[str, PendingRequest] = {}
        self._tasks: dict[str, PendingRequest] = {}  # answered, and still reporting progress
        self._tasks_bytes = 0
        # Kept by the whole: open requests, with all exchanges.
        self._count = self._bytes = self._call_bytes = 0

    def fork(self) -> Pending:
        """The requests of one exchange; call `leave` at its end."""
        exchange = Pending(self._limit, self)
        self._exchanges[exchange] = None
        return exchange

    def leave(self) -> None:
        """End the exchange. Its open requests may still be answered elsewhere, after a resumption.

        MCP 2025-06-18, basic/transports, "Resumability and Redelivery".
        """
        self.is_over = True
        for request in self.own():
            if request.is_held:  # it can no longer be sent or answered
                self.drop(request)
        self._forget()

    def _forget(self) -> None:
        """Pass a finished exchange's late answers to the whole after its last request."""
        if self.is_over and not self._open:
            self._whole._exchanges.pop(self, None)
            for id_token, since in self._cancelled.items():
                self._whole._expect_late(id_token, since)

    def _expect_late(self, id_token: str, since: float) -> None:
        self._expect_none(id_token)
        self._cancelled[id_token] = since
        self._cancelled_bytes += measure_text(id_token)
        while len(self._cancelled) > MAX_REMEMBERED or self._cancelled_bytes > MAX_CANCELLED_BYTES:
            self._expect_none(next(iter(self._cancelled)))

    def _expect_none(self, id_token: str) -> None:
        if self._cancelled.pop(id_token, None) is not None:
            self._cancelled_bytes -= measure_text(id_token)

    def has_room(self, request: PendingRequest) -> bool:
        """False if the limit of open requests, or of their size, is reached."""
        whole = self._whole
        return whole._count < self._limit and whole._bytes + request.size <= MAX_OPEN_BYTES

    def open(self, request: PendingRequest) -> bool:
        """Add a request; False if its id or its progress token is in use."""
        token = request.progress_token
        if request.id_token in self._open or (token is not None and token in self._by_progress):
            return False
        self._open[request.id_token] = request
        self._whole._count += 1
        self._whole._bytes += request.size
        self._expect_none(request.id_token)
        if token is not None:
            self._by_progress[token] = request
            self._end_task(token)
        return True

    def keep_call(self, request: PendingRequest) -> None:
        """Keep a call's values, and the files and hosts it names, if there is room."""
        more = size_of_all(request.call_values)
        more += 0 if request.call is None else request.call.size_bytes
        if self._whole._call_bytes + more <= MAX_CALL_BYTES:
            request.call_bytes = more
            self._whole._call_bytes += more
        else:
            request.call = None
            request.call_values = _NONE

    def find(self, id_token: str) -> PendingRequest | None:
        """The forwarded request that an answer belongs to, or None."""
        for pending in self._all():
            request = pending._open.get(id_token)
            if request is not None and request.forwarded and not request.is_held:
                return request
        return None

    def close(self, id_token: str | None) -> PendingRequest | None:
        """Remove and return the forwarded request that an answer belongs to, or None."""
        request = None if id_token is None else self.find(id_token)
        if request is not None:
            self.drop(request)
        return request

    def match_answer(self, id_token: str | None) -> str | None:
        """The id of the request that an answer's id matches; its own if none does."""
        if id_token is None or id_token in self._open:
            return id_token
        known = [some for each in self._all() for some in (each._open, each._cancelled)]
        return ids.match_answer(id_token, lambda token: any(token in some for some in known))

    def match_progress(self, token: str) -> str:
        """The progress token of the request that a report's token matches, as `match_answer`."""
        known = [some for each in self._all() for some in (each._by_progress, each._tasks)]
        return ids.match_answer(token, lambda token: any(token in some for some in known))

    def close_all(self, id_tokens: Iterable[str]) -> list[PendingRequest]:
        """Remove and return the forwarded requests that several answers belong to."""
        closed = (self.close(self.match_answer(token)) for token in id_tokens)
        return [request for request in closed if request is not None]

    def has(self, request: PendingRequest) -> bool:
        """True while a request is open here."""
        return self._open.get(request.id_token) is request

    def drop(self, request: PendingRequest) -> bool:
        """Remove a request; False if it was no longer open."""
        for pending in self._all():
            if pending.has(request):
                request.held_policy = None
                del pending._open[request.id_token]
                self._whole._count -= 1
                self._whole._bytes -= request.size
                self._whole._call_bytes -= request.call_bytes
                if request.progress_token is not None:
                    pending._by_progress.pop(request.progress_token, None)
                pending._forget()
                return True
        return False

    def outlive(self, request: PendingRequest) -> None:
        """Accept progress of an answered request, which became a task (basic/utilities/tasks)."""
        whole = self._whole
        token = request.progress_token
        if token is None:
            return
        whole._end_task(token)
        whole._tasks[token] = request
        whole._tasks_bytes += request.size
        while len(whole._tasks) > MAX_REMEMBERED or whole._tasks_bytes > MAX_TASKS_BYTES:
            whole._end_task(next(iter(whole._tasks)))

    def _end_task(self, token: str) -> None:
        request = self._tasks.pop(token, None)
        if request is not None:
            self._tasks_bytes -= request.size

    def cancel(self, id_token: str, now: float) -> bool | None:
        """Remove a request that its sender cancels.

        `initialize` cannot be cancelled (basic/utilities/cancellation).

        Returns:
            True if it was sent, False if it waited for a person; None if it is not open.
        """
        for pending in self._whole._all():
            request = pending._open.get(id_token)
            if request is None or not request.forwarded or request.method == "initialize":
                continue
            was_sent = not request.is_held
            if was_sent:
                pending._expect_late(id_token, now)
            pending.drop(request)
            return was_sent
        return None

    def give_up(self, request: PendingRequest, now: float) -> None:
        """Remove a request and expect a late answer to it."""
        for pending in self._whole._all():
            if pending.has(request):
                pending._expect_late(request.id_token, now)
                pending.drop(request)
                return

    def was_cancelled(self, id_token: str | None, now: float) -> bool:
        """True if a late answer to this id is expected."""
        if id_token is None:
            return False
        times = [pending._cancelled.get(id_token, float("-inf")) for pending in self._all()]
        return any(now - since <= REMEMBERED_SECONDS for since in times)

    def progresses(self, token: str | None, value: float) -> bool:
        """Record reported progress; False if it belongs to no request, or goes back."""
        if token is None:
            return False
        for pending in self._whole._all():
            request = pending._by_progress.get(token) or pending._tasks.get(token)
            is_sent = request is not None and request.forwarded and not request.is_held
            if request is not None and is_sent and value >= request.progress:
                request.progress = value
                return True
        return False

    def overdue(self, now: float, timeout_seconds: float) -> list[PendingRequest]:
        """The requests that the server has had for longer than the timeout."""
        sent = (request for request in self.list_forwarded() if not request.is_held)
        return [request for request in sent if now - request.since > timeout_seconds]

    def own(self) -> list[PendingRequest]:
        """The requests of this Pending, without its exchanges' requests."""
        return list(self._open.values())

    def all(self) -> list[PendingRequest]:
        """All open requests, in the order in which they came."""
        if not self._exchanges:
            return self.own()
        waiting = [request for pending in self._all() for request in pending._open.values()]
        return sorted(waiting, key=lambda request: request.since)

    def list_forwarded(self) -> list[PendingRequest]:
        """All open requests that were forwarded, in the order in which they came."""
        return [request for request in self.all() if request.forwarded]

    def _all(self) -> tuple[Pending, ...]:
        return (self, *self._exchanges)

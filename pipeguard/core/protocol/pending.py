"""Which requests wait for an answer, in one direction. Knows ids, methods and times only.

Has no lock of its own: a Session calls it under that of its conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeguard.core.memory import size_of, size_of_all

REMEMBERED_SECONDS = 60.0  # a late answer to a cancelled request is no violation for so long
MAX_REMEMBERED = 1024  # cancelled requests, and tasks that tell of progress
MAX_OPEN_BYTES = 8 * 2**20  # of what waits in memory: ids, names and tokens are a peer's
MAX_CANCELLED_BYTES = 2**18
MAX_TASKS_BYTES = 2**20
REQUEST_BYTES = 512  # of a request beside its texts

_NONE: frozenset[str] = frozenset()


class PendingRequest:
    """A request that went on and has no answer yet.

    Attributes:
        id_token: as it stood in the frame.
        method: its method.
        tool: the called tool, or None.
        since: when it came, in seconds on the session's clock.
        progress_token: by which its progress is told, as its JSON token, or None.
        progress: the last value told.
        forwarded: False while it is being judged: nothing may answer it yet.
        about: the short values among a call's arguments: ids, names, addresses.
        asks_for: of which lists it wants to hear (core.protocol.subscriptions).
        told_of: of which of them it will.
        size: bytes that it takes in memory.
    """

    __slots__ = (
        *("about", "asks_for", "forwarded", "id_token", "method", "progress", "progress_token"),
        *("since", "size", "told_of", "tool"),
    )

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
        self.progress = float("-inf")
        self.forwarded = False
        self.about = self.asks_for = self.told_of = _NONE
        self.size = REQUEST_BYTES + size_of(id_token, method, tool, progress_token)


class Pending:
    """The open requests of one side, in the order in which they came.

    Over HTTP a conversation has exchanges, each a POST and what answers it. There are clients
    whose requests all have the id 1 (anthropics/claude-ai-mcp#539), so ids need differ within an
    exchange only: `fork` makes a Pending for one. What is asked of the whole is asked of each.
    """

    def __init__(self, limit: int, whole: Pending | None = None) -> None:
        self._limit = limit
        self._whole = self if whole is None else whole
        self._exchanges: dict[Pending, None] = {}
        self._is_over = False
        self._open: dict[str, PendingRequest] = {}
        self._cancelled: dict[str, float] = {}
        self._cancelled_bytes = 0
        self._by_progress: dict[str, PendingRequest] = {}
        self._tasks: dict[str, PendingRequest] = {}  # answered, and still telling of progress
        self._tasks_bytes = 0
        self._count = self._bytes = 0  # of the whole: what is open in it and in its exchanges

    def fork(self) -> Pending:
        """The requests of one exchange; `leave` when it is over."""
        exchange = Pending(self._limit, self)
        self._exchanges[exchange] = None
        return exchange

    def leave(self) -> None:
        """The exchange is over; what still waits may be answered elsewhere, as after a resumption.

        MCP 2025-06-18, basic/transports, "Resumability and Redelivery".
        """
        self._is_over = True
        self._forget()

    def _forget(self) -> None:
        """Of an exchange that is over and waits for nothing, only late answers are expected."""
        if self._is_over and not self._open:
            self._whole._exchanges.pop(self, None)
            for id_token, since in self._cancelled.items():
                self._whole._remember(id_token, since)

    def _remember(self, id_token: str, since: float) -> None:
        self._expect_none(id_token)
        self._cancelled[id_token] = since
        self._cancelled_bytes += size_of(id_token)
        while len(self._cancelled) > MAX_REMEMBERED or self._cancelled_bytes > MAX_CANCELLED_BYTES:
            self._expect_none(next(iter(self._cancelled)))

    def _expect_none(self, id_token: str) -> None:
        if self._cancelled.pop(id_token, None) is not None:
            self._cancelled_bytes -= size_of(id_token)

    def __len__(self) -> int:
        return self._count if self._whole is self else len(self._open)

    def has_room(self, request: PendingRequest) -> bool:
        """False where no further request may wait, or none of this size."""
        whole = self._whole
        return whole._count < self._limit and whole._bytes + request.size <= MAX_OPEN_BYTES

    def open(self, request: PendingRequest) -> bool:
        """Let a request wait; False where its id or its progress token is in use."""
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

    def describe(self, request: PendingRequest, about: frozenset[str]) -> None:
        """Keep what a waiting request is about; nothing where there is no room for that."""
        more = size_of_all(about)
        if self._whole._bytes + more <= MAX_OPEN_BYTES:
            request.about = about
            request.size += more
            self._whole._bytes += more

    def close(self, id_token: str | None) -> PendingRequest | None:
        """The request that an answer belongs to; it waits no longer. None where none does."""
        if id_token is None:
            return None
        for pending in self._all():
            request = pending._open.get(id_token)
            if request is not None and request.forwarded:
                pending.drop(request)
                return request
        return None

    def close_all(self, id_tokens: Iterable[str]) -> list[PendingRequest]:
        """The requests that several answers belong to; they wait no longer."""
        return [r for token in id_tokens if (r := self.close(token)) is not None]

    def drop(self, request: PendingRequest) -> None:
        """Forget a request that was answered otherwise."""
        for pending in list(self._all()):
            if pending._open.get(request.id_token) is request:
                del pending._open[request.id_token]
                self._whole._count -= 1
                self._whole._bytes -= request.size
                if request.progress_token is not None:
                    pending._by_progress.pop(request.progress_token, None)
                pending._forget()

    def outlive(self, request: PendingRequest) -> None:
        """Take progress of an answered request: a task was made of it (basic/utilities/tasks)."""
        whole, token = self._whole, request.progress_token
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

    def cancel(self, id_token: str, now: float) -> bool:
        """Forget a request that its sender gave up; False where none such waits.

        That which opens the conversation cannot be given up (basic/utilities/cancellation).
        """
        for pending in self._whole._all():
            request = pending._open.get(id_token)
            if request is None or not request.forwarded or request.method == "initialize":
                continue
            self.give_up(request, now)
            return True
        return False

    def give_up(self, request: PendingRequest, now: float) -> None:
        """Forget a request that was answered otherwise; a late answer to it is to be expected."""
        for pending in self._whole._all():
            if pending._open.get(request.id_token) is request:
                pending._remember(request.id_token, now)
                pending.drop(request)
                return

    def was_cancelled(self, id_token: str | None, now: float) -> bool:
        """True where a late answer to this id is to be expected."""
        if id_token is None:
            return False
        return any(
            now - pending._cancelled.get(id_token, float("-inf")) <= REMEMBERED_SECONDS
            for pending in self._all()
        )

    def progresses(self, token: str | None, value: float) -> bool:
        """Take a report of progress; False where it belongs to nothing or goes back."""
        if token is None:
            return False
        for pending in self._whole._all():
            request = pending._by_progress.get(token) or pending._tasks.get(token)
            if request is not None and request.forwarded and value >= request.progress:
                request.progress = value
                return True
        return False

    def overdue(self, now: float, timeout_seconds: float) -> list[PendingRequest]:
        """The requests that have waited for longer than this."""
        return [r for r in self.all() if r.forwarded and now - r.since > timeout_seconds]

    def own(self) -> list[PendingRequest]:
        """Those that wait here, without those of exchanges."""
        return list(self._open.values())

    def all(self) -> list[PendingRequest]:
        """The requests that wait, in the order in which they came."""
        waiting = [request for pending in self._all() for request in pending._open.values()]
        return sorted(waiting, key=lambda request: request.since) if self._exchanges else waiting

    def _all(self) -> Iterator[Pending]:
        yield self
        yield from self._exchanges

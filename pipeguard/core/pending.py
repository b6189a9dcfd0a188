"""Which requests wait for an answer, in one direction. Knows ids, methods and times only."""

from __future__ import annotations

REMEMBERED_SECONDS = 60.0  # a late answer to a cancelled request is no violation for so long
MAX_REMEMBERED = 1024  # cancelled requests, and tasks that tell of progress


class Request:
    """A request that went on and has no answer yet.

    Attributes:
        id_token: as it stood in the frame.
        method: its method.
        tool: the called tool, or None.
        since: when it came, in seconds on the session's clock.
        progress_token: by which its progress is told, as its JSON token, or None.
        progress: the last value told.
        forwarded: False while it is being judged: nothing may answer it yet.
    """

    __slots__ = (
        *("forwarded", "id_token", "method", "progress", "progress_token", "since", "tool"),
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


class Pending:
    """The open requests of one side, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, Request] = {}
        self._cancelled: dict[str, float] = {}
        self._by_progress: dict[str, Request] = {}
        self._tasks: dict[str, Request] = {}  # answered, and still telling of progress

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """True where no further request may wait."""
        return len(self._open) >= self._limit

    def open(self, request: Request) -> bool:
        """Let a request wait; False where its id or its progress token is in use."""
        token = request.progress_token
        if request.id_token in self._open or (token is not None and token in self._by_progress):
            return False
        self._open[request.id_token] = request
        self._cancelled.pop(request.id_token, None)
        if token is not None:
            self._by_progress[token] = request
            self._tasks.pop(token, None)
        return True

    def close(self, id_token: str | None) -> Request | None:
        """The request that an answer belongs to; it waits no longer. None where none does."""
        request = self._open.get(id_token) if id_token is not None else None
        if request is None or not request.forwarded:
            return None
        self.drop(request)
        return request

    def drop(self, request: Request) -> None:
        """Forget a request that was answered otherwise."""
        self._open.pop(request.id_token, None)
        if request.progress_token is not None:
            self._by_progress.pop(request.progress_token, None)

    def outlive(self, request: Request) -> None:
        """Take progress of an answered request: a task was made of it (basic/utilities/tasks)."""
        while len(self._tasks) >= MAX_REMEMBERED:
            del self._tasks[next(iter(self._tasks))]
        if request.progress_token is not None:
            self._tasks[request.progress_token] = request

    def cancel(self, id_token: str, now: float) -> bool:
        """Forget a request that its sender gave up; False where none such waits.

        That which opens the conversation cannot be given up (basic/utilities/cancellation).
        """
        request = self._open.get(id_token)
        if request is None or not request.forwarded or request.method == "initialize":
            return False
        self.drop(request)
        while len(self._cancelled) >= MAX_REMEMBERED:
            del self._cancelled[next(iter(self._cancelled))]
        self._cancelled[id_token] = now
        return True

    def was_cancelled(self, id_token: str | None, now: float) -> bool:
        """True where a late answer to this id is to be expected."""
        since = self._cancelled.get(id_token) if id_token is not None else None
        return since is not None and now - since <= REMEMBERED_SECONDS

    def progresses(self, token: str | None, value: float) -> bool:
        """Take a report of progress; False where it belongs to nothing or goes back."""
        request = self._by_progress.get(token or "") or self._tasks.get(token or "")
        if request is None or not request.forwarded or value < request.progress:
            return False
        request.progress = value
        return True

    def overdue(self, now: float, timeout_seconds: float) -> list[Request]:
        """The requests that have waited for longer than this."""
        return [r for r in self._open.values() if r.forwarded and now - r.since > timeout_seconds]

    def all(self) -> list[Request]:
        """The requests that wait, in the order in which they came."""
        return list(self._open.values())

"""The state of a conversation: who may send which message, when, and how often.

Holds open requests, the agreed revision and the declarations. Refuses by raising; knows no text.
Sources: MCP basic/lifecycle, basic/index and basic/utilities of the five revisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from threading import Lock

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    TO_CLIENT,
    TO_SERVER,
    Action,
    Direction,
    Finding,
    Severity,
    make_drop,
)
from pipeguard.firewall.policy import Limits
from pipeguard.firewall.protocol import answers, codes, peers
from pipeguard.firewall.protocol.ids import read_id, write_answered_id, write_id
from pipeguard.firewall.protocol.json_values import JsonObject, Number
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.protocol.methods import (
    ACKNOWLEDGED,
    CANCELLED,
    EXPENDABLE,
    INITIALIZED,
    LISTEN,
    LOG_MESSAGE,
    PROGRESS,
    REQUESTS_ONLY,
    acknowledge,
    read_lists,
)
from pipeguard.firewall.protocol.pending import Pending, PendingRequest
from pipeguard.firewall.session import replies

# A peer may take any time to answer these: a listen stream ends when the peer ends it.
NEVER_OVERDUE = frozenset({"subscriptions/listen", "tasks/result"})
MAX_HELD = 16  # requests that wait for a person
MAX_HELD_BYTES = 2**20  # of their frames
_REFERENCES = {CANCELLED: "requestId", PROGRESS: "progressToken"}
_EARLY = Finding(
    "protocol.before-initialized",
    "envelope",
    severity=Severity.LOW,
    action=Action.WARN,
    note="the server sent a request before the client sent notifications/initialized",
)


class ConversationState:
    """The memory of one conversation; each method takes its lock, except for single reads.

    Attributes:
        pending: open requests, by the direction in which they went.
        input_requests: the input that results asked the client for.
        peers: declarations of client and server.
        own_numbers: of frames of PipeGuard's own.
    """

    def __init__(self, limits: Limits, revision: str | None = None) -> None:
        self._lock = Lock()
        self._numbers = {direction: count(1) for direction in Direction}
        self.own_numbers = count(1)
        self._received: set[Direction] = set()
        self._quotas = {
            direction: _NotificationQuota(limits.notifications) for direction in Direction
        }
        self.pending = {direction: Pending(limits.pending) for direction in Direction}
        self.input_requests = answers.InputRequests()
        self.peers = peers.Peers()
        if revision is not None:  # the opening was not seen here, or did not happen
            self.peers.revision, self.peers.begun = revision, True

    def has_received(self, direction: Direction) -> bool:
        """True once a frame came that travels this way."""
        return direction in self._received

    def count_frame(self, direction: Direction) -> int:
        """The number of a frame that comes now, from 1, within its direction."""
        self._received.add(direction)
        return next(self._numbers[direction])

    def set_next_number(self, direction: Direction, number: int) -> None:
        """Give the next frame of a direction this number, as a record names it."""
        self._numbers[direction] = count(number)

    # --- exchanges ----------------------------------------------------------------------

    def fork(self) -> ConversationState:
        """Fork the conversation for one exchange, whose requests have ids of their own."""
        state = ConversationState.__new__(ConversationState)
        state.__dict__ |= self.__dict__
        with self._lock:
            exchange = self.pending[TO_SERVER].fork()
        state.pending = {**self.pending, TO_SERVER: exchange}
        return state

    def leave(self, *, is_sent: bool) -> None:
        """End the exchange; remove its requests if they are not sent."""
        pending = self.pending[TO_SERVER]
        with self._lock:
            for request in [] if is_sent else pending.own():
                pending.drop(request)
            pending.leave()

    # --- requests -----------------------------------------------------------------------

    def admit(
        self, direction: Direction, message: Message, request: PendingRequest
    ) -> Finding | None:
        """Add a request to the open ones.

        Returns:
            A finding about a request that may be forwarded nevertheless, or None.

        Raises:
            Refusal: it may not be sent now, or its id is in use.
        """
        with self._lock:
            finding = None
            if direction is TO_CLIENT:
                finding = self._check_server_request(message, request)
            self._open(direction, request)
            if request.method == LISTEN:
                request.requested_lists = read_lists(message.params)
        return finding

    def admit_call(self, request: PendingRequest) -> None:
        """Add a tool call of the client's to the open requests.

        Raises:
            Refusal: its id is in use, or too many wait.
        """
        with self._lock:
            self._open(TO_SERVER, request)

    def _open(self, direction: Direction, request: PendingRequest) -> None:
        pending = self.pending[direction]
        if not pending.has_room(request):
            why = "too many requests wait for an answer"
            raise Refusal("protocol.too-many-pending", why, codes.OVERLOADED, request.id_token)
        if not pending.open(request):
            why = "the id or the progress token belongs to a request that waits for its answer"
            raise Refusal("protocol.id-in-use", why, codes.INVALID_REQUEST, request.id_token)

    def request_sent(
        self, direction: Direction, request: PendingRequest, params: JsonObject
    ) -> bool:
        """Record that a request was forwarded; keep a call's values and targets if there is room.

        Args:
            direction: which way it went.
            request: the request.
            params: its params.

        Returns:
            False if it is no longer open: it was cancelled or answered, or its exchange has ended.
        """
        pending = self.pending[direction]
        with self._lock:
            if pending.is_over:
                pending.drop(request)
            if not pending.has(request):
                return False
            request.forwarded, request.held_policy = True, None
            pending.keep_call(request)
            if direction is TO_SERVER:
                self.peers.begun = True
                if request.method == "initialize":
                    self.peers.begin_handshake(params)
        return True

    def hold(self, request: PendingRequest, event_id: str, policy: object) -> bool:
        """Let the client's request wait for a person under a policy; False if it is not open."""
        pending = self.pending[TO_SERVER]
        with self._lock:
            if pending.is_over or not pending.has(request):
                return False
            request.forwarded, request.held_event, request.held_policy = True, event_id, policy
        return True

    def release(self, request: PendingRequest) -> bool:
        """End the wait of a request; False if it was answered or cancelled in the meantime."""
        with self._lock:
            request.forwarded, request.held_event, request.held_policy = False, "", None
            return self.pending[TO_SERVER].has(request)

    def find_held(self, event: str) -> PendingRequest | None:
        """The client's open request that waits or waited for a person by a verdict."""
        with self._lock:
            waiting = self.pending[TO_SERVER].all()
        return next((request for request in waiting if request.held_event == event), None)

    def server_described(self, method: str, result: JsonObject) -> None:
        """Record the server's answer to `initialize` or `server/discover`."""
        with self._lock:
            self.peers.describe_server(method, result)

    def make_own(self, id_token: str | None) -> None:
        """Mark a request to the client as PipeGuard's own, not the server's."""
        with self._lock:
            for request in self.pending[TO_CLIENT].own():
                request.is_own |= request.id_token == id_token

    def withdraw_own(self, id_token: str, now: float) -> bool:
        """Cancel a request of PipeGuard's own; False if it is no longer open."""
        with self._lock:
            return self.pending[TO_CLIENT].cancel(id_token, now) is True

    def drop(self, request: PendingRequest) -> bool:
        """Remove a request that is not forwarded; False if it was no longer open."""
        with self._lock:
            return any(pending.drop(request) for pending in self.pending.values())

    def waiting_ids(self, *, lasting: bool = True) -> list[str]:
        """The ids of the client's forwarded requests that wait, also for ever if `lasting`."""
        with self._lock:
            requests = self.pending[TO_SERVER].list_forwarded()
        return [each.id_token for each in requests if lasting or each.method not in NEVER_OVERDUE]

    def list_sent(self) -> list[list[PendingRequest]]:
        """All forwarded requests: the client's, and the server's.

        A request that is being judged at this moment is not among them: its judge answers it.
        """
        with self._lock:
            return [self.pending[direction].list_forwarded() for direction in Direction]

    def expire(self, now: float, timeout_seconds: float) -> list[PendingRequest]:
        """Remove and return the client's requests that have waited longer than the timeout."""
        pending = self.pending[TO_SERVER]
        with self._lock:
            late = pending.overdue(now, timeout_seconds)
            overdue = [request for request in late if request.method not in NEVER_OVERDUE]
            for request in overdue:
                pending.give_up(request, now)
        return overdue

    # --- answers ------------------------------------------------------------------------

    def close(
        self, direction: Direction, id_token: str | None, now: float
    ) -> tuple[PendingRequest | None, bool]:
        """Remove the request that an answer belongs to.

        Returns:
            The request, or None; and whether a late answer to this id was expected.
        """
        pending = self.pending[direction.back]
        with self._lock:
            token = pending.match_answer(id_token)
            request = pending.close(token)
            return request, request is None and pending.was_cancelled(token, now)

    def awaits_result(self, id_token: str) -> bool:
        """True if a tool call of the client's with this very id waits for its result."""
        with self._lock:
            request = self.pending[TO_SERVER].find(id_token)
        return request is not None and request.tool is not None

    def close_all(self, direction: Direction, id_tokens: Iterable[str]) -> list[PendingRequest]:
        """Remove and return the requests of a peer that several answers belong to."""
        with self._lock:
            closed = self.pending[direction.back].close_all(id_tokens)
        return [request for request in closed if not request.is_own]

    def reopen(self, direction: Direction, request: PendingRequest) -> None:
        """Let a request wait again whose answer could not be judged."""
        pending = self.pending[direction.back]
        with self._lock:
            if pending.open(request):
                pending.keep_call(request)

    def outlive(self, direction: Direction, request: PendingRequest) -> None:
        """Accept progress of a request that was answered by a task."""
        with self._lock:
            self.pending[direction.back].outlive(request)

    def _check_server_request(self, message: Message, request: PendingRequest) -> Finding | None:
        """Check that the server may send a request now (basic/lifecycle, "Initialization").

        Between its answer to `initialize` and `initialized` it SHOULD NOT. The client declared
        that it answers, and many answer at once, so a hasty server gets only a finding: refused,
        it would never learn the roots. Before its own answer nothing is agreed.
        """
        if request.method == "ping":
            return None
        rule, code = "protocol.too-early", codes.INVALID_REQUEST
        if not self.peers.begun:
            why = "the server sent a request before the client sent anything"
        elif not self.peers.handshake or not self._is_declared(message):
            rule, code = "protocol.undeclared-capability", codes.METHOD_NOT_FOUND
            why = "the client has not declared that it answers this"
        elif not self.peers.agreed:
            why = "the server sent a request before it answered initialize"
        else:
            return None if self.peers.initialized else _EARLY
        raise Refusal(rule, why, code, request.id_token)

    def _is_declared(self, message: Message) -> bool:
        """True if the client declared that it answers such a request."""
        needed = peers.CAPABILITIES.get(message.method or "")
        if needed is None:
            return True
        if message.params.get("mode") == "url":
            needed = f"{needed}/url"
        return needed in self.peers.capabilities

    # --- notifications ------------------------------------------------------------------

    def with_open_id(self, direction: Direction, message: Message) -> Message:
        """A cancellation or report of progress that names its request as the request does."""
        name, params = _REFERENCES.get(message.method or "", ""), message.params
        token = write_answered_id(params.get(name))
        if token is None or not name:
            return message
        with self._lock:
            if message.method == CANCELLED:
                token = self.pending[direction].match_answer(token) or token
            else:
                token = self.pending[direction.back].match_progress(token)
        if write_id(params[name]) == token:
            return message
        return rewritten(message, {**message.value, "params": {**params, name: read_id(token)}})

    def admit_notification(
        self, direction: Direction, message: Message, now: float
    ) -> list[Finding] | None:
        """Record a notification.

        Returns:
            None if it may be forwarded. If it is dropped, the reason, which is empty if it was
            already reported.
        """
        with self._lock:
            method = message.method or ""
            if method in REQUESTS_ONLY:
                why = "a request without an id was dropped"
                return make_drop("protocol.request-without-id", why)
            if direction is TO_SERVER:
                self.peers.begun = True
                self.peers.initialized = self.peers.initialized or method == INITIALIZED
            elif not self.peers.begun and method != LOG_MESSAGE:
                return make_drop("protocol.too-early", "the server spoke before the client did")
            excess = self._quotas[direction].take(now, is_expendable=method in EXPENDABLE)
            if excess is not None:
                return excess
            if method == ACKNOWLEDGED and direction is TO_CLIENT:
                acknowledge(self.pending[TO_SERVER].all(), message.params)
            if method == CANCELLED:
                return self._cancel(direction, message.params, now)
            if method == PROGRESS:
                return self._progress(direction, message.params)
            return None

    def announcements(self, kinds: Iterable[str]) -> list[tuple[str, bytes]]:
        """The notifications that tell the client to list again, each with its list.

        After a handshake, the kinds that the server declared; without one (2026-07-28), one on each
        subscription to such a list.

        Args:
            kinds: of the definitions that changed.
        """
        lists = [peers.LISTED[kind] for kind in sorted(set(kinds) & peers.LISTED.keys())]
        with self._lock:
            if self.peers.handshake:
                declared = self.peers.announces
                return [(name, replies.list_changed(name)) for name in lists if name in declared]
            return [
                (name, replies.list_changed(name, request.id_token))
                for request in self.pending[TO_SERVER].all()
                for name in lists
                if name in request.announced_lists
            ]

    def _cancel(self, direction: Direction, params: JsonObject, now: float) -> list[Finding] | None:
        if "requestId" not in params:
            return None  # of a task (2025-11-25): its id is optional
        token = write_id(params["requestId"])
        was_sent = None if token is None else self.pending[direction].cancel(token, now)
        if was_sent is None:
            why = "a cancellation of no open request was dropped"
            return make_drop("protocol.unknown-request", why)
        return None if was_sent else []  # the server never had that request

    def _progress(self, direction: Direction, params: JsonObject) -> list[Finding] | None:
        pending = self.pending[direction.back]
        token, value = write_id(params.get("progressToken")), params.get("progress")
        # A number beyond a float's range becomes infinite, which is exact enough here.
        if not isinstance(value, Number) or not pending.progresses(token, float(value)):
            return make_drop("protocol.unknown-progress", "progress of no open request was dropped")
        return None


# --- waiting room -----------------------------------------------------------------------


class WaitingRoom:
    """The calls of all clients of one listener that wait for a person; for any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: list[PendingRequest] = []

    def admit(self, request: PendingRequest) -> bool:
        """Let in a waiting call; False if too many wait. It leaves at the end of its wait."""
        with self._lock:
            calls = [call for call in self._calls if call.is_held and call is not request]
            size = request.frame_bytes + sum(call.frame_bytes for call in calls)
            has_room = len(calls) < MAX_HELD and size <= MAX_HELD_BYTES
            self._calls = [*calls, request] if has_room else calls
        return has_room


# --- quotas -----------------------------------------------------------------------------
# How many notifications a peer may send.


class _NotificationQuota:
    """The notifications of one direction within the current second."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since = float("-inf")
        self._count = self._dropped = 0
        self._is_reported = False

    def take(self, now: float, *, is_expendable: bool) -> list[Finding] | None:
        """Count a notification.

        Returns:
            None if it may be forwarded. If it is dropped, the reason, once a second.
        """
        if now - self._since >= 1.0:
            self._since, self._count, self._is_reported = now, 0, False
        self._count += 1
        if self._count <= self._limit or not is_expendable:
            return None
        self._dropped += 1
        if self._is_reported:
            return []
        self._is_reported = True
        return make_drop(
            "protocol.flood",
            f"more than {self._limit} notifications came in a second: progress and log messages"
            f" beyond that are dropped ({self._dropped} so far)",
        )

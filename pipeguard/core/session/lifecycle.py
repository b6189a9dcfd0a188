"""The state of a conversation, and who may send what, when, and how often.

Holds open requests, the agreed revision and what was declared. Refuses by raising; knows no text.
Sources: MCP basic/lifecycle, basic/index and basic/utilities of the five revisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from threading import Lock

from pipeguard.core.finding import Action, Direction, Finding, Severity
from pipeguard.core.protocol import codes, subscriptions
from pipeguard.core.protocol.ids import id_token_of
from pipeguard.core.protocol.input_requests import InputRequests
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.methods import REQUESTS_ONLY
from pipeguard.core.protocol.notifications import (
    CANCELLED,
    EXPENDABLE,
    INITIALIZED,
    LOG_MESSAGE,
    PROGRESS,
)
from pipeguard.core.protocol.peers import CAPABILITIES, LISTED, Peers
from pipeguard.core.protocol.pending import Pending, PendingRequest
from pipeguard.core.rules.policy import Limits
from pipeguard.core.session import replies
from pipeguard.core.session.envelope import dropped
from pipeguard.core.session.quotas import NotificationQuota, UnreadableOutput
from pipeguard.errors import Refusal

# A peer may take any time to answer these: a listen stream ends when the peer ends it.
NEVER_OVERDUE = frozenset({"subscriptions/listen", "tasks/result"})
ANSWERS_WITHOUT_ID = "2025-11-25"  # the first revision in which an error may lack an id
# Rules that a request may break without a legible id. A notification breaks the others.
_WITHOUT_LEGIBLE_ID = frozenset(
    {
        "protocol.invalid-json",
        "protocol.invalid-utf8",
        "protocol.not-an-object",
        "protocol.invalid-id",
        "protocol.batch",
    }
)
_EARLY = Finding(
    "protocol.before-initialized",
    "envelope",
    severity=Severity.LOW,
    action=Action.WARN,
    note="the server sent a request before the client sent notifications/initialized",
)


class ConversationState:
    """What is remembered of one conversation.

    Attributes:
        lock: guards all of it. `fork`, `leave`, `resume`, `waiting_ids`, `describe`,
            `request_sent` and `server_described` take it; callers of all other methods hold it.
        pending: open requests, by the direction in which they went.
        input_requests: the input that results asked the client for.
        peers: what client and server declared.
        unreadable: the server's output that could not be read.
    """

    def __init__(self, limits: Limits) -> None:
        self.lock = Lock()
        self.pending = {direction: Pending(limits.pending) for direction in Direction}
        self._quotas = {
            direction: NotificationQuota(limits.notifications) for direction in Direction
        }
        self.input_requests = InputRequests()
        self.peers = Peers()
        self.unreadable = UnreadableOutput(limits.frame_bytes)

    # --- exchanges ----------------------------------------------------------------------

    def fork(self) -> ConversationState:
        """The same conversation within one exchange, whose requests have ids of their own."""
        state = copy(self)
        with self.lock:
            exchange = self.pending[Direction.TO_SERVER].fork()
        state.pending = {**self.pending, Direction.TO_SERVER: exchange}
        return state

    def leave(self) -> None:
        """End the exchange."""
        with self.lock:
            self.pending[Direction.TO_SERVER].leave()

    def resume(self, revision: str) -> None:
        """Take a revision as agreed."""
        with self.lock:
            self.peers.revision, self.peers.begun = revision, True

    # --- requests -----------------------------------------------------------------------

    def admit(
        self, direction: Direction, message: Message, request: PendingRequest
    ) -> Finding | None:
        """Add a request to those that wait for an answer.

        Returns:
            A finding about a request that may go on all the same, or None.

        Raises:
            Refusal: it may not be sent now, or its id is in use.
        """
        finding = None
        if direction is Direction.TO_CLIENT:
            finding = self._check_server_request(message, request)
        pending = self.pending[direction]
        if not pending.has_room(request):
            why = "too many requests wait for an answer"
            raise Refusal("protocol.too-many-pending", why, codes.OVERLOADED, request.id_token)
        if not pending.open(request):
            why = "the id or the progress token belongs to a request that waits for its answer"
            raise Refusal("protocol.id-in-use", why, codes.INVALID_REQUEST, request.id_token)
        if request.method == subscriptions.LISTEN:
            request.requested_lists = subscriptions.lists_in(message.value)
        return finding

    def describe(
        self, direction: Direction, request: PendingRequest, call_values: frozenset[str]
    ) -> None:
        """Keep the values of a call with its request."""
        with self.lock:
            self.pending[direction].describe(request, call_values)

    def request_sent(self, direction: Direction, message: Message, request: PendingRequest) -> None:
        """Record that a request was forwarded."""
        with self.lock:
            request.forwarded = True
            if direction is Direction.TO_SERVER:
                self.peers.begun = True
                if message.method == "initialize":
                    self.peers.begin_handshake(message.value.get("params"))

    def server_described(self, method: str, result: JsonObject) -> None:
        """Record the server's answer to `initialize` or `server/discover`."""
        with self.lock:
            self.peers.describe_server(method, result)

    def waiting_ids(self, direction: Direction) -> list[str]:
        """The ids of the forwarded requests that wait for an answer."""
        with self.lock:
            return [
                request.id_token for request in self.pending[direction].all() if request.forwarded
            ]

    def due(self) -> list[PendingRequest]:
        """The client's requests that wait here, without those whose answer may take any time."""
        waiting = self.pending[Direction.TO_SERVER].own()
        return [r for r in waiting if r.forwarded and r.method not in NEVER_OVERDUE]

    def drop_due(self) -> list[PendingRequest]:
        """Remove and return the requests that are due: an unreadable answer may be to any of them.

        Those of exchanges stay: each is answered in its own (Verdict.is_astray).
        """
        lost = self.due()
        for request in lost:
            self.pending[Direction.TO_SERVER].drop(request)
        return lost

    def may_answer_without_id(self, rule: str) -> bool:
        """True if the client accepts an error without an id; older clients hang up on one."""
        return rule in _WITHOUT_LEGIBLE_ID and (self.peers.revision or "") >= ANSWERS_WITHOUT_ID

    def _check_server_request(self, message: Message, request: PendingRequest) -> Finding | None:
        """Check that the server may send a request now (basic/lifecycle, "Initialization").

        Between its answer to `initialize` and `initialized` it SHOULD NOT. The client declared
        that it answers, and many answer at once, so a hasty server gets only a finding: refused,
        it would never learn the roots. Before its own answer nothing is agreed.
        """
        if request.method == "ping":
            return None
        if not self.peers.begun:
            why = "the server sent a request before the client sent anything"
            raise Refusal("protocol.too-early", why, codes.INVALID_REQUEST, request.id_token)
        if not self.peers.handshake or not self._is_declared(message):
            raise Refusal(
                "protocol.undeclared-capability",
                "the client has not declared that it answers this",
                codes.METHOD_NOT_FOUND,
                request.id_token,
            )
        if not self.peers.agreed:
            why = "the server sent a request before it answered initialize"
            raise Refusal("protocol.too-early", why, codes.INVALID_REQUEST, request.id_token)
        return None if self.peers.initialized else _EARLY

    def _is_declared(self, message: Message) -> bool:
        """True if the client declared that it answers such a request."""
        needed = CAPABILITIES.get(message.method or "")
        if needed is None:
            return True
        params = message.value.get("params")
        if isinstance(params, dict) and params.get("mode") == "url":
            # An empty declaration means forms alone (MCP 2025-11-25 client/elicitation).
            needed = f"{needed}/url"
        return needed in self.peers.capabilities

    # --- notifications ------------------------------------------------------------------

    def admit_notification(
        self, direction: Direction, message: Message, now: float
    ) -> list[Finding] | None:
        """Record a notification.

        Returns:
            None if it may go on. If it is dropped, the reason, which is empty where it was
            already reported.
        """
        method = message.method or ""
        if method in REQUESTS_ONLY:
            return dropped("protocol.request-without-id", "a request without an id was dropped")
        if direction is Direction.TO_SERVER:
            self.peers.begun = True
            self.peers.initialized = self.peers.initialized or method == INITIALIZED
        elif not self.peers.begun and method != LOG_MESSAGE:
            return dropped("protocol.too-early", "the server spoke before the client did")
        excess = self._quotas[direction].take(now, is_expendable=method in EXPENDABLE)
        if excess is not None:
            return excess
        if method == subscriptions.ACKNOWLEDGED and direction is Direction.TO_CLIENT:
            subscriptions.acknowledge(self.pending[Direction.TO_SERVER].all(), message.value)
        params = message.value.get("params")
        if method == CANCELLED:
            return self._cancel(direction, params, now)
        if method == PROGRESS:
            return self._progress(direction, params)
        return None

    def announcements(self, kinds: Iterable[str]) -> list[bytes]:
        """The notifications that tell the client to list again.

        After a handshake, those that the server declared; without one (2026-07-28), one on each
        subscription to such a list.

        Args:
            kinds: of the definitions that changed.
        """
        lists = [LISTED[kind] for kind in sorted(set(kinds) & LISTED.keys())]
        if self.peers.handshake:
            return [replies.list_changed(name) for name in lists if name in self.peers.announces]
        return [
            replies.list_changed(name, request.id_token)
            for request in self.pending[Direction.TO_SERVER].all()
            for name in lists
            if name in request.announced_lists
        ]

    def _cancel(self, direction: Direction, params: JsonValue, now: float) -> list[Finding] | None:
        if not isinstance(params, dict) or "requestId" not in params:
            return None  # of a task (2025-11-25): its id is optional
        token = id_token_of(params["requestId"])
        if token is None or not self.pending[direction].cancel(token, now):
            why = "a cancellation of no open request was dropped"
            return dropped("protocol.unknown-request", why)
        return None

    def _progress(self, direction: Direction, params: JsonValue) -> list[Finding] | None:
        pending = self.pending[direction.back]
        token = id_token_of(params.get("progressToken")) if isinstance(params, dict) else None
        value = params.get("progress") if isinstance(params, dict) else None
        # A number beyond a float's range becomes infinite, which is exact enough here.
        if not isinstance(value, Number) or not pending.progresses(token, float(value)):
            return dropped("protocol.unknown-progress", "progress of no open request was dropped")
        return None

"""How the two sides may behave: who may send what, when, and how often.

Holds what a conversation remembers beside its texts: open requests, the agreed revision, what
was declared. Refuses by raising; looks at no text. Sources: MCP basic/lifecycle, basic/index,
basic/utilities of the five revisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from threading import Lock

from pipeguard.core.finding import Action, Confidence, Direction, Finding, MessageKind, Severity
from pipeguard.core.protocol import codes, subscriptions
from pipeguard.core.protocol.framing import Oversized
from pipeguard.core.protocol.ids import id_token_of
from pipeguard.core.protocol.input_requests import Questions
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.peers import CAPABILITIES, LISTED, Peers
from pipeguard.core.protocol.pending import Pending, PendingRequest
from pipeguard.core.protocol.places import PLACES
from pipeguard.core.protocol.references import used
from pipeguard.core.rules.policy import Limits, Mode, Trust
from pipeguard.core.session import replies
from pipeguard.core.session.definitions import held
from pipeguard.core.session.guard import Guard
from pipeguard.core.unicode.display import NAME_CHARS, cut
from pipeguard.errors import Refusal

# Answers that a peer may take any time for: a listen stream ends when the peer ends it.
NEVER_OVERDUE = frozenset({"subscriptions/listen", "tasks/result"})
# Without these the conversation stalls; of a poisoned one only the reason is taken out.
NEVER_DROPPED = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/subscriptions/acknowledged",
    }
)
ENDLESS = 64  # times the limit: an answer of that size never ends, and others wait behind it
ANSWERS_WITHOUT_ID = "2025-11-25"  # from here on an error's id may be absent
# What may have been a request, and could not be answered by its id; a notification breaks others.
_NAMELESS = frozenset(
    {
        "protocol.invalid-json",
        "protocol.invalid-utf8",
        "protocol.not-an-object",
        "protocol.invalid-id",
        "protocol.batch",
    }
)
# Of these one more or less is no loss, and only of these are there many.
_PLENTIFUL = frozenset({"notifications/progress", "notifications/message"})
_REQUESTS_ONLY = frozenset(
    {
        "tools/call",
        "tools/list",
        "prompts/get",
        "prompts/list",
        "resources/read",
        "resources/list",
        "resources/templates/list",
        "completion/complete",
        "initialize",
        "server/discover",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    }
)

# What a peer reads of the params of each method, by its spelling in one case: there are parsers
# that take `Name` for `name` (modelcontextprotocol/go-sdk#805), and rules and pins would not.
_READ = {
    method: {pattern.partition("/")[0].casefold(): pattern.partition("/")[0] for pattern, _ in rows}
    for (part, method), rows in PLACES.items()
    if part == "params"
}


class _Flood:
    """How many notifications came one way in this second, and how many were dropped in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._since = float("-inf")
        self._count = self._dropped = 0
        self._told = False

    def take(self, may_be_dropped: bool, now: float) -> list[Finding] | None:  # noqa: FBT001  of one answer
        """Why it is dropped, said once in a second; None where it is not."""
        if now - self._since >= 1.0:
            self._since, self._count, self._told = now, 0, False
        self._count += 1
        if self._count <= self._limit or not may_be_dropped:
            return None
        self._dropped += 1
        if self._told:
            return []
        self._told = True
        return _dropped(
            "protocol.flood",
            f"more than {self._limit} notifications came in a second: of what comes more in it,"
            f" progress and log messages are dropped ({self._dropped} so far)",
        )


class _Unread:
    """How much of what the server said could not be read, since it last said anything that could.

    Text on standard output is common, and nobody loses an answer by a line of it. Of more than a
    whole frame may be, an answer was a part, or the server has gone astray.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._is_told = False  # what the line was that is far over the limit

    def end(self) -> None:
        """It said something that can be read."""
        self._size, self._is_told = 0, False

    def tell(self, frame: bytes) -> None:
        """The id in a frame could be read: the rest of a long line takes no other's answer."""
        self._is_told = isinstance(frame, Oversized) and not frame.tail

    def take(self, frame: bytes) -> bool:
        """True where it is more than a frame may be."""
        size = frame.size if isinstance(frame, Oversized) else len(frame)
        if self._is_told and isinstance(frame, Oversized) and not frame.head:
            self._is_told = not frame.tail
            size //= ENDLESS
        self._size += size
        is_lost = self._size > self._limit
        if is_lost:
            self._size = 0
        return is_lost


class ConversationState:
    """What a conversation remembers.

    Attributes:
        lock: of the conversation, under which it changes. `fork`, `leave`, `resume`, `waiting`,
            `describe`, `sent` and `opened` take it; whoever calls anything else has it.
        pending: open requests by the direction in which they went.
        questions: what results asked the client.
        known: what the two sides told each other.
        unread: what of the server's could not be read.
    """

    def __init__(self, limits: Limits) -> None:
        self.lock = Lock()
        self.pending = {direction: Pending(limits.pending) for direction in Direction}
        self._floods = {direction: _Flood(limits.notifications) for direction in Direction}
        self.questions = Questions()
        self.known = Peers()
        self.unread = _Unread(limits.frame_bytes)

    def fork(self) -> ConversationState:
        """The same conversation in one exchange of it, which has ids of its own for requests."""
        state = copy(self)
        with self.lock:
            asked = self.pending[Direction.TO_SERVER].fork()
        state.pending = {**self.pending, Direction.TO_SERVER: asked}
        return state

    def leave(self) -> None:
        """The exchange is over."""
        with self.lock:
            self.pending[Direction.TO_SERVER].leave()

    def resume(self, revision: str) -> None:
        """Take a revision for agreed."""
        with self.lock:
            self.known.revision, self.known.begun = revision, True

    def waiting(self, direction: Direction) -> list[str]:
        """The ids of the requests that went on and wait."""
        with self.lock:
            return [
                request.id_token for request in self.pending[direction].all() if request.forwarded
            ]

    def describe(
        self, direction: Direction, request: PendingRequest, about: frozenset[str]
    ) -> None:
        """Say what a request is about that is being judged."""
        with self.lock:
            self.pending[direction].describe(request, about)

    def admit(
        self, direction: Direction, message: Message, request: PendingRequest
    ) -> Finding | None:
        """Let a request wait for its answer.

        Returns:
            What is to be said of it although it may go on, or None.

        Raises:
            Refusal: it may not be sent, or its id is in use.
        """
        noted = None
        if direction is Direction.TO_CLIENT:
            noted = self._check_server_request(message, request)
        pending = self.pending[direction]
        if not pending.has_room(request):
            raise Refusal(
                "protocol.too-many-pending",
                "too many requests wait for an answer",
                codes.OVERLOADED,
                request.id_token,
            )
        if not pending.open(request):
            raise Refusal(
                "protocol.id-in-use",
                "the id or the progress token belongs to a request that waits for its answer",
                codes.INVALID_REQUEST,
                request.id_token,
            )
        if request.method == subscriptions.LISTEN:
            request.asks_for = subscriptions.lists_in(message.value)
        return noted

    def lose(self) -> list[PendingRequest]:
        """The client's requests that wait, which now do no longer: what came may be for any.

        Those of exchanges stay: each is answered in its own (Verdict.is_astray).
        """
        lost = self.due()
        for request in lost:
            self.pending[Direction.TO_SERVER].drop(request)
        return lost

    def due(self) -> list[PendingRequest]:
        """The client's requests that wait here for an answer that may not take any time."""
        waiting = self.pending[Direction.TO_SERVER].own()
        return [r for r in waiting if r.forwarded and r.method not in NEVER_OVERDUE]

    def sent(self, direction: Direction, message: Message, request: PendingRequest) -> None:
        """A request goes on to the other side."""
        with self.lock:
            request.forwarded = True
            if direction is Direction.TO_SERVER:
                self.known.begun = True
                if message.method == "initialize":
                    self.known.shake(message.value.get("params"))

    def opened(self, method: str, result: JsonObject) -> None:
        """The server described itself."""
        with self.lock:
            self.known.open(method, result)

    def admit_notification(
        self, direction: Direction, message: Message, now: float
    ) -> list[Finding] | None:
        """Why a notification is dropped, or None where it may go on; nothing where it was said."""
        method = message.method or ""
        if method in _REQUESTS_ONLY:
            return _dropped("protocol.request-without-id", "a request without an id was dropped")
        if direction is Direction.TO_SERVER:
            self.known.begun = True
            self.known.initialized = self.known.initialized or method == "notifications/initialized"
        elif not self.known.begun and method != "notifications/message":
            return _dropped("protocol.too-early", "the server spoke before the client did")
        flood = self._floods[direction].take(method in _PLENTIFUL, now)
        if flood is not None:
            return flood
        if method == subscriptions.ACKNOWLEDGED and direction is Direction.TO_CLIENT:
            subscriptions.acknowledge(self.pending[Direction.TO_SERVER].all(), message.value)
        params = message.value.get("params")
        if method == "notifications/cancelled":
            return self._cancel(direction, params, now)
        if method == "notifications/progress":
            return self._progress(direction, params)
        return None

    def announcements(self, kinds: Iterable[str]) -> list[bytes]:
        """What tells the client to list again, for the kinds of definitions that changed.

        After a handshake it is told where the server said that it announces changes; without
        one (2026-07-28) on each subscription to that list.
        """
        names = [LISTED[kind] for kind in sorted(set(kinds) & LISTED.keys())]
        if self.known.handshake:
            return [replies.list_changed(name) for name in names if name in self.known.announces]
        return [
            replies.list_changed(name, request.id_token)
            for request in self.pending[Direction.TO_SERVER].all()
            for name in names
            if name in request.told_of
        ]

    def oddities(self, direction: Direction, message: Message) -> tuple[Finding, ...]:
        """What passes and is noted: for most messages nothing, as two cheap questions say."""
        value = message.value
        body = value.get("result") if message.method is None else value.get("params")
        if type(body) is not dict or _NOTABLE.isdisjoint(body):
            return () if _INHERITED.isdisjoint(value) else (_INHERITED_KEY,)
        odd = []
        if not _INHERITED.isdisjoint(body) or not _INHERITED.isdisjoint(value):
            odd.append(_INHERITED_KEY)
        asks = message.kind is MessageKind.REQUEST and direction is Direction.TO_SERVER
        if asks and not self.questions.are_answered_by(body):
            odd.append(_UNASKED)
        return tuple(odd)

    def may_answer_without_id(self, rule: str) -> bool:
        """True where the client takes an error that has no id; older ones hang up on it."""
        return rule in _NAMELESS and (self.known.revision or "") >= ANSWERS_WITHOUT_ID

    def _check_server_request(self, message: Message, request: PendingRequest) -> Finding | None:
        """Whether the server may ask this now (basic/lifecycle, "Initialization").

        Between its answer to `initialize` and `initialized` it SHOULD NOT. The client declared
        that it answers, and many answer at once, so a server in a hurry is only noted: refused,
        it would go on without roots for good. Before its own answer nothing is agreed.
        """
        if request.method == "ping":
            return None
        if not self.known.begun:
            raise Refusal(
                "protocol.too-early",
                "the server asked before the client had spoken",
                codes.INVALID_REQUEST,
                request.id_token,
            )
        if not self.known.handshake or not self._declared(message):
            raise Refusal(
                "protocol.undeclared-capability",
                "the client has not declared that it answers this",
                codes.METHOD_NOT_FOUND,
                request.id_token,
            )
        if not self.known.agreed:
            raise Refusal(
                "protocol.too-early",
                "the server asked before it had answered initialize",
                codes.INVALID_REQUEST,
                request.id_token,
            )
        return None if self.known.initialized else _EARLY

    def _declared(self, message: Message) -> bool:
        """True where the client said that it answers such a request."""
        needed = CAPABILITIES.get(message.method or "")
        if needed is None:
            return True
        params = message.value.get("params")
        if isinstance(params, dict) and params.get("mode") == "url":
            # An empty declaration stands for forms alone (MCP 2025-11-25 client/elicitation).
            needed = f"{needed}/url"
        return needed in self.known.capabilities

    def _cancel(self, direction: Direction, params: JsonValue, now: float) -> list[Finding] | None:
        if not isinstance(params, dict) or "requestId" not in params:
            return None  # of a task (2025-11-25): its id is optional
        token = id_token_of(params["requestId"])
        if token is None or not self.pending[direction].cancel(token, now):
            return _dropped(
                "protocol.unknown-request", "a cancellation of no open request was dropped"
            )
        return None

    def _progress(self, direction: Direction, params: JsonValue) -> list[Finding] | None:
        asked = self.pending[direction.back]
        token = id_token_of(params.get("progressToken")) if isinstance(params, dict) else None
        value = params.get("progress") if isinstance(params, dict) else None
        # A number that no float holds is infinite, or none at all: it need not be exact.
        if not isinstance(value, Number) or not asked.progresses(token, float(value)):
            return _dropped("protocol.unknown-progress", "progress of no open request was dropped")
        return None


# Members of results that hold blocks, each with a `_meta` of its own.
_OF_ITEMS = ("content", "contents", "messages")


def has_odd_meta(value: JsonObject) -> bool:
    """True where `_meta` of a result is neither an object nor null, which real servers send.

    Also of its blocks, and of what the result asks the client (MCP 2026-07-28,
    basic/patterns/mrtr).
    """
    result = value.get("result")
    if type(result) is not dict:
        return False
    asked = result.get("inputRequests")
    bodies: list[JsonValue] = [result]
    if type(asked) is dict:
        bodies += [one.get("params") for one in asked.values() if type(one) is dict]
    for member in _OF_ITEMS:
        items = result.get(member)
        if type(items) is list:
            for item in items:
                if type(item) is dict:
                    bodies += (item, item.get("resource"), item.get("content"))
    return any(
        type(body) is dict and type(body.get("_meta")) not in (dict, type(None)) for body in bodies
    )


def use(guard: Guard, direction: Direction, message: Message) -> list[Finding]:
    """What stands against using a tool, a prompt or a resource: policy and pins.

    Raises:
        Refusal: a member of the params is one that peers may read, in another spelling.
    """
    method = message.method or ""
    if direction is Direction.TO_CLIENT:
        return []
    params = message.value.get("params")
    params = params if isinstance(params, dict) else {}
    _check_spelling(message, params)
    try:
        for kind, name in used(method, params):
            finding = _used(guard, kind, name)
            if finding is not None:
                return [finding]
    except Refusal as refusal:
        raise Refusal(refusal.rule, refusal.why, refusal.code, message.id_token) from None
    return []


def _used(guard: Guard, kind: str, name: JsonValue) -> Finding | None:
    """What stands against using one definition.

    Raises:
        Refusal: what stands for its name is no text. There are servers that make one of it.
    """
    if name is None:  # servers refuse that, and those that do not choose by themselves
        return held(guard, kind, "") if guard.policy.trust is Trust.REVIEW else None
    if type(name) is not str:
        why = f"what names a {kind} in the request is no text"
        raise Refusal("protocol.nameless", why, codes.INVALID_REQUEST)
    if kind == "tool" and not guard.policy.calls(name):
        action = Action.WARN if guard.policy.mode is Mode.OBSERVE else Action.BLOCK
        note = f"the policy does not let the tool {cut(name, NAME_CHARS)!r} be called"
        return Finding(
            "policy.tool", "call.name", "/params/name", action=action, note=note, tool=name
        )
    return held(guard, kind, name)


def tool_of(message: Message) -> str | None:
    """The name of the tool that is called, for tools/call."""
    if message.method != "tools/call":
        return None
    params = message.value.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    return name if type(name) is str else None


def progress_token(message: Message) -> str | None:
    """The token by which a request asks for progress (basic/utilities/progress).

    Raises:
        Refusal: it is neither a string nor an integer.
    """
    params = message.value.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    if not isinstance(meta, dict) or meta.get("progressToken") is None:
        return None
    token = id_token_of(meta["progressToken"])
    if token is None:
        raise Refusal(
            "protocol.invalid-progress-token",
            "a progress token is a string or an integer",
            codes.INVALID_REQUEST,
            message.id_token,
        )
    return token


def makes_task(result: JsonObject) -> bool:
    """True where the work goes on as a task (2025-11-25 and extension, basic/utilities/tasks)."""
    return isinstance(result.get("task"), dict) or result.get("resultType") == "task"


def without_reason(value: JsonObject) -> JsonObject:
    """Of a notification that must go on, what it does; no more of it, and no free text."""
    method, params = value["method"], value.get("params")
    bare: JsonObject = {"jsonrpc": "2.0", "method": method}
    if not isinstance(params, dict):
        return bare
    kept: JsonObject = {}
    if method == "notifications/cancelled" and id_token_of(params.get("requestId")) is not None:
        kept["requestId"] = params["requestId"]
    if method == subscriptions.ACKNOWLEDGED:
        meta, key = params.get("_meta"), subscriptions.SUBSCRIPTION_META
        kept["notifications"] = subscriptions.flags_in(value)
        if isinstance(meta, dict) and id_token_of(meta.get(key)) is not None:
            kept["_meta"] = {key: meta[key]}  # what it acknowledges
    return {**bare, "params": kept}


def _check_spelling(message: Message, params: JsonObject) -> None:
    read = _READ.get(message.method or "", {})
    for key in params:
        if read.get(key.casefold(), key) != key:
            raise Refusal(
                "protocol.key-look-alike",
                "a member of params differs from one of the protocol in case only",
                codes.INVALID_REQUEST,
                message.id_token,
            )


_INHERITED = frozenset({"__proto__", "constructor", "prototype"})
_INHERITED_KEY = Finding(
    "protocol.inherited-key",
    "envelope",
    severity=Severity.MEDIUM,
    action=Action.WARN,
    note="a member is called as what JavaScript's objects inherit: __proto__ and the like",
)
_NOTABLE = _INHERITED | {"inputResponses", "requestState"}
_UNASKED = Finding(
    "protocol.unasked-answer",
    "params.other",
    severity=Severity.LOW,
    action=Action.WARN,
    note="the request answers what no result asked, or with a state that none gave",
)
_EARLY = Finding(
    "protocol.before-initialized",
    "envelope",
    severity=Severity.LOW,
    action=Action.WARN,
    note="the server asked before the client had said that it is initialized",
)


def _dropped(rule: str, why: str) -> list[Finding]:
    return [
        Finding(
            rule,
            "envelope",
            severity=Severity.LOW,
            confidence=Confidence.HIGH,
            action=Action.BLOCK,
            note=why,
        )
    ]

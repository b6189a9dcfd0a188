"""Owners of ids and progress tokens on a channel that clients or exchanges share.

A request keeps its id if no other has it, and travels under one of ours otherwise. A server owes no
answer to a request that was cancelled (MCP, basic/utilities/cancellation): for a while, the
server's requests may be about it, and its answer is dropped. Ids are tokens, as
`firewall.protocol.ids` writes them; functions here put them into messages, with progress tokens and
subscription ids.
"""

from collections import OrderedDict
from collections.abc import Hashable
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import framing, pending, strict_json
from pipeguard.firewall.protocol.ids import (
    match_answer,
    read_id,
    request_ids,
    write_answered_id,
    write_id,
)
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object
from pipeguard.firewall.protocol.methods import CANCELLED, LISTEN, SUBSCRIPTION_META

RELATED_TASK = "io.modelcontextprotocol/related-task"  # MCP 2025-11-25, basic/utilities/tasks
MOST_TASKS = 1_024  # whose progress is passed on
MOST_AHEAD = 1_000_000  # a number may exceed the last one by so much: clients choose their ids
P = TypeVar("P", bound=Hashable)


class Sent(NamedTuple, Generic[P]):
    """The owner of a request or progress token that went to the server.

    Attributes:
        owner: the conversation, or the exchange.
        token: the id, or the progress token, as the owner has it.
        lasts: True for a subscription, on which the server does no work.
        task: whose result is waited for; None for none.
    """

    owner: P
    token: str
    lasts: bool = False
    task: JsonValue = None


class Correlator(Generic[P]):
    """Requests and progress tokens by their ids at the server.

    Args:
        is_unique: no id is used twice, so that a second answer to one is dropped: for owners that
            know nothing of each other.
    """

    def __init__(self, *, is_unique: bool) -> None:
        self._is_unique = is_unique
        self._count = 0
        self._sent: dict[str, Sent[P]] = {}  # with lately cancelled requests
        self._late: OrderedDict[str, float] = OrderedDict()  # cancelled when, the oldest first
        self._progress: dict[str, Sent[P]] = {}
        self._task_progress: OrderedDict[str, Sent[P]] = OrderedDict()

    # --- to the server ------------------------------------------------------------------

    def add(self, owner: P, value: JsonValue) -> JsonValue:
        """Add a message; return it under the id and the progress token that are sent."""
        ids = request_ids(value)
        if not ids or not isinstance(value, dict):
            return value
        own = self._choose(ids[0], self._sent)
        method, params = value["method"], as_object(value.get("params"))
        task = params.get("taskId") if method == "tasks/result" else None
        self._sent[own] = Sent(owner, ids[0], method == LISTEN, task)
        changed = value if own == ids[0] else {**value, "id": read_id(own)}
        meta = as_object(params.get("_meta"))
        token = write_id(meta.get("progressToken"))
        if token is None:
            return changed
        own_token = own if self._is_unique else self._choose(token, self._progress)
        self._progress[own_token] = Sent(owner, token)
        if own_token == token:
            return changed
        return _with_param(changed, "_meta", {**meta, "progressToken": read_id(own_token)})

    def make_id(self) -> str:
        """Make an id for a request of our own."""
        self._count += 1
        return str(self._count) if self._is_unique else f'"pipeguard-{self._count}"'

    def _choose(self, token: str, used: dict[str, Sent[P]]) -> str:
        if self._is_unique:
            number = int(token) if token.isdecimal() else 0
            if not self._count < number <= self._count + MOST_AHEAD:
                return self.make_id()
            self._count = number
            return token
        while token in used or token in self._late:
            token = self.make_id()
        return token

    # --- from the server ----------------------------------------------------------------

    def match_answer(self, token: str) -> str:
        """The id of the request that an answer's id matches; its own if none does."""
        return match_answer(token, self._sent.__contains__)

    def get(self, own: str) -> Sent[P] | None:
        """The request that waits under an id; None without one."""
        return None if own in self._late else self._sent.get(own)

    def pop(self, own: str) -> Sent[P] | None:
        """Remove a finished request; also None if no owner waits for it any more."""
        sent = self._sent.pop(own, None)
        return None if self._late.pop(own, None) is not None else sent

    def is_late(self, own: str) -> bool:
        """True for the answer to a request that was given up; the id is free from now on."""
        return own in self._late and self.pop(own) is None

    def origin(self, value: JsonValue) -> Sent[P] | None:
        """The owner of a message, by its progress token or subscription id, if it has one."""
        if not isinstance(value, dict):
            return None
        if (token := find_progress_token(value)) is not None:
            tokens = self._progress, self._task_progress
            token = match_answer(token, lambda each: any(each in some for some in tokens))
            return self._progress.get(token) or self._task_progress.get(token)
        return self.get(find_subscription_id(value) or "")

    def end_progress(self, token: str, *, is_task: bool = False) -> None:
        """Forget a progress token; one of a task is kept, up to `MOST_TASKS`."""
        progress = self._progress.pop(token, None)
        if progress is not None and is_task:
            while len(self._task_progress) >= MOST_TASKS:
                self._task_progress.popitem(last=False)
            self._task_progress[token] = progress

    # --- open requests ------------------------------------------------------------------

    def working(self) -> list[Sent[P]]:
        """The requests that the server may be working on, including lately cancelled ones."""
        late, since = self._late, monotonic() - pending.REMEMBERED_SECONDS
        return [sent for own, sent in self._sent.items() if late.get(own, since + 1) > since]

    def find(self, token: str, owner: P | None = None) -> str | None:
        """The id of the oldest request that waits under a client's id; None without one."""
        waiting = {
            sent.token: own
            for own, sent in reversed(self._sent.items())
            if owner in (None, sent.owner) and own not in self._late
        }
        return waiting.get(match_answer(token, waiting.__contains__))

    def owners(self) -> list[P]:
        """The owners that wait for answers, in the order of their first requests."""
        waiting = (sent.owner for own, sent in self._sent.items() if own not in self._late)
        return list(dict.fromkeys(waiting))

    def owned_ids(self, owner: P) -> list[str]:
        """The ids under which requests of an owner wait."""
        waiting = (own for own, sent in self._sent.items() if sent.owner == owner)
        return [own for own in waiting if own not in self._late]

    # --- finished requests --------------------------------------------------------------

    def cancel(self, owner: P, token: str) -> str | None:
        """Cancel a request of an owner by its id there; its id at the server, or None."""
        own = self.find(token, owner)
        if own is not None:
            self.end_progress(own)
            self._expect_late(own)
        return own

    def give_up(self, own: str) -> Sent[P]:
        """Remove a request; its late answer has no owner."""
        sent = self._sent.pop(own)
        self._expect_late(own)
        return sent

    def leave(self, owner: P) -> list[str]:
        """Forget an owner that is gone; return the ids of its open requests."""
        left = self.owned_ids(owner)
        for own in [own for own, sent in self._sent.items() if sent.owner == owner]:
            self.pop(own)
        self.forget_progress(owner)
        return left

    def forget_progress(self, owner: P) -> None:
        """Remove an owner's progress tokens."""
        for tokens in (self._progress, self._task_progress):
            for token in [token for token, sent in tokens.items() if sent.owner == owner]:
                del tokens[token]

    def clear(self) -> None:
        """Forget the requests to a server that is gone."""
        for entries in (self._sent, self._late, self._progress, self._task_progress):
            entries.clear()

    def _expect_late(self, own: str) -> None:
        self._late[own] = monotonic()
        while len(self._late) > pending.MAX_REMEMBERED:
            self._sent.pop(self._late.popitem(last=False)[0], None)


# --- requests -----------------------------------------------------------------------------


def cancelled_id(value: JsonValue) -> str | None:
    """The id of the request that a message cancels; None if it cancels none."""
    if not isinstance(value, dict) or value.get("method") != CANCELLED:
        return None
    return write_id(as_object(value.get("params")).get("requestId"))


def with_cancelled_id(value: JsonObject, id_token: str) -> JsonObject:
    """A cancellation with another request id."""
    return _with_param(value, "requestId", read_id(id_token))


# --- messages of a server -------------------------------------------------------------------


def find_answers(frame: bytes) -> tuple[JsonValue, list[str]]:
    """The value of a frame, None if it cannot be read; and the ids of the requests it answers."""
    if isinstance(frame, framing.Lost):
        return None, [frame.id_token]
    try:
        value = strict_json.parse_json(frame)
    except Refusal as refusal:
        return None, framing.answered_ids(frame, refusal)
    answers = map(answered_id, value if isinstance(value, list) else [value])
    return value, [token for token in answers if token is not None]


def answered_id(value: JsonValue) -> str | None:
    """The id of the request that a message answers; None if it is not an answer."""
    if isinstance(value, dict) and "method" not in value:
        return write_answered_id(value.get("id"))
    return None


def with_answered_id(value: JsonValue, sent_id: str, client_id: str) -> JsonValue:
    """An answer with the client's id, which may also be a subscription id in it."""
    if sent_id == client_id or not isinstance(value, dict):
        return value
    change: JsonObject = {**value, "id": read_id(client_id)}
    result = as_object(value.get("result"))
    meta = as_object(result.get("_meta"))
    if write_id(meta.get(SUBSCRIPTION_META)) == sent_id:
        change["result"] = {**result, "_meta": {**meta, SUBSCRIPTION_META: read_id(client_id)}}
    return change


def find_progress_token(value: JsonObject) -> str | None:
    """The token with which a server reports progress, or None."""
    return write_id(as_object(value.get("params")).get("progressToken"))


def with_owners_token(value: JsonObject, token: str) -> JsonObject:
    """A message under the progress token or subscription id of its owner."""
    if find_progress_token(value) is not None:
        return _with_param(value, "progressToken", read_id(token))
    return _with_param(value, "_meta", {**_meta(value), SUBSCRIPTION_META: read_id(token)})


def find_subscription_id(value: JsonObject) -> str | None:
    """The id of the request that subscribed to a notification (MCP 2026-07-28), or None."""
    return write_id(_meta(value).get(SUBSCRIPTION_META))


def find_related_task(value: JsonObject) -> JsonValue:
    """The id of the task that a message is about, or None."""
    return as_object(_meta(value).get(RELATED_TASK)).get("taskId")


def _meta(value: JsonObject) -> JsonObject:
    """The `_meta` of a message's params."""
    return as_object(as_object(value.get("params")).get("_meta"))


def _with_param(value: JsonObject, name: str, param: JsonValue) -> JsonObject:
    return {**value, "params": {**as_object(value.get("params")), name: param}}

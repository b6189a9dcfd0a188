"""The requests of several clients that one server works on, by the ids that it knows them by.

A server owes no answer to a request that was cancelled (MCP, basic/utilities/cancellation), so
that one is forgotten a while after; until then, what the server asks may be about it. An answer
is for nobody: the client may have another request of that id by now.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.pending import MAX_REMEMBERED, REMEMBERED_SECONDS
from pipeguard.core.protocol.subscriptions import LISTEN

P = TypeVar("P", bound=Hashable)


class Sent(NamedTuple, Generic[P]):
    """Whose request, or progress token, went to the server.

    Attributes:
        port: of the conversation.
        token: the id, or the progress token, as the conversation has it.
        lasts: True for a subscription, on which the server does no work.
        task: whose result is waited for; None for none.
    """

    port: P
    token: str
    lasts: bool = False
    task: JsonValue = None


def sent_by(port: P, token: str, request: JsonObject) -> Sent[P]:
    """A request of a conversation, with what it says of itself."""
    method, params = request["method"], request.get("params")
    is_waiting = method == "tasks/result" and isinstance(params, dict)
    task = params.get("taskId") if is_waiting and isinstance(params, dict) else None
    return Sent(port, token, method == LISTEN, task)


class SentRequests(Generic[P]):
    """Requests by their ids at the server, until they are answered, or were cancelled long ago.

    Args:
        now: a clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._open: dict[str, Sent[P]] = {}
        self._cancelled: OrderedDict[str, float] = OrderedDict()  # since when, the oldest first

    def put(self, own: str, sent: Sent[P]) -> None:
        """A request goes to the server."""
        self._open[own] = sent

    def get(self, own: str) -> Sent[P] | None:
        """The request of an id; None if there is none."""
        return self._open.get(own)

    def pop(self, own: str) -> Sent[P] | None:
        """The request of an id, which is over; None also if nobody waits for it any more."""
        is_cancelled = self._cancelled.pop(own, None) is not None
        sent = self._open.pop(own, None)
        return None if is_cancelled else sent

    def all(self) -> list[Sent[P]]:
        """Those that the server may be working on."""
        self._forget_old()
        return list(self._open.values())

    def leave(self, port: P) -> list[str]:
        """A conversation ends; the ids of its requests that are not over."""
        left = [own for own, sent in self._open.items() if sent.port == port]
        return [own for own in left if self.pop(own) is not None]

    def cancel(self, port: P, token: str | None) -> str | None:
        """A conversation cancels a request; its id at the server, or None if there is none."""
        found = (own for own, sent in self._open.items() if sent[:2] == (port, token))
        own = next((own for own in found if own not in self._cancelled), None)
        if own is not None:
            self._cancelled[own] = self._now()
            self._forget_old()
        return own

    def clear(self) -> None:
        """The server is gone."""
        self._open.clear()
        self._cancelled.clear()

    def _forget_old(self) -> None:
        before = self._now() - REMEMBERED_SECONDS
        while self._cancelled:
            own, since = next(iter(self._cancelled.items()))
            if len(self._cancelled) <= MAX_REMEMBERED and since > before:
                return
            self.pop(own)

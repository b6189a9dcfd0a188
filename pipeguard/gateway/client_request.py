"""A client's request while the gateway answers it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import Message
from pipeguard.gateway import eras
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.leg import Leg


class ClientRequest:
    """A client's request while it is being answered.

    Attributes:
        method: of it.
        params: of it; empty where there are none.
        token: the id, as it stood in the frame.
        opening: what its client says of itself.
        leg: to the server that it was sent to last; None before.
    """

    __slots__ = ("_number", "leg", "method", "opening", "params", "token")

    def __init__(self, message: Message, agreed: Opening) -> None:
        """Read a request.

        Args:
            message: the request.
            agreed: what a handshake has said of the client, where the request itself says nothing.
        """
        params = message.value.get("params")
        self.method = message.method or ""
        self.params: JsonObject = params if isinstance(params, dict) else {}
        self.token = message.id_token or ""
        self.opening = eras.opening_in(self.method, self.params) or agreed
        self.leg: Leg | None = None
        self._number: JsonValue = None

    @property
    def progress(self) -> JsonValue:
        """The token under which the client wants to hear of progress; None where it does not."""
        return eras.meta_of(self.params).get("progressToken")

    @property
    def log_level(self) -> str | None:
        """From which level on the client wants to read the server's log; None for nothing."""
        level = eras.meta_of(self.params).get(eras.LOG_LEVEL)
        return level if type(level) is str else None

    @classmethod
    def like(cls, other: ClientRequest) -> ClientRequest:
        """A request of ours in the course of a client's: with its `_meta`, but for its progress."""
        request = cls.__new__(cls)
        meta = eras.meta_of(other.params)
        kept: JsonObject = {key: meta[key] for key in meta if key != "progressToken"}
        params: JsonObject = {"_meta": kept} if kept else {}
        request.method, request.params, request.token = other.method, params, other.token
        request.opening, request.leg, request._number = other.opening, None, None
        return request

    def went(self, leg: Leg, number: JsonValue) -> None:
        """It was sent to a server, under an id of ours."""
        self.leg, self._number = leg, number

    def cancelling(self, reason: JsonValue) -> Coroutine[Any, Any, None] | None:
        """Tells the server that nobody waits any more; None where no server has the request."""
        if self.leg is None:
            return None
        params: JsonObject = {"requestId": self._number}
        if reason is not None:
            params["reason"] = reason
        return self.leg.notify("notifications/cancelled", params)

"""A client's request while it is being answered, and its sender."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from pipeguard.detect.flows.ledger import Flows
from pipeguard.firewall.protocol.answers import is_ordinary
from pipeguard.firewall.protocol.framing import KnownResult
from pipeguard.firewall.protocol.ids import read_id
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.firewall.protocol.message import Message, readdress
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.session import SessionTape
from pipeguard.gateway.eras import LOG_LEVEL, Opening, find_meta, find_opening
from pipeguard.gateway.leg import Leg
from pipeguard.transports.http.client.task_owners import SharingClient
from pipeguard.transports.judging import LARGE_BYTES, SMALL_BYTES


@dataclass(slots=True, eq=False)
class ClientRequest:
    """A client's request while it is being answered.

    Attributes:
        params: empty if there are none.
        token: the id, as written in the frame.
        opening: its client's description of itself.
        task: answers it, for a client that is connected.
        leg: to the server that it was sent to last; None before.
        number: its id at that server; None before.
        is_unsent: True while it is judged or waits for a person, before a server has it.
        answer: the latest one from a server; None before.
    """

    method: str
    params: JsonObject
    token: str
    opening: Opening
    task: asyncio.Task[None] = field(init=False)
    leg: Leg | None = None
    is_unsent: bool = False
    answer: Message | None = None
    number: Number | None = None

    @classmethod
    def read(cls, message: Message, agreed: Opening) -> Self:
        """Read a request.

        Args:
            message: the request.
            agreed: the client's description from a handshake, used if the request has none.
        """
        method, params = message.method or "", message.params
        opening = find_opening(method, params) or agreed
        return cls(method, params, message.id_token or "", opening)

    @property
    def progress(self) -> JsonValue:
        """The client's progress token; None if it wants no progress."""
        return find_meta(self.params).get("progressToken")

    @property
    def log_level(self) -> str | None:
        """The lowest level of the server's log that the client wants to read; None for nothing."""
        level = find_meta(self.params).get(LOG_LEVEL)
        return level if type(level) is str else None

    @classmethod
    def like(cls, other: "ClientRequest") -> Self:
        """Our own request during a client's request: with its `_meta`, except for its progress."""
        meta = find_meta(other.params)
        kept: JsonObject = {key: meta[key] for key in meta if key != "progressToken"}
        params: JsonObject = {"_meta": kept} if kept else {}
        return cls(other.method, params, other.token, other.opening)

    def note_answer(self, answer: Message) -> None:
        """Note a server's answer."""
        self.answer = answer

    def readdress(self, result: JsonValue) -> bytes | None:
        """The frame that gives the client a server's result unchanged.

        None for a changed result, and for a short one, which is written again just as fast.
        """
        answer = self.answer
        if result is None or answer is None or answer.value.get("result") is not result:
            return None
        frame = readdress(answer, self.token) if len(answer.frame) >= SMALL_BYTES else None
        if frame is None:
            return None
        if len(frame) < LARGE_BYTES:
            value: JsonObject = {**answer.value, "id": read_id(self.token)}
            return ParsedFrame.of_line(frame, value)
        return KnownResult.of(frame, self.token) if is_ordinary(answer.value) else frame

    def cancelling(self, reason: JsonValue) -> Coroutine[Any, Any, None] | None:
        """The cancellation to send to the server; None if no server has the request."""
        if self.leg is None or self.is_unsent:
            return None
        params: JsonObject = {"requestId": self.number}
        if reason is not None:
            params["reason"] = reason
        return self.leg.notify("notifications/cancelled", params)


class Unavailable(Exception):  # noqa: N818  becomes the answer to whoever needed the server
    """A server that cannot be used now; the text has the reason and PipeGuard's reaction."""


class Refused(Unavailable):
    """A server that rejects its opening, with its own words."""


class ServedClient(NamedTuple):
    """A client of the gateway, or the gateway itself.

    Attributes:
        flows: recent data flows of the client, through all servers.
        token: the name of its token, for the audit; may be empty.
        sharing: its own part of a server; the gateway has no tasks, and wants no log.
        tape: of its record; None if there is none.
    """

    flows: Flows
    token: str = ""
    sharing: SharingClient = SharingClient("", is_listening=False)
    tape: SessionTape | None = None

"""The opening of one server that several clients share: made once, and described to all of them."""

from __future__ import annotations

import asyncio
import re

from pipeguard.core.protocol.ids import id_of, id_token_of
from pipeguard.core.protocol.json_values import JsonObject, serialise
from pipeguard.transports.failure import Failure

_REVISION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")  # of MCP: the day when it was fixed


class SharedOpening:
    """What became of the first `initialize`, and whether the server knows that it succeeded."""

    def __init__(self) -> None:
        self._description: asyncio.Future[JsonObject | None] | None = None
        self._id = ""  # of the `initialize` that was sent
        self._is_confirmed = False

    @property
    def was_sent(self) -> bool:
        """True once a client has sent an `initialize`."""
        return self._description is not None

    def send(self, own_id: str) -> None:
        """The first `initialize` is sent, under an id of ours."""
        self._description = asyncio.get_running_loop().create_future()
        self._id = own_id

    def confirm(self) -> bool:
        """A client has sent `notifications/initialized`; True for the first."""
        was_confirmed, self._is_confirmed = self._is_confirmed, True
        return not was_confirmed

    def is_awaiting(self, own_id: str) -> bool:
        """True for the first `initialize` while it is not answered; it cannot be cancelled."""
        is_open = self._description is not None and not self._description.done()
        return is_open and own_id == self._id

    def answered(self, own_id: str, answer: JsonObject) -> None:
        """The server has answered a request; an answer that is lost is empty."""
        if self._description is None or not self.is_awaiting(own_id):
            return
        self._description.set_result(answer if "result" in answer else None)
        if "result" not in answer:
            self._description = None  # the next client may try

    async def describe(self, opening: JsonObject) -> bytes:
        """Answer an opening as the server answered the first, in the revision that it asks for."""
        token = id_token_of(opening.get("id")) or ""
        description = self._description
        if description is not None:
            await asyncio.wait([description])
        answer = None if description is None else description.result()
        if answer is None:
            return Failure("the server did not take its opening").lost(token)
        return serialise({**_in_revision_of(opening, answer), "id": id_of(token)})

    def end(self) -> None:
        """The server is gone: whoever waits is answered, and the next opening is the first."""
        if self._description is not None and not self._description.done():
            self._description.set_result(None)
        self._description, self._is_confirmed = None, False


def _in_revision_of(opening: JsonObject, answer: JsonObject) -> JsonObject:
    """A server's answer to another client's opening, in an older revision if this one asks for it.

    A client that does not know the newer one would hang up (MCP 2025-06-18, basic/lifecycle).
    """
    params, result = opening.get("params"), answer.get("result")
    wanted = params.get("protocolVersion") if isinstance(params, dict) else None
    own = result.get("protocolVersion") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(wanted, str) or not isinstance(own, str):
        return answer
    if not _REVISION.match(wanted) or wanted >= own:
        return answer
    return {**answer, "result": {**result, "protocolVersion": wanted}}

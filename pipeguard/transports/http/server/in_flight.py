"""Requests and progress tokens in flight on a channel, and the exchanges that they belong to.

Clients use one id in several exchanges at once, so a request whose id is in use is sent under an id
of ours. An id whose answer may still come, for nobody, counts as in use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from pipeguard.transports.http.server.exchange import Exchange

LATE_IDS = 256  # whose answers may still come, for nobody


class RequestOrigin(NamedTuple):
    """Where a request, or a progress token, comes from.

    Attributes:
        exchange: of the client.
        token: as the client wrote it.
    """

    exchange: Exchange
    token: str


class InFlight:
    """What was sent on one channel, by the id that was sent.

    Attributes:
        requests: that wait for answers.
        progress: tokens by which the server reports progress.
    """

    def __init__(self) -> None:
        self.requests: dict[str, RequestOrigin] = {}
        self.progress: dict[str, RequestOrigin] = {}
        self._late: deque[str] = deque(maxlen=LATE_IDS)
        self._count = 0

    def add_request(self, exchange: Exchange, token: str) -> str:
        """Add a request; return the id under which it is sent."""
        sent_id = self._free(token, self.requests)
        self.requests[sent_id] = RequestOrigin(exchange, token)
        return sent_id

    def add_progress(self, exchange: Exchange, token: str) -> str:
        """Add a progress token; return the token that is sent."""
        sent_token = self._free(token, self.progress)
        self.progress[sent_token] = RequestOrigin(exchange, token)
        return sent_token

    def give_up(self, sent_id: str) -> RequestOrigin:
        """Remove a request whose answer may still come, for nobody."""
        self._late.append(sent_id)
        return self.requests.pop(sent_id)

    def was_late(self, sent_id: str) -> bool:
        """True for the answer to a request that was given up; the id is free from now on."""
        if sent_id not in self._late:
            return False
        self._late.remove(sent_id)
        return True

    def of(self, exchange: Exchange) -> list[str]:
        """The ids under which an exchange's requests were sent."""
        return [sent for sent, origin in self.requests.items() if origin.exchange is exchange]

    def forget_progress(self, exchange: Exchange) -> None:
        """Remove an exchange's progress tokens."""
        for sent, origin in list(self.progress.items()):
            if origin.exchange is exchange:
                del self.progress[sent]

    def sent_as(self, token: str) -> str | None:
        """The id under which the oldest request with a client's id was sent; None without one."""
        return next((sent for sent, origin in self.requests.items() if origin.token == token), None)

    def exchanges(self) -> list[Exchange]:
        """The exchanges that wait for answers, the latest last."""
        return list(dict.fromkeys(origin.exchange for origin in self.requests.values()))

    def present(self) -> list[Exchange]:
        """Those of them whose clients wait."""
        return [exchange for exchange in self.exchanges() if exchange.is_present]

    def _free(self, token: str, used: Mapping[str, object]) -> str:
        if token not in used and token not in self._late:
            return token
        self._count += 1
        return f'"pipeguard-{self._count}"'

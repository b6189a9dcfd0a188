"""Tells the user which hosts an isolated server was refused, once each, and how to give them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from pipeguard.isolation.egress.judge import EgressOutcome, EgressReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeguard.isolation.egress.judge import EgressRecord

MOST_TOLD = 50  # a server that tries every host is told of as such
WEB_PORT = 443


class Refusals:
    """Says each refused host once.

    Args:
        name: of the server.
        say: tells the user.
    """

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._told: set[str] = set()
        self._lock = Lock()

    def report(self, record: EgressRecord) -> None:
        """Take note of a connection."""
        if record.outcome is not EgressOutcome.REFUSED:
            return
        host = entry_for(record)
        with self._lock:
            if host in self._told or len(self._told) > MOST_TOLD:
                return
            self._told.add(host)
            is_last = len(self._told) > MOST_TOLD
        if is_last:
            self._say(f"{self._name} tries more hosts that it was not given; not told further.")
        elif record.reason in (EgressReason.HOST, EgressReason.PORT):
            self._say(
                f"{self._name} was refused a connection to {host}, which it was not given. If it"
                f" needs that host: --connect {host}, or `hosts: ['{host}']` under `isolate` in"
                " your policy."
            )
        elif record.reason is EgressReason.ADDRESS:
            self._say(
                f"{self._name} was refused a connection to {host}: the name leads to a private or"
                " local address. If that is right, give it the address itself."
            )


def entry_for(record: EgressRecord) -> str:
    """The entry of an allow list that would let a connection pass."""
    host = f"[{record.host}]" if ":" in record.host else record.host
    return host if record.port in (0, 80, WEB_PORT) else f"{host}:{record.port}"

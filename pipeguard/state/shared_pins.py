"""Pins of one server that replicas share: stored by the link, and read from its last look."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from pipeguard.firewall.finding import PinChange
    from pipeguard.firewall.pins.fingerprint import Pin
    from pipeguard.state.pins import Store
    from pipeguard.state.postgres.link import Link


class SharedPins:
    """The pins of a server in the shared store. Nothing here waits for the database.

    Args:
        link: of the replica.
        server: the server's name.
        needs_review: definitions that another replica pins at first sight wait for a person.
    """

    def __init__(self, link: Link, server: str, *, needs_review: bool) -> None:
        self._link, self._server, self._needs_review = link, server, needs_review
        self._waiting: deque[Future[int]] = deque()
        self._number = 0  # of the changes with all that was stored
        self._seen: Mapping[tuple[str, str], Pin] | None = None
        link.follow(server)

    def remember(self, changes: Iterable[tuple[Sequence[PinChange], str]]) -> None:
        """Store the pins of a session once the database answers, as `Store.remember`."""
        listed = list(changes)

        def store_all(store: Store) -> int:
            for pins, when in listed:
                store.remember(self._server, pins, when)
            return store.change_counter()

        length = sum(len(pin.definition) + len(pin.name) for pins, _ in listed for pin in pins)
        self._waiting.append(self._link.do(store_all, length=length))

    def find_changed(self) -> Mapping[tuple[str, str], Pin] | None:
        """The pins if they have changed, with all that was stored here; else None.

        Raises:
            StateError: pins could not be stored.
        """
        while self._waiting and self._waiting[0].done():
            self._number = self._waiting.popleft().result()
        shared = self._link.shared
        pins = shared.pins.get(self._server)
        if self._waiting or shared.number < self._number or pins is None or pins is self._seen:
            return None
        self._seen = pins
        if self._needs_review:
            self._link.do(lambda store: store.hold_unreviewed(self._server))
        return pins

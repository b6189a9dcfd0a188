"""What waits for a person, and a person's yes: pins held in the store, and their approval.

Knows the store and what a drift is called; asks nobody and prints nothing.
"""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeguard.core.drift import classify, describe
from pipeguard.core.finding import Drift
from pipeguard.core.fingerprint import Pin
from pipeguard.core.visible import visible
from pipeguard.state.audit import Audit, Entry
from pipeguard.state.store import written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.state.store import Store

KINDS = ("tool", "prompt", "resource", "template", "server")


class UnknownTargetError(LookupError):
    """No server and no definition has that name; says which there are."""


@dataclass(frozen=True, slots=True)
class Held:
    """A definition that waits for a person.

    Attributes:
        server: the server's name.
        pin: what is trusted, and what is held.
    """

    server: str
    pin: Pin

    @property
    def target(self) -> str:
        """Its name for people and for the command line, as `weather/get_forecast`."""
        return visible(f"{self.server}/{self.pin.name}")

    @property
    def command(self) -> str:
        """The command that approves it."""
        kind = "" if self.pin.kind == "tool" else f" --kind {self.pin.kind}"
        return f"pipeguard approve {shlex.quote(self.target)}{kind}"

    @property
    def drift(self) -> tuple[Drift, ...]:
        """The classes of its drift; none where it was never approved."""
        if self.pin.approved is None or self.pin.held is None:
            return ()
        return classify(self.pin.approved, self.pin.held, self.pin.kind)

    @property
    def changes(self) -> tuple[str, ...]:
        """Its drift in short lines; none where it was never approved."""
        if self.pin.approved is None or self.pin.held is None:
            return ()
        return describe(self.pin.approved, self.pin.held)


def held(store: Store, target: str | None = None, kind: str | None = None) -> list[Held]:
    """What waits for a person.

    Args:
        store: where pins are kept.
        target: a server, or a server and a name with a slash between; None for every server.
        kind: only definitions of this kind.

    Raises:
        UnknownTargetError: nothing of that name is kept.
    """
    places: list[tuple[str, str | None]] = (
        [(server, None) for server in store.servers()]
        if target is None
        else [_place(store, target)]
    )
    return [
        Held(server, pin)
        for server, name in places
        for pin in store.pins(server).values()
        if pin.held is not None
        and kind in {None, pin.kind}
        and name in {None, pin.name, visible(pin.name)}
    ]


def approve(store: Store, shown: Iterable[Held]) -> list[Held]:
    """Trust just what was shown, and say so in the audit, all at once.

    Returns:
        Those that were approved. One is missing where the server has sent another definition
        since, or where somebody else was faster.
    """
    chain = f"APPROVE-{secrets.token_hex(4).upper()}"
    moment = written(datetime.now(UTC))
    approved: list[Held] = []
    with store.transaction():
        for one in shown:
            pin = one.pin
            if store.approve(one.server, pin.kind, pin.name, pin.held_fingerprint):
                approved.append(one)
        for server in sorted({one.server for one in approved}):
            entries = [_entry(one, moment) for one in approved if one.server == server]
            Audit(store, f"{chain}-{server}", server, moment).append_many(entries)
    return approved


def _place(store: Store, target: str) -> tuple[str, str | None]:
    """Which server, and which name; both may have slashes of their own."""
    servers = store.servers()
    if target in servers:
        return target, None
    for server in sorted(servers, key=len, reverse=True):
        name = target[len(server) + 1 :]
        if not target.startswith(f"{server}/"):
            continue
        if any(name in {pin.name, visible(pin.name)} for pin in store.pins(server).values()):
            return server, name
        raise UnknownTargetError(f"the server {visible(server)} has shown nothing called {name!r}")
    known = ", ".join(map(visible, servers)) or "none yet"
    raise UnknownTargetError(f"no server is known as {target!r}; known: {known}")


def _entry(one: Held, moment: str) -> Entry:
    """An approval as a row: the frame of it is the definition that was approved."""
    pin = one.pin
    note = f"before: {pin.approved_fingerprint or 'nothing'}; held for {pin.reason or 'review'}"
    return Entry(
        time=moment,
        client="",
        direction="",
        kind="approval",
        method=pin.kind,
        tool=pin.name[:200],
        action="approve",
        event="",
        frame_sha256=pin.held_fingerprint or "",
        frame_bytes=len((pin.held or "").encode("utf-8")),
        findings=json.dumps([{"rule": "trust.approved", "note": note}], separators=(",", ":")),
    )

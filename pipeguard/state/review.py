"""What waits for a person, and what a person decides: yes, no, or that it was never seen.

Knows the store and what a drift is called; asks nobody and prints nothing.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pipeguard.core.finding import Drift
from pipeguard.core.pins.drift import classify, describe
from pipeguard.core.pins.fingerprint import Pin
from pipeguard.core.unicode.display import quoted, visible
from pipeguard.state.audit import Audit, AuditEntry
from pipeguard.state.store import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.state.store import Store

KINDS = ("tool", "prompt", "resource", "template", "server")


class UnknownTargetError(LookupError):
    """No server and no definition has that name; says which there are."""


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """A definition that is in the store.

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


@dataclass(frozen=True, slots=True)
class HeldDefinition(StoredDefinition):
    """One that waits for a person."""

    @property
    def command(self) -> str:
        """The command that approves it."""
        kind = "" if self.pin.kind == "tool" else f" --kind {self.pin.kind}"
        return f"pipeguard approve {quoted(self.target)}{kind}"

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


def kept(
    store: Store, target: str | None = None, kind: str | None = None
) -> list[StoredDefinition]:
    """What is in the store.

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
        StoredDefinition(server, pin)
        for server, name in places
        for pin in store.pins(server).values()
        if kind in {None, pin.kind} and name in {None, pin.name, visible(pin.name)}
    ]


def held(store: Store, target: str | None = None, kind: str | None = None) -> list[HeldDefinition]:
    """What of that waits for a person.

    Raises:
        UnknownTargetError: nothing of that name is kept.
    """
    found = kept(store, target, kind)
    return [HeldDefinition(one.server, one.pin) for one in found if one.pin.held is not None]


def approve(store: Store, shown: Iterable[HeldDefinition]) -> list[HeldDefinition]:
    """Trust just what was shown, and say so in the audit, all at once.

    Returns:
        Those that were approved. One is missing where the server has sent another definition
        since, or where somebody else was faster.
    """
    return _decided(store, shown, "approve", _as_shown(store.approve))


def reject(store: Store, shown: Iterable[HeldDefinition]) -> list[HeldDefinition]:
    """Throw away just what was shown, and say so in the audit; what was approved stays so.

    Returns:
        Those that were thrown away, as in `approve`.
    """
    return _decided(store, shown, "reject", _as_shown(store.reject))


def _as_shown(
    decide: Callable[[str, str, str, str | None], object],
) -> Callable[[HeldDefinition], bool]:
    """A decision of the store on just the definition that was shown."""

    def take(one: HeldDefinition) -> bool:
        pin = one.pin
        return bool(decide(one.server, pin.kind, pin.name, pin.held_fingerprint))

    return take


def forget(store: Store, shown: Iterable[StoredDefinition]) -> list[StoredDefinition]:
    """Forget what is trusted and what is held, and say so in the audit.

    Returns:
        Those that were forgotten; one is missing where somebody else was faster.
    """

    def take(one: StoredDefinition) -> bool:
        return store.forget(one.server, one.pin.kind, one.pin.name) > 0

    return _decided(store, shown, "forget", take)


def forget_launch(store: Store, name: str) -> tuple[str, ...]:
    """Forget by what a server is started, and say so in the audit; its pins stay.

    Returns:
        What was known to have the name, in words.
    """
    moment = written(datetime.now(UTC))
    chain = f"FORGET-{secrets.token_hex(4).upper()}"
    with store.transaction():
        forgotten = store.forget_launch(name)
        entries = [_row("forget", moment, note=f"launched by: {one}") for one in forgotten]
        if entries:
            Audit(store, f"{chain}-{name}", name, moment).append_many(entries)
    return forgotten


_Kept = TypeVar("_Kept", bound=StoredDefinition)


def _decided(
    store: Store, shown: Iterable[_Kept], action: str, take: Callable[[_Kept], bool]
) -> list[_Kept]:
    """Do what a person decided, and write it down, in one transaction."""
    moment = written(datetime.now(UTC))
    chain = f"{action.upper()}-{secrets.token_hex(4).upper()}"
    with store.transaction():
        done = [one for one in shown if take(one)]
        for server in sorted({one.server for one in done}):
            entries = [_entry(one, action, moment) for one in done if one.server == server]
            Audit(store, f"{chain}-{server}", server, moment).append_many(entries)
    return done


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


def _entry(one: StoredDefinition, action: str, moment: str) -> AuditEntry:
    """A decision as a row: the frame of it is the definition that it was about."""
    pin = one.pin
    note = f"approved: {pin.approved_fingerprint or 'nothing'}"
    if pin.held is not None:
        note += f"; held for {pin.reason or 'review'}"
    return _row(action, moment, note=note)._replace(
        method=pin.kind,
        tool=pin.name[:200],
        frame_sha256=pin.held_fingerprint or pin.approved_fingerprint or "",
        frame_bytes=len((pin.held or pin.approved or "").encode("utf-8")),
    )


def _row(action: str, moment: str, *, note: str) -> AuditEntry:
    finding = {"rule": f"trust.{_DONE[action]}", "note": note}
    return AuditEntry(
        time=moment,
        client="",
        direction="",
        kind="approval",
        method="server",
        tool="",
        action=action,
        event="",
        frame_sha256="",
        frame_bytes=0,
        findings=json.dumps([finding], separators=(",", ":")),
    )


_DONE = {"approve": "approved", "reject": "rejected", "forget": "forgotten"}

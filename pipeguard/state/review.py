"""Definitions that wait for a person, and the person's decisions: approve, reject or forget.

Knows the store and the names of drifts; asks no one and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.finding import Drift
from pipeguard.firewall.pins.drift import classify, describe
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.store import without_hold
from pipeguard.state.audit import (
    COLUMNS,
    AuditEntry,
    decision_entry,
    make_row,
    record_decision,
    select,
)
from pipeguard.state.schema import MAX_NAME_CHARS
from pipeguard.state.timestamps import exact_now_text
from pipeguard.unicode.display import quote, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeguard.state.pins import Namesake, Store

MOST_DECISIONS = 50  # of one definition's history
_DECISIONS = ("approve", "reject", "forget", "undo")  # about definitions
MOST_MEANT = 3  # definitions suggested for a wrong name
KINDS = ("tool", "prompt", "resource", "template", "skill", "content", "server")


class UnknownTargetError(LookupError):
    """No server and no definition has that name; the message lists the servers."""


class StoredDefinition(NamedTuple):
    """A definition in the store.

    Attributes:
        pin: its trusted form and its held form.
        namesake: the server that has the name which this one asked for; None if it has it.
    """

    server: str
    pin: Pin
    namesake: Namesake | None = None

    @property
    def target(self) -> str:
        """Its name for people and for the command line, as `weather/get_forecast`."""
        return visible(f"{self.server}/{self.pin.name}")

    @property
    def name_note(self) -> str:
        """The name that its server asked for, and its owner; empty if the server got it."""
        return visible(self.namesake.describe(self.server)) if self.namesake else ""

    @property
    def since(self) -> str:
        """The origin and day of its trusted version; empty if it has none."""
        if self.pin.approved_definition is None:
            return ""
        return f"{self.pin.origin} on {self.pin.approved_at[:10]}"

    @property
    def waits(self) -> bool:
        """True if it is held until then; else it was trusted at first sight."""
        return bool(self.pin.held_at) and self.pin.waits

    def spell_command(self, verb: str) -> str:
        """The command that does something with it, as `approve`."""
        kind = "" if self.pin.kind == "tool" else f" --kind {self.pin.kind}"
        return f"pipeguard {verb} {quote(self.target)}{kind}"

    @property
    def trusted_version(self) -> str | None:
        """The version to compare it with; None without another version."""
        pin = self.pin
        is_new = pin.approved_fingerprint == pin.held_fingerprint
        return None if is_new else pin.approved_definition

    @property
    def drift(self) -> tuple[Drift, ...]:
        """The classes of its drift; empty if it was never approved."""
        if self.trusted_version is None or self.pin.held_definition is None:
            return ()
        return classify(self.trusted_version, self.pin.held_definition, self.pin.kind)

    @property
    def changes(self) -> tuple[str, ...]:
        """Its drift in short lines; empty if it was never approved."""
        if self.trusted_version is None or self.pin.held_definition is None:
            return ()
        return describe(self.trusted_version, self.pin.held_definition)


class ToolState(NamedTuple):
    """A tool in the store, in short.

    Attributes:
        definition: its trusted form, or else the held one.
        is_reviewed: whether a person approved it.
        is_held: whether a form of it waits for a person.
    """

    name: str
    definition: str
    is_reviewed: bool
    is_held: bool


def stored_definitions(
    store: Store, target: str | None = None, kind: str | None = None
) -> list[StoredDefinition]:
    """The definitions in the store.

    Args:
        store: the store.
        target: a server, or a server and a name with a slash between; None for every server.
        kind: only definitions of this kind.

    Raises:
        UnknownTargetError: nothing in the store has that name.
    """
    return _find(store, target, kind, lambda *_: True)


def held_definitions(
    store: Store, target: str | None = None, kind: str | None = None
) -> list[StoredDefinition]:
    """The waiting definitions, and a withdrawn or rejected one that the target names.

    Raises:
        UnknownTargetError: nothing in the store has that name.
    """
    return _find(store, target, kind, lambda pin, name: pin.waits or (name and pin.held_definition))


def reviewable_definitions(
    store: Store, target: str | None = None, kind: str | None = None
) -> list[StoredDefinition]:
    """The waiting definitions; for a target without one, its unreviewed definitions.

    Unreviewed definitions were trusted at first sight, and no person has approved them.

    Raises:
        UnknownTargetError: nothing in the store has that name.
    """
    held = held_definitions(store, target, kind)
    if held or target is None:
        return held
    reviewable = []
    for each in _find(
        store, target, kind, lambda pin, _: pin.approved_definition and not pin.is_reviewed
    ):
        pin = without_hold(each.pin)._replace(
            held_definition=each.pin.approved_definition,
            held_fingerprint=each.pin.approved_fingerprint,
        )
        reviewable.append(each._replace(pin=pin))
    return reviewable


def _find(
    store: Store, target: str | None, kind: str | None, fits: Callable[[Pin, str | None], object]
) -> list[StoredDefinition]:
    """The definitions of a server that fit; else of servers that asked for its name."""
    groups: Iterable[list[tuple[str, str | None]]] = (
        [[(server, None) for server in store.servers()]]
        if target is None
        else _servers_and_name(store, target)
    )
    for group in groups:
        found = [
            StoredDefinition(server, pin, store.find_namesake(server))
            for server, name in group
            for pin in store.pins(server).values()
            if kind in {None, pin.kind} and name in {None, pin.name, visible(pin.name)}
            if fits(pin, name)
        ]
        if found:
            return found
    return []


def approve(store: Store, shown: Iterable[StoredDefinition], by: str) -> list[StoredDefinition]:
    """Trust exactly the definitions shown to a person, and record that in the audit.

    Returns:
        The approved ones, without any that the server or another process has replaced.
    """
    return _decide(store, shown, ("approve", by), lambda each: store.approve(each.server, each.pin))


def reject(store: Store, shown: Iterable[StoredDefinition], by: str) -> list[StoredDefinition]:
    """Reject exactly the definitions shown to a person, and record that in the audit.

    They do not wait again when they are offered again. Versions approved before stay approved.

    Returns:
        The rejected ones, as in `approve`.
    """
    return _decide(store, shown, ("reject", by), lambda each: store.reject(each.server, each.pin))


def restore(
    store: Store, decided: Iterable[StoredDefinition], by: str, *, is_approval: bool
) -> bool:
    """Take back a decision, and record that in the audit.

    Args:
        store: the store.
        decided: as they were before.
        by: who takes it back, as `ada, on the page`.
        is_approval: whether they were approved; False if they were rejected.

    Returns:
        False if one of them has changed in the meantime; then nothing is taken back.
    """
    moment = exact_now_text()
    decided = list(decided)
    with store.transaction():
        if not all(_is_as_left(store, each, is_approval=is_approval) for each in decided):
            return False
        for each in decided:
            store.put_back(each.server, each.pin)
            record_decision(store, each.server, _entry(each, "undo", moment, by))
    return True


def pin_history(store: Store, server: str, kind: str, name: str) -> list[AuditEntry]:
    """The decisions about one definition, the newest first, as far as the audit goes back.

    Raises:
        StateError: the store cannot be read.
    """
    chains = " OR ".join(f"chain GLOB '{action.upper()}-*'" for action in _DECISIONS)
    condition = (
        f"WHERE ({chains}) AND server = ? AND method = ? AND tool = ? ORDER BY id DESC LIMIT ?"
    )
    values = (server, kind, name[:MAX_NAME_CHARS], MOST_DECISIONS)
    return [make_row(row).entry for row in select(store, COLUMNS, condition, values)]


def tool_states(store: Store) -> dict[str, list[ToolState]]:
    """The state of each tool in the store, by server, without those that were only rejected.

    Raises:
        StateError: the store cannot be read.
    """
    states: dict[str, list[ToolState]] = {}
    columns = (
        "server, name, coalesce(approved, held), is_reviewed, held IS NOT NULL"
        " AND reason NOT IN ('withdrawn', 'rejected')"
    )
    rejected = "approved IS NULL AND reason = 'rejected'"
    condition = f"WHERE kind = 'tool' AND NOT ({rejected}) ORDER BY server, name"
    for server, *fields in select(store, columns, condition, table="pins"):
        states.setdefault(server, []).append(ToolState(*fields))
    return states


def _is_as_left(store: Store, definition: StoredDefinition, *, is_approval: bool) -> bool:
    """True if a pin is as a decision left it."""
    before = definition.pin
    now = store.pins(definition.server).get((before.kind, before.name))
    if is_approval:
        is_trusted = now is not None and now.approved_fingerprint == before.held_fingerprint
        return is_trusted and now is not None and now.held_definition is None
    return now is not None and not now.waits and before.held_fingerprint in now.rejected.split()


def forget(store: Store, shown: Iterable[StoredDefinition], by: str) -> list[StoredDefinition]:
    """Forget both the trusted and the held form of definitions, and record that in the audit.

    Returns:
        The forgotten ones, without any that another process forgot first.
    """
    return _decide(
        store,
        shown,
        ("forget", by),
        lambda each: store.forget(each.server, each.pin.kind, each.pin.name),
    )


def forget_launch(store: Store, name: str, by: str) -> tuple[str, ...]:
    """Forget the program or address of a server's name, and record that; its pins stay.

    Returns:
        Descriptions of the programs that had the name.
    """
    moment = exact_now_text()
    with store.transaction():
        forgotten = store.release_name(name)
        entries = [
            decision_entry("forget", note=f"launched by: {launch}", by=by, moment=moment)
            for launch in forgotten
        ]
        if entries:
            record_decision(store, name, *entries)
    return forgotten


def _decide(
    store: Store,
    shown: Iterable[StoredDefinition],
    decision: tuple[str, str],
    apply: Callable[[StoredDefinition], bool],
) -> list[StoredDefinition]:
    """Apply a person's decision and record it in the audit, in one transaction.

    Args:
        store: the store.
        shown: to the person.
        decision: its action, and who decides.
        apply: does it to one definition; False if another process was faster.
    """
    action, by = decision
    moment = exact_now_text()
    with store.transaction():
        decided = [definition for definition in shown if apply(definition)]
        for server in sorted({definition.server for definition in decided}):
            own = (each for each in decided if each.server == server)
            record_decision(store, server, *(_entry(each, action, moment, by) for each in own))
    return decided


def _servers_and_name(store: Store, target: str) -> list[list[tuple[str, str | None]]]:
    """Split a target into server and name, which may contain slashes.

    The server that has the name comes first, and then servers that asked for it.
    """
    known = store.servers()
    for own, name in _splits(target):
        servers = [server for server in store.servers_called(own) if server in known]
        offering = [
            server
            for server in servers
            if name is None
            or any(name in {pin.name, visible(pin.name)} for pin in store.pins(server).values())
        ]
        if offering:
            return [[(server, name) for server in group] for group in (offering[:1], offering[1:])]
        if servers:
            raise UnknownTargetError(
                f"the server {visible(own)} has offered nothing called {name!r}"
            )
    *_, own = (own for own, _ in _splits(target) if "/" in own or own == target or own[0] != "@")
    raise UnknownTargetError(_describe_unknown(store, own, target))


def _describe_unknown(store: Store, own: str, target: str) -> str:
    """Explain that nothing has a name, and suggest names that were probably meant."""
    named = store.named_servers()
    if own in named:
        return f"the server {visible(own)} has not started yet: there is nothing to decide"
    meant = [
        each.target
        for each in stored_definitions(store)
        if target in {each.pin.name, each.target, f"{each.server}.{each.pin.name}"}
    ][:MOST_MEANT]
    but = f", but {' and '.join(meant)}" if meant else ""
    known = ", ".join(map(visible, sorted({*store.servers(), *named}))) or "none"
    return f"there is no server {own!r}{but}; known servers: {known}"


def _splits(target: str) -> Iterable[tuple[str, str | None]]:
    """The ways to read a target as a server and a name, the longest server first."""
    yield target, None
    for end in range(len(target) - 1, 0, -1):
        if target[end] == "/":
            yield target[:end], target[end + 1 :]


def _entry(definition: StoredDefinition, action: str, moment: str, by: str) -> AuditEntry:
    """A decision as an entry of the audit; its frame is the definition decided on."""
    pin = definition.pin
    is_first_seen = pin.approved_fingerprint is not None and not pin.is_reviewed
    how = "first seen" if is_first_seen else "approved"
    note = f"{how}: {pin.approved_fingerprint or 'nothing'}"
    if pin.held_at:
        note += f"; held for {pin.reason or 'review'}"
    return decision_entry(action, note=note, by=by, moment=moment)._replace(
        method=pin.kind,
        tool=pin.name[:MAX_NAME_CHARS],
        frame_sha256=pin.held_fingerprint or pin.approved_fingerprint or "",
        frame_bytes=len((pin.held_definition or pin.approved_definition or "").encode("utf-8")),
    )

"""The store: each server's trusted definitions, and definitions held for a person.

One serves all servers and all processes. Does not know the meaning of a drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.firewall.pins.fingerprint import REJECTED, WITHDRAWN, Pin
from pipeguard.firewall.pins.store import REVIEW
from pipeguard.records import NamedTuple
from pipeguard.state.database import StateDatabase
from pipeguard.state.timestamps import now_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.firewall.finding import PinChange
    from pipeguard.identity.server_name import Launched

_SELECT = """
    SELECT kind, name, approved, approved_fingerprint, held, held_fingerprint, reason,
        approved_at, held_at, is_reviewed, coalesce((
            SELECT group_concat(substr(key, -64), ' ') FROM dismissals
            WHERE key BETWEEN 'rejected ' || json_array(server, kind, name) || ' '
                AND 'rejected ' || json_array(server, kind, name) || ' g'), '')
    FROM pins WHERE server = ?"""
_PIN = """
    INSERT INTO pins (server, kind, name, approved, approved_fingerprint, approved_at)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (server, kind, name) DO UPDATE SET approved = excluded.approved,
        approved_fingerprint = excluded.approved_fingerprint,
        approved_at = iif(pins.approved IS NULL, excluded.approved_at, pins.approved_at),
        held = NULL, held_fingerprint = NULL, held_at = '', reason = ''
    WHERE pins.approved IS NULL OR pins.held IS NOT NULL"""
_HOLD = """
    INSERT INTO pins (server, kind, name, held, held_fingerprint, held_at, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (server, kind, name) DO UPDATE SET held = excluded.held,
        held_fingerprint = excluded.held_fingerprint, held_at = excluded.held_at,
        reason = excluded.reason
    WHERE pins.held_fingerprint IS NOT excluded.held_fingerprint
        OR pins.reason <> excluded.reason"""
_APPROVE = """
    UPDATE pins SET approved = held, approved_fingerprint = held_fingerprint, approved_at = ?,
        is_reviewed = 1, held = NULL, held_fingerprint = NULL, held_at = '', reason = ''
    WHERE server = ? AND kind = ? AND name = ? AND held_fingerprint = ?"""
_REVIEW = """
    UPDATE pins SET approved_at = ?, is_reviewed = 1
    WHERE server = ? AND kind = ? AND name = ? AND approved_fingerprint = ?
        AND (held IS NULL OR reason IN ('withdrawn', 'rejected')) AND is_reviewed = 0"""
# The content of an approved definition counts as approved once it was read.
_IS_UNREVIEWED = """server = ? AND kind <> 'content' AND approved IS NOT NULL AND is_reviewed = 0
        AND (held IS NULL OR reason IN ('withdrawn', 'rejected'))"""
_HAS_UNREVIEWED = f"SELECT 1 FROM pins WHERE {_IS_UNREVIEWED}"  # noqa: S608  constants
_HOLD_UNREVIEWED = f"""
    UPDATE pins SET held = approved, held_fingerprint = approved_fingerprint, held_at = ?,
        reason = ? WHERE {_IS_UNREVIEWED}"""  # noqa: S608  constants
# What was trusted at first sight, and is rejected under review, is trusted no longer.
_REJECT = """
    UPDATE pins SET reason = 'rejected',
        approved = iif(approved_fingerprint = held_fingerprint, NULL, approved),
        approved_at = iif(approved_fingerprint = held_fingerprint, '', approved_at),
        approved_fingerprint = nullif(approved_fingerprint, held_fingerprint)
    WHERE server = ? AND kind = ? AND name = ? AND held_fingerprint = ?"""
# Of a version that a person rejected, among the dismissals.
_KEY = "'rejected ' || json_array(?, ?, ?) || ' ' || ?"
_PUT_BACK = """
    INSERT INTO pins (server, kind, name, approved, approved_fingerprint, held,
        held_fingerprint, reason, approved_at, held_at, is_reviewed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (server, kind, name) DO UPDATE SET approved = excluded.approved,
        approved_fingerprint = excluded.approved_fingerprint, held = excluded.held,
        held_fingerprint = excluded.held_fingerprint, reason = excluded.reason,
        approved_at = excluded.approved_at, held_at = excluded.held_at,
        is_reviewed = excluded.is_reviewed"""


class Namesake(NamedTuple):
    """The server that has the name which another server asked for.

    Attributes:
        name: that both asked for.
        launched: the program or address that has it, in words.
        since: when it got the name.
    """

    name: str
    launched: str
    since: str

    def describe(self, server: str) -> str:
        """Explain why another server did not get the name that it asked for."""
        day = self.since[:10]
        return f"{server} asked for the name {self.name}: {self.launched} has it since {day}"


class Store(StateDatabase):
    """The pins of all servers.

    Each method is one transaction; inside `with store.transaction()` several are one.
    """

    def servers(self) -> tuple[str, ...]:
        """The servers that have pins, by name."""
        return self._read_names("SELECT DISTINCT server FROM pins ORDER BY server")

    def count_pins(self) -> int:
        """The number of pins."""
        return int(self.read("SELECT count(*) FROM pins")[0][0])

    def named_servers(self) -> tuple[str, ...]:
        """The servers that were started or called, by their stored names."""
        return self._read_names("SELECT server FROM servers ORDER BY server")

    def _read_names(self, query: str, *values: str) -> tuple[str, ...]:
        return tuple(name for (name,) in self.read(query, *values))

    def name_server(self, name: str, launched: Launched, *, register: bool = True) -> str:
        """Find the name to store a server under: the requested one, unless another has it.

        If another has the name, a few digits of the hash of its command or address follow. Without
        a requested name it gets its stored name, if it has only one.

        Args:
            name: the requested name; empty for none, as of a server that is started by hand.
            launched: from the server's command or address.
            register: whether to store the name; False only looks.
        """
        from hashlib import sha256

        identity = sha256(launched.identity.encode("utf-8", "surrogateescape")).hexdigest()
        if not name:  # the only name that it was requested by before, if there is one
            names = self._read_names("SELECT name FROM servers WHERE identity = ?", identity)
            name = names[0] if len(names) == 1 else launched.name
        stored = self._stored_name(name, identity)
        if stored is not None or not register:
            return stored or name
        with self.transaction():
            stored = self._stored_name(name, identity)  # another process may have been faster
            if stored is not None:
                return stored
            server = name
            digits = 6
            while self.read("SELECT 1 FROM servers WHERE server = ?", server):
                server = f"{name}-{identity[:digits]}"
                digits = digits + 2
            insert = (
                "INSERT INTO servers (server, name, identity, launched, since)"
                " VALUES (?, ?, ?, ?, ?)"
            )
            self.write(insert, server, name, identity, launched.description, now_text())
            return server

    def load_server(
        self, name: str, launched: Launched, *, hold: bool
    ) -> tuple[str, dict[tuple[str, str], Pin], Namesake | None]:
        """Name a server that starts, and read its pins, and the server with the requested name.

        Args:
            name: as `name_server`.
            launched: as `name_server`.
            hold: whether definitions pinned at first sight wait for a person.
        """
        server = self.name_server(name, launched)
        if hold:
            self.hold_unreviewed(server)
        return server, self.pins(server), self.find_namesake(server)

    def _stored_name(self, name: str, identity: str) -> str | None:
        names = self._read_names(
            "SELECT server FROM servers WHERE name = ? AND identity = ?", name, identity
        )
        return names[0] if names else None

    def servers_called(self, name: str) -> tuple[str, ...]:
        """The servers that have a name or asked for it, the owner first."""
        query = "SELECT server FROM servers WHERE name = ? AND server <> ? ORDER BY server"
        return (name, *self._read_names(query, name, name))

    def find_namesake(self, server: str) -> Namesake | None:
        """Find the server that has the name which another asked for, if there is one."""
        found = self.read(
            "SELECT own.name, other.launched, other.since FROM servers own"
            " JOIN servers other ON other.server = own.name AND other.server <> own.server"
            " WHERE own.server = ?",
            server,
        )
        return Namesake(*found[0]) if found else None

    def find_launch(self, server: str) -> str:
        """The command or address behind a server's name, in words; empty if unknown."""
        return "".join(self._read_names("SELECT launched FROM servers WHERE server = ?", server))

    def release_name(self, name: str) -> tuple[str, ...]:
        """Forget the owner of a name, and keep its pins: the next server of the name gets them.

        Returns:
            Descriptions of the programs that had the name.
        """
        query = "DELETE FROM servers WHERE name = ? OR server = ? RETURNING launched"
        return self._read_names(query, name, name)

    def pins(self, server: str) -> dict[tuple[str, str], Pin]:
        """The pins of a server, by kind and name."""
        rows = self.read(f"{_SELECT} ORDER BY kind, name", server)
        return {(row[0], row[1]): Pin(*row) for row in rows}

    def remember(self, server: str, changes: Iterable[PinChange], when: str = "") -> None:
        """Store the pins of a session.

        First use trusts once: a definition that another process has pinned in the meantime is not
        replaced by a different one, which is held instead, and one that another process holds stays
        held. A definition that a person has approved in the meantime is not held again.

        Args:
            server: the server's name.
            changes: from the session.
            when: it was judged (ISO 8601, UTC), as its event in the audit; empty for now.
        """
        now = when or now_text()
        with self.transaction():
            for change in changes:
                if change.is_held:
                    self._hold(server, change, change.reason, now)
                elif change.reason:
                    self._approve(server, change, now)
                else:
                    self._pin(server, change, now)

    def _approve(self, server: str, change: PinChange, now: str) -> None:
        """Trust what the organisation approved, unless a person here rejected it."""
        if change.fingerprint not in self._find(server, change).rejected:
            self._hold(server, change, REVIEW, now)
            shown = Pin(change.kind, change.name, None, None, None, change.fingerprint, "")
            self.approve(server, shown)

    def hold_unreviewed(self, server: str) -> None:
        """Hold definitions pinned at first sight, for a run under review."""
        if self.read(_HAS_UNREVIEWED, server):  # else no need to wait for the lock
            self.write(_HOLD_UNREVIEWED, now_text(), REVIEW, server)

    def approve(self, server: str, shown: Pin) -> bool:
        """Trust a held definition, or mark a trusted one as seen by a person.

        Args:
            server: whose definition.
            shown: the definition that the person saw; the server may have sent another since.

        Returns:
            False if the definition has been replaced.
        """
        return self._decide((_APPROVE, _REVIEW), (now_text(),), server, shown)

    def reject(self, server: str, shown: Pin) -> bool:
        """Reject a held definition: it never waits again, whenever the server offers it.

        Returns:
            False if the definition has been replaced.
        """
        return self._decide((_REJECT,), (), server, shown)

    def _decide(
        self, statements: tuple[str, ...], values: tuple[str, ...], server: str, shown: Pin
    ) -> bool:
        """Change the pin of a definition, if its held form is still the one shown."""
        values = (*values, server, shown.kind, shown.name, shown.held_fingerprint or "")
        with self.transaction():
            changes = [self.write(each, *values) for each in statements]
            if any(changes):
                self._mark(server, shown, is_rejected=_REJECT in statements)
        return any(changes)

    def _mark(self, server: str, pin: Pin, *, is_rejected: bool) -> None:
        """Remember whether a person rejected the held version, even after another one is held."""
        key = (server, pin.kind, pin.name, pin.held_fingerprint)
        self.write(f"DELETE FROM dismissals WHERE key = {_KEY}", *key)  # noqa: S608  constants
        if is_rejected:
            insert = f"INSERT INTO dismissals SELECT {_KEY}, ?"
            self.write(insert, *key, now_text())

    def put_back(self, server: str, pin: Pin) -> None:
        """Store a pin as it was before a decision, replacing the outcome of the decision."""
        with self.transaction():
            self.write(_PUT_BACK, server, *pin[:-1])
            self._mark(server, pin, is_rejected=pin.held_fingerprint in pin.rejected.split())

    def forget(self, server: str, kind: str, name: str) -> bool:
        """Delete a pin, so that the next sight is the first; False if there is none.

        Once a server has no pin left, its name is free for another server.
        """
        fields = (server, kind, name)
        with self.transaction():
            gone = self.write(
                "DELETE FROM pins WHERE server = ? AND kind = ? AND name = ?", *fields
            )
            self.write(
                f"DELETE FROM dismissals WHERE key BETWEEN {_KEY} AND {_KEY}",  # noqa: S608  constants
                *(*fields, ""),
                *(*fields, "g"),
            )
            self.write(
                "DELETE FROM servers WHERE server = ?"
                " AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.server = servers.server)",
                server,
            )
        return gone > 0

    def _find(self, server: str, change: PinChange) -> Pin:
        """The pin of a definition; an empty one if it has none."""
        query = f"{_SELECT} AND kind = ? AND name = ?"
        found = self.read(query, server, change.kind, change.name)
        return Pin(*(found or [(change.kind, change.name, None, None, None, None, "")])[0])

    def _pin(self, server: str, change: PinChange, now: str) -> None:
        pin = self._find(server, change)
        if pin.held_fingerprint == change.fingerprint:
            return
        if pin.approved_fingerprint not in {None, change.fingerprint}:
            self._hold(server, change, "differs from what another session pinned", now)
            return
        if pin.approved_fingerprint is None and pin.rejected:
            self._hold(server, change, REVIEW, now)
            return
        fields = (server, change.kind, change.name, change.definition, change.fingerprint, now)
        self.write(_PIN, *fields)

    def _hold(self, server: str, change: PinChange, reason: str, now: str) -> None:
        pin = self._find(server, change)
        if pin.approved_fingerprint == change.fingerprint and pin.is_reviewed:
            return
        if reason == WITHDRAWN and pin.held_fingerprint != change.fingerprint:
            return
        if change.fingerprint in pin.rejected and reason != WITHDRAWN:
            if pin.waits:  # another version does
                return
            reason = REJECTED
        elif reason == REJECTED:  # a person took that back meanwhile
            reason = REVIEW
        fields = (server, change.kind, change.name, change.definition, change.fingerprint, now)
        self.write(_HOLD, *fields, reason)

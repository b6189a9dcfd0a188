"""A person's decisions in the audit: written with what they change, and read again by event."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PolicyError
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.state.audit import AuditFilter, decision_entry, parse_findings, record_decision, rows
from pipeguard.state.exceptions import DECISION, save, stopping
from pipeguard.state.exemption import describe_opening
from pipeguard.state.grants import ONCE, describe_grant, is_open
from pipeguard.state.noted_policies import find_exempting
from pipeguard.state.paths import existing_store, store_path
from pipeguard.state.review import find_rejection
from pipeguard.state.store import Store
from pipeguard.state.timestamps import now_text
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeguard.state.audit import AuditEntry, AuditRow
    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.exemption import Exemption

EXCEPTION = "an exception in "  # the beginning of the note of an exception


def save_decision(path: str, text: str, server: str, decision: AuditEntry) -> None:
    """Replace a policy file, and record in the audit who decided that: both, or neither.

    Raises:
        StateError: the audit cannot be written.
        PolicyError: the file cannot be written.
    """
    with Store.open(store_path()) as store, store.transaction():
        record_decision(store, server, decision)
        save(path, text)


def exception_entry(
    event: AuditedEvent, exemptions: Sequence[Exemption], where: str, by: str
) -> AuditEntry:
    """An exception as an entry of the audit: who wrote it, for which words, where and why."""
    opens = "; ".join(describe_opening(exemptions))
    words = next((item.get("excerpt", "") for item in stopping(event)), "")
    note = f"{EXCEPTION}{where}: {opens}"
    entry = decision_entry("allow", now_text(), note=note, by=by, excerpt=words)
    return entry._replace(method=event.method, tool=event.tool, event=event.name)


def wall_entry(event: AuditedEvent, opens: str, path: str, by: str) -> AuditEntry:
    """A grant to an isolated server after a wall, as an entry of the audit."""
    note = f"{visible(event.server)} may {opens}, in {path}"
    return decision_entry("allow", now_text(), note=note, by=by)._replace(event=event.name)


class SinceThen(NamedTuple):
    """The decisions about an event since it happened, and what they mean now.

    Attributes:
        decisions: the rows of the audit, each with what became of it.
        exempting: the policy file whose exceptions let the same pass now; empty if none does.
        error: why that cannot be said.
        is_open: True if the call may be repeated once.
        rejection: who rejected what the event waited for, in words; empty if that waits by now.
    """

    decisions: tuple[tuple[AuditRow, str], ...] = ()
    exempting: str = ""
    error: str = ""
    is_open: bool = False
    rejection: str = ""

    @classmethod
    def find(cls, event: AuditedEvent) -> SinceThen:
        """Look an event's decisions up in the audit, the grants and the policy."""
        path = existing_store()
        if path is None or event.is_of_demo:
            return cls()
        exempting = error = ""
        today = datetime.date.today()  # noqa: DTZ011  the user's own calendar
        with Store.open(path) as store:
            decided = _list(store, event)
            states = [describe_grant(store, row) for row in decided]
            rejected = [find_rejection(store, event.server, name) for name in _waiting(event)]
            try:
                stopped = stopping(event)
                exempting = find_exempting(store, event.name, event.server, stopped, today)
            except PolicyError as problem:
                error = str(problem).partition("\n")[0]
        return cls(
            tuple(zip(decided, states, strict=True)),
            exempting,
            error,
            any(map(is_open, states)),
            rejected[0] if rejected and all(rejected) else "",
        )

    @property
    def is_settled(self) -> bool:
        """True if nothing waits any more of what the event waited for."""
        approves = bool(self.decisions) and self.decisions[-1][0].entry.action == "approve"
        return approves or bool(self.rejection)

    def lines(self) -> Iterable[str]:
        """Say it in a sentence or two for each decision."""
        exceptions = [row for row, _ in self.decisions if _is_exception(row)]
        is_named = bool(exceptions and self.exempting) and _names(exceptions[-1], self.exempting)
        for row, state in self.decisions:
            entry = row.entry
            if is_named and row in exceptions[:-1]:
                continue  # the last one says the same
            if self.rejection and entry.action == "reject":
                continue  # which is told below
            (finding, *_) = parse_findings(entry)
            decided = finding["rule"].removeprefix("trust.").capitalize()
            note = finding.get("note", "").removeprefix(f"event {entry.event}").lstrip(",: ")
            once, why = (f" {ONCE}", note[len(ONCE) :]) if note.startswith(ONCE) else ("", note)
            text = f"{decided}{once} by {entry.client or 'somebody'} at {entry.time}"
            text = ": ".join(filter(None, (text, why.lstrip(": "))))
            effect = "It lets the same pass now" if is_named and row in exceptions else state
            yield f"{text}. {effect}." if effect else f"{text}."
        if self.rejection:
            yield f"It was {' '.join(self.rejection.split())}."
        if is_named:
            return
        if self.exempting:
            yield f"An exception in {self.exempting} lets the same pass now."
        elif self.error:
            yield f"PipeGuard cannot tell if the policy allows it now: {self.error}"
        elif any(_is_exception(row) for row, _ in self.decisions):
            yield "The exception has ended, or was removed: the same is stopped again."

    def fields(self) -> list[dict[str, object]]:
        """The decisions for programs."""
        return [
            {
                "time": row.entry.time,
                "action": row.entry.action,
                "by": row.entry.client,
                "note": "; ".join(item.get("note", "") for item in parse_findings(row.entry)),
                "state": state,
            }
            for row, state in self.decisions
        ]


def _is_exception(row: AuditRow) -> bool:
    return any(item.get("note", "").startswith(EXCEPTION) for item in parse_findings(row.entry))


def _names(exception: AuditRow, path: str) -> bool:
    """True if an exception was written to a policy file."""
    notes = (item.get("note", "") for item in parse_findings(exception.entry))
    begins = f"{EXCEPTION}{path}:", f"{EXCEPTION}{path} ("
    return any(note.startswith(begins) for note in notes)


def _list(store: Store, event: AuditedEvent) -> list[AuditRow]:
    """The decisions about an event, and about the definitions that it waited for, in order."""
    decided = [row for row in rows(store, AuditFilter(event=event.name)) if _is_decision(row)]
    if waiting := _waiting(event):
        later = rows(store, AuditFilter(server=event.server, since=event.time))
        decided += [
            row
            for row in later
            if _is_decision(row) and not row.entry.event and row.entry.tool in waiting
        ]
    return decided


def _is_decision(row: AuditRow) -> bool:
    return row.entry.kind == DECISION


def _waiting(event: AuditedEvent) -> list[str]:
    """The names of the definitions that an event waited for."""
    named = (item["tool"] for item in event.findings if _waits(item) and item.get("tool"))
    return list(dict.fromkeys(named))


def _waits(finding: dict[str, str]) -> bool:
    return find_remedy(finding["rule"]).way is Way.APPROVE

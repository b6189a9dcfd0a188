"""A person's decisions in the audit, written together with their effects."""

from collections.abc import Sequence

from pipeguard.state.audit import AuditEntry, decision_entry, record_decision
from pipeguard.state.exceptions import AuditedEvent, save, stopping
from pipeguard.state.exemption import Exemption, describe_opening
from pipeguard.state.store import open_store
from pipeguard.unicode.display import visible

EXCEPTION = "an exception in "  # the beginning of the note of an exception


def save_decision(path: str, text: str, server: str, decision: AuditEntry) -> None:
    """Replace a policy file, and record in the audit who decided that: both or neither.

    Raises:
        StateError: the audit cannot be written.
        PolicyError: the file cannot be written.
    """
    with open_store() as store, store.transaction():
        record_decision(store, server, decision)
        save(path, text)


def exception_entry(
    event: AuditedEvent, exemptions: Sequence[Exemption], where: str, by: str
) -> AuditEntry:
    """An exception as an audit entry: who wrote it, for which words, in which file and why."""
    opens = "; ".join(describe_opening(exemptions))
    words = next((item.get("excerpt", "") for item in stopping(event)), "")
    note = f"{EXCEPTION}{where}: {opens}"
    entry = decision_entry("allow", note=note, by=by, excerpt=words)
    return entry._replace(method=event.method, tool=event.tool, event=event.name)


def wall_entry(event: AuditedEvent, opens: str, path: str, by: str) -> AuditEntry:
    """A grant to an isolated server after a wall, as an entry of the audit."""
    note = f"{visible(event.server)} may {opens}, in {path}"
    return decision_entry("allow", note=note, by=by)._replace(event=event.name)

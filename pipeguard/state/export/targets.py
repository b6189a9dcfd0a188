"""Rows as they are exported, and the interface of what takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pipeguard.errors import PipeGuardError
from pipeguard.state.audit import COLUMNS, DAMAGED, AuditEntry, list_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = COLUMNS.split(", ")


class TargetAwayError(PipeGuardError):
    """A target did not acknowledge rows, but may do so later."""


class ExportedRow(NamedTuple):
    """A row of the audit.

    Attributes:
        number: in the store.
        uid: its name in each store and target: its chain and its number in that.
        fields: its columns by name.
        findings: parsed; findings that PipeGuard did not write are only in `fields`.
    """

    number: int
    uid: str
    fields: dict[str, Any]
    findings: list[dict[str, str]]

    @property
    def is_damaged(self) -> bool:
        """True if PipeGuard did not write the findings."""
        return self.findings == [{"rule": DAMAGED}]


def make_exported_row(number: int, *columns: Any) -> ExportedRow:
    """The row with this number and these values, in the order of `COLUMNS`."""
    fields = dict(zip(_COLUMNS, columns, strict=True))
    findings = list_findings(AuditEntry("", findings=fields["findings"]))
    return ExportedRow(number, f"{fields['chain']}/{fields['seq']}", fields, findings)


class Target(Protocol):
    """A file, a folder or a collector; its text names it, with the format of the rows."""

    def send(self, rows: Sequence[ExportedRow]) -> None:
        """Send rows, and return once the target has acknowledged them.

        Raises:
            TargetAwayError: they may be sent again later; the target may have some of them.
            PipeGuardError: the target refuses them.
        """

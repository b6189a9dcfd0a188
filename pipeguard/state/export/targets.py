"""Rows as they are exported, and the interface of what takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pipeguard.errors import PipeGuardError

if TYPE_CHECKING:
    from collections.abc import Sequence

# A row of the audit by column. In front is its `id`, the same in each store and target: its chain
# and its number in that.
ExportedRow = dict[str, Any]


class TargetAwayError(PipeGuardError):
    """A target did not acknowledge rows, but may do so later."""


class Target(Protocol):
    """A file, a folder or a collector; its text names it, with the format of the rows."""

    def send(self, rows: Sequence[ExportedRow]) -> None:
        """Send rows, and return once the target has acknowledged them.

        Raises:
            TargetAwayError: they may be sent again later; the target may have some of them.
            PipeGuardError: the target refuses them.
        """

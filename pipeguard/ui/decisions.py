"""Decisions that were carried out on the page, and how to undo them. Knows no cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PipeGuardError
from pipeguard.state import decisions, exceptions
from pipeguard.ui.own_policy import read_policy

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipeguard.state.audit import AuditEntry
    from pipeguard.state.pins import Store

Undo = Callable[["Store"], bool]


class DoneDecision(NamedTuple):
    """An answer that was carried out.

    Attributes:
        sentence: the confirmation for the person.
        undo: takes it back, if that is still possible; None if it never is.
        moment: when the page confirmed it (ISO 8601, UTC).
        until: when the page forgets it, on the monotonic clock.
    """

    sentence: Markup
    undo: Undo | None = None
    moment: str = ""
    until: float = 0.0


class NothingDoneError(PipeGuardError):
    """The subject of an answer has changed, or was decided elsewhere."""


def change_policy(
    path: str, text: str, server: str, entry: AuditEntry, words: Markup
) -> DoneDecision:
    """Write a policy file and the decision; the undo restores a file that is still the same.

    Args:
        path: the file.
        text: its new text.
        server: the server that the decision is about, or `*`.
        entry: the decision for the audit.
        words: the confirmation for the person.
    """
    before = read_policy(path)
    decisions.save_decision(path, text, server, entry)

    def undo(_store: Store) -> bool:
        if read_policy(path) != text:
            return False
        if before is None:
            Path(path).unlink()
        else:
            exceptions.save(path, before)
        return True

    return DoneDecision(words, undo)

"""Decisions that were carried out on the page, and how to undo them. Knows no cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.errors import PipeGuardError
from pipeguard.state.exceptions import save
from pipeguard.ui.walls import read_policy

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipeguard.state.store import Store

Undo = Callable[["Store"], bool]


class DoneDecision(NamedTuple):
    """An answer that was carried out.

    Attributes:
        sentence: the confirmation for the person.
        undo: takes it back, if that is still possible; None if it never is.
    """

    sentence: Markup
    undo: Undo | None = None


class NothingDoneError(PipeGuardError):
    """The subject of an answer has changed, or was decided elsewhere."""


def restore_file(path: str, before: str | None, after: str) -> Undo:
    """Return an undo that restores a policy file unless somebody has changed it again."""

    def undo(_store: Store) -> bool:
        if read_policy(path) != after:
            return False
        if before is None:
            Path(path).unlink()
        else:
            save(path, before)
        return True

    return undo

"""What a run could not write down, left beside the store until it can be told there.

A store that is locked, full or damaged takes no row, and the run may end before it takes one
again. So the run leaves a small file that says how many verdicts are missing, and whoever next
writes to the store puts a row in its place. Knows files; not what the verdicts were.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH105, PTH108, PTH118, PTH208
from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.finding import Action, Finding

if TYPE_CHECKING:
    from pathlib import Path

    from pipeguard.state.audit import AuditEntry

SUFFIX = ".missing"
MAX_FILES = 100  # that are told at once
MAX_BYTES = 4096  # of one
LEFT_SECONDS = 10.0  # a run that goes on writes its file anew each second; else it was killed


REPLACED = (
    "the store was removed or replaced while it was in use: what this run had written before is not"
    " in it"
)


class Missing(NamedTuple):
    """How many verdicts of a run are not in the audit.

    Attributes:
        run: names its chain.
        server: the server's name.
        verdicts: how many are missing.
        since: when the store could first not be written (ISO 8601, UTC).
        until: when it could last not be (ISO 8601, UTC).
        is_over: True where the run has ended.
    """

    run: str
    server: str
    verdicts: int
    since: str
    until: str
    is_over: bool

    def told(self) -> str:
        """The same in a sentence."""
        return (
            f"verdicts missing of the run {self.run} of {self.server}: {self.verdicts}; the store"
            f" could not be written from {self.since} to {self.until}"
        )


def gap(note: str, when: str, event: str = "") -> AuditEntry:
    """A row of the audit that stands for what is missing in it."""
    from pipeguard.state.audit import AuditEntry, findings_json

    findings = findings_json((Finding("audit.gap", "audit", action=Action.WARN, note=note),))
    return AuditEntry(when, "", "", "gap", "", "", "warn", event, "", 0, findings)


def leave(store: Path | str, missing: Missing) -> bool:
    """Say beside the store what is missing in it, in the place of what this run said before."""
    path = f"{store}.{missing.run}{SUFFIX}"
    draft = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
            json.dump(missing._asdict(), file)
        os.replace(draft, path)
    except OSError:
        return False
    return True


def clear(store: Path | str, run: str) -> None:
    """Nothing of this run is missing any more, or a row says what is."""
    with suppress(OSError):
        os.unlink(f"{store}.{run}{SUFFIX}")


def left(store: Path | str) -> list[Missing]:
    """What runs have left that have ended, or were killed."""
    folder, name = os.path.split(store)
    found = []
    with suppress(OSError):
        names = sorted(os.listdir(folder or "."))
        ours = [one for one in names if one.startswith(f"{name}.") and one.endswith(SUFFIX)]
        for one in ours[:MAX_FILES]:
            missing = _read(os.path.join(folder, one), one[len(name) + 1 : -len(SUFFIX)])
            if missing is not None:
                found.append(missing)
    return found


def _read(path: str, run: str) -> Missing | None:
    """A file of ours whose run is over; None where it is none, or goes on."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            fields = json.loads(file.read(MAX_BYTES))
        words = [str(fields[name])[:200] for name in ("server", "since", "until")]
        missing = Missing(
            run, words[0], int(fields["verdicts"]), words[1], words[2], fields["is_over"] is True
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return missing if missing.is_over or age > LEFT_SECONDS else None

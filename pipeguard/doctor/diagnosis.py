"""The words of an examination: whose it is, a check, what it says. Looks at nothing itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from pipeguard.core.unicode.display import visible


class DiagnosisState(IntEnum):
    """How something is; the worst is the greatest."""

    GOOD = 0
    NOTE = 1  # it works, and there is something to know or to do
    UNKNOWN = 2  # it was not looked at, because what it needs is wrong
    WRONG = 3  # servers do not start, or guard less than they should


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a check says.

    Attributes:
        state: how it is.
        what: in words; safe to print, and without a secret.
        mend: the command that mends it, or what to do; empty where there is nothing to do.
    """

    state: DiagnosisState
    what: str
    mend: str = ""


def good(what: str) -> Diagnosis:
    """All is as it should be."""
    return Diagnosis(DiagnosisState.GOOD, visible(what))


def note(what: str, mend: str = "") -> Diagnosis:
    """It works, and a person should know."""
    return Diagnosis(DiagnosisState.NOTE, visible(what), visible(mend))


def wrong(what: str, mend: str) -> Diagnosis:
    """Somebody must mend it."""
    return Diagnosis(DiagnosisState.WRONG, visible(what), visible(mend))


@dataclass(frozen=True, slots=True)
class Case:
    """Whose installation is looked at.

    Attributes:
        environment: variables.
        home: the user's folder.
        folder: where the user is; a project's files are looked for there.
        now: seconds since the epoch.
    """

    environment: Mapping[str, str]
    home: Path
    folder: Path
    now: float

    @classmethod
    def here(cls) -> Case:
        """This user, here and now."""
        try:
            folder = Path.cwd()
        except FileNotFoundError:  # it was deleted: no project is there
            folder = Path.home()
        return cls(os.environ, Path.home(), folder, time.time())

    @property
    def project(self) -> Path | None:
        """The folder that one is in, unless that is the home folder."""
        return None if self.folder == self.home else self.folder


@dataclass(frozen=True, slots=True)
class InstallationCheck:
    """One thing that is looked at.

    Attributes:
        id: its name for programs and on the command line.
        title: its name for people.
        look: looks at it; may raise what `examination` tells.
        needs: the check without which this one cannot look, or empty.
        exit_code: what a script is told where it is wrong.
        waits: what is going on while it takes long.
    """

    id: str
    title: str
    look: Callable[[Case], Iterable[Diagnosis]]
    needs: str = ""
    exit_code: int = 1
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check.

    Attributes:
        check: which.
        told: what it said, at least one thing.
        seconds: that it took.
    """

    check: InstallationCheck
    told: tuple[Diagnosis, ...]
    seconds: float

    @property
    def state(self) -> DiagnosisState:
        """The worst that it said."""
        return max(one.state for one in self.told)

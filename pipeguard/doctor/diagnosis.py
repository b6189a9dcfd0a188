"""The values of an examination: the installation, a check, its diagnoses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from pipeguard.clients.machine import Machine
from pipeguard.unicode.display import visible


class DiagnosisState(IntEnum):
    """The result of a check; the worst is the greatest."""

    GOOD = 0
    NOTE = 1  # it works, but there is something to know or to do
    UNKNOWN = 2  # not checked, because a check that it needs failed
    WRONG = 3  # servers do not start, or are guarded less than they should be


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding of a check.

    Attributes:
        what: the finding in words; safe to print, without secrets.
        fix: the command or advice that fixes it; empty if there is nothing to do.
    """

    state: DiagnosisState
    what: str
    fix: str = ""

    def fields(self) -> dict[str, str]:
        """The values for programs."""
        return {"state": self.state.name.lower(), "what": self.what, "fix": self.fix}


def good(what: str) -> Diagnosis:
    """Make a diagnosis: all is well."""
    return Diagnosis(DiagnosisState.GOOD, visible(what))


def note(what: str, fix: str = "") -> Diagnosis:
    """Make a diagnosis: it works, but the user should know."""
    return Diagnosis(DiagnosisState.NOTE, visible(what), visible(fix))


def wrong(what: str, fix: str) -> Diagnosis:
    """Make a diagnosis: somebody must fix it."""
    return Diagnosis(DiagnosisState.WRONG, visible(what), visible(fix))


@dataclass(frozen=True, slots=True)
class Case:
    """The installation to examine.

    Attributes:
        environment: the environment variables.
        user_folder: the user's home directory.
        folder: the current folder, which may have a project's files.
        now: seconds since the epoch.
    """

    environment: Mapping[str, str]
    user_folder: Path
    folder: Path
    now: float

    @classmethod
    def here(cls) -> Case:
        """Return the case of this user, here and now."""
        try:
            folder = Path.cwd()
        except FileNotFoundError:  # deleted: there is no project
            folder = Path.home()
        return cls(os.environ, Path.home(), folder, time.time())

    @property
    def machine(self) -> Machine:
        """The machine and its user; the current folder is the project, unless it is the user's."""
        project = None if self.folder == self.user_folder else self.folder
        return replace(Machine.here(project), home=self.user_folder, environment=self.environment)


@dataclass(frozen=True, slots=True)
class InstallationCheck:
    """A check of the installation.

    Attributes:
        id: its name for programs and on the command line.
        title: its name for people.
        look: runs the check; may raise the errors that `examination` turns into diagnoses.
        needs: the check that must pass first, or empty.
        exit_code: for scripts, if it is wrong.
        waits: a message to show if it takes long.
    """

    id: str
    title: str
    look: Callable[[Case], Iterable[Diagnosis]]
    needs: str = ""
    exit_code: int = 1
    waits: str = ""

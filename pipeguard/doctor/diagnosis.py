"""The values of an examination: a check, its diagnoses."""

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from pipeguard.clients.machine import Machine
from pipeguard.unicode.display import visible


class DiagnosisState(IntEnum):
    """The result of a check; the worst is the greatest."""

    GOOD = 0
    NOTE = 1  # it works, but there is something to know or to do
    UNKNOWN = 2  # not checked, because a check that it needs failed
    WRONG = 3  # servers do not start, or are guarded less than they should be


class Diagnosis(NamedTuple):
    """A finding of a check.

    Attributes:
        what: the finding in words; safe to print, without secrets.
        fix: the command or advice that fixes it; empty if there is nothing to do.
    """

    state: DiagnosisState
    what: str
    fix: str = ""


def good(what: str) -> Diagnosis:
    """Make a diagnosis: all is well."""
    return Diagnosis(DiagnosisState.GOOD, visible(what))


def note(what: str, fix: str = "") -> Diagnosis:
    """Make a diagnosis: it works, but the user should know."""
    return Diagnosis(DiagnosisState.NOTE, visible(what), visible(fix))


def wrong(what: str, fix: str) -> Diagnosis:
    """Make a diagnosis: somebody must fix it."""
    return Diagnosis(DiagnosisState.WRONG, visible(what), visible(fix))


class InstallationCheck(NamedTuple):
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
    look: Callable[[Machine], Iterable[Diagnosis]]
    needs: str = ""
    exit_code: int = 1
    waits: str = ""

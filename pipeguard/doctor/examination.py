"""Which checks there are, and carrying them out: each alone, so that all that is wrong is told.

A check may meet anything on a broken machine. What a person can mend is told as its diagnosis; all
else is a fault of ours, and reaches the command line's one handler.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from time import perf_counter

from pipeguard.doctor import installation, judging, keeping, outside, terminal
from pipeguard.doctor.diagnosis import (
    Case,
    Diagnosis,
    DiagnosisState,
    InstallationCheck,
    Result,
    wrong,
)
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.runtime.progress import told

# The rules before the keyring: compiling is done by copies of this process, which a thread forbids.
CHECKS: tuple[InstallationCheck, ...] = (
    *installation.CHECKS,
    *judging.CHECKS,
    *keeping.CHECKS,
    *outside.CHECKS,
    *terminal.CHECKS,
)
ENGINE, STORE, ANY = 3, 4, 1  # exit codes, the one that keeps more from working first
_ADVICE = re.compile(r":  (\S.*)$")  # the command, in an error's last line


def chosen(names: Iterable[str]) -> tuple[InstallationCheck, ...]:
    """The checks of these names, and those that they need; all where there are none.

    Raises:
        InputError: there is no such check.
    """
    by_id = {check.id: check for check in CHECKS}
    wanted: set[str] = set()
    for name in names:
        if name not in by_id:
            raise InputError(f"there is no check {name!r}.\n  There are: {', '.join(by_id)}")
        while name:
            wanted.add(name)
            name = by_id[name].needs  # noqa: PLW2901  up the line of what is needed
    return tuple(check for check in CHECKS if not wanted or check.id in wanted)


def examine(case: Case, checks: Iterable[InstallationCheck] = CHECKS) -> Iterator[Result]:
    """Carry out checks, and give each result as soon as it is there.

    Says on stderr what takes so long, once it takes more than a second.
    """
    states: dict[str, DiagnosisState] = {}
    for check in checks:
        begun = perf_counter()
        if states.get(check.needs, DiagnosisState.GOOD) > DiagnosisState.NOTE:
            said = [Diagnosis(DiagnosisState.UNKNOWN, f"not looked at: mend {check.needs} first")]
        else:
            with told(check.waits or f"looking at: {check.title}"):
                said = list(_looked(check, case))
        result = Result(check, tuple(said), perf_counter() - begun)
        states[check.id] = result.state
        yield result


def exit_code(results: Iterable[Result]) -> int:
    """What a script is told: 0 where nothing is wrong, else the code that matters most."""
    codes = {result.check.exit_code for result in results if result.state is DiagnosisState.WRONG}
    return next((code for code in (ENGINE, STORE, ANY) if code in codes), 0)


def _looked(check: InstallationCheck, case: Case) -> Iterator[Diagnosis]:
    """What a check says, also where it meets what it did not expect."""
    try:
        yield from check.look(case)
    except PipeGuardError as error:
        yield _of_error(str(error))
    except ImportError as error:
        name = error.name or "a module"
        yield wrong(f"{name} cannot be imported", installation.reinstalling())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        why = (error.strerror or type(error).__name__).lower()
        yield wrong(f"{where}{why}", "Mend its rights, or look at the disk.")


def _of_error(text: str) -> Diagnosis:
    """An error's own words; its last line says what to do, mostly with the command."""
    what, *advice = map(str.strip, text.splitlines())
    mend = advice.pop() if advice else "Look at it, and try again."
    found = _ADVICE.search(mend)
    return wrong(" ".join((what, *advice)), found[1] if found else mend)

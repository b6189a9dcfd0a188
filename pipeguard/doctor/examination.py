"""The list of checks, and running them: each by itself, so that everything wrong is reported.

A check may meet anything on a broken machine. An error that a person can fix becomes a diagnosis;
any other is an error of ours, and reaches the command line's one handler.
"""

import re
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

from pipeguard.clients.machine import Machine
from pipeguard.doctor import clients, installation, isolating, judging, keeping
from pipeguard.doctor.diagnosis import Diagnosis, DiagnosisState, InstallationCheck, wrong
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.installation import INSTALL_AGAIN
from pipeguard.runtime.progress import say_if_slow

# The rules come before the keyring: they are compiled by forks, which a thread would forbid.
CHECKS: tuple[InstallationCheck, ...] = (
    *installation.CHECKS,
    *judging.CHECKS,
    *keeping.CHECKS,
    *clients.CHECKS,
    *isolating.CHECKS,
)
Fields = dict[str, Any]  # one object of JSON
ENGINE, STORE, ANY = 3, 4, 1  # exit codes; the one that breaks most comes first
_ADVICE = re.compile(r":  (\S.*)$")  # the command in an error's last line


def choose(names: Iterable[str]) -> tuple[InstallationCheck, ...]:
    """Return the checks of these names and those that they need; without names, all checks.

    Raises:
        InputError: a name is not that of a check.
    """
    by_id = {check.id: check for check in CHECKS}
    wanted: set[str] = set()
    for name in names:
        if name not in by_id:
            raise InputError(f"no check is named {name!r}.\n  Available: {', '.join(by_id)}")
        while name:
            wanted.add(name)
            name = by_id[name].needs  # noqa: PLW2901  follows the chain of needs
    return tuple(check for check in CHECKS if not wanted or check.id in wanted)


def examine(machine: Machine, checks: Iterable[InstallationCheck] = CHECKS) -> Iterator[Fields]:
    """Run checks, and yield each result, as fields for programs, as soon as it is there.

    If a check takes more than a second, stderr says what it waits for.
    """
    states: dict[str, DiagnosisState] = {}
    for check in checks:
        begun = perf_counter()
        if states.get(check.needs, DiagnosisState.GOOD) > DiagnosisState.NOTE:
            what = f"not checked: fix {check.needs} first"
            diagnoses = [Diagnosis(DiagnosisState.UNKNOWN, what)]
        else:
            with say_if_slow(check.waits or f"looking at: {check.title}"):
                diagnoses = list(_diagnose(check, machine))
        states[check.id] = max(diagnosis.state for diagnosis in diagnoses)
        yield {
            "id": check.id,
            "title": check.title,
            "state": states[check.id].name.lower(),
            "seconds": round(perf_counter() - begun, 3),
            "told": [each._asdict() | {"state": each.state.name.lower()} for each in diagnoses],
        }


def exit_code(results: Iterable[Fields], checks: Iterable[InstallationCheck] = CHECKS) -> int:
    """Return the exit code: 0 if nothing is wrong, else the code that matters most."""
    wrong_ones = {result["id"] for result in results if result["state"] == "wrong"}
    codes = {check.exit_code for check in checks if check.id in wrong_ones}
    return next((code for code in (ENGINE, STORE, ANY) if code in codes), 0)


def _diagnose(check: InstallationCheck, machine: Machine) -> Iterator[Diagnosis]:
    """Yield the diagnoses of a check, and one for an unexpected error."""
    try:
        yield from check.look(machine)
    except PipeGuardError as error:
        what, *advice = map(str.strip, str(error).splitlines())  # the last line is advice
        fix = advice.pop() if advice else "Look at it, and try again."
        command = _ADVICE.search(fix)
        yield wrong(" ".join((what, *advice)), command[1] if command else fix)
    except ImportError as error:
        name = error.name or "a module"
        yield wrong(f"{name} cannot be imported", INSTALL_AGAIN)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        why = (error.strerror or type(error).__name__).lower()
        yield wrong(f"{where}{why}", "Fix its permissions, or check the disk.")

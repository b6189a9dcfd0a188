"""Checks of where people read and type: the terminal, and their shell's completion."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note
from pipeguard.terminal.colour import NO_COLOUR_VARIABLE, colour_is_unwanted
from pipeguard.terminal.shells import install_command, is_installed, shell_of

_LETTERS = "⟨…⟩°é"  # some of what we write: marks of what is invisible, and what was cut


def screen(case: Case) -> Iterable[Diagnosis]:
    """Whether what we write can be read: letters beyond ASCII, and colours."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        _LETTERS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        mend = "set PYTHONUTF8=1" if sys.platform == "win32" else "export LC_ALL=C.UTF-8"
        yield note(f"its encoding is {encoding}: what it lacks is shown as \\u27e8", mend)
        return
    if colour_is_unwanted():
        colours = f"no colours, as {NO_COLOUR_VARIABLE} says"
    elif not sys.stdout.isatty():
        colours = "no terminal, so no colours"
    elif case.environment.get("TERM", "") in ("", "dumb") and sys.platform != "win32":
        colours = "TERM says that it has no colours"
    else:
        colours = "colours"
    yield good(f"{encoding.upper()}, {colours}")


def completion(case: Case) -> Iterable[Diagnosis]:
    """Whether the user's shell completes commands, servers, rules and events."""
    shell = shell_of(case.environment)
    if shell is None:
        yield good("for bash, zsh and fish; your shell is another one")
    elif is_installed(shell, case.environment, case.home):
        yield good(f"installed for {shell}")
    else:
        yield note(f"not installed for {shell}", install_command(shell))


CHECKS = (
    InstallationCheck("terminal", "terminal", screen),
    InstallationCheck("completion", "completion", completion),
)

"""Checks of the terminal and of the shell's completion."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note
from pipeguard.terminal.colour import NO_COLOUR_VARIABLE, colour_is_unwanted
from pipeguard.terminal.shells import detect_shell, install_command, is_installed

_LETTERS = "⟨…⟩°é"  # some that we write: marks for invisible characters and for cut text


def screen(case: Case) -> Iterable[Diagnosis]:
    """True if the terminal shows what we write: letters beyond ASCII, and colours."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        _LETTERS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        fix = "set PYTHONUTF8=1" if sys.platform == "win32" else "export LC_ALL=C.UTF-8"
        yield note(f"its encoding is {encoding}: other letters are shown as \\u27e8", fix)
        return
    if colour_is_unwanted():
        colours = f"no colours, because {NO_COLOUR_VARIABLE} is set"
    elif not sys.stdout.isatty():
        colours = "not a terminal, so no colours"
    elif case.environment.get("TERM", "") in ("", "dumb") and sys.platform != "win32":
        colours = "no colours, because of TERM"
    else:
        colours = "colours"
    yield good(f"{encoding.upper()}, {colours}")


def completion(case: Case) -> Iterable[Diagnosis]:
    """True if the user's shell completes commands, servers, rules and events."""
    shell = detect_shell(case.environment)
    if shell is None:
        yield good("available for bash, zsh, fish and PowerShell, not for your shell")
    elif is_installed(shell, case.environment, case.user_folder):
        yield good(f"installed for {shell}")
    else:
        yield note(f"not installed for {shell}", install_command(shell))


CHECKS = (
    InstallationCheck("terminal", "terminal", screen),
    InstallationCheck("completion", "completion", completion),
)

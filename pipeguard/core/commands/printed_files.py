"""The files that a command prints, if it does nothing else, as `head -4 a.txt` or `jq . a.json`."""

from __future__ import annotations

from pipeguard.core.commands.interpret import command_lines
from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.words.programs import PRINTERS

_FILTER_FIRST = ("$ jq ", "$ yq ")  # the first operand is a filter, and no file
_PROGRAM = lazy_regex(r"\$ ([\w-]+)")


def printed_files(command: str) -> tuple[str, ...]:
    """The files that a command prints; none if it could print anything else."""
    files: list[str] = []
    is_filter = False
    for line in command_lines(command):
        if line.startswith("$ "):
            if not PRINTERS.issuperset(_PROGRAM.findall(line)) or "$(" in line:
                return ()
            is_filter = line.startswith(_FILTER_FIRST)
        elif not line.startswith("< "):
            return ()
        elif is_filter:
            is_filter = False
        else:
            files.append(line[2:].replace("\x1f", " "))
    return tuple(files)

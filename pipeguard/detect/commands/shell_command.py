"""A command of a shell as values: its words, redirects and input. Knows no syntax."""

from __future__ import annotations

from pipeguard.records import NamedTuple

MAX_VALUE = 16_384  # characters of what is printed or assigned
GAP = "\x1f"  # a space inside a word


class ShellCommand(NamedTuple):
    """One command of a pipeline.

    Attributes:
        words: the command's name and arguments.
        redirects: each an operator, as `>`, and a target.
        stdin: its input, where the script says it.
    """

    words: list[str]
    redirects: list[tuple[str, str]]
    stdin: str | None


Pipeline = list[ShellCommand]

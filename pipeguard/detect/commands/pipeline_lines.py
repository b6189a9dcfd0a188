"""A pipeline as one line for rules, or as several that overlap where it is too long for one."""

from __future__ import annotations

from pipeguard.detect.commands.programs import INTERPRETERS
from pipeguard.detect.words.programs import SHELLS

MAX_LINE = 3000  # characters
OVERLAP = 500  # characters of what is longer that are in two lines
NEIGHBOURS = 5  # commands that are side by side in a line of what is too long
STEP = 3


def pipeline_lines(commands: list[str]) -> list[str]:
    """The commands of a pipeline in one line; of a long one, any two neighbours share a line."""
    line = " | ".join(commands)
    if len(line) <= MAX_LINE:
        return [line]
    lines = [line[:MAX_LINE]]
    for command in commands:
        name = " ".join(command[:100].split(" ", 2)[:2])
        starts = range(MAX_LINE - OVERLAP, len(command) - OVERLAP, MAX_LINE - OVERLAP)
        lines += [f"{name} {command[at : at + MAX_LINE]}" for at in starts]
    short = [_shortened(command) for command in commands]
    lines += [
        " | ".join(short[at : at + NEIGHBOURS]) for at in range(0, max(1, len(short) - 2), STEP)
    ]
    # What runs its input may come after any number of commands that only pass it on.
    last = next((at for at in range(len(commands) - 1, 0, -1) if _runs_input(commands[at])), 0)
    return lines + [f"{command} | {short[last]}" for command in dict.fromkeys(short[:last])]


def text_lines(head: str, text: str) -> list[str]:
    """A long text in lines that overlap, each after `head`."""
    starts = range(0, max(1, len(text) - OVERLAP), MAX_LINE - OVERLAP)
    return [f"{head} {text[at : at + MAX_LINE]}" for at in starts]


def _shortened(command: str) -> str:
    half = OVERLAP // 2
    return command if len(command) <= OVERLAP else f"{command[:half]} {command[-half:]}"


def _runs_input(command: str) -> bool:
    name = command.removeprefix("$ ").partition(" ")[0]
    return name in SHELLS or INTERPRETERS.match(name) is not None

"""The words of a command that are the server's own, and the folder that it reads them in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.errors import LaunchError
from pipeguard.isolation.runtimes import is_of_interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.launch.command import Command


def starting_folder(command: Command) -> str:
    """The folder that a command starts in.

    Raises:
        LaunchError: it is ours, and was removed.
    """
    try:
        return os.path.abspath(command.cwd or os.getcwd())
    except FileNotFoundError:
        raise LaunchError(
            "the current folder was removed. Start in another one, or give one with --cwd."
        ) from None


def with_paths(program: str, words: Sequence[str], folder: str) -> tuple[str, ...]:
    """A command's arguments, in which a name alone that is there stands as a path: `./notes`.

    Only behind what an interpreter or `uv run` runs: before it, a name alone is a command or a
    module.

    Args:
        program: that is run.
        words: its arguments.
        folder: that it starts in.
    """
    first = _own_begin(os.path.basename(program), words)
    own = (_with_path(word, folder) for word in words[first:])
    return (*words[:first], *own)


def _own_begin(name: str, words: Sequence[str]) -> int:
    if not is_of_interpreter(name):
        return 0
    is_runner = name in {"uv", "deno"}
    for place, word in enumerate(words):
        if is_runner and word == "run":
            is_runner = False
        elif not word.startswith("-") and not is_runner:
            return place + 1
    return len(words)


def _with_path(word: str, folder: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    is_name = value and "/" not in value and not value.startswith("-")
    if is_name and os.path.exists(os.path.join(folder, value)):
        return f"{option}{equals}./{value}"
    return word

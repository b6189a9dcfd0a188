"""The folder that a server starts in, on any system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.errors import LaunchError

if TYPE_CHECKING:
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

"""PipeGuard's folders by the XDG base directory specification; imports nothing that takes time."""

from __future__ import annotations

import os

from pipeguard.errors import StateError


def xdg_folder(variable: str, default: str) -> str:
    """PipeGuard's folder in the one that a variable names, or else in the usual one."""
    folder = os.environ.get(variable, "").strip()
    if not os.path.isabs(folder):
        folder = in_home(default)
    return os.path.join(folder, "pipeguard")


def in_home(path: str) -> str:
    """A path that begins with `~`, expanded.

    Raises:
        StateError: no home folder is known. The path would be relative to the current folder, where
            a cloned repository could have put a policy and pins.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise StateError(
            "no home folder is known, so there is no place for pins and settings: HOME is not set,"
            " or no absolute path.\n  Set it, as HOME=/home/you, and start again."
        )
    return expanded

"""The way into this package: `start(Command) -> Child`, as this system implements it."""

from __future__ import annotations

import sys

from pipeguard.launch.command import Command, Exit

if sys.platform == "win32":
    from pipeguard.launch.windows import Child, start
else:
    from pipeguard.launch.posix import Child, start

__all__ = ["Child", "Command", "Exit", "start"]
GUARD_NAME = "pipeguard-guard"  # of a process that guards servers; at most 15 bytes

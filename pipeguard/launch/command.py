"""Values of a launch: the command to run, and how it ended. Starts nothing.

No `dataclasses` and no `typing`, which cost 10 and 4 ms: the server is not running yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from pipeguard.errors import LaunchError
from pipeguard.records import NamedTuple

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    from typing import Final

# Exit codes of a POSIX shell (XCU 2.8.2); a command killed by signal n exits with SIGNAL_BASE + n.
NOT_FOUND, NOT_RUNNABLE, SIGNAL_BASE = 127, 126, 128
LOST = 1  # a reason for a server's end


class Lifeline:
    """Ends a server when another process, which it must not run without, ends.

    Only that process holds an end of a pipe, and the warden ends the server when the pipe ends, for
    whatever reason. The reason is in memory that all of them share.

    Attributes:
        descriptor: ends when no process holds the other end.
        held: that other end.
    """

    def __init__(self) -> None:
        from mmap import mmap  # here: few servers have one

        self.descriptor, self.held = os.pipe()
        self._noted = mmap(-1, 1)

    @property
    def ends(self) -> tuple[int, int]:
        """Both ends."""
        return self.descriptor, self.held

    def note(self, reason: int = LOST) -> None:
        """Note the reason for the server's end; the first one stays."""
        self._noted[0] = self._noted[0] or reason

    @property
    def reason(self) -> int:
        """The noted reason; 0 if there is none."""
        return self._noted[0]


class Confinement(NamedTuple):
    """The start of an isolated server (pipeguard/isolation).

    Attributes:
        argv: the engine's program, which starts the server's.
        descriptors: the engine reads them; `enter` may close them.
        enter: called in the new process before the engine is executed; raises OSError.
        leave: called in the warden once all processes are gone, or None.
        is_engine: True if the program is the engine's, which ends with the server.
        is_patient: True if the engine is asked to end, and not killed, when the warden dies.
        why_not: called if `enter` or the engine failed: returns this system's obstacle, or None.
        lifeline: its end ends the server; or None. It is among the descriptors, and `enter` starts
            the process that holds it.
    """

    argv: Sequence[str]
    descriptors: tuple[int, ...]
    enter: Callable[[], None]
    leave: Callable[[], object] | None = None
    is_engine: bool = True
    is_patient: bool = False
    why_not: Callable[[], str | None] | None = None
    lifeline: Lifeline | None = None


class Command:
    """A server's command.

    Attributes:
        argv: the program and its arguments; a name without a slash is looked up in env's PATH.
        env: the whole environment of the server.
        cwd: the directory that it starts in, or None for ours.
        confinement: how it is started if it is isolated; else None.
    """

    __slots__ = ("argv", "confinement", "cwd", "env")

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None = None,
        confinement: Confinement | None = None,
    ) -> None:
        if not argv or not argv[0]:
            raise LaunchError("no server command. Write it after --: pipeguard wrap -- npx x")
        texts = (*argv, *env, *env.values(), cwd or "")
        if any("\0" in text for text in texts):
            raise LaunchError(f"{argv[0]!r}: the command or its environment contains a NUL byte.")
        self.argv: Final = tuple(argv)
        self.env: Final = dict(env)
        self.cwd: Final = cwd
        self.confinement: Final = confinement

    def __repr__(self) -> str:
        """Hide the arguments and environment, which may contain secrets."""
        return f"Command({self.argv[0]!r}, {len(self.argv) - 1} arguments)"


class Exit(NamedTuple):
    """The end of a server.

    Attributes:
        code: its exit code; 128+n if signal n ended it.
        signal_number: the signal that ended it, or None.
    """

    code: int
    signal_number: int | None = None

    def describe(self) -> str:
        """Describe how it ended, as `exit code 3`."""
        if self.signal_number is None:
            return f"exit code {self.code}"
        return f"ended by signal {self.signal_number}"

    @classmethod
    def by_signal(cls, number: int) -> Exit:
        """The exit of a server that a signal ended."""
        return cls(SIGNAL_BASE + number, number)

    def __str__(self) -> str:
        """A description for people, to follow the server's name in a sentence."""
        if self.signal_number is None:
            return f"exited with code {self.code}"
        import signal

        try:
            name = signal.Signals(self.signal_number).name
        except ValueError:  # a real-time signal has no name
            name = f"signal {self.signal_number}"
        return f"was killed by {name}"

"""The decider: a person at a terminal, or a CI job with a token that a person made; never an agent.

A command is refused without a terminal. Whoever is at the terminal types a number that is shown
only there.
"""

import hmac
import os
import secrets
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from pipeguard.config.directories import config_folder, read_own
from pipeguard.errors import InputError
from pipeguard.launch.agents import (
    NO_TERMINAL,
    NotAPersonError,
    find_terminal,
    refuse_agent,
)
from pipeguard.launch.feeders import read_link

TOKEN_VARIABLE = "PIPEGUARD_APPROVAL_TOKEN"  # noqa: S105  its name
TOKEN_FILE = "approval-token"  # noqa: S105  in the folder of the user's policy: its SHA-256 in hex
_TERMINAL = ("CONIN$", "CONOUT$") if sys.platform == "win32" else ("/dev/tty", "/dev/tty")


class Person(NamedTuple):
    """The person who decides.

    Attributes:
        has_token: True for a CI job with a token, which needs no question.
        terminal: of another process; empty for ours.
    """

    has_token: bool = False
    terminal: str = ""

    @property
    def name(self) -> str:
        """The account and the terminal, for the audit: as `kim at /dev/pts/3`."""
        if self.has_token:
            return f"{find_account()} with the CI token"
        if sys.platform == "win32":
            return f"{find_account()} at the console"
        return f"{find_account()} at {self.terminal or os.ttyname(0)}"

    @classmethod
    def here(cls) -> Self:
        """Return the person who runs this command.

        Raises:
            NotAPersonError: an agent, even with a token; or no token and no terminal.
            InputError: the token is wrong.
        """
        refuse_agent()
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token:
            _check_token(token)
        elif not _has_terminal():
            ci = f" In CI, a person sets {TOKEN_VARIABLE}: pipeguard policy ci-token --help"
            raise NotAPersonError(f"{NO_TERMINAL}{ci}")
        return cls(has_token=bool(token))

    @classmethod
    def at_terminal(cls) -> Self:
        """Return the person at this terminal; a token does not count.

        Raises:
            NotAPersonError: an agent, or no terminal.
        """
        refuse_agent()
        if not _has_terminal():
            raise NotAPersonError(NO_TERMINAL)
        return cls()

    @classmethod
    def find(cls) -> Self | None:
        """Return the person at this terminal; None for an agent, or without a terminal."""
        with suppress(NotAPersonError):
            return cls.at_terminal()
        return None

    @classmethod
    def find_attached(cls, process: int) -> tuple[Self, int]:
        """Return the person at another process's terminal, and that terminal, opened.

        Standard input must be the terminal that controls the process. We open it ourselves, so that
        no process can make us write elsewhere.

        Raises:
            NotAPersonError: an agent, or no terminal.
        """
        refuse_agent(process)
        path = Path(f"/proc/{process}/fd/0")
        with suppress(OSError):
            name = read_link(str(path))
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            if os.isatty(terminal) and os.fstat(terminal).st_rdev == find_terminal(process):
                return cls(terminal=name), terminal
            os.close(terminal)
        raise NotAPersonError(NO_TERMINAL)

    def confirms(self, what: str) -> bool:
        """Ask the person to type a number that is shown only on the terminal.

        Args:
            what: the action to confirm, as `approve 2 definitions`.
        """
        if self.has_token:
            return True
        number = make_number()
        reading, writing = _TERMINAL
        with open(writing, "wb", buffering=0) as shown, open(reading, "rb", buffering=0) as typed:
            discard_input(typed.fileno())
            shown.write(f"To {what}, type {number}: ".encode())
            answer = typed.readline(100)
        if answer.strip() == number.encode():
            return True
        sys.stderr.write("That is not the number; nothing was done.\n")
        return False

    def must_confirm(self, what: str) -> None:
        """Ask as `confirms` does; without the number, the command ends with status 1."""
        if not self.confirms(what):
            raise SystemExit(1)


def find_account() -> str:
    """Return the name of the user's account."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "")
    import pwd

    with suppress(KeyError):  # a container's user need not have a name
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def new_token() -> tuple[str, Path]:
    """Make a token, and store its hash, replacing an older one.

    Returns:
        The token, which is not stored, and the file with its hash.

    Raises:
        InputError: the file cannot be written.
    """
    token = secrets.token_urlsafe(32)
    path = token_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(sha256(token.encode()).hexdigest() + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    return token, path


def token_path() -> Path:
    """Return the file with the hash of the token; it need not exist."""
    return Path(config_folder()) / TOKEN_FILE


def open_terminal() -> int:
    """Open the terminal of this process, wherever its output goes; a write to it never blocks."""
    return os.open(_TERMINAL[1], os.O_RDWR | getattr(os, "O_NONBLOCK", 0))


def _check_token(token: str) -> None:
    path = token_path()
    if not path.exists():
        raise InputError(
            f"{TOKEN_VARIABLE} is set, but no token was made here: {path} does not exist.\n"
            "  Make one in a terminal of your own:  pipeguard policy ci-token"
        )
    expected = read_own(str(path), 1024, InputError).strip()
    if not hmac.compare_digest(expected, sha256(token.encode()).hexdigest().encode()):
        raise InputError(
            f"{TOKEN_VARIABLE} does not match {path}.\n"
            "  Make a new one in a terminal of your own:  pipeguard policy ci-token"
        )


def _has_terminal() -> bool:
    """True if a person can be asked at the terminal on which the command was typed."""
    if not sys.stdin.isatty():
        return False
    with suppress(OSError):
        for name in _TERMINAL:
            open(name, "r+b", buffering=0).close()
        return True
    return False


def make_number() -> str:
    """Make a number for a person to type."""
    return f"{secrets.randbelow(9000) + 1000}"


def discard_input(terminal: int) -> None:
    """Discard input from before the number was shown."""
    if sys.platform != "win32":
        import termios

        with suppress(termios.error):
            termios.tcflush(terminal, termios.TCIFLUSH)

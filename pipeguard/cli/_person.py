"""Who decides: a person at a terminal, or a CI job with a token that a person made; never an agent.

An agent has a shell of the same account, so this is a hurdle, not a wall: SECURITY.md says how high
it is. Refused is a command that an agent runs without a terminal, in a shell that it marks as its
own, or as a child of the process that also started a guarded server. Whoever is at the terminal
types a number that is shown only there.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO

import click

from pipeguard.config.directories import config_folder, read_own
from pipeguard.errors import InputError, PipeGuardError

TOKEN_VARIABLE = "PIPEGUARD_APPROVAL_TOKEN"  # noqa: S105  its name
TOKEN_FILE = "approval-token"  # noqa: S105  in the folder of the user's policy: its SHA-256 in hex
# Variables that agents set in the shells in which they run commands.
AGENT_VARIABLES = (
    "AI_AGENT",
    "ANTIGRAVITY_AGENT",
    "AUGMENT_AGENT",
    "CLAUDECODE",
    "CLINE_ACTIVE",
    "CODEX_CI",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "COPILOT_CLI",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "GOOSE_TERMINAL",
    "OPENCODE",
    "OPENCODE_CLIENT",
    "QWEN_CODE",
)
_TERMINAL = ("CONIN$", "CONOUT$") if sys.platform == "win32" else ("/dev/tty", "/dev/tty")
_MANAGERS = frozenset({"systemd", "init", "launchd"})  # ancestors of agents and people alike
_OWN_TERMINAL = "A person decides this: run it in a terminal of your own."
_NO_TERMINAL = f"there is no terminal to ask on.\n  {_OWN_TERMINAL}"


class NotAPersonError(PipeGuardError):
    """An agent, or a program without a token, tries to decide; the message says what to do."""

    exit_code = 2


class Person:
    """The person who decides.

    Attributes:
        has_token: whether it is a CI job with a token, which is not asked.
    """

    def __init__(self, *, has_token: bool) -> None:
        self.has_token = has_token

    @classmethod
    def here(cls) -> Person:
        """The person who runs this command.

        Raises:
            NotAPersonError: an agent, even with a token; or no token and no terminal.
            InputError: the token is wrong.
        """
        _refuse_agent()
        if token := os.environ.get(TOKEN_VARIABLE, ""):
            _check(token)
            return cls(has_token=True)
        if not _has_terminal():
            ci = f" In CI, a person sets {TOKEN_VARIABLE}: pipeguard policy ci-token --help"
            raise NotAPersonError(f"{_NO_TERMINAL}{ci}")
        return cls(has_token=False)

    @classmethod
    def at_terminal(cls) -> Person:
        """The person at this terminal, where a token does not count.

        Raises:
            NotAPersonError: an agent, or no terminal.
        """
        _refuse_agent()
        if not _has_terminal():
            raise NotAPersonError(_NO_TERMINAL)
        return cls(has_token=False)

    def confirms(self, what: str) -> bool:
        """Have the person type a number that is shown only on the terminal.

        Args:
            what: what will be done, as `approve 2 definitions`.
        """
        if self.has_token:
            return True
        number = f"{secrets.randbelow(9000) + 1000}"
        reading, writing = _TERMINAL
        with open(writing, "wb", buffering=0) as shown, open(reading, "rb", buffering=0) as typed:
            _discard_input(typed)
            shown.write(f"To {what}, type {number}: ".encode())
            answer = typed.readline(100)
        if answer.strip() == number.encode():
            return True
        click.echo("That is not the number; nothing was done.", err=True)
        return False


def new_token() -> tuple[str, Path]:
    """Make a token, and store its hash in place of an older one.

    Returns:
        The token, which is stored nowhere, and the file with its hash.

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
    """The file with the hash of the token; it need not exist."""
    return Path(config_folder()) / TOKEN_FILE


def _refuse_agent() -> None:
    """Refuse a shell that an agent marks as its own, and a child of an agent."""
    if mark := next((name for name in AGENT_VARIABLES if os.environ.get(name)), ""):
        raise NotAPersonError(f"this shell is an agent's: {mark} is set.\n  {_OWN_TERMINAL}")
    if parent := _client_above():
        raise NotAPersonError(
            f"{parent} started this command and also guarded servers: it is an agent.\n"
            f"  {_OWN_TERMINAL}"
        )


def _check(token: str) -> None:
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
    """Whether a person can be asked: at the terminal that the command was typed on."""
    if not sys.stdin.isatty():
        return False
    with suppress(OSError):
        for name in _TERMINAL:
            open(name, "r+b", buffering=0).close()
        return True
    return False


def _discard_input(terminal: IO[bytes]) -> None:
    """Discard what was typed before the number was shown."""
    if sys.platform != "win32":
        import termios

        with suppress(termios.error):
            termios.tcflush(terminal.fileno(), termios.TCIFLUSH)


def _client_above() -> str:
    """The name of an ancestor of ours that is also the client of a guarded server; else empty.

    Only on Linux, which says who started whom without another program.
    """
    if sys.platform != "linux":
        return ""
    above: dict[int, str] = {}
    process = os.getppid()
    while process > 1 and process not in above:
        name, parent = _process(process)
        if name not in _MANAGERS:
            above[process] = name
        process = parent
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _is_guard(folder):
            _, parent = _process(int(folder.name))
            while _is_guard(Path(f"/proc/{parent}")):
                _, parent = _process(parent)
            if parent in above and _writes_to(parent, folder):
                return above[parent]
    return ""


def _writes_to(process: int, guard: Path) -> bool:
    """Whether a process can be the client of a guard that it started.

    A client has the other end of the guard's standard input. A shell in which a person runs a
    guard does not: there, the guard's input is the terminal or a pipe from another program.
    """
    try:
        stdin = str((guard / "fd/0").readlink())
        writers = [link for link in Path(f"/proc/{process}/fd").iterdir() if _leads_to(link, stdin)]
    except OSError:  # not permitted to look: it may be the client
        return True
    return bool(writers) if stdin.startswith("pipe:") else stdin.startswith("socket:")


def _leads_to(link: Path, target: str) -> bool:
    with suppress(FileNotFoundError):  # closed in the meantime
        return str(link.readlink()) == target
    return False


def _process(number: int) -> tuple[str, int]:
    """The name of a process, and the id of its parent (proc(5))."""
    with suppress(OSError, ValueError):
        text = Path(f"/proc/{number}/stat").read_text(errors="replace")
        name, _, rest = text.partition("(")[2].rpartition(")")
        return name, int(rest.split()[1])
    return "", 0


def _is_guard(folder: Path) -> bool:
    """Whether a process is `pipeguard wrap` behind a client, or a launcher of just that."""
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if b"--" in words:
        words = words[: words.index(b"--")]
    names = [word.rpartition(b"/")[2] for word in words]
    return b"pipeguard" in names and b"wrap" in names and b"--listen" not in words

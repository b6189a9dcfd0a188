"""The decider: a person at a terminal, or a CI job with a token that a person made; never an agent.

An agent has a shell of the same account, so this is a hurdle, not a wall: SECURITY.md says how high
it is. A command is refused without a terminal, in a shell that an agent marks as its own, below a
guard (`wrap` or `serve`), and below a guard's client. Whoever is at the terminal types a number
that is shown only there.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import click

from pipeguard.config.directories import config_folder, read_own
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.runtime.start import GUARD_NAME

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
_FORWARDERS = frozenset({"sshd", "sshd-session"})  # their connections are those of `ssh -L`
_ENDED = frozenset("ZX")  # a process that is a zombie, or dead (proc(5), `stat`)
_EXITING = 0x4  # a flag of a process that is closing its files (linux/sched.h)
# A question for the other end of a UNIX socket, and the fields of the answer (sock_diag(7)).
_QUESTION, _ANSWER = struct.Struct("=IHH8xB3xIIIq"), struct.Struct("=4xH30xI")
_BY_FAMILY, _ANY = 20, 0xFFFFFFFF
_LISTENS = "0A"  # a state in /proc/net/tcp (linux/net/tcp_states.h)
_OWN_TERMINAL = "Only a person may decide this: run it in a terminal of your own."
_NO_TERMINAL = f"there is no terminal to ask on.\n  {_OWN_TERMINAL}"


class _NotAPersonError(PipeGuardError):
    """An agent, or a program without a token, tries to decide; the message has advice."""

    exit_code = 2


class Person:
    """The person who decides.

    Attributes:
        has_token: whether it is a CI job with a token, which needs no question.
    """

    def __init__(self, *, has_token: bool, terminal: str = "") -> None:
        self.has_token = has_token
        self._terminal = terminal  # of another process; ours by default

    @property
    def name(self) -> str:
        """The account and the terminal, for the audit: as `kim at /dev/pts/3`."""
        if self.has_token:
            return f"{find_account()} with the CI token"
        if sys.platform == "win32":
            return f"{find_account()} at the console"
        return f"{find_account()} at {self._terminal or os.ttyname(0)}"

    @classmethod
    def here(cls) -> Person:
        """Return the person who runs this command.

        Raises:
            NotAPersonError: an agent, even with a token; or no token and no terminal.
            InputError: the token is wrong.
        """
        refuse_agent()
        if token := os.environ.get(TOKEN_VARIABLE, ""):
            _check(token)
            return cls(has_token=True)
        if not _has_terminal():
            ci = f" In CI, a person sets {TOKEN_VARIABLE}: pipeguard policy ci-token --help"
            raise _NotAPersonError(f"{_NO_TERMINAL}{ci}")
        return cls(has_token=False)

    @classmethod
    def at_terminal(cls) -> Person:
        """Return the person at this terminal; a token does not count.

        Raises:
            NotAPersonError: an agent, or no terminal.
        """
        refuse_agent()
        if not _has_terminal():
            raise _NotAPersonError(_NO_TERMINAL)
        return cls(has_token=False)

    @classmethod
    def find(cls) -> Person | None:
        """Return the person at this terminal; None for an agent, or without a terminal."""
        with suppress(_NotAPersonError):
            return cls.at_terminal()
        return None

    @classmethod
    def find_attached(cls, process: int) -> tuple[Person, int]:
        """Return the person at another process's terminal, and that terminal, opened.

        Standard input must be the terminal that controls the process. We open it ourselves, so that
        no process can make us write elsewhere.

        Raises:
            NotAPersonError: an agent, or no terminal.
        """
        refuse_agent(process)
        path = Path(f"/proc/{process}/fd/0")
        with suppress(OSError):
            name = _link(path)
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            if os.isatty(terminal) and os.fstat(terminal).st_rdev == _terminal(process):
                return cls(has_token=False, terminal=name), terminal
            os.close(terminal)
        raise _NotAPersonError(_NO_TERMINAL)

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
        click.echo("That is not the number; nothing was done.", err=True)
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


def refuse_agent(process: int | None = None) -> None:
    """Refuse a shell that an agent marks as its own, and any process below an agent or a guard.

    Args:
        process: another process of this user; this one by default.

    Raises:
        NotAPersonError: an agent, or a process that we may not inspect.
    """
    own = {name for name, value in os.environ.items() if value}
    names = own if process is None else _read_variables(process)
    if mark := next((name for name in AGENT_VARIABLES if name in names), ""):
        raise _NotAPersonError(f"this shell is an agent's: {mark} is set.\n  {_OWN_TERMINAL}")
    if parent := _client_above(os.getpid() if process is None else process):
        raise _NotAPersonError(
            f"this runs below {parent}, which guards servers or is their client, so an agent may"
            f" have started it.\n  {_OWN_TERMINAL}"
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


def _read_variables(process: int) -> set[str]:
    """Return the names of the non-empty variables with which a process was started."""
    try:
        pairs = Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0")
    except OSError:
        raise _NotAPersonError(_NO_TERMINAL) from None
    return {name for name, _, value in (pair.partition("=") for pair in pairs) if value}


def _client_above(process: int) -> str:
    """Return the name of a process's ancestor that is a guard or a guard's client; else empty.

    A client has the other end of the guard's standard input, or of a connection to its address.
    Linux only, where /proc tells parents and open descriptors without another program.
    """
    if sys.platform != "linux":
        return ""
    above = dict(_ancestors(process))
    descriptors = {process: _links(process) for process in above}
    numbers = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    processes = {number: _process(number) for number in numbers}
    for guard in (number for number, (name, _) in processes.items() if name == GUARD_NAME):
        clients = {guard} & above.keys() or _clients(guard, descriptors, processes)
        if clients and _process(guard)[0] == GUARD_NAME:  # it has not ended as we looked
            return above[clients.pop()]
    return ""


def _clients(
    guard: int, descriptors: dict[int, set[str]], processes: dict[int, tuple[str, int]]
) -> set[int]:
    """Find the clients of a guard, also behind filters, as in `tee log | pipeguard serve`.

    Args:
        guard: its process.
        descriptors: the targets of the descriptors of possible clients.
        processes: all processes, each with its name and its parent.
    """
    readers, clients, seen = [guard], set[int](), set[int]()
    while readers and not clients:
        reader = readers.pop()
        clients = _writers(reader, descriptors)
        # A feeder of a program that started the reader is no client: an editor feeds the program
        # that starts its servers, and starts the person's shells as well.
        seen |= {reader, *(above for above, _ in _ancestors(reader))}
        if end := _find_other_end(reader):
            own = {_stdin(reader), ""}
            readers += [
                process
                for process, (_, parent) in processes.items()
                if parent in seen and process not in seen
                if end in _links(process) and _stdin(process) not in own
            ]
    return clients


def _writers(reader: int, descriptors: dict[int, set[str]]) -> set[int]:
    """Find the processes that write to a guard, or to a program that feeds one."""
    stdin = _stdin(reader)
    end = _find_other_end(reader)
    connections = _connections(reader)
    clients = {
        process
        for process, links in descriptors.items()
        if (end and end in links)
        or (connections & links and _process(process)[0] not in _FORWARDERS)
    }
    # Some processes hide their descriptors. Then the client is who started the reader: the first
    # above it that has another standard input.
    starter = next((above for above, _ in _ancestors(reader) if _stdin(above) != stdin), 0)
    is_hidden = end is None or (end and not descriptors.get(starter))
    if starter in descriptors and is_hidden:
        clients.add(starter)
    return clients


def _find_other_end(reader: int) -> str | None:
    """Return how descriptors name the end that is written to for a program's standard input.

    Returns:
        That of a pipe is named as the end that is read. Empty for what is neither a pipe nor a
        socket; None if it is not known.
    """
    stdin = _stdin(reader)
    if not stdin.startswith("socket:"):
        return (stdin if _is_pipe(reader) else "") if stdin else None
    question = (_QUESTION.size, _BY_FAMILY, 1, socket.AF_UNIX, _ANY, int(stdin[8:-1]), 4, -1)
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as asked:
        asked.send(_QUESTION.pack(*question))
        kind, peer = _ANSWER.unpack(asked.recv(4096)[: _ANSWER.size])
        return f"socket:[{peer}]" if kind == _BY_FAMILY else None
    return None


def _connections(guard: int) -> set[str]:
    """Find the clients' ends of the connections to a guard's address."""
    rows: list[list[str]] = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):  # no IPv6 here
            lines = Path("/proc/net", name).read_text().splitlines()
            rows += (line.split() for line in lines[1:])
    own = _links(guard)
    ours = [row for row in rows if _socket(row) in own]
    ports = {row[1][-4:] for row in ours if row[3] == _LISTENS}
    # An IPv4 address ends an IPv6 one that stands for it: eight digits, a colon, and the port's.
    pairs = {(row[2][-13:], row[1][-13:]) for row in ours if row[1][-4:] in ports}
    return {_socket(row) for row in rows if (row[1][-13:], row[2][-13:]) in pairs}


def _socket(row: list[str]) -> str:
    """The link of a descriptor of a socket in /proc/net/tcp."""
    return f"socket:[{row[9]}]"


def _links(process: int) -> set[str]:
    """List the targets of a process's descriptors; empty if we may not look."""
    with suppress(OSError):
        return {_link(path) for path in Path(f"/proc/{process}/fd").iterdir()}
    return set()


def _stdin(process: int) -> str:
    return _link(Path(f"/proc/{process}/fd/0"))


def _is_pipe(process: int) -> bool:
    """True if a process reads its standard input from a pipe, with or without a name."""
    with suppress(OSError):
        return Path(f"/proc/{process}/fd/0").is_fifo()
    return False


def _link(path: Path) -> str:
    """Return the target of a link; empty if it was closed, or we may not look."""
    with suppress(OSError):
        return str(path.readlink())
    return ""


def _ancestors(process: int) -> Iterator[tuple[int, str]]:
    """Yield the ancestors of a process, with their names, from its parent on; no managers."""
    seen = {0}
    process = _process(process)[1]
    while process not in seen:
        seen.add(process)
        name, parent = _process(process)
        if name not in _MANAGERS:
            yield process, name
        process = parent


def _process(number: int) -> tuple[str, int]:
    """Return the name of a process, empty once it ends, and the id of its parent."""
    name, fields = _read_status(number)
    ends = fields[0] in _ENDED or int(fields[6]) & _EXITING
    return "" if ends else name, int(fields[1])


def _terminal(process: int) -> int:
    """Return the device of the terminal that controls a process; 0 for none."""
    return int(_read_status(process)[1][4])


def _read_status(process: int) -> tuple[str, list[str]]:
    """Return a process's name, and the numbers after it (proc(5)); zeros if it is gone."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
        name, _, rest = text.partition("(")[2].rpartition(")")
        return name, rest.split()
    return "", ["0"] * 7
